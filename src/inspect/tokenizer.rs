//! A folder's tokenizer: what its files say, and where they disagree with the model.

use tokenizers::{ModelWrapper, PaddingStrategy, Tokenizer};

use super::findings::{Code, Finding, listed};
use super::report::TokenizerFacts;
use crate::config::{LengthLimit, TokenizerConfig};
use crate::model::side_name;

/// What the tokenizer of `config` is.
pub fn facts(config: &TokenizerConfig, tokenizer: &Tokenizer) -> TokenizerFacts {
    let vocabulary = tokenizer.get_vocab(true);
    let special =
        config.special_tokens.all().map(|token| (token.content.clone(), tokenizer.token_to_id(&token.content)));
    let stored_padding = tokenizer.get_padding().map(|padding| match padding.strategy {
        PaddingStrategy::Fixed(tokens) => format!("to {tokens}"),
        PaddingStrategy::BatchLongest => "to the longest".to_owned(),
    });
    TokenizerFacts {
        algorithm: match tokenizer.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::Unigram(_) => "Unigram",
        },
        vocabulary_size: vocabulary.len(),
        largest_id: vocabulary.values().max().copied(),
        special_tokens: special.collect(),
        pad_token: config
            .special_tokens
            .of("pad_token")
            .map(str::to_owned)
            .or_else(|| tokenizer.get_padding().map(|padding| padding.pad_token.clone())),
        padding_side: side_name(config.padding_side),
        model_max_length: config.model_max_length.as_ref().map(|limit| limit.tokens),
        stored_truncation: tokenizer.get_truncation().map(|truncation| truncation.max_length),
        stored_padding,
    }
}

/// What the tokenizer's own file would do and is not asked to.
pub fn stored(config: &TokenizerConfig, facts: &TokenizerFacts) -> Vec<Finding> {
    const REMEDY: &str = "nothing: the model's own limit counts, and batches are padded to their longest text";
    let mut findings = Vec::new();
    if let Some(tokens) = facts.stored_truncation {
        let message = format!("tokenizer.json would cut every text to {tokens} tokens; that is ignored");
        findings.push(Finding::new(Code::StoredTruncation, message, REMEDY).in_file(&config.file));
    }
    if let Some(padding) = &facts.stored_padding {
        let message = format!("tokenizer.json would pad every text {padding}; that is ignored");
        findings.push(Finding::new(Code::StoredPadding, message, REMEDY).in_file(&config.file));
    }
    findings
}

/// Tokens whose ids have no row in the embedding table of `rows` rows.
pub fn beyond_vocabulary(config: &TokenizerConfig, tokenizer: &Tokenizer, rows: usize) -> Option<Finding> {
    let mut beyond: Vec<(u32, String)> = tokenizer
        .get_vocab(true)
        .into_iter()
        .filter(|(_, id)| *id as usize >= rows)
        .map(|(token, id)| (id, token))
        .collect();
    if beyond.is_empty() {
        return None;
    }
    beyond.sort_unstable();
    let named: Vec<String> = beyond.iter().map(|(id, token)| format!("{token:?} ({id})")).collect();
    let message = format!(
        "{} tokens have ids beyond the {rows} rows of the embedding table: {}; a text with one of them is an error",
        beyond.len(),
        listed(&named)
    );
    let remedy = "take the tokenizer that belongs to the weights, or resize the model's embedding table";
    Some(Finding::new(Code::TokensBeyondVocabulary, message, remedy).in_file(&config.file))
}

/// Limits that do not fit each other or the `positions` that the model has.
pub fn limits(config: &TokenizerConfig, positions: Option<usize>) -> Vec<Finding> {
    let said = |limit: &LengthLimit| format!("{} = {}", limit.key, limit.tokens);
    let mut findings = Vec::new();
    if let (Some(limit), Some(positions)) = (config.limit(), positions)
        && limit.tokens > positions
    {
        let message = format!("{} is more than the {positions} positions of the model, which count", said(limit));
        let remedy = format!("set {} to {positions} or less", limit.key);
        findings.push(Finding::new(Code::LimitAbovePositions, message, remedy).in_file(&limit.file));
    } else if let (Some(own), Some(positions)) = (&config.model_max_length, positions)
        && own.tokens > positions
    {
        let message = format!("{} is more than the {positions} positions of the model", said(own));
        let remedy = "nothing, as another limit counts; set it to the model's for those who read it alone";
        findings.push(Finding::new(Code::TokenizerAbovePositions, message, remedy).in_file(&own.file));
    }
    if let (Some(limit), Some(own)) = (&config.max_seq_length, &config.model_max_length)
        && limit.tokens > own.tokens
    {
        let message = format!("{} is more than the tokenizer's own {}", said(limit), said(own));
        let remedy = "compare long texts with the model's author: it may not be trained beyond the smaller limit";
        findings.push(Finding::new(Code::LimitAboveTokenizer, message, remedy).in_file(&limit.file));
    }
    findings
}
