//! Python's strings as `&str`, or the error that names the one that is none.

use pyo3::exceptions::{PyMemoryError, PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::exceptions::raise;
use crate::error::EmbeddingError;

/// Strings of one call, kept alive while Rust reads them.
pub struct Texts<'py> {
    strings: Vec<Bound<'py, PyString>>,
}

impl<'py> Texts<'py> {
    /// Takes every item of the iterable `texts`.
    pub fn collect(texts: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut strings = list(texts.len().unwrap_or(0))?;
        for (index, item) in texts.try_iter()?.enumerate() {
            let string = item?.cast_into::<PyString>().map_err(|error| {
                let item = error.into_inner();
                let kind = item.get_type().qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string());
                PyTypeError::new_err(format!("text {index} is of type {kind}, not str"))
            })?;
            strings.push(string);
        }
        Ok(Self { strings })
    }

    /// The strings as Rust sees them, without copying.
    pub fn as_strs(&self, py: Python<'py>) -> PyResult<Vec<&str>> {
        let mut strs = list(self.strings.len())?;
        for (index, string) in self.strings.iter().enumerate() {
            strs.push(as_str(py, index, string)?);
        }
        Ok(strs)
    }
}

/// An empty list with room for `length` texts, or Python's own error where there is none.
fn list<T>(length: usize) -> PyResult<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(length).map_err(|error| {
        PyMemoryError::new_err(format!("there is no memory for a list of {length} texts ({error}); use encode_iter"))
    })?;
    Ok(list)
}

fn as_str<'a>(py: Python<'_>, index: usize, string: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    string.to_str().map_err(|error| {
        if !error.is_instance_of::<PyUnicodeEncodeError>(py) {
            return error;
        }
        let message = format!(
            "text {index} has a lone surrogate, so it is not valid Unicode and cannot be tokenized; replace it, for \
             example with text.encode(\"utf-8\", \"replace\").decode()"
        );
        raise(py, &EmbeddingError::invalid_text(index, message))
    })
}
