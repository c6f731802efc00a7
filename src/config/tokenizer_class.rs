//! The tokenizer classes of transformers that decide over `tokenizer.json`, as data.

use super::document::Document;
use crate::error::Result;

/// What a class has of its own, whatever `tokenizer.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenizerClass {
    /// Name without `Tokenizer` and `Fast`.
    pub name: &'static str,
    /// Values of `model_type` that it is the class of where none is named.
    model_types: &'static [&'static str],
    /// Its tokens where `tokenizer_config.json` names no others: the padding token, then all special ones.
    pub pad_token: Option<&'static str>,
    /// Its special tokens, the padding token among them.
    pub special_tokens: &'static [&'static str],
    /// What it makes anew from `tokenizer_config.json`.
    pub rebuilds: Rebuilds,
    /// Whether it gives the model token types.
    pub token_types: bool,
}

/// The part of `tokenizer.json` that a class replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilds {
    /// Nothing.
    Nothing,
    /// BERT's normalizer, by `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.
    BertNormalizer,
    /// The byte-level pre-tokenizer's `add_prefix_space`.
    PrefixSpace,
}

const BERT_TOKENS: &[&str] = &["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];
const ROBERTA_TOKENS: &[&str] = &["<s>", "</s>", "<unk>", "<pad>", "<mask>"];

const BERT: TokenizerClass = TokenizerClass {
    name: "Bert",
    model_types: &["bert"],
    pad_token: Some("[PAD]"),
    special_tokens: BERT_TOKENS,
    rebuilds: Rebuilds::BertNormalizer,
    token_types: true,
};

const CLASSES: &[TokenizerClass] = &[
    BERT,
    TokenizerClass { name: "DistilBert", model_types: &["distilbert"], token_types: false, ..BERT },
    TokenizerClass {
        name: "MPNet",
        model_types: &["mpnet"],
        pad_token: Some("<pad>"),
        special_tokens: &["<s>", "</s>", "[UNK]", "<pad>", "<mask>"],
        token_types: false,
        ..BERT
    },
    TokenizerClass { name: "Roberta", model_types: &["roberta"], rebuilds: Rebuilds::PrefixSpace, ..XLM_ROBERTA },
    XLM_ROBERTA,
    TokenizerClass { name: "Camembert", model_types: &["camembert"], ..XLM_ROBERTA },
];

const XLM_ROBERTA: TokenizerClass = TokenizerClass {
    name: "XLMRoberta",
    model_types: &["xlm-roberta"],
    pad_token: Some("<pad>"),
    special_tokens: ROBERTA_TOKENS,
    rebuilds: Rebuilds::Nothing,
    token_types: false,
};

/// `TokenizersBackend`, `PreTrainedTokenizerFast` and classes that leave `tokenizer.json` as it is.
const AS_STORED: TokenizerClass = TokenizerClass {
    name: "",
    model_types: &[],
    pad_token: None,
    special_tokens: &[],
    rebuilds: Rebuilds::Nothing,
    token_types: false,
};

impl TokenizerClass {
    /// The class named in `tokenizer_config.json`, else in `config.json`, else that of the family.
    pub(super) fn read(settings: Option<&Document>, transformer: Option<&Document>) -> Result<Self> {
        for document in [settings, transformer].into_iter().flatten() {
            if let Some(name) = document.optional_str("tokenizer_class")? {
                let stem = name.strip_suffix("Fast").unwrap_or(name).strip_suffix("Tokenizer").unwrap_or_default();
                return Ok(*CLASSES.iter().find(|class| class.name == stem).unwrap_or(&AS_STORED));
            }
        }
        let family = transformer.map(|config| config.optional_str("model_type")).transpose()?.flatten();
        let of_family = |class: &&Self| family.is_some_and(|family| class.model_types.contains(&family));
        Ok(*CLASSES.iter().find(of_family).unwrap_or(&AS_STORED))
    }
}
