//! The weights as ONNX Runtime values, made once and shared by every session of a model.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::value::{DynValue, Tensor};

use crate::error::{EmbeddingError, Result};
use crate::graph::{Arithmetic, Initializer, InitializerData};
use crate::weights::{StoredTensor, StoredType, decode};

/// Named weights, ready to be given to sessions.
#[derive(Debug)]
pub struct Initializers {
    /// Name in the graph and value. Declared before `mapped`, so that it is dropped before.
    values: Vec<(String, Arc<DynValue>)>,
    /// Tensors whose values are the mapped file itself: they keep the map alive.
    _mapped: Vec<StoredTensor>,
}

impl Initializers {
    /// Makes the values: a view of the file where its bytes can be used as they are, else a converted copy.
    ///
    /// # Errors
    /// `InferenceFailed` where ONNX Runtime refuses a value.
    pub fn new(initializers: &[Initializer]) -> Result<Self> {
        let mut values = Vec::with_capacity(initializers.len());
        let mut mapped = Vec::new();
        for Initializer { name, data } in initializers {
            let value = match data {
                InitializerData::Computed { arithmetic, shape, values } => owned(*arithmetic, shape, values.clone())?,
                InitializerData::As(arithmetic, tensor) if arithmetic.stored_type() == tensor.dtype => {
                    view(tensor, &mut mapped)?
                }
                InitializerData::As(arithmetic, tensor) => owned(*arithmetic, &tensor.shape, tensor.to_f32())?,
                InitializerData::Stored(tensor) => view(tensor, &mut mapped)?,
            };
            values.push((name.clone(), Arc::new(value)));
        }
        Ok(Self { values, _mapped: mapped })
    }

    /// Name and value of each.
    pub fn values(&self) -> &[(String, Arc<DynValue>)] {
        &self.values
    }
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

/// The tensor where it lies in the file; copied where it lies unaligned there.
fn view(tensor: &StoredTensor, mapped: &mut Vec<StoredTensor>) -> Result<DynValue> {
    let bytes = tensor.bytes();
    if cfg!(target_endian = "little") && bytes.as_ptr().align_offset(tensor.dtype.size()) == 0 && !bytes.is_empty() {
        let value = borrowed(tensor)?;
        mapped.push(tensor.clone());
        return Ok(value);
    }
    let shape = tensor.shape.clone();
    let tensor = match tensor.dtype {
        StoredType::Float32 => Tensor::from_array((shape, tensor.to_f32())).map(Tensor::into_dyn),
        StoredType::Float16 => {
            Tensor::from_array((shape, decode(bytes, half::f16::from_le_bytes))).map(Tensor::into_dyn)
        }
        StoredType::BFloat16 => {
            Tensor::from_array((shape, decode(bytes, half::bf16::from_le_bytes))).map(Tensor::into_dyn)
        }
    };
    tensor.map_err(|error| failed(&error))
}

fn borrowed(tensor: &StoredTensor) -> Result<DynValue> {
    let bytes = tensor.bytes();
    let shape: Vec<i64> = tensor.shape.iter().map(|dimension| i64::try_from(*dimension).unwrap_or(i64::MAX)).collect();
    let element_type = match tensor.dtype {
        StoredType::Float32 => ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        StoredType::Float16 => ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        StoredType::BFloat16 => ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
    };
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
        .map_err(|error| failed(&error))?;
    let mut value = ptr::null_mut();
    // SAFETY: the pointer and length describe the mapped file, whose map the caller keeps alive as long as the value;
    // ONNX Runtime never writes to an initializer; the shape's product times the element size is the length, which
    // the header's parser checked.
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
