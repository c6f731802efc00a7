//! A safetensors file of which every tensor is asked for once, and errors that say what to do about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::Dtype;
use serde::de::DeserializeOwned;

use crate::error::{EmbeddingError, Result};
use crate::weights::{Entry, MappedFile, decode};

/// What mends every fault of the file.
const REMEDY: &str = "run `oxembed quantize MODEL` again";

/// The file, and what of it has not been asked for.
pub(super) struct Stored {
    path: PathBuf,
    file: Arc<MappedFile>,
    entries: BTreeMap<String, Entry>,
}

impl Stored {
    /// Maps the file and compares its header with it.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidModel`] where the file is missing, truncated or no safetensors file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, entries) = MappedFile::open(path).map_err(|mut error| {
            if let EmbeddingError::InvalidModel { problem, .. } = &mut error {
                *problem = format!("{problem}; or {REMEDY}");
            }
            error
        })?;
        let entries = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Ok(Self { path: path.to_owned(), file, entries })
    }

    /// An error about the tensor `key`.
    pub(super) fn refused(&self, key: &str, value: Option<String>, problem: &str) -> EmbeddingError {
        EmbeddingError::invalid_key(&self.path, key, value, format!("{problem}; {REMEDY}"))
    }

    /// An error about the metadata under `key`.
    pub(super) fn refused_metadata(&self, key: &str, value: Option<String>, problem: &str) -> EmbeddingError {
        self.refused(&format!("__metadata__.{key}"), value, problem)
    }

    /// The metadata under `key`.
    pub(super) fn metadata(&self, key: &str) -> Result<&str> {
        let value = self.file.metadata().get(key).map(String::as_str);
        value.ok_or_else(|| self.refused_metadata(key, None, "this key of the header is missing"))
    }

    /// Refuses another value than `expected` in the metadata.
    pub(super) fn require_metadata(&self, key: &str, expected: &str) -> Result<()> {
        let found = self.metadata(key)?;
        if found == expected {
            return Ok(());
        }
        let problem = format!("this version reads {expected:?}");
        Err(self.refused_metadata(key, Some(format!("{found:?}")), &problem))
    }

    /// The JSON under `key` of the metadata.
    pub(super) fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let text = self.metadata(key)?;
        serde_json::from_str(text).map_err(|error| {
            self.refused_metadata(key, Some(text.to_owned()), &format!("this cannot be read ({error})"))
        })
    }

    /// The bytes of a tensor of this type and shape; `None` in a shape is any length.
    pub(super) fn bytes_of(&mut self, name: &str, dtype: Dtype, shape: &[Option<usize>]) -> Result<&[u8]> {
        let Some(entry) = self.entries.remove(name) else {
            return Err(self.refused(name, None, "this tensor is missing"));
        };
        if entry.dtype != dtype {
            let problem = format!("the tensor must be stored as {dtype:?}");
            return Err(self.refused(name, Some(format!("stored as {:?}", entry.dtype)), &problem));
        }
        let fits = |(found, expected): (&usize, &Option<usize>)| expected.is_none_or(|expected| expected == *found);
        if entry.shape.len() != shape.len() || !entry.shape.iter().zip(shape).all(fits) {
            let length = |length: &Option<usize>| length.map_or("any".to_owned(), |length| length.to_string());
            let expected: Vec<String> = shape.iter().map(length).collect();
            let problem = format!("the tensor must have the shape [{}]", expected.join(", "));
            return Err(self.refused(name, Some(format!("shape {:?}", entry.shape)), &problem));
        }
        // The header's parser has compared the range with the file.
        Ok(self.file.bytes().get(entry.range).unwrap_or_default())
    }

    /// A tensor of single-precision numbers.
    pub(super) fn singles(&mut self, name: &str, shape: &[Option<usize>]) -> Result<Vec<f32>> {
        Ok(decode(self.bytes_of(name, Dtype::F32, shape)?, f32::from_le_bytes))
    }

    /// A list of integers that are not negative.
    pub(super) fn counts(&mut self, name: &str) -> Result<Vec<u32>> {
        let numbers = decode(self.bytes_of(name, Dtype::I32, &[None])?, i32::from_le_bytes);
        let count = |number: i32| {
            let problem = "the numbers must not be negative";
            u32::try_from(number).map_err(|_| self.refused(name, Some(number.to_string()), problem))
        };
        numbers.into_iter().map(count).collect()
    }

    /// Refuses tensors that nobody has asked for.
    pub(super) fn require_nothing_left(&self) -> Result<()> {
        match self.entries.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.refused(name, None, "this tensor belongs to no layer that `sites` lists")),
        }
    }
}
