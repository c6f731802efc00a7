//! What decides over `tokenizer.json`: the tokenizer class that transformers 5 would make, the tokens that other files
//! add, and sentence-transformers' `do_lower_case`.
//!
//! A class takes the vocabulary and the merges of the file, and makes the other parts anew whatever the file says; a
//! model's vectors depend on it. Decoders are left alone: nothing is decoded here.

use std::path::Path;

use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{BertNormalizer, Lowercase, NFC, NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence as Steps;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, AddedVocabulary, Model, SplitDelimiterBehavior, Tokenizer};

use crate::config::{Document, Rebuilds, TokenizerConfig};
use crate::error::{EmbeddingError, Result};

/// How Qwen2's class splits a text.
const WORDS_AND_DIGITS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What stands for a space in a vocabulary of sentencepiece.
const SPACE: char = '▁';
/// A character that no vocabulary has: it is not assigned.
const UNKNOWN: &str = "\u{10fffd}";

/// Applies them to a tokenizer as `tokenizer.json` describes it.
pub fn apply(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> Result<()> {
    let class = &config.class;
    let broken = |error: tokenizers::Error| {
        let problem = format!("the parts that the tokenizer's class makes cannot be made: {error}");
        EmbeddingError::invalid_model(&config.file, problem)
    };
    match class.rebuilds {
        Rebuilds::Nothing => {}
        Rebuilds::WordPiece => rebuild_word_piece(tokenizer, config)?,
        Rebuilds::Unigram { unknown } => rebuild_unigram(tokenizer, config, unknown)?,
        Rebuilds::ByteLevel | Rebuilds::SplitByteLevel | Rebuilds::SpacesReplaced | Rebuilds::SpacesPrepended => {
            rebuild_byte_pairs(tokenizer, config)?;
        }
    }
    if let Some((normalizer, steps)) = text_parts(tokenizer, config)? {
        tokenizer.with_normalizer(normalizer).map_err(broken)?;
        tokenizer.with_pre_tokenizer(Some(steps));
    }
    add_tokens(tokenizer, config).map_err(broken)?;
    if let Some((first, last)) = class.around {
        let (first, last) = (token_of(tokenizer, config, first)?, token_of(tokenizer, config, last)?);
        tokenizer.with_post_processor(Some(BertProcessing::new(last, first)));
    }
    tokenizer.set_encode_special_tokens(config.split_special_tokens);
    if config.do_lower_case {
        lower_case_first(tokenizer, &config.file)?;
    }
    Ok(())
}

/// The normalizer and the pre-tokenizer of a class.
fn text_parts(
    tokenizer: &Tokenizer,
    config: &TokenizerConfig,
) -> Result<Option<(Option<NormalizerWrapper>, PreTokenizerWrapper)>> {
    let settings = config.document.as_ref();
    let invalid = |error: tokenizers::Error| EmbeddingError::internal(format!("a class's own pattern: {error}"));
    let flag = |key: &str, default: bool| settings.map_or(Ok(default), |settings| settings.bool_or(key, default));
    let choice = |key: &str| settings.map_or(Ok(None), |settings| settings.optional_bool(key));
    Ok(Some(match config.class.rebuilds {
        Rebuilds::Nothing => return Ok(None),
        Rebuilds::WordPiece => {
            let (chinese, lower) = (flag("tokenize_chinese_chars", true)?, flag("do_lower_case", true)?);
            let normalizer = BertNormalizer::new(true, chinese, choice("strip_accents")?, lower);
            (Some(normalizer.into()), BertPreTokenizer.into())
        }
        Rebuilds::ByteLevel => (None, ByteLevel::new(flag("add_prefix_space", false)?, true, true).into()),
        Rebuilds::SplitByteLevel => {
            let pattern = SplitPattern::Regex(WORDS_AND_DIGITS.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(invalid)?;
            let bytes = ByteLevel::new(choice("add_prefix_space")?.unwrap_or(false), true, false);
            (Some(NFC.into()), Steps::new(vec![split.into(), bytes.into()]).into())
        }
        Rebuilds::Unigram { .. } => {
            let prepend = if flag("add_prefix_space", true)? { PrependScheme::Always } else { PrependScheme::Never };
            let steps = vec![WhitespaceSplit.into(), Metaspace::new(SPACE, prepend, true).into()];
            (stored_charsmap(tokenizer), Steps::new(steps).into())
        }
        Rebuilds::SpacesReplaced => {
            let normalizer = Replace::new(" ", SPACE).map_err(invalid)?;
            let split = Split::new(" ", SplitDelimiterBehavior::MergedWithPrevious, false).map_err(invalid)?;
            (Some(normalizer.into()), split.into())
        }
        Rebuilds::SpacesPrepended => {
            let prepend = match (choice("add_prefix_space")?.unwrap_or(true), choice("legacy")?.unwrap_or(false)) {
                (false, _) => PrependScheme::Never,
                (true, true) => PrependScheme::Always,
                (true, false) => PrependScheme::First,
            };
            (None, Metaspace::new(SPACE, prepend, false).into())
        }
    }))
}

/// The first one that stands alone or in a sequence, not deeper.
fn stored_charsmap(tokenizer: &Tokenizer) -> Option<NormalizerWrapper> {
    let is_charsmap = |normalizer: &&NormalizerWrapper| matches!(normalizer, NormalizerWrapper::Precompiled(_));
    match tokenizer.get_normalizer()? {
        NormalizerWrapper::Sequence(sequence) => sequence.as_ref().iter().find(is_charsmap).cloned(),
        normalizer => Some(normalizer).filter(is_charsmap).cloned(),
    }
}

fn rebuild_word_piece(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> Result<()> {
    let ModelWrapper::WordPiece(stored) = tokenizer.get_model() else { return Err(other_model(config, "WordPiece")) };
    let unknown = role(config, "unk_token")?;
    let is_same = stored.unk_token == unknown
        && stored.continuing_subword_prefix == "##"
        && stored.max_input_chars_per_word == 100;
    if !is_same {
        let mut model = stored.clone();
        unknown.clone_into(&mut model.unk_token);
        "##".clone_into(&mut model.continuing_subword_prefix);
        model.max_input_chars_per_word = 100;
        tokenizer.with_model(model);
    }
    Ok(())
}

fn rebuild_unigram(tokenizer: &mut Tokenizer, config: &TokenizerConfig, unknown: Option<usize>) -> Result<()> {
    let ModelWrapper::Unigram(stored) = tokenizer.get_model() else { return Err(other_model(config, "Unigram")) };
    let unknown = if let Some(id) = unknown {
        id
    } else {
        let token = role(config, "unk_token")?;
        stored.iter().position(|(content, _)| content == token).unwrap_or(0)
    };
    // The model does not say which id that is, so it is asked for one; making a large one anew takes long.
    let tokens = stored.tokenize(UNKNOWN).unwrap_or_default();
    let is_same = !stored.byte_fallback() && tokens.iter().map(|token| token.id as usize).eq(std::iter::once(unknown));
    if !is_same {
        let model = Unigram::from(stored.iter().cloned().collect(), Some(unknown), false);
        tokenizer.with_model(model.map_err(|error| {
            EmbeddingError::invalid_model(&config.file, format!("the vocabulary does not suit its class: {error}"))
        })?);
    }
    Ok(())
}

fn rebuild_byte_pairs(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> Result<()> {
    let ModelWrapper::BPE(stored) = tokenizer.get_model() else { return Err(other_model(config, "BPE")) };
    if stored.continuing_subword_prefix.as_deref().is_some_and(|prefix| !prefix.is_empty()) {
        let problem = "model.continuing_subword_prefix has to be empty with this tokenizer class";
        return Err(EmbeddingError::invalid_model(&config.file, problem));
    }
    let is_sentence_piece = matches!(config.class.rebuilds, Rebuilds::SpacesReplaced | Rebuilds::SpacesPrepended);
    let unk_token = match config.class.rebuilds {
        Rebuilds::SpacesReplaced => Some(role(config, "unk_token")?.to_owned()),
        _ => None,
    };
    let is_same = stored.unk_token == unk_token
        && (stored.fuse_unk, stored.byte_fallback, stored.ignore_merges)
            == (is_sentence_piece, is_sentence_piece, false)
        && stored.dropout.is_none()
        && stored.end_of_word_suffix.as_deref().is_none_or(str::is_empty);
    if !is_same {
        let mut model: BPE = stored.clone();
        (model.fuse_unk, model.byte_fallback, model.ignore_merges) = (is_sentence_piece, is_sentence_piece, false);
        (model.unk_token, model.dropout, model.end_of_word_suffix) = (unk_token, None, None);
        tokenizer.with_model(model);
    }
    Ok(())
}

/// The tokens of `tokenizer_config.json` and its companions. Ids go by the vocabulary; those of new tokens follow it.
fn add_tokens(tokenizer: &mut Tokenizer, config: &TokenizerConfig) -> tokenizers::Result<()> {
    let special = &config.special_tokens;
    let stored = tokenizer.get_added_tokens_decoder();
    let mut tokens: Vec<AddedToken> = if let Some(declared) = &special.declared {
        declared.clone()
    } else {
        let mut by_id: Vec<(u32, AddedToken)> = stored.iter().map(|(id, token)| (*id, token.clone())).collect();
        by_id.extend(special.beside.iter().filter(|(id, _)| !stored.contains_key(id)).cloned());
        by_id.sort_by_key(|(id, _)| *id);
        by_id.into_iter().map(|(_, token)| token).collect()
    };
    let is_new = config.class.rebuilds != Rebuilds::Nothing;
    if is_new {
        tokenizer.with_added_vocabulary(AddedVocabulary::new());
    }
    let is_stored = |token: &AddedToken| !is_new && stored.values().any(|known| known.content == token.content);
    for token in special.all() {
        if !is_stored(token) && !tokens.iter().any(|known| known.content == token.content) {
            tokens.push(token.clone());
        }
    }
    tokenizer.add_tokens(tokens)?;
    if config.class.rebuilds == Rebuilds::SplitByteLevel {
        tokenizer.add_tokens(special.all().map(|token| AddedToken::from(&token.content, true)))?;
    }
    Ok(())
}

fn role<'c>(config: &'c TokenizerConfig, role: &str) -> Result<&'c str> {
    config.special_tokens.of(role).ok_or_else(|| {
        let file = config.document.as_ref().map_or(config.file.as_path(), Document::path);
        EmbeddingError::invalid_key(file, role, None, "this tokenizer class needs the token")
    })
}

fn token_of(tokenizer: &Tokenizer, config: &TokenizerConfig, name: &str) -> Result<(String, u32)> {
    let content = role(config, name)?;
    let problem = || EmbeddingError::invalid_model(&config.file, format!("{content:?} cannot be a token"));
    Ok((content.to_owned(), tokenizer.token_to_id(content).ok_or_else(problem)?))
}

fn other_model(config: &TokenizerConfig, kind: &str) -> EmbeddingError {
    let names = config.class.names.first().copied().unwrap_or_default();
    let problem = format!(
        "{names}Tokenizer is made from a model of type {kind}, and model.type is another; with tokenizer_class \
         PreTrainedTokenizerFast in tokenizer_config.json, the file would count as it stands"
    );
    EmbeddingError::invalid_model(&config.file, problem)
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
    match tokenizer.with_normalizer(Some(Sequence::new(normalizers))) {
        Ok(_) => Ok(()),
        Err(error) => Err(EmbeddingError::invalid_model(file, format!("its normalizer cannot be replaced: {error}"))),
    }
}
