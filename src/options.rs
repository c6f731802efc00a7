//! What a call asks for and what it took.

use std::time::Duration;

use crate::tokenization::Truncation;

/// Which side of a retrieval a text is on, for models that have a prompt for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A question: the prompt `query`.
    Query,
    /// A text to be found: the prompt `document`.
    Document,
}

/// How to embed the texts of one call; the default is what the model folder says.
#[derive(Debug, Clone, Default)]
pub struct EncodeOptions {
    /// Put before every text; wins over `prompt_name`.
    pub prompt: Option<String>,
    /// Name of one of the model's prompts.
    pub prompt_name: Option<String>,
    /// Chooses the prompt as sentence-transformers' `encode_query` and `encode_document` do.
    pub role: Option<Role>,
    /// `Some(true)`: rows of length one, whatever the model says.
    pub normalize: Option<bool>,
    /// Keep the first numbers of each row only (Matryoshka models).
    pub truncate_dim: Option<usize>,
    /// What to do with a text over the model's limit.
    pub truncation: Truncation,
}

/// What a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Number of texts.
    pub inputs: usize,
    /// Tokens of all texts after truncation, special tokens and prompts included.
    pub total_tokens: usize,
    /// Number of texts that were cut.
    pub truncated_inputs: usize,
    /// Wall time.
    pub duration: Duration,
    /// Of that, until the texts were tokens in batches.
    pub preparation: Duration,
    /// Of that, while none of the batches was being worked on: there was no free thread.
    pub waiting: Duration,
}
