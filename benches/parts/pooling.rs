//! Token embeddings into a vector: each mode, a text of 16 and one of 256 tokens, and what follows.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use oxembed::postprocess::{PoolingMode, Postprocess, PostprocessOptions, Scratch, Step, normalize, pool};

use oxembed_benches::{HIDDEN, token_embeddings};

const MODES: [PoolingMode; 6] = [
    PoolingMode::Cls,
    PoolingMode::Max,
    PoolingMode::Mean,
    PoolingMode::MeanSqrtLenTokens,
    PoolingMode::WeightedMean,
    PoolingMode::LastToken,
];

pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pooling");
    let mut vector = vec![0.0; HIDDEN];
    for count in [16, 256] {
        let tokens = token_embeddings(count);
        group.throughput(Throughput::Elements(count as u64));
        for mode in MODES {
            group.bench_with_input(BenchmarkId::new(mode.name(), count), &tokens, |bencher, tokens| {
                bencher.iter(|| pool(&[mode], black_box(tokens), HIDDEN, 0, &mut vector));
            });
        }
    }
    let tokens = token_embeddings(16);
    let steps = Postprocess::new(HIDDEN, vec![PoolingMode::Mean], true, vec![Step::Normalize]).unwrap();
    let mut scratch = Scratch::default();
    group.bench_function("mean_and_normalize/16", |bencher| {
        let options = PostprocessOptions::default();
        bencher.iter(|| steps.apply(black_box(&tokens), 0, options, &mut scratch, &mut vector).unwrap());
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("normalize", |bencher| {
        bencher.iter(|| normalize(black_box(&mut vector)));
    });
    group.finish();
}
