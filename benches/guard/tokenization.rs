//! Texts into tokens, on one thread.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use oxembed::tokenization::{Tokenization, TokenizedText, TokenizedTexts};
use oxembed_benches::{as_strs, long_text, short_texts, tokenizer, tokens};

#[library_benchmark]
#[bench::short_texts(tokenizer(), short_texts())]
fn hundred_texts(tokenizer: Tokenization, texts: Vec<String>) -> (Tokenization, TokenizedTexts) {
    let tokens = tokens(&tokenizer, black_box(as_strs(&texts).split_at(100).0));
    (tokenizer, tokens)
}

#[library_benchmark]
#[bench::long_text(tokenizer(), long_text())]
fn one_text(tokenizer: Tokenization, text: String) -> (Tokenization, TokenizedText) {
    let tokens = tokenizer.encode(black_box(&text)).unwrap();
    (tokenizer, tokens)
}

library_benchmark_group!(name = tokenization_benches, benchmarks = [hundred_texts, one_text]);
