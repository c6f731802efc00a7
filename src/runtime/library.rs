//! Finding and loading the ONNX Runtime library, once for the process.
//!
//! Nothing is linked: the library is the one inside the user's `onnxruntime` wheel (its path is passed in by the
//! Python package), or the one that `ORT_DYLIB_PATH` names, or one where the system's loader looks.

use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

#[cfg(target_os = "linux")]
use super::elf::missing_part;
use super::forking::UnderWay;
use super::messages::remember;
use crate::error::{EmbeddingError, Result};
use crate::memory;

/// Names the library in place of every other way of finding it.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// ONNX Runtime 1.24 is the first that can tell where it placed the nodes of a graph.
const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// The loaded library.
#[derive(Debug, Clone)]
pub struct Library {
    /// The environment that sessions are made in.
    pub environment: Environment,
    /// Version as the library tells it, such as `1.31.1`.
    pub version: String,
    /// The file, or the name given to the system's loader.
    pub path: PathBuf,
}

static LIBRARY: Mutex<Option<Arc<Library>>> = Mutex::new(None);

/// The library, loaded from `path` on the first call; later calls return what is loaded, whatever their `path`.
///
/// `ORT_DYLIB_PATH`, where set, wins over `path`; with neither, the system's loader is asked for `onnxruntime`.
///
/// # Errors
/// [`EmbeddingError::ServiceUnavailable`] where there is no library, or one that is too old or broken; the next call
/// tries again.
pub fn library(path: Option<&Path>) -> Result<Arc<Library>> {
    let _under_way = UnderWay::begin();
    let mut loaded = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = loaded.as_ref() {
        return Ok(Arc::clone(library));
    }
    let library = Arc::new(load(&chosen_path(path, std::env::var_os(LIBRARY_VARIABLE)))?);
    tracing::debug!(version = library.version, path = %library.path.display(), "loaded ONNX Runtime");
    *loaded = Some(Arc::clone(&library));
    Ok(library)
}

fn chosen_path(path: Option<&Path>, variable: Option<OsString>) -> PathBuf {
    match variable.filter(|value| !value.is_empty()) {
        Some(value) => PathBuf::from(value),
        None => path.map_or_else(|| PathBuf::from(libloading::library_filename("onnxruntime")), Path::to_owned),
    }
}

fn load(path: &Path) -> Result<Library> {
    let looks_like_a_path = path.components().count() > 1;
    if looks_like_a_path && !path.is_file() {
        return Err(unavailable(path, "there is no such file"));
    }
    #[cfg(target_os = "linux")]
    if let Some((needed, found)) = missing_part(path).filter(|_| looks_like_a_path) {
        return Err(unavailable(path, &format!("a part of it is missing, as it has {found} of {needed} bytes")));
    }
    let version = check(path)?;
    // An environment that was made by half cannot be made again: operators that it registered are then there twice.
    memory::ensure(0, "ONNX Runtime")?;
    let environment = ort::init_from(path)
        .map_err(|error| unavailable(path, &format!("it does not load: {error}")))?
        .with_name(env!("CARGO_PKG_NAME"))
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _category, _id, location, message| log(level, location, message)))
        .build()
        .map_err(|error| unavailable(path, &format!("its environment cannot be made: {error}")).caused_by(error))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(Library { environment, version, path: path.to_owned() })
}

/// Asks the library for its version and the API we use, before `ort` does: `ort` panics where we return an error.
fn check(path: &Path) -> Result<String> {
    // SAFETY: loading a library runs its initializers. The path is the one that the user's environment names as ONNX
    // Runtime; whoever can change it can run code in this process anyway.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| unavailable(path, "the system's loader refuses it").caused_by(error))?;
    // SAFETY: `OrtGetApiBase` has this signature in every release of ONNX Runtime since 1.0.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
        .map_err(|error| unavailable(path, "it is not ONNX Runtime: it has no OrtGetApiBase").caused_by(error))?;
    // SAFETY: the function takes no arguments and returns a pointer to static data, or null.
    let base = unsafe { base().as_ref() }.ok_or_else(|| unavailable(path, "its OrtGetApiBase returns nothing"))?;
    // SAFETY: the field is a valid function pointer by the layout of `OrtApiBase`.
    let version = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err(unavailable(path, "it does not tell its version"));
    }
    // SAFETY: not null, and a static NUL-terminated string by contract.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    // The version first: asked for an API that it does not have, ONNX Runtime prints to standard error.
    // SAFETY: as above; the argument is a plain number.
    let has_api = || !unsafe { (base.GetApi)(ort::sys::ORT_API_VERSION) }.is_null();
    if minor.is_none_or(|minor| minor < OLDEST_MINOR) || !has_api() {
        let problem = format!("it is ONNX Runtime {version}, and oxembed needs 1.{OLDEST_MINOR} or newer");
        return Err(unavailable(path, &problem));
    }
    // Stays loaded: `ort` opens the same file again, and unloading in between would run its destructors.
    std::mem::forget(library);
    Ok(version)
}

fn unavailable(path: &Path, problem: &str) -> EmbeddingError {
    let looked_for = if path.components().count() > 1 {
        format!("the library {}", path.display())
    } else {
        format!("{} in the places where the system's loader looks", path.display())
    };
    let message = format!(
        "ONNX Runtime is not available. Looked for {looked_for}: {problem}. Install it with \
         `pip install \"onnxruntime>=1.{OLDEST_MINOR}\"`, or set {LIBRARY_VARIABLE} to the full path of its shared \
         library."
    );
    EmbeddingError::ServiceUnavailable { message, source: None }
}

/// ONNX Runtime would print to standard error; a library does not print.
fn log(level: LogLevel, location: &str, message: &str) {
    if matches!(level, LogLevel::Fatal | LogLevel::Error) {
        remember(message);
    }
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(target: "onnxruntime", location, "{message}"),
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", location, "{message}"),
        LogLevel::Info => tracing::debug!(target: "onnxruntime", location, "{message}"),
        LogLevel::Verbose => tracing::trace!(target: "onnxruntime", location, "{message}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use super::{check, chosen_path, load};
    use crate::error::EmbeddingError;

    fn message(path: &Path) -> String {
        match load(path) {
            Err(EmbeddingError::ServiceUnavailable { message, .. }) => message,
            other => format!("not the error expected: {other:?}"),
        }
    }

    #[test]
    fn the_variable_wins_over_the_path() {
        let given = Path::new("/given/libonnxruntime.so");
        assert_eq!(chosen_path(Some(given), Some(OsString::from("/variable.so"))), PathBuf::from("/variable.so"));
        assert_eq!(chosen_path(Some(given), Some(OsString::new())), given);
        assert_eq!(chosen_path(Some(given), None), given);
    }

    #[test]
    fn an_absent_library_is_an_error_that_says_how_to_install_it() {
        let message = message(Path::new("/no/such/libonnxruntime.so"));
        assert!(message.contains("/no/such/libonnxruntime.so"), "{message}");
        assert!(message.contains("pip install"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"not a library").unwrap();
        assert!(message(file.path()).contains("refuses it"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_library_is_an_error() {
        let error = check(Path::new("libm.so.6")).unwrap_err();
        assert!(error.to_string().contains("OrtGetApiBase"), "{error}");
    }
}
