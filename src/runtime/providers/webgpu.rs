//! WebGPU: any graphics processor, through Vulkan, Metal or Direct3D.
//!
//! Where its plug-in offers a virtual device, which can compile and not run, no placement can be read: asked for a session
//! with `session.compile_only`, version 0.4.0 aborts the process before it looks at a graph.

use super::{Append, FLOAT16, FLOAT32, Kind, Provider, Setting, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "webgpu",
    runtime_name: "WebGpuExecutionProvider",
    description: "any graphics processor, through Vulkan, Metal or Direct3D",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options: options_of_settings,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip install onnxruntime-ep-webgpu",
    systems: &[],
    automatic: true,
};

const SETTINGS: &[Setting] = &[
    Setting {
        name: "power_preference",
        runtime_key: Some("powerPreference"),
        kind: Kind::Choice(&[("high_performance", "high-performance"), ("low_power", "low-power")]),
        default: None,
        description: "which of two graphics processors to use",
    },
    Setting {
        name: "validation_mode",
        runtime_key: Some("validationMode"),
        kind: Kind::Choice(&[
            ("disabled", "disabled"),
            ("wgpu_only", "wgpuOnly"),
            ("basic", "basic"),
            ("full", "full"),
        ]),
        default: None,
        description: "how much WebGPU checks while it runs",
    },
];
