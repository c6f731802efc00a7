//! `model.safetensors`, memory-mapped and checked before anything is allocated.
//!
//! The header is parsed by the `safetensors` crate, which bounds its size and refuses overlapping or dangling ranges;
//! this module adds what a model needs: names with any prefix, expected shapes, and errors that say which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use crate::error::{EmbeddingError, Result};

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredType {
    /// IEEE single precision.
    Float32,
    /// IEEE half precision.
    Float16,
    /// The upper half of a single.
    BFloat16,
}

impl StoredType {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::BFloat16 => 2,
        }
    }

    /// The name as `dtype` arguments spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
        }
    }
}

/// One tensor where it lies in the file.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// Name in the file, prefix included.
    pub name: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub dtype: StoredType,
    file: Arc<Mmap>,
    range: Range<usize>,
}

impl StoredTensor {
    /// The bytes as they lie in the file, little-endian.
    pub fn bytes(&self) -> &[u8] {
        // The range was checked against the file's length by the header's parser.
        self.file.get(self.range.clone()).unwrap_or(&[])
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a tensor with a dimension of zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers as `f32`; exact, as every stored type is a subset of it.
    pub fn to_f32(&self) -> Vec<f32> {
        let bytes = self.bytes();
        match self.dtype {
            StoredType::Float32 => decode(bytes, f32::from_le_bytes),
            StoredType::Float16 => decode(bytes, f16::from_le_bytes).to_f32_vec(),
            StoredType::BFloat16 => decode(bytes, bf16::from_le_bytes).to_f32_vec(),
        }
    }
}

/// The numbers in little-endian `bytes`, wherever these lie in memory.
pub fn decode<T, const SIZE: usize>(bytes: &[u8], number: fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
}

/// The tensors of one model.
#[derive(Debug, Clone)]
pub struct Weights {
    path: PathBuf,
    real_path: PathBuf,
    tensors: BTreeMap<String, StoredTensor>,
    /// Tensors of types that are not understood, and their types.
    others: BTreeMap<String, Dtype>,
    /// Put before every name that an author asks for: `bert.`, `model.` or nothing.
    prefix: String,
    /// Full names of the tensors that were asked for.
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Weights {
    /// Maps `path` and reads its header.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where the file is missing, truncated or not what its header says.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|error| EmbeddingError::invalid_model(path, "the file cannot be opened").caused_by(error))?;
        // SAFETY: the map is private and read-only. A file truncated by somebody else while it is mapped is the one
        // hazard mmap cannot exclude; model files are replaced by rename, never rewritten in place.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|error| EmbeddingError::invalid_model(path, "the file cannot be mapped").caused_by(error))?;
        refuse_large_header(path, &map)?;
        let (header_length, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
            EmbeddingError::invalid_model(
                path,
                "not a complete safetensors file: its header does not agree with its contents; download it again",
            )
            .caused_by(error)
        })?;
        let real_path = path
            .canonicalize()
            .map_err(|error| EmbeddingError::invalid_model(path, "the file went away").caused_by(error))?;
        let start = header_length + 8;
        let file = Arc::new(map);
        let (mut tensors, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (name, info) in metadata.tensors() {
            let Some(dtype) = stored_type(info.dtype) else {
                // Integer buffers (`position_ids` of old exports) are nothing that an author asks for.
                others.insert(name, info.dtype);
                continue;
            };
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            let tensor =
                StoredTensor { name: name.clone(), shape: info.shape.clone(), dtype, file: Arc::clone(&file), range };
            tensors.insert(name, tensor);
        }
        Ok(Self { path: path.to_owned(), real_path, tensors, others, prefix: String::new(), asked: Arc::default() })
    }

    /// The folder that holds the file itself: a Hugging Face cache has links to files elsewhere.
    pub fn folder(&self) -> &Path {
        self.real_path.parent().unwrap_or(Path::new(""))
    }

    /// Name of the file in [`Weights::folder`].
    pub fn file_name(&self) -> &str {
        self.real_path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default()
    }

    /// The file.
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
                "the file holds this tensor under the prefixes {prefix:?} and {second:?}, so it is not one text encoder"
            );
            return Err(EmbeddingError::invalid_key(&self.path, anchor, None, problem));
        }
        self.prefix = prefix;
        Ok(self)
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
                &self.path,
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
            "the tensor is missing; the file holds no floating-point tensors (float32, float16, bfloat16)".to_owned()
        } else {
            format!("the tensor is missing; the file holds {} tensors: {}, …", self.tensors.len(), stored.join(", "))
        };
        EmbeddingError::invalid_key(&self.path, &self.full_name(name), None, problem)
    }
}

/// The largest models have headers of a few hundred kilobytes; parsing a hostile one takes ten times its size.
const MAX_HEADER_BYTES: u64 = 8 << 20;

fn refuse_large_header(path: &Path, bytes: &[u8]) -> Result<()> {
    match bytes.first_chunk().map(|length| u64::from_le_bytes(*length)) {
        Some(length) if length > MAX_HEADER_BYTES => {
            let problem =
                format!("its header says that it is {length} bytes long; at most {MAX_HEADER_BYTES} are read");
            Err(EmbeddingError::invalid_model(path, problem))
        }
        _ => Ok(()),
    }
}

fn stored_type(dtype: Dtype) -> Option<StoredType> {
    match dtype {
        Dtype::F32 => Some(StoredType::Float32),
        Dtype::F16 => Some(StoredType::Float16),
        Dtype::BF16 => Some(StoredType::BFloat16),
        _ => None,
    }
}
