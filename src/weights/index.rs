//! `model.safetensors.index.json`: which of several files holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::unique::UniqueNames;
use crate::config::read_json;
use crate::error::{EmbeddingError, Result};

/// What is read of the file. `metadata.total_size` is nobody's truth: transformers does not read it either, and every
/// shard is compared with its own header.
#[derive(Deserialize)]
struct Stored {
    weight_map: UniqueNames<String>,
}

/// A model's files, and which tensors each promises to hold.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    /// Tensor and file name.
    places: BTreeMap<String, String>,
}

impl Index {
    /// Reads and checks the file itself; the shards are not touched.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is not such an index or names a file that is not beside it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let Stored { weight_map: UniqueNames(places) } = read_json(path)?;
        if places.is_empty() {
            let problem = "no tensors are listed; a model has some: download the folder again";
            return Err(EmbeddingError::invalid_key(path, "weight_map", None, problem));
        }
        for (tensor, file) in &places {
            // A separator of either system, so that a folder means the same on both; shards lie beside their index.
            let is_name = file.len() <= MAX_FILE_NAME_BYTES && !file.contains(['/', '\\', ':', '\0']);
            let is_safetensors = file.len() > ".safetensors".len() && file.ends_with(".safetensors");
            if !is_name || !is_safetensors {
                let key = format!("weight_map.{tensor}");
                let problem = "the name of a file beside the index that ends in .safetensors is understood";
                return Err(EmbeddingError::invalid_key(path, &key, Some(format!("{file:?}")), problem));
            }
        }
        Ok(Self { path: path.to_owned(), places })
    }

    /// The files, each once.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] naming the first that is missing and what was promised.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let names: BTreeSet<&String> = self.places.values().collect();
        let count = names.len();
        let path = |name: &String| {
            let path = folder.join(name);
            if path.exists() {
                return Ok(path);
            }
            let problem = format!(
                "the file is missing, which {} lists as one of {count}; download it, or the whole folder again",
                self.path.display()
            );
            Err(EmbeddingError::invalid_model(&path, problem))
        };
        names.into_iter().map(path).collect()
    }

    /// Checks that the index says of `tensor` that it is in `file`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it says otherwise or nothing.
    pub(super) fn check(&self, tensor: &str, file: &Path) -> Result<()> {
        let problem = match self.places.get(tensor) {
            Some(place) if file.file_name().is_some_and(|name| name == place.as_str()) => return Ok(()),
            Some(place) => format!("the tensor is in this file, and {} says it is in {place}", self.path.display()),
            None => format!("the tensor is in this file, and {} does not list it", self.path.display()),
        };
        Err(EmbeddingError::invalid_key(file, tensor, None, format!("{problem}; {DIFFERENT_MODELS}")))
    }

    /// Checks that every tensor that the index lists is in `found`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] naming the tensor and the file that should have it.
    pub(super) fn check_complete(&self, found: &BTreeSet<String>) -> Result<()> {
        match self.places.iter().find(|(tensor, _)| !found.contains(*tensor)) {
            None => Ok(()),
            Some((tensor, file)) => {
                let file = self.path.with_file_name(file);
                let problem =
                    format!("the tensor is missing, which {} says is here; {DIFFERENT_MODELS}", self.path.display());
                Err(EmbeddingError::invalid_key(&file, tensor, None, problem))
            }
        }
    }
}

/// As file systems have it.
const MAX_FILE_NAME_BYTES: usize = 255;

const DIFFERENT_MODELS: &str = "the files are not of the same model: download the folder again";
