//! What a model folder says: its modules, its prompts, its tokenizer's settings and its transformer's `config.json`.
//!
//! Everything is read once, by [`ModelFolder::read`], with sentence-transformers' rules (checked against 6.2). What is
//! not understood is an error that names the file, the key and what is understood; what sentence-transformers itself
//! would assume is said in [`ModelFolder::assumptions`].

mod document;
mod folder;
mod folder_state;
mod layers;
mod modules;
mod parts;
mod paths;
mod prompts;
mod special_tokens;
mod tokenizer;
mod tokenizer_class;
mod transformer;

#[cfg(test)]
mod tests;

pub use document::{Document, MAX_CONFIG_BYTES};
pub(crate) use document::{read_json, refuse_large_file};
pub(crate) use folder::HIDDEN_SIZE;
pub use folder::ModelFolder;
pub use layers::{Dense, Pooling};
pub use modules::Module;
pub(crate) use parts::Parts;
pub use prompts::{Prompts, Similarity};
pub use special_tokens::SpecialTokens;
pub use tokenizer::{LengthLimit, MAX_TOKENIZER_BYTES, Side, TokenizerConfig};
pub use tokenizer_class::{Rebuilds, TokenizerClass};

pub use crate::postprocess::{Activation, PoolingMode};
