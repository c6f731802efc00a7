//! The weights as ONNX Runtime values, made once and shared by every session of a model.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::value::{DynValue, Tensor};

use super::converted::Converted;
use crate::error::{EmbeddingError, Result};
use crate::graph::{Arithmetic, Initializer, InitializerData};
use crate::weights::{StoredTensor, StoredType};

/// Bytes of memory that copies of the weights may take for their matrices to be packed for the matrix product.
///
/// Packing makes one more copy and takes a second for a gigabyte. It makes a lone text of a few tokens almost twice as
/// fast, and full batches 5%. Below the limit are the base models of BERT's kind, and the large ones in 32 bits.
const PACKING_LIMIT: usize = 3 << 29;

/// Named weights, ready to be given to sessions.
#[derive(Debug)]
pub struct Initializers {
    /// Name in the graph and value. Declared before what they are views of, so that they are dropped before.
    values: Vec<(String, Arc<DynValue>)>,
    /// Tensors whose values are the mapped file itself: they keep the map alive.
    mapped: Vec<StoredTensor>,
    /// Those of the others that were converted.
    _converted: Converted,
    /// Whose values some of these are.
    _known: Option<Arc<Initializers>>,
    packs: bool,
}

impl Initializers {
    /// Makes the values, with `threads` threads: a view of the file where its bytes can be used as they are, else a
    /// converted copy.
    ///
    /// # Errors
    /// `InferenceFailed` where ONNX Runtime refuses a value or there is not enough memory.
    pub fn new(initializers: Vec<Initializer>, threads: usize) -> Result<Self> {
        Self::with_packing_limit(initializers, threads, PACKING_LIMIT)
    }

    /// As [`new`](Self::new), with the values of `known` where both have the same weight: graphs of several shapes over
    /// one model have one copy.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn beside(known: Option<&Arc<Self>>, initializers: Vec<Initializer>, threads: usize) -> Result<Self> {
        let Some(known) = known else { return Self::new(initializers, threads) };
        let (mut shared, mut others) = (Vec::new(), Vec::new());
        for initializer in initializers {
            let value = known.values.iter().find(|(name, _)| *name == initializer.name);
            match (&initializer.data, value) {
                // What an author computes may depend on the shape.
                (InitializerData::As(..) | InitializerData::Stored(_), Some(value)) => shared.push(value.clone()),
                _ => others.push(initializer),
            }
        }
        let mut made = Self::new(others, threads)?;
        made.values.extend(shared);
        Ok(Self { _known: Some(Arc::clone(known)), ..made })
    }

    /// As [`new`](Self::new), with another limit for copies of the weights.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_packing_limit(initializers: Vec<Initializer>, threads: usize, limit: usize) -> Result<Self> {
        let matrices: usize = initializers.iter().map(matrix_size).sum();
        let sources: Vec<(&StoredTensor, StoredType)> =
            initializers.iter().filter_map(|each| to_copy(&each.data)).collect();
        let converted = Converted::new(&sources, threads)?;
        let packs = matrices.saturating_add(converted.size()) <= limit;
        let mut copies = converted.copies();
        let (mut values, mut mapped) = (Vec::with_capacity(initializers.len()), Vec::new());
        for Initializer { name, data } in initializers {
            let copy_type = to_copy(&data).map(|(_, dtype)| dtype);
            let value = match (data, copy_type) {
                (InitializerData::Computed { arithmetic, shape, values }, _) => owned(arithmetic, &shape, values)?,
                (InitializerData::As(_, tensor) | InitializerData::Stored(tensor), Some(dtype)) => {
                    view(copies.next().unwrap_or(&[]), dtype, &tensor.shape)?
                }
                (InitializerData::As(_, tensor) | InitializerData::Stored(tensor), None) => {
                    let value = view(tensor.bytes(), tensor.dtype, &tensor.shape)?;
                    mapped.push(tensor);
                    value
                }
            };
            values.push((name, Arc::new(value)));
        }
        drop(copies);
        Ok(Self { values, mapped, _converted: converted, _known: None, packs })
    }

    /// Name and value of each.
    pub fn values(&self) -> &[(String, Arc<DynValue>)] {
        &self.values
    }

    /// Whether a session should pack the matrices, which needs memory for another copy of them.
    pub fn packs(&self) -> bool {
        self.packs
    }

    /// Says that the file's pages are not needed for now, as when a session has packed what is in them.
    pub fn release(&self) {
        for tensor in &self.mapped {
            tensor.release(0..tensor.bytes().len());
        }
    }
}

