//! Model folders, whole and broken.
#![allow(clippy::unwrap_used, clippy::panic)]

mod documents;
mod fixtures;
mod modules;
mod settings;
mod tokenizer_classes;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ModelFolder;
use crate::error::EmbeddingError;

/// A model folder that is written to disk and then spoiled.
struct Folder(TempDir);

impl Folder {
    /// Transformer (32 wide), mean pooling, normalization.
    fn new() -> Self {
        let folder = Self::bare();
        folder.write("modules.json", &modules(&["Transformer", "Pooling", "Normalize"]));
        folder
            .write("1_Pooling/config.json", &json!({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}));
        folder
    }

    /// As transformers saves it.
    fn bare() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("config.json", &json!({"model_type": "bert", "hidden_size": 32}));
        folder.write("tokenizer.json", &json!({}));
        folder
    }

    /// With one dense layer behind the pooling.
    fn with_dense(config: &Value) -> Self {
        let folder = Self::new();
        folder.write("modules.json", &modules(&["Transformer", "Pooling", "Dense"]));
        folder.write("2_Dense/config.json", config);
        folder.write_bytes("2_Dense/model.safetensors", b"");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, value: &Value) {
        self.write_bytes(file, value.to_string().as_bytes());
    }

    fn write_bytes(&self, file: &str, bytes: &[u8]) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    fn read(&self) -> ModelFolder {
        ModelFolder::read(self.path()).unwrap()
    }

    /// The error of reading, which has to be about `file` and say each of `parts`.
    #[track_caller]
    fn refused(&self, file: &str, parts: &[&str]) {
        let error = ModelFolder::read(self.path()).unwrap_err();
        let message = error.to_string();
        let EmbeddingError::InvalidModel { file: at, .. } = &error else { panic!("{message}") };
        assert_eq!(at, &self.path().join(file), "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

/// `modules.json` with classes as sentence-transformers 2 writes them.
fn modules(classes: &[&str]) -> Value {
    classes
        .iter()
        .enumerate()
        .map(|(index, class)| {
            let path = if index == 0 { String::new() } else { format!("{index}_{class}") };
            let class = format!("sentence_transformers.models.{class}");
            json!({"idx": index, "name": index.to_string(), "path": path, "type": class})
        })
        .collect()
}
