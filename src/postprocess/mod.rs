//! From token embeddings to the vector: pooling, dense layers, truncation, normalization.
//!
//! One step a file, slices in, slices out. Everything works on one text at a time and in a fixed order of additions, so
//! a vector never depends on the batch it came in.

mod activation;
mod dense;
mod normalize;
mod pipeline;
mod pooling;

pub use activation::Activation;
pub use dense::DenseLayer;
pub use normalize::normalize;
pub use pipeline::{Postprocess, PostprocessOptions, Scratch, Step};
pub use pooling::{PoolingMode, pool};
