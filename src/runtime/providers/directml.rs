//! DirectML: any graphics processor under Windows.
//!
//! It wants sequential execution without memory patterns, which is how every session of this library is made.

use super::{Append, FLOAT16, FLOAT32, Kind, Provider, Setting, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "directml",
    runtime_name: "DmlExecutionProvider",
    description: "any graphics processor under Windows",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options: options_of_settings,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip uninstall onnxruntime && pip install onnxruntime-directml",
    systems: &["windows"],
    automatic: true,
};

const SETTINGS: &[Setting] = &[
    Setting {
        name: "device_id",
        runtime_key: Some("device_id"),
        kind: Kind::Count { least: 0, most: 1023 },
        default: None,
        description: "which of several graphics processors, counted from 0",
    },
    Setting {
        name: "performance_preference",
        runtime_key: Some("performance_preference"),
        kind: Kind::Choice(&[
            ("default", "default"),
            ("high_performance", "high_performance"),
            ("minimum_power", "minimum_power"),
        ]),
        default: None,
        description: "which processor to prefer where no device_id says it",
    },
    Setting {
        name: "device_filter",
        runtime_key: Some("device_filter"),
        kind: Kind::Choice(&[("any", "any"), ("gpu", "gpu"), ("npu", "npu")]),
        default: None,
        description: "the kind of processor to look for where no device_id says it",
    },
];
