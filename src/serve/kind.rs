//! What a setting's value is, told by how the command line reads it.

use std::any::TypeId;
use std::time::Duration;

use clap::{Arg, ArgAction};

/// The kinds of TOML values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Switch,
    /// A whole number.
    Whole,
    /// A number, of seconds mostly.
    Number,
    /// A text.
    Text,
    /// A list of texts.
    Texts,
}

impl Kind {
    /// That of `argument`.
    pub fn of(argument: &Arg) -> Self {
        let parser = argument.get_value_parser().type_id();
        let is_one_of = |kinds: &[TypeId]| kinds.iter().any(|kind| parser == *kind);
        match argument.get_action() {
            ArgAction::SetTrue => Self::Switch,
            ArgAction::Append => Self::Texts,
            _ if is_one_of(&[TypeId::of::<Duration>(), TypeId::of::<f64>(), TypeId::of::<f32>()]) => Self::Number,
            _ if is_one_of(&[TypeId::of::<usize>(), TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>()]) => {
                Self::Whole
            }
            _ => Self::Text,
        }
    }

    /// For messages.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Switch => "true or false",
            Self::Whole => "a whole number, without quotes",
            Self::Number => "a number, without quotes",
            Self::Text => "a text, in quotes",
            Self::Texts => "a list of texts, [\"…\"]",
        }
    }
}
