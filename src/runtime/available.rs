//! The execution providers that the loaded ONNX Runtime was built with.

use std::ffi::CStr;
use std::ptr;

use super::library::Library;
use super::status::check;
use crate::error::Result;

const WHAT: &str = "the execution providers cannot be read";

impl Library {
    /// Names as ONNX Runtime spells them, the preferred first.
    ///
    /// # Errors
    /// `InferenceFailed` where ONNX Runtime does not tell.
    pub fn available_providers(&self) -> Result<Vec<String>> {
        let api = ort::api();
        let (mut names, mut count) = (ptr::null_mut(), 0);
        // SAFETY: that `self` exists says that the library is loaded; both out-pointers are valid.
        unsafe { check((api.GetAvailableProviders)(&raw mut names, &raw mut count), WHAT) }?;
        if names.is_null() {
            return Ok(Vec::new());
        }
        let read = |index: usize| {
            // SAFETY: the array has `count` valid, NUL-terminated strings.
            unsafe { CStr::from_ptr(*names.add(index)) }.to_string_lossy().into_owned()
        };
        let providers = (0..usize::try_from(count).unwrap_or(0)).map(read).collect();
        // SAFETY: the array and its length as they came; not used any more.
        unsafe { check((api.ReleaseAvailableProviders)(names, count), WHAT) }?;
        Ok(providers)
    }
}
