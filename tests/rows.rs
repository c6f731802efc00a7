//! n texts in, n rows out, in order, whatever the texts are and however often they stand there.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's shared library.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use oxembed::{Embedder, EncodeOptions};
use proptest::prelude::*;

static EMBEDDER: LazyLock<Embedder> = LazyLock::new(|| load(2));

fn load(threads: usize) -> Embedder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/roberta-mean");
    Embedder::builder(folder).threads(threads).load().unwrap()
}

/// Any text, or one of a few, so that some stand there more than once.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let repeated = prop::sample::select(vec!["", " ", "one", "two words", "a <pad> b", "one"]);
    let long = (1_usize..400).prop_map(|words| "word ".repeat(words));
    let text = prop_oneof![3 => repeated.prop_map(str::to_owned), 3 => any::<String>(), 1 => long];
    prop::collection::vec(text, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_text_has_its_row(texts in texts(), dimension in prop::option::of(1_usize..60)) {
        let options = EncodeOptions { truncate_dim: dimension, ..EncodeOptions::default() };
        let embeddings = EMBEDDER.encode(&texts, &options).unwrap();
        let width = dimension.unwrap_or(48).min(48);
        prop_assert_eq!(embeddings.vectors.dim(), (texts.len(), width));
        prop_assert_eq!(embeddings.usage.inputs, texts.len());
        prop_assert!(embeddings.vectors.is_standard_layout());

        // Alone it is the same, to the bit; once a text is known, its other rows have to be equal.
        let mut alone: HashMap<&str, Vec<u32>> = HashMap::new();
        let mut tokens = 0;
        for (text, row) in texts.iter().zip(embeddings.vectors.rows()) {
            let row: Vec<u32> = row.iter().map(|value| value.to_bits()).collect();
            let truth = alone.entry(text).or_insert_with(|| {
                let vectors = EMBEDDER.encode(&[text], &options).unwrap().vectors;
                vectors.iter().map(|value| value.to_bits()).collect()
            });
            prop_assert_eq!(&row, truth, "{:?}", text);
            tokens += EMBEDDER.model().tokenization().encode(text).unwrap().ids.len();
        }
        prop_assert_eq!(embeddings.usage.total_tokens, tokens);
    }

    #[test]
    fn a_permutation_of_the_texts_is_one_of_the_rows(
        (texts, order) in texts().prop_flat_map(|texts| {
            let order: Vec<usize> = (0..texts.len()).collect();
            (Just(texts), Just(order).prop_shuffle())
        }),
    ) {
        let options = EncodeOptions::default();
        let rows = EMBEDDER.encode(&texts, &options).unwrap().vectors;
        let shuffled: Vec<&String> = order.iter().map(|index| &texts[*index]).collect();
        let moved = EMBEDDER.encode(&shuffled, &options).unwrap().vectors;
        for (place, index) in order.iter().enumerate() {
            prop_assert_eq!(moved.row(place), rows.row(*index));
        }
    }
}

#[test]
fn many_texts_with_many_threads_keep_their_order() {
    let texts: Vec<String> = (0..5000).map(|number| format!("{} words", number * 7919 % 1000)).collect();
    let vectors = EMBEDDER.encode(&texts, &EncodeOptions::default()).unwrap().vectors;
    let other = load(7).encode(&texts, &EncodeOptions::default()).unwrap().vectors;
    assert_eq!(vectors, other);
    for (index, text) in texts.iter().enumerate().step_by(617) {
        let alone = EMBEDDER.encode(&[text], &EncodeOptions::default()).unwrap().vectors;
        assert_eq!(alone.row(0), vectors.row(index), "text {index}");
    }
}
