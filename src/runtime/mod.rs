//! ONNX Runtime: its library, providers, sessions over a model, where nodes were placed, and the pool of workers.

mod available;
mod converted;
pub mod devices;
#[cfg(target_os = "linux")]
mod elf;
pub mod execution;
pub mod forking;
pub mod initializers;
pub mod library;
pub mod messages;
pub mod operator;
pub mod outputs;
pub mod part;
pub mod placement;
pub mod pool;
pub mod ports;
pub mod providers;
pub mod session;
mod status;
mod threads;
mod waiting;
pub mod work;
