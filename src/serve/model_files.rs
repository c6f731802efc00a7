//! The files of a model: which they are, what they hold, how much memory their weights take.

use std::fs;
use std::path::{Path, PathBuf};

use crate::choice::machine;
use crate::config::ModelFolder;
use crate::embedder::Embedder;
use crate::error::{EmbeddingError, Result};
use crate::fingerprint::hash_of;
use crate::identity::Identity;
use crate::runtime::library::library;
use crate::source::{Choice, decide};

/// What a model whose graph we write is read from ends in one of these.
const ENDINGS: [&str; 4] = ["json", "txt", "model", "safetensors"];
/// Folders in folders that are looked into.
const DEPTH: usize = 4;

/// The files of a model, as they were before it was loaded.
#[derive(Debug, PartialEq)]
pub(super) struct ModelFiles {
    root: PathBuf,
    files: Vec<(PathBuf, Identity)>,
    /// Bytes of the files that its weights are in.
    pub weights: u64,
}

impl ModelFiles {
    /// All that the model in the folder `root` may be read from: more than it is, rather than less. An ONNX file names
    /// others by any name, so with one it is every file there.
    ///
    /// # Errors
    /// What is wrong with the folder.
    pub fn of(root: &Path) -> Result<Self> {
        let folder = ModelFolder::read(root)?;
        let (is_onnx, weights) = match decide(&folder, None, &mut Vec::new())? {
            Choice::Written { weights, .. } => (false, folder.transformer_path.join(weights)),
            Choice::File { path, .. } => (true, path),
        };
        let mut files: Vec<(PathBuf, Identity)> = files_below(root, DEPTH)
            .filter(|path| is_onnx || has_ending(path, &ENDINGS))
            .filter_map(|path| Identity::of(&path).map(|identity| (path, identity)))
            .collect();
        files.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Self { root: root.to_owned(), files, weights: weights_bytes(&weights) })
    }

    /// A hash that changes whenever the vectors of `embedder`, loaded from these files, may: with what the files hold, the
    /// settings it was loaded with, what computes, and where.
    ///
    /// # Errors
    /// `InvalidModel` where a file cannot be read, or was written to since.
    pub fn hash(&self, embedder: &Embedder) -> Result<String> {
        let mut hash = blake3::Hasher::new();
        let mut add = |part: &str| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        };
        let info = embedder.model().info();
        let device =
            embedder.forward().backends.first().and_then(|backend| Some(backend.if_ready()?.execution.device()));
        add(env!("CARGO_PKG_VERSION"));
        add(&library(None)?.version);
        add(&machine());
        add(&info.source);
        add(&info.dtype);
        add(&info.provider);
        add(&device.unwrap_or_default());
        add(&info.max_seq_length.to_string());
        for (path, _) in &self.files {
            let unread = || EmbeddingError::invalid_model(path, "cannot be read to tell this model from others");
            add(&path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy());
            add(&hash_of(path, None).ok_or_else(unread)?);
        }
        self.check_unchanged()?;
        Ok(hash.finalize().to_hex().to_string())
    }

    fn check_unchanged(&self) -> Result<()> {
        let changed = self.files.iter().find(|(path, then)| Identity::of(path).as_ref() != Some(then));
        let Some((path, _)) = changed else { return Ok(()) };
        let problem = "was written while the model was loaded, which may be of two models now; load it again once nothing \
                       writes there";
        Err(EmbeddingError::invalid_model(path, problem))
    }
}

/// Bytes of the weights that lie in `file`: in itself, or, of an index or a graph, in those beside it too.
fn weights_bytes(file: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let beside = match file.extension().and_then(|ending| ending.to_str()) {
        Some("json") => "safetensors",
        Some("onnx") => "onnx_data",
        _ => return length(file),
    };
    let folder = file.parent().unwrap_or(file);
    let others = files_below(folder, 0).filter(|path| has_ending(path, &[beside]));
    length(file) + others.map(|path| length(&path)).sum::<u64>()
}

/// Files in a folder, and in folders in it; hidden ones are nobody's model.
fn files_below(folder: &Path, depth: usize) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let seen = entries.filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
    Box::new(seen.flat_map(move |path| -> Box<dyn Iterator<Item = PathBuf>> {
        if !path.is_dir() {
            Box::new(std::iter::once(path))
        } else if depth > 0 {
            files_below(&path, depth - 1)
        } else {
            Box::new(std::iter::empty())
        }
    }))
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending))
}

#[cfg(test)]
mod tests {
    use std::fs::{copy, create_dir, write};

    use super::*;

    const FIXTURE: &str = "tests/fixtures/bert-mean-prompts";

    /// A copy of a small model, as `change` leaves it.
    fn model(change: impl FnOnce(&Path)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(FIXTURE);
        for path in files_below(source, DEPTH) {
            let to = folder.path().join(path.strip_prefix(source).unwrap());
            if !to.parent().unwrap().exists() {
                create_dir(to.parent().unwrap()).unwrap();
            }
            copy(&path, to).unwrap();
        }
        change(folder.path());
        folder
    }

    fn hash(folder: &Path, dtype: &str) -> Result<String> {
        let files = ModelFiles::of(folder)?;
        files.hash(&Embedder::builder(folder).dtype(dtype).provider("cpu").threads(1).load()?)
    }

    fn replace(path: &Path, from: &str, to: &str) {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{}", path.display());
        write(path, text.replace(from, to)).unwrap();
    }

    #[test]
    fn the_hash_is_that_of_the_content() {
        let same = hash(model(|_| {}).path(), "float32").unwrap();
        assert_eq!(hash(model(|_| {}).path(), "float32").unwrap(), same);
        let weights = |folder: &Path| {
            let path = folder.join("model.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            write(path, bytes).unwrap();
        };
        let prompts = |folder: &Path| write(folder.join("config_sentence_transformers.json"), "{}").unwrap();
        let limit =
            |folder: &Path| write(folder.join("sentence_bert_config.json"), r#"{"max_seq_length": 7}"#).unwrap();
        let pooling = |folder: &Path| replace(&folder.join("1_Pooling/config.json"), "true", "true ");
        let others = [model(weights), model(prompts), model(limit), model(pooling)];
        for other in &others {
            assert_ne!(hash(other.path(), "float32").unwrap(), same);
        }
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_refused() {
        let folder = model(|_| {});
        let files = ModelFiles::of(folder.path()).unwrap();
        let embedder = Embedder::builder(folder.path()).provider("cpu").threads(1).load().unwrap();
        write(folder.path().join("tokenizer.json"), "{}").unwrap();
        let error = files.hash(&embedder).unwrap_err();
        assert!(error.to_string().contains("tokenizer.json"), "{error}");
    }

    #[test]
    fn weights_are_measured_before_they_are_loaded() {
        let file = Path::new(FIXTURE).join("model.safetensors");
        let weights = |folder: &Path| ModelFiles::of(folder).unwrap().weights;
        assert_eq!(weights(Path::new(FIXTURE)), fs::metadata(file).unwrap().len());
        let shards = Path::new("tests/fixtures/qwen3-sharded-bf16");
        let names =
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let expected = names.map(|name| fs::metadata(shards.join(name)).unwrap().len()).iter().sum::<u64>();
        assert_eq!(weights(shards), expected);
        ModelFiles::of(Path::new("tests/fixtures")).unwrap_err();
    }
}
