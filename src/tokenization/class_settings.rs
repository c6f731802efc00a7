//! Settings that decide over `tokenizer.json`: sentence-transformers' `do_lower_case`, and those of the tokenizer
//! class that transformers would make.
//!
//! transformers (4 and 5) rebuilds parts of some classes' tokenizers from `tokenizer_config.json`, whatever
//! `tokenizer.json` says; a model's vectors depend on it.

use std::path::Path;

use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use crate::config::{Rebuilds, TokenizerConfig};
use crate::error::{EmbeddingError, Result};

/// Applies them to a tokenizer as `tokenizer.json` describes it.
pub fn apply(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> Result<()> {
    match config.class.rebuilds {
        Rebuilds::Nothing => {}
        Rebuilds::BertNormalizer => rebuild_bert_normalizer(tokenizer, config)?,
        Rebuilds::PrefixSpace => {
            let settings = config.document.as_ref();
            let asked = settings.map(|settings| settings.bool_or("add_prefix_space", false)).transpose()?;
            set_prefix_space(tokenizer, asked.unwrap_or(false));
        }
    }
    tokenizer.set_encode_special_tokens(config.split_special_tokens);
    if config.do_lower_case {
        lower_case_first(tokenizer, &config.file)?;
    }
    Ok(())
}

fn rebuild_bert_normalizer(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> Result<()> {
    let is_word_piece = matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_));
    let Some(NormalizerWrapper::BertNormalizer(stored)) = tokenizer.get_normalizer() else { return Ok(()) };
    if !is_word_piece {
        return Ok(());
    }
    let settings = config.document.as_ref();
    let flag = |key: &str| settings.map_or(Ok(true), |settings| settings.bool_or(key, true));
    let strip_accents = settings.map(|settings| settings.optional_bool("strip_accents")).transpose()?.flatten();
    let normalizer =
        BertNormalizer::new(stored.clean_text, flag("tokenize_chinese_chars")?, strip_accents, flag("do_lower_case")?);
    replace_normalizer(tokenizer, normalizer.into(), &config.file)
}

fn set_prefix_space(tokenizer: &mut Tokenizer, add_prefix_space: bool) {
    if let Some(PreTokenizerWrapper::ByteLevel(stored)) = tokenizer.get_pre_tokenizer() {
        let mut byte_level = *stored;
        byte_level.add_prefix_space = add_prefix_space;
        tokenizer.with_pre_tokenizer(Some(byte_level));
    }
}

/// Puts `Lowercase` first, unless it is there already.
fn lower_case_first(tokenizer: &mut Tokenizer, file: &Path) -> Result<()> {
    let stored = tokenizer.get_normalizer().cloned();
    let is_there = match &stored {
        Some(NormalizerWrapper::Lowercase(_)) => true,
        Some(NormalizerWrapper::Sequence(sequence)) => {
            sequence.as_ref().iter().any(|normalizer| matches!(normalizer, NormalizerWrapper::Lowercase(_)))
        }
        _ => false,
    };
    if is_there {
        return Ok(());
    }
    let normalizers = std::iter::once(NormalizerWrapper::Lowercase(Lowercase)).chain(stored).collect();
    replace_normalizer(tokenizer, Sequence::new(normalizers).into(), file)
}

fn replace_normalizer(tokenizer: &mut Tokenizer, normalizer: NormalizerWrapper, file: &Path) -> Result<()> {
    match tokenizer.with_normalizer(Some(normalizer)) {
        Ok(_) => Ok(()),
        Err(error) => Err(EmbeddingError::invalid_model(file, format!("its normalizer cannot be replaced: {error}"))),
    }
}
