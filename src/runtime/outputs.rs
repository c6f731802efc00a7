//! Types and shapes of a session's outputs, as ONNX Runtime inferred them.

use std::ptr;

use ort::AsPointer;
use ort::session::Session;

use super::status::check;
use crate::error::Result;

const WHAT: &str = "the types of outputs cannot be read";

/// What ONNX Runtime knows of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// `TensorProto.DataType`.
    pub element: i32,
    /// Sizes of its dimensions, -1 where they vary; none where not even their number is known, which `ort` tells as a
    /// scalar.
    pub shape: Option<Vec<i64>>,
}

/// Each output that is a tensor, by name.
///
/// # Errors
/// `InferenceFailed` where ONNX Runtime does not tell.
pub fn inferred(session: &Session) -> Result<Vec<(String, Inferred)>> {
    let mut outputs = Vec::with_capacity(session.outputs().len());
    for (index, output) in session.outputs().iter().enumerate() {
        if let Some(inferred) = output_type(session, index)? {
            outputs.push((output.name().to_owned(), inferred));
        }
    }
    Ok(outputs)
}

/// Gives the type back to ONNX Runtime when the shape was read.
struct TypeInfo(*mut ort::sys::OrtTypeInfo);

impl Drop for TypeInfo {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from `SessionGetOutputTypeInfo`, which hands it over, and is released once.
        unsafe { (ort::api().ReleaseTypeInfo)(self.0) };
    }
}

fn output_type(session: &Session, index: usize) -> Result<Option<Inferred>> {
    let api = ort::api();
    let inner = session.inner();
    let mut info = ptr::null_mut();
    // SAFETY: the session lives as long as `inner`, the index is below its number of outputs, the out-pointer is valid.
    unsafe { check((api.SessionGetOutputTypeInfo)(inner.ptr(), index, &raw mut info), WHAT) }?;
    let info = TypeInfo(info);
    let mut tensor = ptr::null();
    // SAFETY: a valid type and out-pointer; what comes back belongs to `info`.
    unsafe { check((api.CastTypeInfoToTensorInfo)(info.0, &raw mut tensor), WHAT) }?;
    if tensor.is_null() {
        return Ok(None);
    }
    // A number, and not the enumeration: a newer ONNX Runtime may know types that the enumeration has no value for.
    let mut element: i32 = 0;
    let mut rank = 0;
    // SAFETY: `tensor` is not null and lives as long as `info`. The out-pointer is valid, and of the size that C gives the
    // enumeration, which is that of a C `int`.
    unsafe { check((api.GetTensorElementType)(tensor, (&raw mut element).cast()), WHAT) }?;
    // SAFETY: as above.
    let has_shape = unsafe { (api.TensorTypeAndShape_HasShape)(tensor) };
    // SAFETY: as above.
    unsafe { check((api.GetDimensionsCount)(tensor, &raw mut rank), WHAT) }?;
    let mut shape = vec![0; rank];
    // SAFETY: as above; `shape` has room for `rank` numbers.
    unsafe { check((api.GetDimensions)(tensor, shape.as_mut_ptr(), rank), WHAT) }?;
    Ok(Some(Inferred { element, shape: has_shape.then_some(shape) }))
}