/// Bytes that the packed copy takes.
fn matrix_size(initializer: &Initializer) -> usize {
    match &initializer.data {
        InitializerData::As(arithmetic, tensor) if tensor.shape.len() > 1 => {
            arithmetic.stored_type().size() * tensor.len()
        }
        InitializerData::Computed { arithmetic, shape, values } if shape.len() > 1 => {
            arithmetic.stored_type().size() * values.len()
        }
        _ => 0,
    }
}

/// The tensor that cannot be used where it lies in the file, and the type that is needed.
fn to_copy(data: &InitializerData) -> Option<(&StoredTensor, StoredType)> {
    let (tensor, dtype) = match data {
        InitializerData::As(arithmetic, tensor) => (tensor, arithmetic.stored_type()),
        InitializerData::Stored(tensor) => (tensor, tensor.dtype),
        InitializerData::Computed { .. } => return None,
    };
    let is_aligned = tensor.bytes().as_ptr().align_offset(dtype.size()) == 0;
    let is_usable = tensor.dtype == dtype && cfg!(target_endian = "little") && is_aligned && !tensor.is_empty();
    (!is_usable).then_some((tensor, dtype))
}

fn owned(arithmetic: Arithmetic, shape: &[usize], values: Vec<f32>) -> Result<DynValue> {
    let shape = shape.to_vec();
    let tensor = match arithmetic {
        Arithmetic::Float32 => Tensor::from_array((shape, values)).map(Tensor::into_dyn),
        Arithmetic::Float16 => {
            let values: Vec<half::f16> = values.into_iter().map(half::f16::from_f32).collect();
            Tensor::from_array((shape, values)).map(Tensor::into_dyn)
        }
    };
    tensor.map_err(|error| failed(&error))
}

/// A value whose numbers are `bytes`, which have to outlive it.
fn view(bytes: &[u8], dtype: StoredType, shape: &[usize]) -> Result<DynValue> {
    let needed = shape.iter().product::<usize>() * dtype.size();
    if bytes.len() != needed {
        let message = format!("{} bytes stand for a weight of {needed}", bytes.len());
        return Err(EmbeddingError::internal(message));
    }
    let shape: Vec<i64> = shape.iter().map(|dimension| i64::try_from(*dimension).unwrap_or(i64::MAX)).collect();
    let element_type = match dtype {
        StoredType::Float32 => ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        StoredType::Float16 => ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        StoredType::BFloat16 => ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
    };
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
        .map_err(|error| failed(&error))?;
    let mut value = ptr::null_mut();
    // SAFETY: the pointer and length describe memory that the caller keeps alive as long as the value: the mapped file
    // or the converted copies, which `to_copy` makes where the file's bytes are not aligned for their type. ONNX Runtime
    // never writes to an initializer. The shape's product times the element size is the length, which was compared above.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            bytes.as_ptr().cast::<c_void>().cast_mut(),
            bytes.len(),
            shape.as_ptr(),
            shape.len(),
            element_type,
            &raw mut value,
        )
    };
    // SAFETY: the status comes from the call above and is consumed once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| failed(&error))?;
    let value = NonNull::new(value).ok_or_else(|| EmbeddingError::internal("ONNX Runtime made an empty tensor"))?;
    // SAFETY: `value` was made by the call above and is owned by nobody else.
    Ok(unsafe { DynValue::from_ptr(value, Some(&Allocator::default())) })
}

fn failed(error: &ort::Error) -> EmbeddingError {
    EmbeddingError::inference_failed(format!("a weight could not be handed to ONNX Runtime: {error}"))
}

#[cfg(test)]
#[path = "initializers_tests.rs"]
mod tests;
