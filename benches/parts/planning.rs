//! Lengths into a plan, and the batches of a plan into padded arrays.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use oxembed::batch::{Batch, TokenRow};
use oxembed::schedule::{Limits, TOKEN_BUDGET, plan};

use oxembed_benches::{LAYOUT, lengths, token_ids};

pub fn measure(criterion: &mut Criterion) {
    let limits = Limits { token_budget: TOKEN_BUDGET, workers: 2 };
    let mut group = criterion.benchmark_group("planning");
    for count in [1, 32, 2000, 100_000] {
        let lengths = lengths(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("plan", count), &lengths, |bencher, lengths| {
            bencher.iter(|| plan(black_box(lengths), limits));
        });
    }
    let texts = token_ids(2000);
    let plan = plan(&lengths(texts.len()), limits);
    let row = |text: &usize| TokenRow { ids: &texts[*text], type_ids: &[] };
    group.throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function("pad/2000", |bencher| {
        bencher.iter(|| {
            for texts in plan.batches() {
                let rows: Vec<TokenRow<'_>> = texts.iter().map(row).collect();
                black_box(Batch::pad(&rows, &LAYOUT));
            }
        });
    });
    group.finish();
}
