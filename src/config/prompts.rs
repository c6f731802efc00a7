//! `config_sentence_transformers.json`: prompts, similarity, truncation.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use super::document::Document;
use super::layers::MAX_DIMENSION;
use crate::error::{EmbeddingError, Result};

const QUERY: &str = "query";
const DOCUMENT: &str = "document";

/// What goes before a text, by name.
///
/// ```
/// use oxembed::config::Prompts;
///
/// let prompts = Prompts::default();
/// assert_eq!(prompts.resolve(None, None)?, None);
/// assert_eq!(prompts.resolve(Some("query: "), None)?, Some("query: "));
/// assert_eq!(prompts.query_prompt(), Some(""));
/// assert!(prompts.resolve(None, Some("poem")).unwrap_err().to_string().contains("query, document"));
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// Prompts by name. As in sentence-transformers, `query` and `document` are always there, empty unless the model
    /// says otherwise.
    pub prompts: IndexMap<String, String>,
    /// The prompt for calls that name none.
    pub default_prompt_name: Option<String>,
}

impl Default for Prompts {
    fn default() -> Self {
        let prompts = [QUERY, DOCUMENT].map(|name| (name.to_owned(), String::new()));
        Self { prompts: IndexMap::from(prompts), default_prompt_name: None }
    }
}

impl Prompts {
    /// What `encode` puts before a text: `prompt`, else the prompt named `prompt_name`, else the default one.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidInput`], listing the known names, for a name that is not known.
    pub fn resolve<'a>(&'a self, prompt: Option<&'a str>, prompt_name: Option<&str>) -> Result<Option<&'a str>> {
        if prompt.is_some() {
            return Ok(prompt);
        }
        let Some(name) = prompt_name.or(self.default_prompt_name.as_deref()) else { return Ok(None) };
        if let Some(prompt) = self.prompts.get(name) {
            return Ok(Some(prompt));
        }
        let known: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
        let message = format!("prompt name {name:?} is not known; this model has: {}", known.join(", "));
        Err(EmbeddingError::invalid_input(message))
    }

    /// What `encode_query` puts before a text when neither a prompt nor a name is given.
    ///
    /// The default prompt is not used: in sentence-transformers, the prompt `query` is always there.
    pub fn query_prompt(&self) -> Option<&str> {
        self.prompts.get(QUERY).map(String::as_str)
    }

    /// What `encode_document` puts before a text when neither a prompt nor a name is given.
    ///
    /// sentence-transformers' documentation lets `passage` and `corpus` follow; in its code (5.0 to 6.2) the prompt
    /// `document` is always there, empty unless the model says otherwise, so they are never reached. This is the same.
    pub fn document_prompt(&self) -> Option<&str> {
        self.prompts.get(DOCUMENT).map(String::as_str)
    }
}

/// How two vectors of a model are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Similarity {
    /// The cosine of the angle.
    #[default]
    Cosine,
    /// The inner product.
    Dot,
    /// The negative Euclidean distance.
    Euclidean,
    /// The negative Manhattan distance.
    Manhattan,
}

const SIMILARITIES: [(&str, Similarity); 5] = [
    ("cosine", Similarity::Cosine),
    ("dot", Similarity::Dot),
    ("dot_product", Similarity::Dot),
    ("euclidean", Similarity::Euclidean),
    ("manhattan", Similarity::Manhattan),
];

impl Similarity {
    /// The name that sentence-transformers writes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        }
    }
}

/// What `config_sentence_transformers.json` says. Its other keys are versions and notes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelSettings {
    pub(crate) prompts: Prompts,
    pub(crate) similarity: Similarity,
    pub(crate) truncate_dim: Option<usize>,
}

impl ModelSettings {
    pub(super) fn read(root: &Path, assumptions: &mut Vec<String>) -> Result<Self> {
        let path = root.join("config_sentence_transformers.json");
        let Some(document) = Document::read_optional(&path)? else { return Ok(Self::default()) };
        // A SparseEncoder or CrossEncoder has other vectors, or none.
        document.optional_choice("model_type", &[("SentenceTransformer", ())])?;
        Ok(Self {
            prompts: prompts(&document, assumptions)?,
            similarity: document.optional_choice("similarity_fn_name", &SIMILARITIES)?.unwrap_or_default(),
            truncate_dim: document.optional_usize_in("truncate_dim", 1..=MAX_DIMENSION)?,
        })
    }
}

fn prompts(document: &Document, assumptions: &mut Vec<String>) -> Result<Prompts> {
    const DEFAULT: &str = "default_prompt_name";
    let mut prompts = Prompts::default();
    let section = document.section("prompts")?;
    for name in section.iter().flat_map(Document::keys) {
        let prompt = section.as_ref().and_then(|section| section.get(name));
        let prompt = match prompt {
            Some(Value::String(prompt)) => prompt.clone(),
            None | Some(Value::Null) => String::new(),
            Some(_) => return Err(document.invalid("prompts", "an object with names and prompts is understood")),
        };
        prompts.prompts.insert(name.to_owned(), prompt);
    }
    prompts.default_prompt_name = document.optional_str(DEFAULT)?.map(str::to_owned);
    if let Some(name) = prompts.default_prompt_name.as_deref().filter(|name| !prompts.prompts.contains_key(*name)) {
        let known: Vec<&str> = prompts.prompts.keys().map(String::as_str).collect();
        return Err(document.invalid(DEFAULT, format!("there is no prompt {name:?}; there are: {}", known.join(", "))));
    }
    let has_document = section.as_ref().is_some_and(|section| section.has(DOCUMENT));
    let other = section.and_then(|section| section.first_of(&["passage", "corpus"]).map(str::to_owned));
    if let Some(other) = other.filter(|_| !has_document) {
        assumptions.push(format!(
            "encode_document puts no prompt before a text, as in sentence-transformers: the model has a prompt \
             {other:?} but none named \"document\"; give prompt_name={other:?} to use it"
        ));
    }
    Ok(prompts)
}
