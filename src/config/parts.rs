//! The parts of a model folder, each read by itself, so that what is broken does not hide the rest.

use std::path::{Path, PathBuf};

use super::document::Document;
use super::folder_state::FolderState;
use super::modules::{Module, ModuleList, read_modules};
use super::paths::Root;
use super::prompts::ModelSettings;
use super::tokenizer::TokenizerConfig;
use super::transformer::{TransformerSettings, read_settings, refuse_adapter};
use crate::error::{EmbeddingError, Result};

/// What each file of a folder says, or what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// The folder, as given.
    pub path: PathBuf,
    /// The folder of the Transformer module; the folder itself where `modules.json` does not tell.
    pub transformer_path: PathBuf,
    /// The steps behind the transformer; none without a `modules.json`.
    pub modules: Result<Option<Vec<Module>>>,
    /// An error where the weights are an adapter's.
    pub adapter: Result<()>,
    /// The transformer's `config.json`.
    pub transformer: Result<Option<Document>>,
    /// `sentence_bert_config.json`; what it says is in `tokenizer`.
    pub settings: Result<()>,
    /// `config_sentence_transformers.json`.
    pub model: Result<ModelSettings>,
    /// The tokenizer's settings.
    pub tokenizer: Result<TokenizerConfig>,
    /// What was left open.
    pub assumptions: Vec<String>,
    /// The files, before the first of them was read.
    pub state: FolderState,
}

impl Parts {
    /// Reads every part.
    ///
    /// # Errors
    /// [`EmbeddingError::ModelNotFound`] where there is no such folder.
    pub fn read(path: &Path) -> Result<Self> {
        let root = Root::open(path)?;
        let state = FolderState::of(&root.given);
        let mut assumptions = Vec::new();
        let list = read_modules(&root, &mut assumptions);
        let (is_bare, transformer_path) = match &list {
            Ok(Some(list)) => (false, list.transformer.clone()),
            Ok(None) => (true, root.given.clone()),
            Err(_) => (false, root.given.clone()),
        };
        let transformer = Document::read_optional(&transformer_path.join("config.json"));
        // Without modules.json, sentence-transformers reads neither of the two files.
        let (settings, model) = if is_bare {
            (Ok(TransformerSettings::default()), Ok(ModelSettings::default()))
        } else {
            (read_settings(&transformer_path), ModelSettings::read(&root.given, &mut assumptions))
        };
        let (settings, problem) = match settings {
            Ok(settings) => (settings, Ok(())),
            Err(error) => (TransformerSettings::default(), Err(error)),
        };
        let config = transformer.as_ref().ok().and_then(Option::as_ref);
        Ok(Self {
            tokenizer: TokenizerConfig::read(&transformer_path, settings, config),
            path: root.given,
            modules: list.map(|list| list.map(|ModuleList { modules, .. }| modules)),
            adapter: refuse_adapter(&transformer_path),
            transformer_path,
            transformer,
            settings: problem,
            model,
            assumptions,
            state,
        })
    }

    /// What is wrong with the parts.
    pub fn errors(&self) -> Vec<EmbeddingError> {
        let errors = [
            self.modules.as_ref().err(),
            self.adapter.as_ref().err(),
            self.transformer.as_ref().err(),
            self.settings.as_ref().err(),
            self.model.as_ref().err(),
            self.tokenizer.as_ref().err(),
        ];
        errors.into_iter().flatten().cloned().collect()
    }
}
