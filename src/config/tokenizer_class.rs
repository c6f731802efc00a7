//! The tokenizer classes of transformers 5 that decide over `tokenizer.json`, as data.
//!
//! Such a class takes the vocabulary, the merges and, unless it has its own, the post-processor from the file, and
//! makes all else anew: see [`Rebuilds`]. Every other name leaves the file as it is.

use std::path::Path;

use serde_json::Value;

use super::document::Document;
use super::tokenizer::Side;
use crate::error::Result;

/// What a class has of its own, whatever `tokenizer.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenizerClass {
    /// Its names without `Tokenizer` and `Fast`.
    pub names: &'static [&'static str],
    /// Its tokens by role, where no file names others.
    tokens: &'static [(&'static str, &'static str)],
    /// Special tokens without a role, where no file names others.
    pub(super) extra_tokens: &'static [&'static str],
    /// Whether its mask token takes the spaces before it.
    pub(super) mask_takes_spaces: bool,
    /// What it makes anew.
    pub rebuilds: Rebuilds,
    /// The roles of the tokens around a text; without, the post-processor of `tokenizer.json` decides.
    pub around: Option<(&'static str, &'static str)>,
    /// Whether it gives the model token types.
    pub token_types: bool,
    /// Where it puts padding.
    pub padding_side: Side,
}

/// The model, the normalizer and the pre-tokenizer that a class makes. The settings are `tokenizer_config.json`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuilds {
    /// Nothing.
    Nothing,
    /// BERT's, by `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.
    WordPiece,
    /// RoBERTa's byte-level BPE, by `add_prefix_space`.
    ByteLevel,
    /// Qwen2's: NFC, another expression to split by, and `add_prefix_space`.
    SplitByteLevel,
    /// The charsmap of `tokenizer.json`, words, and `add_prefix_space`.
    Unigram {
        /// The id of the unknown token; without, it is that of the unknown token's role.
        unknown: Option<usize>,
    },
    /// Gemma's BPE with byte fallback.
    SpacesReplaced,
    /// Llama's BPE with byte fallback, by `add_prefix_space` and `legacy`.
    SpacesPrepended,
}

const BERT: TokenizerClass = TokenizerClass {
    names: &["Bert", "Electra", "LayoutLM", "Lxmert", "MobileBert", "SqueezeBert"],
    tokens: &[
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ],
    rebuilds: Rebuilds::WordPiece,
    around: Some(("cls_token", "sep_token")),
    token_types: true,
    ..AS_STORED
};

const MPNET: TokenizerClass = TokenizerClass {
    names: &["MPNet"],
    tokens: &[
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "[UNK]"),
        ("sep_token", "</s>"),
        ("pad_token", "<pad>"),
        ("cls_token", "<s>"),
        ("mask_token", "<mask>"),
    ],
    mask_takes_spaces: true,
    token_types: false,
    ..BERT
};

const ROBERTA: TokenizerClass = TokenizerClass {
    names: &["Roberta", "Bart", "LED", "Longformer", "Mvp"],
    tokens: &[
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
        ("sep_token", "</s>"),
        ("pad_token", "<pad>"),
        ("cls_token", "<s>"),
        ("mask_token", "<mask>"),
    ],
    rebuilds: Rebuilds::ByteLevel,
    around: Some(("cls_token", "sep_token")),
    ..AS_STORED
};

const XLM_ROBERTA: TokenizerClass = TokenizerClass {
    names: &["XLMRoberta"],
    rebuilds: Rebuilds::Unigram { unknown: Some(3) },
    around: Some(("bos_token", "eos_token")),
    ..ROBERTA
};

