//! What an embedder counts about itself, against what the texts and the clock say.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's shared library.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use oxembed::schedule::{Limits, TOKEN_BUDGET, plan};
use oxembed::{Embedder, EncodeOptions, Stages, Truncation};

fn load(fixture: &str, threads: usize) -> Embedder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    Embedder::builder(folder).provider("cpu").threads(threads).max_seq_length(32).load().unwrap()
}

/// Distinct texts of many lengths, some of them beyond the limit.
fn texts(count: usize, first: usize) -> Vec<String> {
    (first..first + count).map(|number| format!("{number} {}", "word and another ".repeat(number % 13))).collect()
}

/// The tokens of each text, one text at a time.
fn lengths(embedder: &Embedder, texts: &[String]) -> Vec<(usize, bool)> {
    let tokens = texts.iter().map(|text| embedder.model().tokenization().encode(text).unwrap());
    tokens.map(|text| (text.ids.len(), text.whole_length > text.ids.len())).collect()
}

#[test]
fn counts_are_those_of_the_texts() {
    let embedder = load("bert-cls", 2);
    assert_eq!(embedder.stages(), Stages::default(), "nothing was done yet");
    let mut texts = texts(700, 0);
    let distinct = texts.len();
    texts.extend_from_within(..100);
    embedder.encode(&texts, &EncodeOptions::default()).unwrap();

    let lengths = lengths(&embedder, &texts);
    let unique: Vec<usize> = lengths[..distinct].iter().map(|(length, _)| *length).collect();
    let plan = plan(&unique, Limits { token_budget: TOKEN_BUDGET, workers: 2 });
    let longest = |batch: &[usize]| batch.iter().map(|text| unique[*text]).max().unwrap();
    let stages = embedder.stages();
    assert_eq!((stages.calls, stages.texts), (1, 800));
    assert_eq!(stages.truncated_texts, lengths.iter().filter(|(_, truncated)| *truncated).count() as u64);
    assert!(stages.truncated_texts > 100, "some are cut");
    assert_eq!(stages.tokens, unique.iter().sum::<usize>() as u64, "equal texts are computed once");
    assert_eq!(stages.batches, plan.len() as u64);
    let padded: usize = plan.batches().map(|batch| batch.len() * longest(batch)).sum();
    assert_eq!(stages.padded_tokens, padded as u64);
}

#[test]
fn no_thread_is_in_two_stages_at_once() {
    const CALLERS: usize = 3;
    const WORKERS: usize = 2;
    let embedder = load("bert-cls", WORKERS);
    let calls: Vec<Vec<String>> = (0..CALLERS).map(|caller| texts(400, caller * 1000)).collect();
    let start = Instant::now();
    thread::scope(|scope| {
        for texts in &calls {
            scope.spawn(|| {
                for _ in 0..4 {
                    embedder.encode(texts, &EncodeOptions::default()).unwrap();
                }
            });
        }
    });
    let elapsed = start.elapsed();
    let Stages { calls: done, tokens, copy, run, pool, plan, tokenize, wait, .. } = embedder.stages();
    assert_eq!(done, 12);
    let once: usize = calls.iter().flat_map(|texts| lengths(&embedder, texts)).map(|(length, _)| length).sum();
    assert_eq!(tokens, 4 * once as u64);
    let (workers, callers) = (u32::try_from(WORKERS).unwrap(), u32::try_from(CALLERS).unwrap());
    assert!(copy + run <= elapsed * workers, "{copy:?} + {run:?} of {workers} workers in {elapsed:?}");
    assert!(copy + run + pool + plan <= elapsed * (workers + callers));
    assert!(tokenize <= elapsed * workers * callers && wait <= elapsed * callers, "{tokenize:?} {wait:?}");
    for (name, time) in [("tokenize", tokenize), ("plan", plan), ("copy", copy), ("run", run), ("pool", pool)] {
        assert!(time > Duration::ZERO, "{name}");
    }
}

#[test]
fn a_single_text_has_every_stage_but_waiting() {
    let embedder = load("bert-cls", 2);
    let start = Instant::now();
    embedder.encode(&["one text"], &EncodeOptions::default()).unwrap();
    let elapsed = start.elapsed();
    let Stages { calls, texts, batches, tokenize, plan, copy, run, pool, wait, .. } = embedder.stages();
    assert_eq!((calls, texts, batches, wait), (1, 1, 1, Duration::ZERO));
    assert!(tokenize + plan + copy + run + pool <= elapsed, "all of it was done by the caller");
    assert!(run > Duration::ZERO);
}

#[test]
fn what_is_refused_is_no_call() {
    let embedder = load("bert-cls", 1);
    let long = "word ".repeat(100);
    let options = EncodeOptions { truncation: Truncation::Error, ..EncodeOptions::default() };
    embedder.encode(&[long], &options).unwrap_err();
    let Stages { calls, texts, batches, tokens, .. } = embedder.stages();
    assert_eq!((calls, texts, batches, tokens), (0, 0, 0, 0));
}

#[test]
fn the_shapes_are_those_of_the_stored_matrices() {
    // The same model written from its weights and as an exporter wrote it.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bert-cls");
    let written = Embedder::builder(&folder).load().unwrap();
    let exported = Embedder::builder(&folder).onnx_file("onnx/model.onnx").load().unwrap();
    let products = |embedder: &Embedder| -> usize {
        let shapes = embedder.model().linear_shapes();
        let distinct: HashSet<_> = shapes.iter().map(|shape| (shape.inputs, shape.outputs)).collect();
        assert_eq!(distinct.len(), shapes.len(), "each shape stands there once");
        shapes.iter().map(|shape| shape.inputs * shape.outputs * shape.layers).sum()
    };
    assert!(products(&written) > 0);
    assert_eq!(products(&written), products(&exported));
}
