//! What a call costs but for ONNX Runtime's run: the model is the smallest fixture, on one thread, so that a call of one
//! batch does all of its work on the thread that is counted.

use std::hint::black_box;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};
use oxembed::{Embedder, Embeddings, EncodeOptions};
use oxembed_benches::{path, short_texts};

/// The function of `ort` around ONNX Runtime's run. What it calls is not named: that would start counting again.
const RUN: &str = "--toggle-collect=*::Session>::run_inner";

#[library_benchmark]
#[bench::one_text(embedder(), texts(&[0]))]
#[bench::three_texts_two_of_them_equal(embedder(), texts(&[0, 1, 0]))]
fn one_batch(embedder: Embedder, texts: Vec<String>) -> (Embedder, Vec<String>, Embeddings) {
    let embeddings = embedder.encode(black_box(&texts), &EncodeOptions::default()).unwrap();
    (embedder, texts, embeddings)
}

/// Some of the short texts, by their numbers.
fn texts(numbers: &[usize]) -> Vec<String> {
    let texts = short_texts();
    numbers.iter().map(|number| texts[*number].clone()).collect()
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
