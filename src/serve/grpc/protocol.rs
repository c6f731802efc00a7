//! The messages and the service of `proto/oxembed.proto`, as `make proto` writes them.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

/// The descriptors of the file, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/oxembed.v1.bin");

include!("generated/oxembed.v1.rs");
