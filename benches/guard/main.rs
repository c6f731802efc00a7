//! How many instructions each part takes that runs for every text: `make guard` compares them with those of another commit.
//!
//! Valgrind counts them, so they are the same on a busy machine and an idle one. A bench whose work changes needs another
//! name: it is compared with what stood under its name.
//!
//! `calls` counts everything that a call costs but ONNX Runtime's run: counting stops on the way into it and goes on behind.

// The benches take what they work on, so that making and dropping it is not counted.
#![allow(clippy::needless_pass_by_value)]

mod calls;
mod planning;
mod pooling;
mod tokenization;

use gungraun::{Callgrind, LibraryBenchmarkConfig, main};

use calls::calls_benches;
use planning::planning_benches;
use pooling::pooling_benches;
use tokenization::tokenization_benches;

main!(
    config = LibraryBenchmarkConfig::default()
        .pass_through_env("ORT_DYLIB_PATH")
        .tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [planning_benches, pooling_benches, tokenization_benches, calls_benches]
);
