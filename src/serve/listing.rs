//! The settings in force as a file of settings, with where each comes from.

use std::fmt::Write as _;

use clap::{Arg, CommandFactory as _};

use super::command::{self, Command};
use super::invocation::Invocation;
use super::kind::Kind;

/// TOML that sets the same again, but for what is secret, which is counted only.
pub(super) fn listing(invocation: &Invocation) -> String {
    let definition = Command::command();
    let mut text = String::from("# What `oxembed serve` was told, each setting with where it comes from.\n");
    let origin = |id: &str| invocation.origins.get(id).map(ToString::to_string).unwrap_or_default();
    for argument in command::settings(&definition) {
        let id = argument.get_id().as_str();
        if let Some(key) = command::key(argument) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}  # {}", line(&key, argument, invocation), origin(id));
        }
    }
    for model in invocation.models() {
        let _ = writeln!(text, "\n[[models]]  # {}", origin(command::MODELS));
        if !model.name.is_empty() {
            let _ = writeln!(text, "name = {}", quoted(&model.name));
        }
        if !model.aliases.is_empty() {
            let _ = writeln!(text, "aliases = {}", list(model.aliases.iter().map(String::as_str)));
        }
        let _ = writeln!(text, "path = {}", quoted(&model.path.to_string_lossy()));
    }
    text
}

fn line(key: &str, argument: &Arg, invocation: &Invocation) -> String {
    let raw = invocation.matches.get_raw(argument.get_id().as_str());
    let values: Vec<_> = raw.into_iter().flatten().map(|value| value.to_string_lossy()).collect();
    if argument.is_hide_env_values_set() {
        return format!("# {key}: {} set, not shown", values.len());
    }
    let kind = Kind::of(argument);
    match (kind, values.first()) {
        (Kind::Texts, _) => format!("{key} = {}", list(values.iter().map(|value| &**value))),
        (_, None) => format!("# {key}: not set"),
        (Kind::Text, Some(value)) => format!("{key} = {}", quoted(value)),
        // As Rust writes numbers, which TOML reads, whatever form they came in.
        (Kind::Number, Some(value)) => {
            value.parse::<f64>().map_or_else(|_| key.to_owned(), |value| format!("{key} = {value}"))
        }
        (Kind::Switch | Kind::Whole, Some(value)) => format!("{key} = {value}"),
    }
}

fn list<'a>(values: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", values.map(quoted).collect::<Vec<_>>().join(", "))
}

/// JSON's quotes and escapes are TOML's too, but for the character "delete".
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
