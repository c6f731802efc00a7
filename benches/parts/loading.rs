//! From a folder to a model that is ready to run.

use criterion::Criterion;
use oxembed::Embedder;
use oxembed::config::ModelFolder;

use oxembed_benches::{embedded, tokenizer};

pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loading");
    group.sample_size(10);
    group.bench_function("folder", |bencher| bencher.iter(|| ModelFolder::read(&embedded()).unwrap()));
    group.bench_function("tokenizer", |bencher| bencher.iter(tokenizer));
    group.bench_function("embedder", |bencher| {
        // Dropped outside of the time, as a program drops it at its end.
        bencher.iter_with_large_drop(|| Embedder::builder(embedded()).provider("cpu").load().unwrap());
    });
    group.finish();
}
