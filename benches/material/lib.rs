//! What the benches work on: the embedded model, the fixtures of all families, and the texts in `data/`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use oxembed::batch::Layout;
use oxembed::config::{ModelFolder, Side};
use oxembed::graph::PositionScheme;
use oxembed::tokenization::{Bounds, Tokenization, TokenizedTexts};

/// Width of the embedded model's vectors.
pub const HIDDEN: usize = 384;

/// How the embedded model wants its rows laid out.
pub const LAYOUT: Layout =
    Layout { padding_side: Side::Right, padding_id: 0, positions: PositionScheme::FromZero, shortest: 2 };

/// A path of the repository.
pub fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of)
}

/// The embedded model.
pub fn embedded() -> PathBuf {
    path("models/all-MiniLM-L6-v2")
}

/// The 2,000 short texts.
pub fn short_texts() -> Vec<String> {
    lines("data/short_texts.txt")
}

/// A hundred lines as one text, longer than the embedded model's limit.
pub fn long_text() -> String {
    lines("data/sentences.txt").split_at(100).0.join(" ")
}

/// The tokenizer of the embedded model.
pub fn tokenizer() -> Tokenization {
    let folder = ModelFolder::read(&embedded()).unwrap();
    Tokenization::load(&folder.tokenizer, 256, Bounds { vocabulary: Some(30_522), token_types: Some(2) }).unwrap()
}

/// Tokens of `texts`, on this thread.
pub fn tokens(tokenizer: &Tokenization, texts: &[&str]) -> TokenizedTexts {
    tokenizer.encode_all(None, texts, 1, &mut || ControlFlow::Continue(())).unwrap()
}

/// Lengths of `count` texts, about what they are in tokens: the words of the short texts, over and over, and two more.
pub fn lengths(count: usize) -> Vec<usize> {
    short_texts().iter().map(|text| text.split_whitespace().count() + 2).cycle().take(count).collect()
}

/// `count` texts of such lengths as token ids.
pub fn token_ids(count: usize) -> Vec<Vec<u32>> {
    lengths(count).into_iter().map(|length| (1_000..).take(length).collect()).collect()
}

/// The tokens of one text as a model would have made them: `count` vectors of [`HIDDEN`] numbers between -1 and 1.
pub fn token_embeddings(count: usize) -> Vec<f32> {
    (0..count * HIDDEN).map(|index| ((index * 7919 % 20_001) as f32 - 10_000.0) / 10_000.0).collect()
}

/// Borrows.
pub fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn lines(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path(file)).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
