//! ONNX files: the schema, and reading models that nobody vouches for.
//!
//! A model is mapped into memory and looked through before it is decoded; its weights are never copied.

mod element;
mod file;
pub mod measure;
pub mod proto;
pub mod wire;

pub use element::ElementType;
pub use file::{OnnxFile, decode, elements};
