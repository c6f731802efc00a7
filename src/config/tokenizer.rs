//! What the folder says about tokenization, beside `tokenizer.json` itself.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::{Document, is_absent, refuse_large_file};
use super::special_tokens::SpecialTokens;
use super::tokenizer_class::TokenizerClass;
use super::transformer::TransformerSettings;
use crate::error::{EmbeddingError, Result};

/// Largest `tokenizer.json` that is read. The largest known one (Gemma 3) has 33 megabytes.
pub const MAX_TOKENIZER_BYTES: u64 = 256 * 1024 * 1024;

/// Longest text that is believed; transformers writes 10^30 for "no limit".
pub(super) const MAX_LENGTH: usize = 1 << 30;

const CONFIG: &str = "tokenizer_config.json";

/// A side of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// The end.
    #[default]
    Right,
    /// The beginning.
    Left,
}

const SIDES: [(&str, Side); 2] = [("right", Side::Right), ("left", Side::Left)];

/// The most tokens a text may have, special tokens included, and where that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LengthLimit {
    /// The limit.
    pub tokens: usize,
    /// The file that says so.
    pub file: PathBuf,
    /// The key in it.
    pub key: String,
}

impl LengthLimit {
    pub(super) fn new(tokens: usize, document: &Document, key: &str) -> Self {
        Self { tokens, file: document.path().to_owned(), key: key.to_owned() }
    }
}

/// The settings of the tokenizer.
///
/// transformers lets `tokenizer.json` decide about everything that is not here. Truncation and padding stored in that
/// file are ignored, but for the direction of its truncation: see [`truncation_side`](Self::truncation_side).
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerConfig {
    /// `tokenizer.json`: a regular file of at most [`MAX_TOKENIZER_BYTES`] when the folder was read.
    pub file: PathBuf,
    /// The limit of `sentence_bert_config.json`, if there is one: it wins.
    pub max_seq_length: Option<LengthLimit>,
    /// The limit of `tokenizer_config.json`, if there is one.
    pub model_max_length: Option<LengthLimit>,
    /// Where padding goes. Only a graph that looks at positions or the padding itself can tell the difference.
    pub padding_side: Side,
    /// Which end of a long text is cut off, where `tokenizer_config.json` says it. Else the `direction` of the
    /// truncation stored in `tokenizer.json` counts, else the end is cut off.
    pub truncation_side: Option<Side>,
    /// sentence-transformers' own `do_lower_case`: a `Lowercase` normalizer goes before those of `tokenizer.json`,
    /// unless `Lowercase` is already among them.
    pub do_lower_case: bool,
    /// The tokens that have a role, and those that are added to the vocabulary.
    ///
    /// sentence-transformers counts a prompt's tokens with them: one special token at their end is not the prompt's.
    pub special_tokens: SpecialTokens,
    /// The class that transformers would make, with what it decides.
    pub class: TokenizerClass,
    /// Whether the model is given token types: the class decides, unless `model_input_names` does.
    pub token_types: bool,
    /// Special tokens spelled out in a text are text.
    pub split_special_tokens: bool,
    /// `tokenizer_config.json` as it stands.
    pub document: Option<Document>,
}

impl TokenizerConfig {
    /// The limit in force: that of sentence-transformers, else that of the tokenizer.
    ///
    /// The transformer's position table may bound it further; only the graph's author knows that.
    pub fn limit(&self) -> Option<&LengthLimit> {
        self.max_seq_length.as_ref().or(self.model_max_length.as_ref())
    }

    /// Reads the settings in the transformer's folder.
    pub(super) fn read(folder: &Path, settings: TransformerSettings, transformer: Option<&Document>) -> Result<Self> {
        let file = folder.join("tokenizer.json");
        require_tokenizer(folder, &file)?;
        let document = Document::read_optional(&folder.join(CONFIG))?;
        if let Some(document) = &document {
            refuse_another_split(document, transformer)?;
        }
        let class = TokenizerClass::read(document.as_ref(), transformer, &file)?;
        let special_tokens = SpecialTokens::read(folder, document.as_ref(), &class)?;
        let (mut token_types, mut split_special_tokens) = (class.token_types, false);
        let (mut model_max_length, mut padding_side, mut truncation_side) = (None, None, None);
        if let Some(document) = &document {
            model_max_length = model_max_length_of(document)?;
            if let Some(names) = document.optional_strings("model_input_names")? {
                token_types = names.contains(&"token_type_ids");
            }
            split_special_tokens = document.bool_or("split_special_tokens", false)?;
            padding_side = document.optional_choice("padding_side", &SIDES)?;
            truncation_side = document.optional_choice("truncation_side", &SIDES)?;
        }
        Ok(Self {
            file,
            max_seq_length: settings.max_seq_length,
            model_max_length,
            padding_side: padding_side.unwrap_or(class.padding_side),
            truncation_side,
            do_lower_case: settings.do_lower_case,
            special_tokens,
            class,
            token_types,
            split_special_tokens,
            document,
        })
    }
}

/// With this key, transformers splits the texts of some Mistral models by an expression of its own.
fn refuse_another_split(document: &Document, transformer: Option<&Document>) -> Result<()> {
    let family = transformer.map(|config| config.optional_str("model_type")).transpose()?.flatten();
    if family == Some("mistral") && document.optional_bool("fix_mistral_regex")? == Some(true) {
        let problem = "tokenizer.json is understood as it stands; save the tokenizer with the right expression, and \
                       leave this key out";
        return Err(document.invalid("fix_mistral_regex", problem));
    }
    Ok(())
}

fn require_tokenizer(folder: &Path, file: &Path) -> Result<()> {
    if is_absent(file) {
        let others = ["vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];
        let found = others.iter().find(|name| folder.join(name).exists());
        let problem = match found {
            Some(found) => format!(
                "the file is missing; {found} alone is not enough. Make it once in Python: \
                 AutoTokenizer.from_pretrained(\"<folder>\").save_pretrained(\"<folder>\")"
            ),
            None => "the file is missing; a model folder needs it".to_owned(),
        };
        return Err(EmbeddingError::invalid_model(file, problem));
    }
    refuse_large_file(file, MAX_TOKENIZER_BYTES)
}

/// A number beyond anything real means "no limit": transformers writes 10^30, which JSON readers take for a float.
fn model_max_length_of(document: &Document) -> Result<Option<LengthLimit>> {
    let key = if document.get("model_max_length").is_some() { "model_max_length" } else { "max_len" };
    let is_unlimited = document
        .get(key)
        .and_then(Value::as_f64)
        .is_some_and(|number| number > (MAX_LENGTH as f64) && number.is_finite());
    if is_unlimited {
        return Ok(None);
    }
    let tokens = document.optional_usize_in(key, 1..=MAX_LENGTH)?;
    Ok(tokens.map(|tokens| LengthLimit::new(tokens, document, key)))
}
