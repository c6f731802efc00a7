//! What a model folder or an ONNX file is, without embedding a text: what would run and why, what its files say, what is
//! suspicious, and what each execution provider would take of the graph.
//!
//! A broken folder is inspected as far as it can be read; what cannot is a [`Finding`] with the words of the error that
//! loading the model would end with.

mod coreml_operators;
mod external;
mod files;
mod findings;
mod folder;
mod graph;
mod model_facts;
mod onnx_file;
mod partitions;
mod providers;
mod report;
mod shapes;
mod skeleton;
mod tokenizer;
mod weights;

use std::path::Path;
use std::sync::Arc;

pub use coreml_operators::TABLES_OF as COREML_TABLES_OF;
pub use findings::{Code, Finding, Severity};
pub use report::{
    Coverage, Dimension, DtypeFacts, ExternalFacts, GraphFacts, Inspection, Kind, ModelFacts, PortFacts, ProviderFacts,
    Runs, TokenizerFacts, WeightFacts,
};

use crate::error::{EmbeddingError, Result};
use crate::onnx::OnnxFile;
use crate::runtime::library::{self, Library};
use onnx_file::Inspected;

/// Inspects the model folder or ONNX file `path`.
///
/// ONNX Runtime is asked what it makes of the graph; where it is absent, that is a finding. Weights are not loaded, so
/// that a large model takes no more memory than a small one.
///
/// ```
/// use oxembed::inspect::inspect;
///
/// let inspection = inspect("tests/fixtures/bert-cls/onnx/model.onnx".as_ref())?;
/// let graph = inspection.graph.unwrap();
/// assert_eq!(graph.operators["ai.onnx"]["Softmax"], 2);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
///
/// # Errors
/// [`EmbeddingError::ModelNotFound`] where there is nothing at `path`; [`EmbeddingError::InvalidModel`] for a file that
/// is no ONNX model.
pub fn inspect(path: &Path) -> Result<Inspection> {
    inspect_with(path, &library::library(None).map_err(|error| error.to_string()))
}

/// As [`inspect`], with an ONNX Runtime that was loaded before, or the reason why there is none.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_with(path: &Path, library: &Result<Arc<Library>, String>) -> Result<Inspection> {
    let metadata = path.metadata().map_err(|error| EmbeddingError::ModelNotFound {
        model: path.display().to_string(),
        message: format!("there is no such file or folder ({error})"),
    })?;
    let mut inspection = if metadata.is_dir() { folder::inspect(path, library)? } else { inspect_file(path, library)? };
    inspection.findings = findings::sorted(std::mem::take(&mut inspection.findings));
    Ok(inspection)
}

fn inspect_file(path: &Path, library: &Result<Arc<Library>, String>) -> Result<Inspection> {
    let file = OnnxFile::open(path)?;
    let mut findings = Vec::new();
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let inspected = Inspected::new(file, &name, &mut findings);
    let providers = providers::facts(&inspected.subject(), library, &mut findings);
    Ok(Inspection {
        path: path.display().to_string(),
        kind: Kind::OnnxFile,
        runs: None,
        model: None,
        tokenizer: None,
        weights: None,
        graph: Some(inspected.facts),
        providers,
        unused_files: Vec::new(),
        findings,
    })
}
