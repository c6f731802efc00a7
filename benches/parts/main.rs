//! How long each part of the way takes: `make criterion`, or some of it, `make criterion CRITERION_ARGS=pooling`.
//!
//! The parts are those of `ARCHITECTURE.md`. Those that need ONNX Runtime take the library that `ORT_DYLIB_PATH` names.

mod embedding;
mod graph;
mod int8;
mod loading;
mod planning;
mod pooling;
mod tokenization;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // All of it takes about three minutes on two cores; with 4 seconds, 50 samples and all resamples it took seven.
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .nresamples(10_000)
        .without_plots();
    let mut criterion = criterion.configure_from_args();
    tokenization::measure(&mut criterion);
    planning::measure(&mut criterion);
    pooling::measure(&mut criterion);
    graph::measure(&mut criterion);
    int8::measure(&mut criterion);
    loading::measure(&mut criterion);
    embedding::measure(&mut criterion);
    criterion.final_summary();
}
