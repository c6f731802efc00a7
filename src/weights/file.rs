//! One safetensors file, memory-mapped, its header read and compared with the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::{Advice, UncheckedAdvice};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::de::IgnoredAny;

use super::state::FileState;
use super::unique::UniqueNames;
use crate::config::refuse_large_file;
use crate::error::{EmbeddingError, Result};
use crate::foreign::recognize;

/// The largest models have headers of a few hundred kilobytes; parsing a hostile one takes ten times its size.
const MAX_HEADER_BYTES: u64 = 8 << 20;
/// The header's length stands before it.
const LENGTH_BYTES: usize = 8;

/// A file of weights in the address space of the process.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    /// The file itself, behind the links of a Hugging Face cache.
    real_path: PathBuf,
    map: Mmap,
    state: FileState,
    metadata: HashMap<String, String>,
}

/// What a header says of a tensor.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Where its bytes are in the file.
    pub(crate) range: Range<usize>,
}

impl MappedFile {
    /// Maps `path` and reads its header. Every entry's range is inside the file, as long as its shape and type make it,
    /// and overlaps no other.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where the file is missing, truncated or not what its header says.
    pub(crate) fn open(path: &Path) -> Result<(Arc<Self>, Vec<Entry>)> {
        // Opening a pipe would wait until somebody writes to it.
        refuse_large_file(path, u64::MAX)?;
        let file = File::open(path).map_err(|error| cannot_open(path, error))?;
        // SAFETY: the map is read-only. A file that somebody else writes to or truncates while it is mapped is the one
        // hazard mmap cannot exclude; model files are replaced by rename, never rewritten in place, as SECURITY.md asks.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|error| EmbeddingError::invalid_model(path, "the file cannot be mapped").caused_by(error))?;
        let (entries, metadata) = read_header(&map).map_err(|problem| {
            let problem = recognize(&map).map_or(problem, str::to_owned);
            EmbeddingError::invalid_model(path, problem)
        })?;
        let real_path = path
            .canonicalize()
            .map_err(|error| EmbeddingError::invalid_model(path, "the file went away").caused_by(error))?;
        let state = FileState::of(&real_path, &map);
        Ok((Arc::new(Self { path: path.to_owned(), real_path, map, state, metadata }), entries))
    }

    /// Refuses a file that was written to in place since it was mapped; looked at once a second at most.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it was.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        if self.state.has_changed(&self.real_path, &self.map) {
            let problem = "the file was written to after it was loaded, so that vectors would be wrong. Load the model \
                           again; to change the files of a model in use, replace them by renaming";
            return Err(EmbeddingError::invalid_model(&self.path, problem));
        }
        Ok(())
    }

    /// The file as the model folder names it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the header says of the file as a whole.
    pub(crate) fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Has the system read `range` into its cache; the pages are not the process's yet.
    pub(super) fn read_ahead(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Err(error) = self.map.advise_range(Advice::WillNeed, range.start, range.len()) {
            tracing::debug!(%error, path = %self.path.display(), "the file could not be read ahead");
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Takes the pages of `range` out of the process; the system keeps them cached while it has room.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            // SAFETY: `Mmap::map` makes a shared map of a file that is never written through it: what is given up is
            // read from the file again when it is next looked at, so every slice of the map stays what it was.
            let outcome =
                unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
            if let Err(error) = outcome {
                tracing::debug!(%error, path = %self.path.display(), "pages of the file could not be given back");
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

fn cannot_open(path: &Path, error: std::io::Error) -> EmbeddingError {
    let problem = match error.kind() {
        ErrorKind::PermissionDenied => "permission to read the file is denied; `chmod u+r` gives it to its owner",
        _ => "the file cannot be opened",
    };
    EmbeddingError::invalid_model(path, problem).caused_by(error)
}

/// The entries of a whole file and what it says of itself, or what is wrong with it.
fn read_header(file: &[u8]) -> Result<(Vec<Entry>, HashMap<String, String>), String> {
    if file.is_empty() {
        return Err("the file is empty; download it again".to_owned());
    }
    let Some(length) = file.first_chunk().map(|length| u64::from_le_bytes(*length)) else {
        let problem = "bytes are fewer than the length of a safetensors header takes; download it again";
        return Err(format!("its {} {problem}", file.len()));
    };
    if length > MAX_HEADER_BYTES {
        return Err(format!(
            "not a safetensors file: its header says that it is {length} bytes long; at most {MAX_HEADER_BYTES} are read"
        ));
    }
    let start = usize::try_from(length).map_or(usize::MAX, |length| length.saturating_add(LENGTH_BYTES));
    let header = file.get(LENGTH_BYTES..start).ok_or_else(|| {
        format!(
            "its header ends at byte {start} and the file at byte {}: a partial download; download it again",
            file.len()
        )
    })?;
    let broken = |error: serde_json::Error| {
        format!("not a safetensors file: its header does not agree with itself ({error}); download it again")
    };
    let UniqueNames::<IgnoredAny>(_) = serde_json::from_slice(header).map_err(broken)?;
    // Parsing checks each tensor: its bytes begin where the last one's end and are as many as its shape asks for.
    let metadata: Metadata = serde_json::from_slice(header).map_err(broken)?;
    let (expected, found) = (metadata.data_len(), file.len() - start);
    if expected != found {
        let problem = if found < expected { "a partial download" } else { "something was added to it" };
        return Err(format!(
            "its header describes {expected} bytes of tensors and {found} are there: {problem}; download it again"
        ));
    }
    let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| Entry {
        name,
        dtype: info.dtype,
        shape: info.shape.clone(),
        range: start + info.data_offsets.0..start + info.data_offsets.1,
    };
    Ok((metadata.tensors().into_iter().map(entry).collect(), metadata.metadata().clone().unwrap_or_default()))
}
