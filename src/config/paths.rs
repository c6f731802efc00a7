//! Paths that a model folder names: a hostile `modules.json` must not make us read outside the folder.

use std::path::{Path, PathBuf};

use super::document::Document;
use crate::error::{EmbeddingError, Result};

/// The model folder, as given and with every symbolic link resolved.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// As given: what messages show and what files are opened by.
    pub(super) given: PathBuf,
    /// What folders inside are compared with.
    canonical: PathBuf,
}

impl Root {
    /// # Errors
    /// [`EmbeddingError::ModelNotFound`] where there is no such folder.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let not_found = |message: String| EmbeddingError::ModelNotFound { model: path.display().to_string(), message };
        let canonical = path.canonicalize().map_err(|error| not_found(format!("there is no such folder ({error})")))?;
        if !canonical.is_dir() {
            return Err(not_found("this is a file; the folder with config.json and modules.json is needed".into()));
        }
        Ok(Self { given: path.to_owned(), canonical })
    }

    /// The folder under `key`, relative to the model folder and inside it. It need not exist.
    ///
    /// Files inside a module's folder may be symbolic links to anywhere: in the Hugging Face cache they point to
    /// `../../blobs`. Folders there are real ones.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where the path is absolute, climbs with `..` or leads out through a link.
    pub(super) fn folder_inside(&self, entry: &Document, key: &str) -> Result<PathBuf> {
        let relative = entry.str(key)?;
        if !is_plain_relative(relative) {
            let problem = "a path inside the model folder is understood: not absolute, without \"..\"";
            return Err(entry.invalid(key, problem));
        }
        let folder = if relative.is_empty() { self.given.clone() } else { self.given.join(relative) };
        match folder.canonicalize() {
            Ok(canonical) if !canonical.starts_with(&self.canonical) => {
                let problem = format!("leads out of the model folder, to {}", canonical.display());
                Err(entry.invalid(key, problem))
            }
            // Absent is fine: Hugging Face does not keep empty folders, so that of Normalize is often missing.
            _ => Ok(folder),
        }
    }
}

/// Windows' syntax counts everywhere, so that a folder means the same on every system.
fn is_plain_relative(path: &str) -> bool {
    let is_rooted = path.starts_with(['/', '\\']);
    let has_drive = path.as_bytes().get(1) == Some(&b':');
    let climbs = path.split(['/', '\\']).any(|part| part == "..");
    !(is_rooted || has_drive || climbs || path.contains('\0') || Path::new(path).is_absolute())
}
