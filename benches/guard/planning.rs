//! Lengths into a plan, and batches into padded arrays.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use oxembed::batch::{Batch, TokenRow};
use oxembed::schedule::{Limits, Plan, TOKEN_BUDGET, plan};
use oxembed_benches::{LAYOUT, lengths, token_ids};

#[library_benchmark(setup = lengths)]
#[bench::one_text(1)]
#[bench::few_texts(32)]
#[bench::many_texts(2000)]
fn batches(lengths: Vec<usize>) -> Plan {
    plan(black_box(&lengths), Limits { token_budget: TOKEN_BUDGET, workers: 2 })
}

#[library_benchmark(setup = token_ids)]
#[bench::few_texts(32)]
fn padding(texts: Vec<Vec<u32>>) -> Batch {
    let rows: Vec<TokenRow<'_>> = texts.iter().map(|ids| TokenRow { ids, type_ids: &[] }).collect();
    Batch::pad(black_box(&rows), &LAYOUT)
}

library_benchmark_group!(name = planning_benches, benchmarks = [batches, padding]);
