//! Lengths into a plan, and batches into padded arrays.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use oxembed::batch::{Batch, TokenRow};
use oxembed::schedule::{Limits, Plan, TOKEN_BUDGET, plan};
use oxembed::tokenization::TokenizedTexts;
use oxembed_benches::{LAYOUT, as_strs, lengths, short_texts, tokenizer, tokens};

#[library_benchmark(setup = lengths)]
#[bench::one_text(1)]
#[bench::few_texts(32)]
#[bench::many_texts(2000)]
fn batches(lengths: Vec<usize>) -> Plan {
    plan(black_box(&lengths), Limits { token_budget: TOKEN_BUDGET, workers: 2 })
}

#[library_benchmark]
#[bench::few_texts(few_texts())]
fn padding(texts: TokenizedTexts) -> Batch {
    let rows: Vec<TokenRow<'_>> = (0..texts.len()).map(|text| texts.row(text)).collect();
    Batch::pad(black_box(&rows), &LAYOUT)
}

fn few_texts() -> TokenizedTexts {
    tokens(&tokenizer(), as_strs(&short_texts()).split_at(32).0)
}

library_benchmark_group!(name = planning_benches, benchmarks = [batches, padding]);