const CAMEMBERT: TokenizerClass = TokenizerClass {
    names: &["Camembert"],
    extra_tokens: &["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
    mask_takes_spaces: true,
    rebuilds: Rebuilds::Unigram { unknown: None },
    ..XLM_ROBERTA
};

const QWEN2: TokenizerClass = TokenizerClass {
    names: &["Qwen2"],
    tokens: &[("unk_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"), ("pad_token", "<|endoftext|>")],
    rebuilds: Rebuilds::SplitByteLevel,
    ..AS_STORED
};

const GEMMA: TokenizerClass = TokenizerClass {
    names: &["Gemma"],
    tokens: &[
        ("unk_token", "<unk>"),
        ("bos_token", "<bos>"),
        ("eos_token", "<eos>"),
        ("pad_token", "<pad>"),
        ("mask_token", "<mask>"),
    ],
    rebuilds: Rebuilds::SpacesReplaced,
    padding_side: Side::Left,
    ..AS_STORED
};

const LLAMA: TokenizerClass = TokenizerClass {
    names: &["Llama"],
    tokens: &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
    rebuilds: Rebuilds::SpacesPrepended,
    padding_side: Side::Left,
    ..AS_STORED
};

const CLASSES: &[TokenizerClass] = &[
    BERT,
    TokenizerClass { names: &["DistilBert"], token_types: false, ..BERT },
    MPNET,
    ROBERTA,
    XLM_ROBERTA,
    CAMEMBERT,
    QWEN2,
    GEMMA,
    LLAMA,
];

/// `TokenizersBackend`, `PreTrainedTokenizerFast` and names that transformers does not know.
const AS_STORED: TokenizerClass = TokenizerClass {
    names: &[],
    tokens: &[],
    extra_tokens: &[],
    mask_takes_spaces: false,
    rebuilds: Rebuilds::Nothing,
    around: None,
    token_types: false,
    padding_side: Side::Right,
};

/// Names of classes in transformers 5 that make a tokenizer in some further way.
#[rustfmt::skip]
const OTHER_NAMES: &[&str] = &[
    "Albert", "Barthez", "Bartpho", "BertGeneration", "BertJapanese", "Bertweet", "BigBird", "BioGpt", "Blenderbot",
    "BlenderbotSmall", "ByT5", "CLIP", "CTRL", "Canine", "Clvp", "CodeGen", "CodeLlama", "Cohere", "ConvBert", "Cpm",
    "CpmAnt", "DPRContextEncoder", "DPRQuestionEncoder", "DPRReader", "Deberta", "DebertaV2", "Dia", "Esm", "Esmc",
    "FNet", "FSMT", "FastSpeech2Conformer", "Flaubert", "Funnel", "GPT2", "GPTNeoX", "GPTNeoXJapanese", "GPTSw3",
    "Herbert", "Lasr", "LayoutLMv2", "LayoutLMv3", "LayoutXLM", "Luke", "M2M100", "MBart", "MBart50", "MLuke",
    "Marian", "MarkupLM", "Mgpstr", "MyT5", "Nllb", "Nougat", "OpenAIGPT", "PLBart", "Parakeet", "Pegasus",
    "Perceiver", "Phobert", "ProphetNet", "Qwen3_5", "Rag", "Reformer", "RemBert", "RoCBert", "RoFormer",
    "SeamlessM4T", "Siglip", "Siglip2", "Speech2Text", "SpeechT5", "Splinter", "T5", "Tapas", "Tipsv2", "Udop",
    "VideoPrism", "Vits", "Wav2Vec2CTC", "Wav2Vec2PhonemeCTC", "Whisper", "XGLM", "XLM", "XLNet",
];

/// A family, its class, and whether a class that the folder names goes before it.
const FAMILIES: &[(&str, TokenizerClass, bool)] = &[
    ("bert", BERT, true),
    ("camembert", CAMEMBERT, true),
    ("distilbert", BERT, true),
    ("gemma3_text", GEMMA, true),
    ("gte", XLM_ROBERTA, true),
    ("mistral", AS_STORED, false),
    ("modernbert", AS_STORED, false),
    ("mpnet", MPNET, true),
    ("nomic_bert", BERT, true),
    ("qwen2", QWEN2, false),
    ("qwen3", QWEN2, true),
    ("roberta", ROBERTA, true),
    ("xlm-roberta", XLM_ROBERTA, true),
];

impl TokenizerClass {
    /// The class that transformers 5 makes: that named in `tokenizer_config.json`, else in `config.json`, else that of
    /// the family, which in some families goes before every name.
    pub(super) fn read(settings: Option<&Document>, transformer: Option<&Document>, tokenizer: &Path) -> Result<Self> {
        let mut named = None;
        for document in [settings, transformer].into_iter().flatten() {
            if named.is_none() {
                named = document.optional_str("tokenizer_class")?.map(|name| (document, name));
            }
        }
        let family = transformer.map(|config| config.optional_str("model_type")).transpose()?.flatten();
        let of_family = family.and_then(|family| FAMILIES.iter().find(|(name, ..)| *name == family));
        let own_code = settings.filter(|settings| names_own_code(settings));
        let Some((document, name)) = named else { return Ok(of_family.map_or(AS_STORED, |(_, class, _)| *class)) };
        if let Some((_, class, false)) = of_family
            && own_code.is_none()
        {
            return Ok(*class);
        }
        let stem = name.strip_suffix("Fast").unwrap_or(name).strip_suffix("Tokenizer").unwrap_or_default();
        if OTHER_NAMES.contains(&stem) {
            return Err(document.invalid("tokenizer_class", other_class()));
        }
        let class = CLASSES.iter().find(|class| class.names.contains(&stem));
        if let (Some(settings), None, None) = (own_code, class, of_family) {
            let problem = "the tokenizer is made by code that comes with the model, which is not run";
            return Err(settings.invalid("auto_map", problem));
        }
        match class {
            Some(class) if *class == LLAMA && own_code.is_none() && is_byte_level(tokenizer)? => Ok(AS_STORED),
            class => Ok(class.copied().unwrap_or(AS_STORED)),
        }
    }

    /// Its token of a role.
    pub(super) fn token_of(&self, role: &str) -> Option<&'static str> {
        self.tokens.iter().find(|(name, _)| *name == role).map(|(_, token)| *token)
    }
}

fn other_class() -> String {
    let known: Vec<&str> = CLASSES.iter().filter_map(|class| class.names.first().copied()).collect();
    format!(
        "transformers makes this class's tokenizer in a way of its own, which is not known here; known are {} \
         (each with Tokenizer behind), and PreTrainedTokenizerFast for tokenizer.json as it stands",
        known.join(", ")
    )
}

/// Such code is not run: where transformers knows the class's name, that class is the tokenizer.
fn names_own_code(settings: &Document) -> bool {
    match settings.get("auto_map") {
        Some(Value::Object(map)) => map.get("AutoTokenizer").is_some_and(|code| !code.is_null()),
        Some(Value::Array(_)) => true,
        _ => false,
    }
}

/// transformers looks for this very text.
fn is_byte_level(tokenizer: &Path) -> Result<bool> {
    const TEXT: &[u8] = b"\"ByteLevel\"";
    let unreadable =
        |error| crate::error::EmbeddingError::invalid_model(tokenizer, "the file cannot be read").caused_by(error);
    let bytes = std::fs::read(tokenizer).map_err(unreadable)?;
    Ok(bytes.windows(TEXT.len()).any(|window| window == TEXT))
}
