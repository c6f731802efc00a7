//! Token embeddings into a vector.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use oxembed::postprocess::{PoolingMode, Postprocess, PostprocessOptions, Scratch, Step, pool};
use oxembed_benches::{HIDDEN, token_embeddings};

/// Tokens of a text.
const TOKENS: usize = 16;

#[library_benchmark]
#[bench::cls(PoolingMode::Cls, token_embeddings(TOKENS), vec![0.0; HIDDEN])]
#[bench::max(PoolingMode::Max, token_embeddings(TOKENS), vec![0.0; HIDDEN])]
#[bench::mean(PoolingMode::Mean, token_embeddings(TOKENS), vec![0.0; HIDDEN])]
#[bench::mean_sqrt_len_tokens(PoolingMode::MeanSqrtLenTokens, token_embeddings(TOKENS), vec![0.0; HIDDEN])]
#[bench::weightedmean(PoolingMode::WeightedMean, token_embeddings(TOKENS), vec![0.0; HIDDEN])]
#[bench::lasttoken(PoolingMode::LastToken, token_embeddings(TOKENS), vec![0.0; HIDDEN])]
fn one_mode(mode: PoolingMode, tokens: Vec<f32>, mut vector: Vec<f32>) -> Vec<f32> {
    pool(&[mode], black_box(&tokens), HIDDEN, 0, &mut vector);
    vector
}

#[library_benchmark]
#[bench::mean_and_normalize(steps(), token_embeddings(TOKENS), vec![0.0; HIDDEN])]
fn all_steps(steps: Postprocess, tokens: Vec<f32>, mut vector: Vec<f32>) -> Vec<f32> {
    steps.apply(black_box(&tokens), 0, PostprocessOptions::default(), &mut Scratch::default(), &mut vector).unwrap();
    vector
}

fn steps() -> Postprocess {
    Postprocess::new(HIDDEN, vec![PoolingMode::Mean], true, vec![Step::Normalize]).unwrap()
}

library_benchmark_group!(name = pooling_benches, benchmarks = [one_mode, all_steps]);
