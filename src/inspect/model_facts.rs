//! What a folder says of its model, from whichever of its files can be read.

use super::report::ModelFacts;
use crate::config::{HIDDEN_SIZE, LengthLimit, ModelFolder, Module, Parts};
use crate::graph::Architecture;
use crate::model::{module_names, trained_tokens};

const LAYERS: [&str; 4] = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];

/// The facts of `parts`; what is broken is left out.
pub fn read(parts: &Parts) -> ModelFacts {
    let mut facts = ModelFacts::default();
    if let Ok(Some(config)) = &parts.transformer {
        let number = |keys: &[&'static str]| {
            let key = config.first_of(keys)?;
            config.optional_usize_in(key, 1..=usize::MAX).ok().flatten()
        };
        facts.family = config.optional_str("model_type").ok().flatten().map(str::to_owned);
        facts.hidden_size = number(&HIDDEN_SIZE);
        facts.layers = number(&LAYERS);
        facts.vocabulary_size = number(&["vocab_size"]);
        facts.positions = number(&["max_position_embeddings"]);
    }
    if let Ok(Some(modules)) = &parts.modules {
        facts.add_modules(modules);
    }
    if let Ok(model) = &parts.model {
        facts.prompts.clone_from(&model.prompts.prompts);
        facts.default_prompt_name.clone_from(&model.prompts.default_prompt_name);
        facts.similarity_fn_name = Some(model.similarity.name().to_owned());
        facts.truncate_dim = model.truncate_dim;
    }
    facts
}

impl ModelFacts {
    fn add_modules(&mut self, modules: &[Module]) {
        self.modules = module_names(modules);
        self.pooling.clear();
        for module in modules {
            if let Module::Pooling(pooling) = module {
                self.pooling.extend(pooling.modes.iter().map(|mode| mode.name().to_owned()));
            }
        }
    }

    /// What is known where all parts can be read and fit each other.
    pub fn complete(&mut self, folder: &ModelFolder) {
        self.add_modules(&folder.modules);
        let mut width = folder.token_dimension;
        for module in &folder.modules {
            match module {
                Module::Pooling(pooling) => width = width.map(|width| width * pooling.modes.len()),
                Module::Dense(dense) => width = Some(dense.out_features),
                Module::Normalize => {}
            }
        }
        self.dimension = width.map(|width| folder.truncate_dim.map_or(width, |truncated| width.min(truncated)));
    }

    /// The limit in force, and what decides it.
    pub fn limit(&mut self, folder: &ModelFolder, architecture: Option<&Architecture>, max_tokens: Option<usize>) {
        self.positions = trained_tokens(folder, architecture).or(self.positions);
        self.max_seq_length = max_tokens;
        self.max_seq_length_from = max_tokens.map(|tokens| match folder.tokenizer.limit() {
            Some(LengthLimit { tokens: said, file, key }) if *said == tokens => {
                let file = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                format!("{file}: {key}")
            }
            _ => "config.json: max_position_embeddings".to_owned(),
        });
    }
}
