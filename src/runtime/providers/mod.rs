//! The execution providers: one row each, one file a row.
//!
//! A row says how a provider is called, what it computes in, which graph it wants, which settings it has and how it is
//! put into a session. Everything else in the crate treats providers alike.

mod append;
mod coreml;
mod cpu;
mod cuda;
mod directml;
mod instructions;
mod migraphx;
mod mlx;
mod nv_tensorrt_rtx;
mod openvino;
mod plug_in;
mod qnn;
mod request;
mod setting;
mod tensorrt;
mod webgpu;
mod xnnpack;

use std::path::PathBuf;

use crate::error::{EmbeddingError, Result};
use crate::graph::{Arithmetic, Linears, Lookup, Target};
use crate::precision::AUTO_DTYPE;

pub use append::{Append, cpu as append_cpu, device as append_device};
pub use instructions::Instructions;
pub use request::{Chosen, ProviderRequest};
pub use setting::{Kind, Setting};

/// Names of the choice that is not a provider: whatever was found to be the fastest that is right.
pub const AUTO: &str = "auto";
/// The provider that is always there.
pub const CPU: &Provider = &cpu::PROVIDER;

/// How batches of a provider are shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// As the texts are: one session for every shape.
    Any,
    /// Of a few sizes, with a session compiled for each.
    Ladder {
        /// The most tokens of a batch, padding included.
        token_budget: usize,
    },
    /// As the texts are where the device is the CPU, of a few sizes on others.
    AnyOnTheCpu {
        /// For the others.
        token_budget: usize,
    },
}

impl Shapes {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any | Self::AnyOnTheCpu { .. } => "any",
            Self::Ladder { .. } => "ladder",
        }
    }
}

/// A type that a provider computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype {
    /// As torch and `dtype=` call it.
    pub name: &'static str,
    /// The type in which the graph is written for it.
    pub arithmetic: Arithmetic,
    /// How its linear layers are computed.
    pub linears: Linears,
    /// Instructions without which the provider silently takes another type, where its device is the CPU.
    pub on_the_cpu: Option<Instructions>,
}

/// Single precision, which is every provider's default.
pub const FLOAT32: Dtype =
    Dtype { name: "float32", arithmetic: Arithmetic::Float32, linears: Linears::Full, on_the_cpu: None };
/// Half precision in the graph itself.
pub const FLOAT16: Dtype =
    Dtype { name: "float16", arithmetic: Arithmetic::Float16, linears: Linears::Full, on_the_cpu: None };
/// Linear layers in 8-bit integers, by a file that says how good they are; all else in single precision.
pub const INT8: Dtype =
    Dtype { name: "int8", arithmetic: Arithmetic::Float32, linears: Linears::Quantized, on_the_cpu: None };

/// What a provider's options may depend on, besides its settings.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// The type asked for.
    pub dtype: &'static str,
    /// Threads that the process may use.
    pub threads: usize,
    /// A folder for what the provider compiles; `None` where there is no place to write.
    pub cache: Option<PathBuf>,
    /// Whether it is a plug-in, which is given its device, or part of the library, which is told of it.
    pub is_plug_in: bool,
    /// The settings.
    pub chosen: &'a Chosen,
}

/// Option names and values, as the provider itself has them.
pub type Options = Vec<(String, String)>;

