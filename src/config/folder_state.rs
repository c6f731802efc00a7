//! Whether a model folder is the same after it was read as before.
//!
//! A folder that is being written, by a download, a training or a deployment, gives settings of one model and weights of
//! another: each file whole, and vectors that are nobody's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{EmbeddingError, Result};
use crate::identity::Identity;

/// What a model is read from ends in one of these.
const ENDINGS: [&str; 6] = ["json", "txt", "model", "safetensors", "onnx", "onnx_data"];

/// The files of a folder and of the folders in it, as they were before any of them was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FolderState {
    files: BTreeMap<PathBuf, Identity>,
}

impl FolderState {
    /// The state of the folder `root`. What cannot be listed is left out: reading it tells why.
    pub fn of(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        for path in entries(root) {
            if path.is_dir() {
                files.extend(entries(&path).filter_map(identified));
            } else {
                files.extend(identified(path));
            }
        }
        Self { files }
    }

    /// Refuses a folder whose files are not those of then, or not as they were: those in `root` itself and in the
    /// folders of its modules, `used` among them. In others a training may leave its checkpoints.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] that names the first such file.
    pub fn check(&self, root: &Path, used: &[&Path]) -> Result<()> {
        let now = Self::of(root);
        let counts = |path: &Path| {
            let folder = path.parent().unwrap_or(root);
            folder == root || used.contains(&folder) || is_module(folder)
        };
        let differs = |path: &&PathBuf| counts(path) && self.files.get(*path) != now.files.get(*path);
        let Some(path) = self.files.keys().chain(now.files.keys()).find(differs) else { return Ok(()) };
        let problem = "was written while the model was loaded, which may be of two models now; load it again once nothing \
                       writes there";
        Err(EmbeddingError::invalid_model(path, problem))
    }
}

/// sentence-transformers names them `1_Pooling`, `2_Dense`.
fn is_module(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn identified(path: PathBuf) -> Option<(PathBuf, Identity)> {
    let ending = path.extension()?.to_str()?;
    let identity = ENDINGS.contains(&ending).then(|| Identity::of(&path))??;
    Some((path, identity))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The file that a change to a folder is found at, relative to it.
    fn found(change: impl FnOnce(&Path)) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for inner in ["1_Pooling", "onnx", "checkpoint-500"] {
            fs::create_dir(root.join(inner)).unwrap();
            fs::write(root.join(inner).join("config.json"), "{}").unwrap();
        }
        fs::write(root.join("config.json"), "{}").unwrap();
        let before = FolderState::of(root);
        assert!(before.check(root, &[]).is_ok());
        change(root);
        let used = root.join("onnx");
        match before.check(root, &[&used]) {
            Ok(()) => None,
            Err(EmbeddingError::InvalidModel { file, .. }) => {
                Some(file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"))
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn files_that_come_go_or_change_are_found() {
        let name = |path: &str| Some(path.to_owned());
        assert_eq!(found(|root| fs::remove_file(root.join("config.json")).unwrap()), name("config.json"));
        assert_eq!(found(|root| fs::write(root.join("modules.json"), "[]").unwrap()), name("modules.json"));
        assert_eq!(found(|root| fs::write(root.join("config.json"), "{ }").unwrap()), name("config.json"));
        for inner in ["1_Pooling/config.json", "onnx/config.json"] {
            assert_eq!(found(|root| fs::remove_file(root.join(inner)).unwrap()), name(inner));
        }
        #[cfg(unix)] // Where files have no numbers, one of the same length and time is taken for the same.
        assert_eq!(
            found(|root| {
                fs::write(root.join("new"), "{}").unwrap();
                fs::rename(root.join("new"), root.join("config.json")).unwrap();
            }),
            name("config.json")
        );
    }

    #[test]
    fn what_is_not_read_may_change() {
        assert_eq!(found(|root| fs::write(root.join("README.md"), "new").unwrap()), None);
        assert_eq!(found(|root| fs::remove_file(root.join("checkpoint-500/config.json")).unwrap()), None);
    }
}
