//! The service, run from Python.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::serve::{Invocation, ModelSetting};

/// Runs the embedding service by the command line `arguments`, the program's name first, until the process is told to
/// stop; returns its exit status. `find` makes of a model's name or folder its name and its folder; where no model is named,
/// `default` is served.
#[pyfunction]
pub fn serve(py: Python<'_>, arguments: Vec<OsString>, find: &Bound<'_, PyAny>, default: PathBuf) -> PyResult<u8> {
    let mut invocation = match Invocation::read(arguments) {
        Ok(invocation) => invocation,
        Err(status) => return Ok(status),
    };
    if invocation.needs_models() {
        let models = invocation.models_mut();
        if models.is_empty() {
            models.push(ModelSetting { name: String::new(), aliases: Vec::new(), path: default });
        }
        for model in models {
            let (name, folder): (String, PathBuf) = find.call1((model.path.as_os_str(),))?.extract()?;
            if model.name.is_empty() {
                model.name = name;
            }
            model.path = folder;
        }
    }
    Ok(py.detach(|| invocation.run()))
}