/// A row of the table of providers.
#[derive(Debug)]
pub struct Provider {
    /// The name for `provider=`.
    pub name: &'static str,
    /// ONNX Runtime's name; empty for the row that stands for every other plug-in.
    pub runtime_name: &'static str,
    /// What it is, in a few words.
    pub description: &'static str,
    /// What it computes in, the default first.
    pub dtypes: &'static [Dtype],
    /// How its batches are shaped.
    pub shapes: Shapes,
    /// The graph it wants, in single precision.
    pub target: Target,
    /// Its own settings; [`all_settings`](Provider::all_settings) has those of every provider too.
    pub settings: &'static [Setting],
    /// Its options in these circumstances.
    pub options: fn(&Circumstances<'_>) -> Options,
    /// How it is put into a session where it is part of the library; plug-ins are put in by their device.
    pub append: Append,
    /// Name of the library beside ONNX Runtime's that some builds have it in, as a plug-in.
    pub bundled: Option<&'static str>,
    /// The key of the graph's metadata by which it knows what it compiled before.
    pub cache_key: Option<&'static str>,
    /// The command that makes it available, and where that can work.
    pub remedy: &'static str,
    /// Operating systems that it exists for, as Rust calls them; empty for all.
    pub systems: &'static [&'static str],
    /// Whether `auto` tries it where it is there.
    pub automatic: bool,
}

/// Every provider with a name of its own, in the order in which they are shown.
pub const PROVIDERS: &[&Provider] = &[
    CPU,
    &coreml::PROVIDER,
    &cuda::PROVIDER,
    &tensorrt::PROVIDER,
    &nv_tensorrt_rtx::PROVIDER,
    &directml::PROVIDER,
    &openvino::PROVIDER,
    &webgpu::PROVIDER,
    &mlx::PROVIDER,
    &migraphx::PROVIDER,
    &qnn::PROVIDER,
    &xnnpack::PROVIDER,
];

/// The row for a plug-in that has none of its own.
pub const PLUG_IN: &Provider = &plug_in::PROVIDER;

impl Provider {
    /// The row of a name, ours or ONNX Runtime's.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROVIDERS.iter().copied().find(|provider| provider.name == name || provider.runtime_name == name)
    }

    /// True for the CPU.
    pub fn is_cpu(&self) -> bool {
        self.name == CPU.name
    }

    /// Its settings, and those of every provider but the CPU.
    pub fn all_settings(&self) -> impl Iterator<Item = &'static Setting> {
        let common: &'static [Setting] = if self.is_cpu() { &[] } else { setting::COMMON };
        self.settings.iter().chain(common)
    }

    /// The type of a name.
    ///
    /// # Errors
    /// `InvalidInput` where the provider does not compute in it, or nobody knows it.
    pub fn dtype(&self, name: &str) -> Result<Dtype> {
        if let Some(dtype) = self.dtypes.iter().find(|dtype| dtype.name == name) {
            return Ok(*dtype);
        }
        let mine = self.dtypes.iter().map(|dtype| dtype.name).collect::<Vec<_>>().join(" or ");
        let message = if !DTYPES.contains(&name) {
            format!("dtype={name:?} is not known; known are {} and {AUTO_DTYPE}", DTYPES.join(", "))
        } else if name == INT8.name {
            format!("dtype={name:?}: {} does not compute in it, but in {mine}; the CPU alone does", self.name)
        } else {
            format!(
                "dtype={name:?}: {} does not compute in it, but in {mine}; weights that are stored in {name} are read \
                 as they are and need no setting",
                self.name
            )
        };
        Err(EmbeddingError::invalid_input(message))
    }

    /// The graph to write for it.
    pub fn target(&self, dtype: Dtype, chosen: &Chosen) -> Target {
        let lookup = match chosen.get("embedding_lookup") {
            Some("gather_nd") => Lookup::GatherNd,
            _ => self.target.lookup,
        };
        Target { arithmetic: dtype.arithmetic, linears: dtype.linears, lookup, ..self.target }
    }

    /// Whether it can exist on this operating system.
    pub fn exists_here(&self) -> bool {
        self.systems.is_empty() || self.systems.contains(&std::env::consts::OS)
    }
}

/// Types of arithmetic by name, as torch has them.
const DTYPES: &[&str] = &["float32", "float16", "bfloat16", "int8"];

/// What most providers do with their settings: each that has a runtime's name becomes an option.
fn options_of_settings(circumstances: &Circumstances<'_>) -> Options {
    circumstances.chosen.runtime_options()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
