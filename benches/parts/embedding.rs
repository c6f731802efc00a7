//! Texts into vectors by the embedded model, in single precision on all threads.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use oxembed::{Embedder, EncodeOptions};

use oxembed_benches::{as_strs, embedded, short_texts};

pub fn measure(criterion: &mut Criterion) {
    let embedder = Embedder::builder(embedded()).provider("cpu").dtype("float32").load().unwrap();
    let texts = short_texts();
    let mut group = criterion.benchmark_group("embedding");
    for count in [1, 4, 8, 16, 32, texts.len()] {
        let texts = as_strs(texts.get(..count).unwrap());
        if count > 32 {
            group.sample_size(10);
        }
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("short_texts", count), &texts, |bencher, texts| {
            bencher.iter(|| embedder.encode(black_box(texts), &EncodeOptions::default()).unwrap());
        });
    }
    group.finish();
}
