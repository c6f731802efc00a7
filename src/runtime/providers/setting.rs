//! The settings that a provider has: names, values, defaults.

use crate::error::{EmbeddingError, Result};

/// What a setting's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of some words; the second of each pair is the provider's own.
    Choice(&'static [(&'static str, &'static str)]),
    /// `true` or `false`; the provider's own words for them.
    Flag {
        /// For true.
        on: &'static str,
        /// For false.
        off: &'static str,
    },
    /// A whole number.
    Count {
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A number from 0 to 1.
    Share,
    /// Any text, such as a path.
    Text,
}

/// ONNX Runtime's usual words for true and false.
pub const FLAG: Kind = Kind::Flag { on: "1", off: "0" };

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The name, in this library.
    pub name: &'static str,
    /// The provider's own name for it; `None` where this library acts on it.
    pub runtime_key: Option<&'static str>,
    /// What it may be.
    pub kind: Kind,
    /// The value where nothing is said; `None` leaves it to the provider.
    pub default: Option<&'static str>,
    /// What it does.
    pub description: &'static str,
}

/// Settings that every provider but the CPU has.
pub const COMMON: &[Setting] = &[
    Setting {
        name: "minimum_share",
        runtime_key: None,
        kind: Kind::Share,
        default: Some("0.5"),
        description: "the least share of the model's multiply-adds that the provider has to take, else it counts as not \
                      available",
    },
    Setting {
        name: "max_sessions",
        runtime_key: None,
        kind: Kind::Count { least: 1, most: 1024 },
        default: None,
        description: "sessions of different shapes that are kept: by default from 2 to 16, as many as have room in 2 GiB; \
                      the one that was not used for longest is given up",
    },
];

/// Which of several processors of a kind.
pub const DEVICE_ID: Setting = Setting {
    name: "device_id",
    runtime_key: Some("device_id"),
    kind: Kind::Count { least: 0, most: 1023 },
    default: Some("0"),
    description: "which of several graphics processors, counted from 0",
};

/// Settings of plug-ins, which name their devices.
pub const DEVICE: Setting = Setting {
    name: "device",
    runtime_key: None,
    kind: Kind::Choice(&[("cpu", "cpu"), ("gpu", "gpu"), ("npu", "npu")]),
    default: None,
    description: "the kind of device to use, where the provider has several",
};

impl Setting {
    /// All of it as plain values.
    pub fn facts(&self) -> serde_json::Value {
        let (kind, values, range) = match self.kind {
            Kind::Choice(words) => ("choice", Some(words.iter().map(|pair| pair.0).collect::<Vec<_>>()), None),
            Kind::Flag { .. } => ("flag", None, None),
            Kind::Count { least, most } => ("count", None, Some((least, most))),
            Kind::Share => ("share", None, None),
            Kind::Text => ("text", None, None),
        };
        serde_json::json!({
            "name": self.name, "runtime_key": self.runtime_key, "kind": kind, "values": values,
            "least": range.map(|range| range.0), "most": range.map(|range| range.1),
            "default": self.default, "description": self.description,
        })
    }

    /// The provider's own word for `value`.
    ///
    /// # Errors
    /// `InvalidInput` naming the values that are possible.
    pub fn runtime_value(&self, provider: &str, value: &str) -> Result<String> {
        let refuse = |possible: String| {
            let name = self.name;
            EmbeddingError::invalid_input(format!(
                "provider {provider:?}: {name}={value:?} is not possible; {possible}"
            ))
        };
        match self.kind {
            Kind::Choice(words) => match words.iter().find(|(word, _)| *word == value) {
                Some((_, own)) => Ok((*own).to_owned()),
                None => Err(refuse(format!(
                    "use one of {}",
                    words.iter().map(|pair| pair.0).collect::<Vec<_>>().join(", ")
                ))),
            },
            Kind::Flag { on, off } => match value {
                "true" | "True" | "1" => Ok(on.to_owned()),
                "false" | "False" | "0" => Ok(off.to_owned()),
                _ => Err(refuse("use true or false".to_owned())),
            },
            Kind::Count { least, most } => match value.parse::<u64>() {
                Ok(count) if (least..=most).contains(&count) => Ok(count.to_string()),
                _ => Err(refuse(format!("use a whole number from {least} to {most}"))),
            },
            Kind::Share => match value.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(share.to_string()),
                _ => Err(refuse("use a number from 0 to 1".to_owned())),
            },
            Kind::Text if value.contains('\0') => Err(refuse("it must not contain a NUL character".to_owned())),
            Kind::Text => Ok(value.to_owned()),
        }
    }
}
