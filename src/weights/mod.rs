//! The weights of a model: one safetensors file or several with an index, memory-mapped and checked before anything is
//! allocated.
//!
//! The header is parsed by the `safetensors` crate, which refuses overlapping or dangling ranges; this module adds what
//! a model needs: several files, names with any prefix, expected shapes, and errors that say which tensor of which file.

mod file;
mod index;
mod state;
mod tensor;
#[cfg(test)]
mod tests;
mod unique;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use safetensors::Dtype;

pub(crate) use file::{Entry, MappedFile};
pub use tensor::{StoredTensor, StoredType, decode};

use self::index::Index;
use crate::error::{EmbeddingError, Result};
use crate::quantize::QuantizedModel;

/// The tensors of one model.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
    files: Vec<PathBuf>,
    mapped: Vec<Arc<MappedFile>>,
    tensors: BTreeMap<String, StoredTensor>,
    /// Tensors of types that are not understood, and their types.
    others: BTreeMap<String, Dtype>,
    /// Put before every name that an author asks for: `bert.`, `model.` or nothing.
    prefix: String,
    /// Full names of the tensors that were asked for.
    asked: Arc<Mutex<BTreeSet<String>>>,
    /// Its linear layers in 8-bit integers, where they were read.
    quantized: Option<Arc<QuantizedModel>>,
}

impl Weights {
    /// Maps a safetensors file, or all that an index (`….json`) lists, and reads their headers.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where a file is missing, truncated or not what its header says, and where the
    /// index and the files do not agree.
    pub fn open(path: &Path) -> Result<Self> {
        let is_index = path.extension().is_some_and(|extension| extension == "json");
        let index = if is_index { Some(Index::read(path)?) } else { None };
        let files = index.as_ref().map_or_else(|| Ok(vec![path.to_owned()]), Index::files)?;
        let mut weights = Self {
            path: path.to_owned(),
            files: files.clone(),
            mapped: Vec::with_capacity(files.len()),
            tensors: BTreeMap::new(),
            others: BTreeMap::new(),
            prefix: String::new(),
            asked: Arc::default(),
            quantized: None,
        };
        for file in &files {
            weights.add(file, index.as_ref())?;
        }
        if let Some(index) = index {
            let found: BTreeSet<String> = weights.tensors.keys().chain(weights.others.keys()).cloned().collect();
            index.check_complete(&found)?;
        }
        Ok(weights)
    }

    fn add(&mut self, path: &Path, index: Option<&Index>) -> Result<()> {
        let (file, entries) = MappedFile::open(path)?;
        self.mapped.push(Arc::clone(&file));
        for entry in entries {
            if let Some(index) = index {
                index.check(&entry.name, path)?;
            }
            let Some(dtype) = StoredType::of(entry.dtype) else {
                // Integer buffers (`position_ids` of old exports) are nothing that an author asks for.
                self.others.insert(entry.name, entry.dtype);
                continue;
            };
            let tensor = StoredTensor::new(entry.name.clone(), entry.shape, dtype, Arc::clone(&file), entry.range);
            self.tensors.insert(entry.name, tensor);
        }
        Ok(())
    }

    /// Refuses files that were written to in place since they were mapped; looked at once a second at most.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`], which names the file.
    pub fn check_unchanged(&self) -> Result<()> {
        self.mapped.iter().try_for_each(|file| file.check_unchanged())
    }

    /// The file, or all of several.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    /// The file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of parameters in all tensors of a floating-point type.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(StoredTensor::len).sum()
    }

    /// The stored type of the largest tensor, which is what people mean by "an fp16 model".
    pub fn stored_type(&self) -> Option<StoredType> {
        self.tensors.values().max_by_key(|tensor| tensor.len()).map(|tensor| tensor.dtype)
    }

    /// Finds the prefix under which `anchor` (a name every model of the family has) is stored.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where no tensor or more than one ends in `anchor`.
    pub fn with_prefix_of(mut self, anchor: &str) -> Result<Self> {
        let mut prefixes = self.tensors.keys().chain(self.others.keys()).filter_map(|name| {
            let prefix = name.strip_suffix(anchor)?;
            (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
        });
        let Some(prefix) = prefixes.next().map(str::to_owned) else {
            return Err(self.missing(anchor));
        };
        if let Some(second) = prefixes.next() {
            let problem = format!(
                "the model holds this tensor under the prefixes {prefix:?} and {second:?}, so it is not one text encoder"
            );
            return Err(EmbeddingError::invalid_key(&self.path, anchor, None, problem));
        }
        self.prefix = prefix;
        Ok(self)
    }

    /// The same with linear layers in 8-bit integers beside the stored ones.
    #[must_use]
    pub fn with_quantized(mut self, model: Arc<QuantizedModel>) -> Self {
        self.quantized = Some(model);
        self
    }

    /// The linear layers in 8-bit integers.
    pub fn quantized(&self) -> Option<&Arc<QuantizedModel>> {
        self.quantized.as_ref()
    }

    /// True where the file has the tensor `name` (after the prefix).
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.full_name(name))
    }

    /// The tensor `name` (after the prefix), which must have the shape `shape`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] naming the tensor and the shape expected and found.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&StoredTensor> {
        let tensor = self.tensors.get(&self.full_name(name)).ok_or_else(|| self.missing(name))?;
        if tensor.shape != shape {
            return Err(EmbeddingError::invalid_key(
                tensor.path(),
                &tensor.name,
                Some(format!("shape {:?}", tensor.shape)),
                format!("config.json asks for the shape {shape:?}"),
            ));
        }
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(tensor.name.clone());
        Ok(tensor)
    }

    /// All tensors of a floating-point type, by name.
    pub fn tensors(&self) -> impl Iterator<Item = &StoredTensor> {
        self.tensors.values()
    }

    /// The tensors that nobody has asked for so far.
    pub fn unused(&self) -> Vec<&StoredTensor> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.tensors.values().filter(|tensor| !asked.contains(&tensor.name)).collect()
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn missing(&self, name: &str) -> EmbeddingError {
        if let Some(dtype) = self.others.get(&self.full_name(name)) {
            let stored = Some(format!("stored as {dtype:?}"));
            let problem = "float32 (F32), float16 (F16) and bfloat16 (BF16) are understood";
            return EmbeddingError::invalid_key(&self.path, &self.full_name(name), stored, problem);
        }
        let stored: Vec<&str> = self.tensors.keys().take(3).map(String::as_str).collect();
        let problem = if stored.is_empty() {
            "the tensor is missing; the model holds no floating-point tensors (float32, float16, bfloat16)".to_owned()
        } else {
            format!("the tensor is missing; the model holds {} tensors: {}, …", self.tensors.len(), stored.join(", "))
        };
        EmbeddingError::invalid_key(&self.path, &self.full_name(name), None, problem)
    }
}
