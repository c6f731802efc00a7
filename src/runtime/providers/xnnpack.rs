//! XNNPACK: small kernels for processors of telephones. Slower than ONNX Runtime's own where both are.

use super::{Append, FLOAT32, Kind, Provider, Setting, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "xnnpack",
    runtime_name: "XnnpackExecutionProvider",
    description: "small kernels for the processors of telephones",
    dtypes: &[FLOAT32],
    shapes: Shapes::Ladder { token_budget: 512 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options: options_of_settings,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "build ONNX Runtime with --use_xnnpack",
    systems: &[],
    automatic: false,
};

const SETTINGS: &[Setting] = &[Setting {
    name: "threads",
    runtime_key: Some("intra_op_num_threads"),
    kind: Kind::Count { least: 1, most: 1024 },
    default: None,
    description: "threads of XNNPACK's own",
}];
