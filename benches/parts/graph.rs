//! A graph written in memory, for the CPU: the fixture of each family, of two or three layers, and the embedded model.

use std::hint::black_box;
use std::path::Path;

use criterion::Criterion;
use oxembed::config::Document;
use oxembed::graph::{Author, Target, author};
use oxembed::weights::Weights;

use oxembed_benches::{embedded, path};

const FIXTURES: [&str; 9] = [
    "bert-cls",
    "distilbert-mean",
    "gemma3-mean-dense",
    "gte-cls",
    "modernbert-cls",
    "mpnet-mean-b",
    "nomicbert-mean",
    "qwen3-lasttoken",
    "roberta-mean",
];

pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("graph");
    let folders = FIXTURES.iter().map(|name| (*name, path("tests/fixtures").join(name)));
    for (name, folder) in folders.chain([("all-MiniLM-L6-v2", embedded())]) {
        let (author, weights) = read(&folder);
        let target = Target { max_tokens: 256, ..Target::CPU };
        group.bench_function(name, |bencher| {
            bencher.iter(|| author.write(black_box(&weights), &target, None).unwrap());
        });
    }
    group.finish();
}

fn read(folder: &Path) -> (Box<dyn Author>, Weights) {
    let author = author(&Document::read(&folder.join("config.json")).unwrap()).unwrap().unwrap();
    let weights = Weights::open(&folder.join("model.safetensors")).unwrap();
    let weights = weights.with_prefix_of(author.anchor()).unwrap();
    (author, weights)
}
