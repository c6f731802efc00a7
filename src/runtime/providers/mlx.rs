//! MLX: Apple's arrays on the graphics processors of Apple silicon, as a plug-in.

use super::{Append, FLOAT16, FLOAT32, Provider, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "mlx",
    runtime_name: "MLXExecutionProvider",
    description: "Apple's arrays on the graphics processor of Apple silicon",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: &[],
    options: options_of_settings,
    append: Append::PlugInOnly,
    bundled: None,
    cache_key: None,
    remedy: "pip install onnxruntime-ep-mlx",
    systems: &["macos"],
    automatic: true,
};
