//! ONNX Runtime: its library, sessions over a model, where nodes were placed, and the pool of workers.

mod converted;
pub mod initializers;
pub mod library;
pub mod placement;
pub mod pool;
pub mod ports;
pub mod session;
