//! What is fuzzed, and what has to hold whatever the input is: a target is a function of bytes that panics where it does not.
//!
//! Two things run a target: libFuzzer, by the program in `fuzz_targets/` of the same name (`make fuzz`), and the tests in
//! `tests/fuzz_targets/`, on stable Rust (`make fuzz-short`). Each input that once broke something is in `corpus/`.
//!
//! An error of the library is as good as a success, if it is one that a user could make: see [`outcome`].

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod config_bytes;
mod config_json;
mod encode;
mod folder;
mod header;
mod int8_file;
mod json;
mod load;
mod onnx;
mod outcome;
mod plan;
mod pool;
mod tokenize;
mod tokenizer_bytes;
mod tokenizer_json;
mod weights;
mod weights_index;

/// A row of [`TARGETS`].
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its file here, of its program in `fuzz_targets/` and of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics where something does not hold for these bytes.
    pub check: fn(&[u8]),
    /// How many changed inputs the short run tries: about two seconds of one core.
    pub short_run: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "config_bytes", check: config_bytes::check, short_run: 8000 },
    Target { name: "config_json", check: config_json::check, short_run: 800 },
    Target { name: "encode", check: encode::check, short_run: 200 },
    Target { name: "int8_file", check: int8_file::check, short_run: 30_000 },
    Target { name: "load", check: load::check, short_run: 200 },
    Target { name: "onnx", check: onnx::check, short_run: 20_000 },
    Target { name: "plan", check: plan::check, short_run: 20_000 },
    Target { name: "pool", check: pool::check, short_run: 40_000 },
    Target { name: "tokenize", check: tokenize::check, short_run: 1500 },
    Target { name: "tokenizer_bytes", check: tokenizer_bytes::check, short_run: 10_000 },
    Target { name: "tokenizer_json", check: tokenizer_json::check, short_run: 500 },
    Target { name: "weights", check: weights::check, short_run: 20_000 },
    Target { name: "weights_index", check: weights_index::check, short_run: 5000 },
];

/// Runs the target `name`; for the programs in `fuzz_targets/`.
///
/// # Panics
/// Where something does not hold for `data`, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.check)(data);
}
