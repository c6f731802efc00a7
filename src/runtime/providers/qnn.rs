//! QNN: Qualcomm's neural processors. They compute in small whole numbers above all, so `auto` leaves them alone.

use super::{Append, FLOAT16, FLOAT32, Kind, Provider, Setting, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "qnn",
    runtime_name: "QNNExecutionProvider",
    description: "Qualcomm's neural processors",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options: options_of_settings,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip install onnxruntime-qnn",
    systems: &["windows", "linux", "android"],
    automatic: false,
};

const SETTINGS: &[Setting] = &[Setting {
    name: "backend",
    runtime_key: Some("backend_type"),
    kind: Kind::Choice(&[("htp", "htp"), ("gpu", "gpu"), ("cpu", "cpu")]),
    default: Some("htp"),
    description: "the part of the chip to use",
}];
