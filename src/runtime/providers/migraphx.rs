//! MIGraphX: AMD's graphics processors.

use super::setting::DEVICE_ID;
use super::{Append, FLOAT16, FLOAT32, Provider, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "migraphx",
    runtime_name: "MIGraphXExecutionProvider",
    description: "AMD's graphics processors",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: &[DEVICE_ID],
    options: options_of_settings,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip uninstall onnxruntime && pip install onnxruntime-migraphx",
    systems: &["linux", "windows"],
    automatic: true,
};
