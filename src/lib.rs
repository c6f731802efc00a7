//! Text embeddings on the user's own machine: sentence-transformers' vectors from a Rust core on ONNX Runtime.
//!
//! A model folder, as sentence-transformers writes it, is read once; its graph is written for the machine at hand and
//! its weights are used where they lie. Texts of all lengths then run at the speed of the hardware, with no tuning.
//!
//! ```
//! use oxembed::{Embedder, EncodeOptions};
//!
//! # fn main() -> oxembed::Result<()> {
//! let embedder = Embedder::load("models/all-MiniLM-L6-v2")?;
//! let texts = ["How do I sort a list?", "Ordering the elements of an array", "A recipe for bread"];
//! let vectors = embedder.encode(&texts, &EncodeOptions::default())?.vectors;
//! let similarity = |a: usize, b: usize| vectors.row(a).dot(&vectors.row(b));
//! assert!(similarity(0, 1) > similarity(0, 2));
//! # Ok(())
//! # }
//! ```
//!
//! ONNX Runtime is not linked: set `ORT_DYLIB_PATH` to its shared library, for example the one inside the Python
//! package `onnxruntime`. `ARCHITECTURE.md` in the repository walks through the modules in the order in which data does.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod asynchronous;
mod backend;
pub mod batch;
mod builder;
mod cache;
mod call;
mod choice;
pub mod config;
mod cosine;
pub mod diagnosis;
mod embedder;
mod error;
pub mod export;
mod failover;
mod fingerprint;
mod foreign;
mod forward;
pub mod graph;
mod identity;
mod info;
pub mod inspect;
pub mod int8;
pub mod ladder;
pub mod linears;
mod memory;
mod model;
pub mod onnx;
mod operators;
mod options;
pub mod postprocess;
mod precision;
mod provider;
pub mod quantize;
pub mod runtime;
pub mod schedule;
#[cfg(feature = "serve")]
pub mod serve;
mod source;
pub mod stages;
pub mod tokenization;
mod unfinished;
pub mod weights;

#[cfg(feature = "python")]
mod python;

pub use builder::EmbedderBuilder;
pub use embedder::{Embedder, Embeddings, PlacementReport, Watch};
pub use error::{EmbeddingError, Result, Source};
pub use failover::{FailureEvent, NotUsed};
pub use info::{HealthStatus, ModelInfo};
pub use model::Model;
pub use operators::OperatorTime;
pub use options::{EncodeOptions, Role, Usage};
pub use provider::{BatchEmbeddingRequest, BatchEmbeddingResponse, EmbeddingProvider, OnnxEmbeddingProvider};
pub use runtime::devices::PlugIn;
pub use runtime::placement::Placement;
pub use runtime::providers::ProviderRequest;
pub use stages::Stages;
pub use tokenization::Truncation;
