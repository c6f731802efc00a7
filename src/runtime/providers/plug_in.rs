//! Every plug-in that has no row of its own: the plainest graph, of a few fixed shapes.

use super::setting::DEVICE;
use super::{Append, FLOAT16, FLOAT32, Provider, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "plug-in",
    runtime_name: "",
    description: "an execution provider of its own package",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: &[DEVICE],
    options: options_of_settings,
    append: Append::PlugInOnly,
    bundled: None,
    cache_key: None,
    remedy: "install the package of the plug-in",
    systems: &[],
    automatic: true,
};
