//! A model folder as a whole.

use std::path::{Path, PathBuf};

use super::document::Document;
use super::folder_state::FolderState;
use super::layers::{MAX_DIMENSION, Pooling};
use super::modules::Module;
use super::parts::Parts;
use super::prompts::{Prompts, Similarity};
use super::tokenizer::TokenizerConfig;
use super::transformer::refuse_chat_template;
use crate::error::{EmbeddingError, Result};
use crate::postprocess::{DenseLayer, PoolingMode, Postprocess, Step};

/// Spellings of the width of a token embedding in `config.json`: most families, NomicBERT, T5, DistilBERT.
pub(crate) const HIDDEN_SIZE: [&str; 4] = ["hidden_size", "n_embd", "d_model", "dim"];

/// What a model folder says, read once and checked.
///
/// ```no_run
/// use oxembed::config::ModelFolder;
///
/// let folder = ModelFolder::read("models/all-MiniLM-L6-v2".as_ref())?;
/// assert_eq!(folder.token_dimension, Some(384));
/// assert_eq!(folder.tokenizer.limit().map(|limit| limit.tokens), Some(256));
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFolder {
    /// The folder, as given.
    pub path: PathBuf,
    /// The folder of the Transformer module: its `config.json`, its weights, its tokenizer.
    pub transformer_path: PathBuf,
    /// The transformer's `config.json`; a folder with an ONNX file may lack it.
    pub transformer: Option<Document>,
    /// The steps behind the transformer; the first is a [`Module::Pooling`], and no other is.
    pub modules: Vec<Module>,
    /// Width of a token embedding, where `config.json` or the pooling says it.
    pub token_dimension: Option<usize>,
    /// What goes before a text.
    pub prompts: Prompts,
    /// How vectors are compared.
    pub similarity: Similarity,
    /// Width to which the model wants its vectors truncated.
    pub truncate_dim: Option<usize>,
    /// The settings of the tokenizer.
    pub tokenizer: TokenizerConfig,
    /// What the folder left open and sentence-transformers' own default decided, in plain sentences.
    pub assumptions: Vec<String>,
    /// The files, before the first of them was read.
    state: FolderState,
}

impl ModelFolder {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`EmbeddingError::ModelNotFound`] where there is no such folder; [`EmbeddingError::InvalidModel`] for what is
    /// broken or not understood.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_parts(Parts::read(path)?)
    }

    /// The folder whose parts are given.
    ///
    /// # Errors
    /// The first error of a part; [`EmbeddingError::InvalidModel`] where the parts do not fit each other.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self> {
        let Parts { path, transformer_path, modules, adapter, transformer, settings, model, tokenizer, .. } = parts;
        let mut assumptions = parts.assumptions;
        let modules = modules?;
        adapter?;
        let transformer = transformer?;
        settings?;
        let model = model?;
        let tokenizer = tokenizer?;
        let modules = if let Some(modules) = modules {
            modules
        } else {
            refuse_chat_template(&transformer_path, tokenizer.document.as_ref())?;
            vec![Module::Pooling(assumed_pooling(&path, transformer.as_ref(), &mut assumptions)?)]
        };
        let token_dimension = check_dimensions(&path, transformer.as_ref(), &modules)?;
        for assumption in &assumptions {
            tracing::warn!(model = %path.display(), "{assumption}");
        }
        Ok(Self {
            path,
            transformer_path,
            transformer,
            modules,
            token_dimension,
            prompts: model.prompts,
            similarity: model.similarity,
            truncate_dim: model.truncate_dim,
            tokenizer,
            assumptions,
            state: parts.state,
        })
    }

    /// Refuses a folder that was written to since its first file was read; `file` is what runs.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] that names the file.
    pub(crate) fn check_unchanged(&self, file: &Path) -> Result<()> {
        let inner = file.parent().unwrap_or(&self.path);
        self.state.check(&self.path, &[&self.transformer_path, inner])
    }

    /// The pooling, which every folder has.
    pub fn pooling(&self) -> Option<&Pooling> {
        self.modules.iter().find_map(|module| match module {
            Module::Pooling(pooling) => Some(pooling),
            _ => None,
        })
    }

    /// The steps behind the transformer, ready to run on token embeddings of `hidden` values; `load` reads the weights
    /// of a dense layer.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where `hidden` is not what the folder says; what `load` gives.
    pub fn postprocess(
        &self,
        hidden: usize,
        mut load: impl FnMut(&super::Dense) -> Result<DenseLayer>,
    ) -> Result<Postprocess> {
        if let Some(said) = self.token_dimension.filter(|said| *said != hidden) {
            let problem = format!("the transformer gives token embeddings of {hidden} values, not {said}");
            return Err(EmbeddingError::invalid_model(&self.path, problem));
        }
        let pooling = self.pooling().ok_or_else(|| EmbeddingError::internal("a model folder without pooling"))?;
        let mut steps = Vec::new();
        for module in &self.modules {
            match module {
                Module::Pooling(_) => {}
                Module::Dense(dense) => steps.push(Step::Dense(load(dense)?)),
                Module::Normalize => steps.push(Step::Normalize),
            }
        }
        Postprocess::new(hidden, pooling.modes.clone(), pooling.include_prompt, steps)
    }
}

/// As sentence-transformers: the last token of a causal language model, else the mean.
fn assumed_pooling(root: &Path, transformer: Option<&Document>, assumptions: &mut Vec<String>) -> Result<Pooling> {
    let mut mode = PoolingMode::Mean;
    if let Some(config) = transformer {
        let architectures = config.optional_strings("architectures")?.unwrap_or_default();
        let is_language_model = architectures.first().is_some_and(|name| name.ends_with("ForCausalLM"));
        if is_language_model && config.optional_bool("is_causal")?.unwrap_or(true) {
            mode = PoolingMode::LastToken;
        }
    }
    let pooling = if mode == PoolingMode::Mean { "mean" } else { "last token" };
    assumptions.push(format!(
        "{} has no modules.json: {pooling} pooling without normalization, as sentence-transformers does",
        root.display()
    ));
    Ok(Pooling { modes: vec![mode], include_prompt: true, word_embedding_dimension: None })
}

/// Follows the width of the vector through the modules; gives the width of a token embedding where it is said.
fn check_dimensions(root: &Path, transformer: Option<&Document>, modules: &[Module]) -> Result<Option<usize>> {
    let hidden = match transformer.and_then(|config| config.first_of(&HIDDEN_SIZE).map(|key| (config, key))) {
        Some((config, key)) => Some(config.usize_in(key, 1..=MAX_DIMENSION)?),
        None => None,
    };
    let misfit = |problem: String| EmbeddingError::invalid_model(&root.join("modules.json"), problem);
    let mut token_dimension = hidden;
    let mut width = None;
    for module in modules {
        match module {
            Module::Pooling(pooling) => {
                if let (Some(hidden), Some(said)) = (hidden, pooling.word_embedding_dimension)
                    && hidden != said
                {
                    return Err(misfit(format!("Pooling takes {said} values a token; the transformer gives {hidden}")));
                }
                token_dimension = hidden.or(pooling.word_embedding_dimension);
                width = token_dimension.map(|dimension| dimension * pooling.modes.len());
            }
            Module::Dense(dense) => {
                if let Some(width) = width.filter(|width| *width != dense.in_features) {
                    let folder = dense.folder.display();
                    let found = dense.in_features;
                    return Err(misfit(format!("{folder} takes {found} values; the module before it gives {width}")));
                }
                width = Some(dense.out_features);
            }
            Module::Normalize => {}
        }
    }
    Ok(token_dimension)
}
