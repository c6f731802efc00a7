//! What a call costs but for ONNX Runtime's run: the model is the smallest fixture, on one thread, so that a call of one
//! batch does all of its work on the thread that is counted.

use std::hint::black_box;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};
use oxembed::{Embedder, Embeddings, EncodeOptions};
use oxembed_benches::{as_strs, path, short_texts};

/// The function of `ort` around ONNX Runtime's run.
const RUN: &str = "--toggle-collect=*Session*run_inner*";

#[library_benchmark]
#[bench::one_text(embedder(), short_texts(), 1)]
#[bench::eight_texts(embedder(), short_texts(), 8)]
fn one_batch(embedder: Embedder, texts: Vec<String>, count: usize) -> (Embedder, Vec<String>, Embeddings) {
    let embeddings = embedder.encode(black_box(as_strs(&texts).split_at(count).0), &EncodeOptions::default()).unwrap();
    (embedder, texts, embeddings)
}

/// Ready: what a first call does is done.
fn embedder() -> Embedder {
    let folder = path("tests/fixtures/bert-mean-f16");
    let embedder = Embedder::builder(folder).provider("cpu").threads(1).load().unwrap();
    embedder.encode(&["warm"], &EncodeOptions::default()).unwrap();
    embedder
}

library_benchmark_group!(
    name = calls_benches,
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args([RUN])),
    benchmarks = one_batch
);
