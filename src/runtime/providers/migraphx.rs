//! MIGraphX: AMD's graphics processors.

use super::{Append, FLOAT16, FLOAT32, Kind, Provider, Setting, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "migraphx",
    runtime_name: "MIGraphXExecutionProvider",
    description: "AMD's graphics processors",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options: options_of_settings,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip uninstall onnxruntime && pip install onnxruntime-migraphx",
    systems: &["linux", "windows"],
    automatic: true,
};

const SETTINGS: &[Setting] = &[Setting {
    name: "device_id",
    runtime_key: Some("device_id"),
    kind: Kind::Count { least: 0, most: 1023 },
    default: Some("0"),
    description: "which of several graphics processors, counted from 0",
}];
