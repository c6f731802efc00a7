//! Texts into tokens, by the tokenizer of the embedded model.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

use oxembed_benches::{as_strs, long_text, short_texts, tokenizer, tokens};

pub fn measure(criterion: &mut Criterion) {
    let tokenizer = tokenizer();
    let texts = short_texts();
    let long = long_text();
    let mut group = criterion.benchmark_group("tokenization");
    for count in [1, 32, 2000] {
        let texts = as_strs(texts.get(..count).unwrap());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("short_texts", count), &texts, |bencher, texts| {
            bencher.iter(|| tokens(&tokenizer, black_box(texts)));
        });
    }
    group.throughput(Throughput::Bytes(long.len() as u64));
    group.bench_function("long_text", |bencher| bencher.iter(|| tokenizer.encode(black_box(&long)).unwrap()));
    group.finish();
}
