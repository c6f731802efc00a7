//! Any bytes as `tokenizer.json`.

use std::path::Path;

use oxembed::config::ModelFolder;
use oxembed::tokenization::{Bounds, Tokenization};

use super::folder::with_files;
use super::outcome::typed;

/// Rows of the embedding table that ids have to be below.
const ROWS: usize = 100;
/// Most tokens of a text.
const LIMIT: usize = 12;
/// Texts of every kind of character.
const TEXTS: [&str; 6] = [
    "",
    "two words",
    "Ünïcode, ಕನ್ನಡ 漢字\t😀\r\n\u{0}",
    "<s> [CLS] [MASK] </s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
    "\u{fdfa}\u{202e}\u{301}\u{e000}\u{10ffff}",
];

/// A tokenizer gives tokens that the model has, no more than its limit, or an error that names the file.
pub fn check(input: &[u8]) {
    with_files("bert-cls", &[("tokenizer.json", input)], use_tokenizer);
}

/// Loads the tokenizer of a folder and has it take texts.
///
/// # Panics
/// Where it gives too many tokens, or one that the model has not.
pub fn use_tokenizer(folder: &Path) {
    let Some(folder) = typed(ModelFolder::read(folder)) else { return };
    let bounds = Bounds { vocabulary: Some(ROWS), token_types: Some(2) };
    for bounds in [bounds, Bounds::default()] {
        let Some(tokenization) = typed(Tokenization::load(&folder.tokenizer, LIMIT, bounds)) else { continue };
        for text in TEXTS {
            let Some(tokens) = typed(tokenization.encode(text)) else { continue };
            assert!(tokens.ids.len() <= LIMIT, "{tokens:?}");
            assert!(tokens.whole_length >= tokens.ids.len(), "{tokens:?}");
            assert!(tokens.type_ids.is_empty() || tokens.type_ids.len() == tokens.ids.len(), "{tokens:?}");
            assert!(tokens.ids.iter().all(|id| bounds.vocabulary.is_none_or(|rows| (*id as usize) < rows)));
            assert!(tokens.type_ids.iter().all(|id| bounds.token_types.is_none_or(|rows| (*id as usize) < rows)));
            typed(tokenization.prompt_tokens(text));
        }
    }
}
