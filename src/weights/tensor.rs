//! One tensor where it lies in a mapped file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::file::MappedFile;
use crate::error::{EmbeddingError, Result};

/// Numbers converted at a time: few enough for the stack and the first cache.
const BLOCK: usize = 512;

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

    /// Writes the numbers in `stored`, little-endian, to `numbers` as those of the type `to` are in this machine's
    /// memory, as many as there are of both. Widening is exact; narrowing goes to the nearest.
    pub fn convert(self, stored: &[u8], to: Self, numbers: &mut [u8]) {
        match (self, to) {
            (Self::Float32, Self::Float32) => each(stored, numbers, |bytes| u32::from_le_bytes(bytes).to_ne_bytes()),
            (Self::Float16, Self::Float16) | (Self::BFloat16, Self::BFloat16) => {
                each(stored, numbers, |bytes| u16::from_le_bytes(bytes).to_ne_bytes());
            }
            (Self::BFloat16, Self::Float32) => {
                each(stored, numbers, |bytes| (u32::from(u16::from_le_bytes(bytes)) << 16).to_ne_bytes());
            }
            (Self::Float16, Self::Float32) => widen_halves(stored, numbers),
            (Self::Float32, Self::Float16) => {
                each(stored, numbers, |bytes| f16::from_f32(f32::from_le_bytes(bytes)).to_ne_bytes());
            }
            (Self::BFloat16, Self::Float16) => {
                each(stored, numbers, |bytes| f16::from_f32(bf16::from_le_bytes(bytes).to_f32()).to_ne_bytes());
            }
            (Self::Float32, Self::BFloat16) => {
                each(stored, numbers, |bytes| bf16::from_f32(f32::from_le_bytes(bytes)).to_ne_bytes());
            }
            (Self::Float16, Self::BFloat16) => {
                each(stored, numbers, |bytes| bf16::from_f32(f16::from_le_bytes(bytes).to_f32()).to_ne_bytes());
            }
        }
    }
}

fn each<const FROM: usize, const TO: usize>(
    stored: &[u8],
    numbers: &mut [u8],
    number: impl Fn([u8; FROM]) -> [u8; TO],
) {
    for (to, from) in numbers.as_chunks_mut().0.iter_mut().zip(stored.as_chunks().0) {
        *to = number(*from);
    }
}

/// In blocks, because processors convert several halves at a time, and `half` knows how.
fn widen_halves(stored: &[u8], numbers: &mut [u8]) {
    let (mut halves, mut singles) = ([f16::ZERO; BLOCK], [0.0_f32; BLOCK]);
    for (stored, numbers) in stored.chunks(2 * BLOCK).zip(numbers.chunks_mut(4 * BLOCK)) {
        for (half, bytes) in halves.iter_mut().zip(stored.as_chunks().0) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(&mut singles);
        for (bytes, single) in numbers.as_chunks_mut().0.iter_mut().zip(singles) {
            *bytes = single.to_ne_bytes();
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
        let mut values = vec![0; 4 * self.len()];
        self.dtype.convert(self.bytes(), StoredType::Float32, &mut values);
        decode(&values, f32::from_ne_bytes)
    }

    /// Says that the file's pages with these of its bytes are not needed for now; reading them brings them back.
    pub fn release(&self, bytes: Range<usize>) {
        let start = self.range.start + bytes.start.min(self.range.len());
        let end = self.range.start + bytes.end.min(self.range.len());
        self.file.release(start..end);
    }
}

/// The numbers in little-endian `bytes`, wherever these lie in memory.
pub fn decode<T, const SIZE: usize>(bytes: &[u8], number: fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
}
