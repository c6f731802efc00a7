//! One tensor where it lies in a mapped file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::file::MappedFile;
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
    /// The type for a header's `dtype`; `None` for integers and the types of quantized models.
    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::Float32),
            Dtype::F16 => Some(Self::Float16),
            Dtype::BF16 => Some(Self::BFloat16),
            _ => None,
        }
    }

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
    file: Arc<MappedFile>,
    range: Range<usize>,
}

impl StoredTensor {
    /// The tensor in `range` of `file`, which the header's parser has compared with `shape` and `dtype`.
    pub(super) fn new(
        name: String,
        shape: Vec<usize>,
        dtype: StoredType,
        file: Arc<MappedFile>,
        range: Range<usize>,
    ) -> Self {
        Self { name, shape, dtype, file, range }
    }

    /// The file that it lies in.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The bytes as they lie in the file, little-endian.
    pub fn bytes(&self) -> &[u8] {
        // The range was checked against the file's length by the header's parser.
        self.file.bytes().get(self.range.clone()).unwrap_or(&[])
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a tensor with a dimension of zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the rows, as a tensor of its own over the same bytes.
    ///
    /// # Errors
    /// [`EmbeddingError::Internal`] where there are no such rows.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self> {
        let Some((stored, rest)) = self.shape.split_first() else {
            return Err(EmbeddingError::internal("a scalar has no rows"));
        };
        if rows == (0..*stored) {
            return Ok(self.clone());
        }
        if rows.start > rows.end || rows.end > *stored {
            return Err(EmbeddingError::internal(format!("{} has no rows {rows:?}", self.name)));
        }
        let row_bytes = self.range.len() / stored;
        Ok(Self {
            name: format!("{}[{}..{}]", self.name, rows.start, rows.end),
            shape: [&[rows.len()], rest].concat(),
            dtype: self.dtype,
            file: Arc::clone(&self.file),
            range: self.range.start + rows.start * row_bytes..self.range.start + rows.end * row_bytes,
        })
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
