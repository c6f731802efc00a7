//! `Embedder` for Python: converts, detaches from the interpreter, calls, converts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::cancellation::CancellationToken;
use super::diagnosis::{self, PlugInArgument};
use super::exceptions::raise;
use super::results::{self, Usage};
use super::texts::Texts;
use crate::embedder::{Embedder, Embeddings};
use crate::error::{EmbeddingError, Result};
use crate::options::{EncodeOptions, Role};
use crate::provider::{BatchEmbeddingRequest, checked_inputs};
use crate::runtime::pool::LOOK_UP;
use crate::runtime::providers::ProviderRequest;
use crate::tokenization::Truncation;

/// A provider's name, settings by our names, options of ONNX Runtime's own.
type ProviderArgument = (String, BTreeMap<String, String>, BTreeMap<String, String>);

fn request((name, settings, options): ProviderArgument) -> ProviderRequest {
    let request = ProviderRequest::named(name);
    let request = settings.into_iter().fold(request, |request, (name, value)| request.setting(name, value));
    options.into_iter().fold(request, |request, (key, value)| request.option(key, value))
}

type Rows<'py> = (Bound<'py, PyArray2<f32>>, Usage);

/// A loaded model.
#[pyclass(frozen, name = "Embedder", module = "oxembed._core")]
#[derive(Debug)]
pub struct PyEmbedder {
    embedder: Embedder,
}

#[pymethods]
impl PyEmbedder {
    #[new]
    #[pyo3(signature = (
        folder, *, providers, plug_ins, cache, threads, max_seq_length, truncate_dim, dtype, onnx_file
    ))]
    #[allow(clippy::too_many_arguments)] // Python's keywords.
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        providers: Vec<ProviderArgument>,
        plug_ins: Vec<PlugInArgument>,
        cache: Option<PathBuf>,
        threads: Option<usize>,
        max_seq_length: Option<usize>,
        truncate_dim: Option<usize>,
        dtype: &str,
        onnx_file: Option<PathBuf>,
    ) -> PyResult<Self> {
        // NumPy's table of functions is found by Python code, where an interrupt that waits to be raised would be a panic:
        // so not when the first rows are returned, but here, where none waits.
        py.check_signals()?;
        numpy::dtype::<f32>(py);
        let mut builder = Embedder::builder(folder).providers(providers.into_iter().map(request)).dtype(dtype);
        for plug_in in diagnosis::plug_ins(plug_ins) {
            builder = builder.plug_in(plug_in);
        }
        builder = match cache {
            Some(folder) => builder.cache(folder),
            None => builder,
        };
        builder = match threads {
            Some(threads) => builder.threads(threads),
            None => builder,
        };
        builder = match max_seq_length {
            Some(tokens) => builder.max_seq_length(tokens),
            None => builder,
        };
        builder = match truncate_dim {
            Some(dimension) => builder.truncate_dim(dimension),
            None => builder,
        };
        builder = match onnx_file {
            Some(file) => builder.onnx_file(file),
            None => builder,
        };
        let embedder = py.detach(|| builder.load()).map_err(|error| raise(py, &error))?;
        Ok(Self { embedder })
    }

    /// Rows of `texts`, in order, and what they took.
    #[pyo3(signature = (
        texts, *, prompt, prompt_name, role, normalize_embeddings, truncate_dim, truncation, progress, cancellation
    ))]
    #[allow(clippy::too_many_arguments)] // Python's keywords.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        prompt: Option<String>,
        prompt_name: Option<String>,
        role: Option<&str>,
        normalize_embeddings: Option<bool>,
        truncate_dim: Option<usize>,
        truncation: &str,
        progress: Option<Py<PyAny>>,
        cancellation: Option<&CancellationToken>,
    ) -> PyResult<Rows<'py>> {
        let options = EncodeOptions {
            prompt,
            prompt_name,
            role: parse_role(role).map_err(|error| raise(py, &error))?,
            normalize: normalize_embeddings,
            truncate_dim,
            truncation: parse_truncation(truncation).map_err(|error| raise(py, &error))?,
        };
        let texts = Texts::collect(texts)?;
        let texts = texts.as_strs(py)?;
        let mut attention = Attention::new(progress, cancellation.map(CancellationToken::flag));
        let outcome = py.detach(|| self.embedder.encode_watched(&texts, &options, &mut |done| attention.look_up(done)));
        attention.finish(py, outcome)
    }

    /// The strict service contract: see `oxembed.Embedder.embed_batch`.
    #[pyo3(signature = (inputs, *, normalize, max_inputs))]
    fn embed_batch<'py>(
        &self,
        py: Python<'py>,
        inputs: &Bound<'py, PyAny>,
        normalize: bool,
        max_inputs: usize,
    ) -> PyResult<Rows<'py>> {
        let texts = Texts::collect(inputs)?;
        let texts = texts.as_strs(py)?;
        checked_inputs(&texts, max_inputs).map_err(|error| raise(py, &error))?;
        let options = BatchEmbeddingRequest::options(normalize);
        let mut attention = Attention::new(None, None);
        let outcome = py.detach(|| self.embedder.encode_watched(&texts, &options, &mut |done| attention.look_up(done)));
        attention.finish(py, outcome)
    }

    /// Token ids with special tokens, truncated, unpadded.
    fn tokenize<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Vec<Vec<u32>>> {
        self.tokens(py, texts, |text| text.ids)
    }

    /// Number of tokens with special tokens, before truncation.
    fn count_tokens<'py>(&self, py: Python<'py>, texts: &Bound<'py, PyAny>) -> PyResult<Vec<usize>> {
        self.tokens(py, texts, |text| text.whole_length)
    }

    /// Numbers in a vector.
    #[getter]
    fn dimension(&self) -> usize {
        self.embedder.model().info().dimension
    }

    /// Most tokens of a text.
    #[getter]
    fn max_seq_length(&self) -> usize {
        self.embedder.model().info().max_seq_length
    }

    /// The id that shorter texts are filled up with.
    #[getter]
    fn pad_token_id(&self) -> u32 {
        self.embedder.model().padding_id()
    }

    /// How the model's vectors are meant to be compared.
    #[getter]
    fn similarity_fn_name(&self) -> &str {
        &self.embedder.model().info().similarity_fn_name
    }

    /// What the user should know about the folder, in plain sentences.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.embedder.model().info().assumptions.clone()
    }

    /// What was loaded.
    fn model_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        results::model_info(py, self.embedder.model().info())
    }

    /// Embeds a word and says whether that worked.
    fn health_check<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let health = py.detach(|| self.embedder.health());
        let dict = PyDict::new(py);
        dict.set_item("healthy", health.healthy)?;
        dict.set_item("message", health.message)?;
        dict.set_item("latency_ms", health.latency.as_secs_f64() * 1e3)?;
        Ok(dict)
    }

    /// Where ONNX Runtime placed the nodes, which providers are not used, and what failed.
    fn placement<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        // A shared session that runs or is being compiled is waited for.
        let report = py.detach(|| self.embedder.placement());
        results::placement(py, &report)
    }

    /// What its time went into, in seconds, and what it did in it.
    fn stages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        results::stages(py, &self.embedder.stages())
    }

    /// Inputs, outputs and number of the linear layers of each shape.
    fn linear_shapes(&self) -> Vec<(usize, usize, usize)> {
        let shapes = self.embedder.model().linear_shapes();
        shapes.iter().map(|shape| (shape.inputs, shape.outputs, shape.layers)).collect()
    }

    /// Operators, their seconds and nodes, by ONNX Runtime's profile of a session of its own.
    fn operator_times(&self, py: Python<'_>, texts: &Bound<'_, PyAny>) -> PyResult<Vec<(String, f64, u64)>> {
        let texts = Texts::collect(texts)?;
        let texts = texts.as_strs(py)?;
        let mut attention = Attention::new(None, None);
        let times = py.detach(|| self.embedder.operator_times(&texts, &mut |done| attention.look_up(done)));
        let times = attention.outcome(py, times)?;
        Ok(times.into_iter().map(|one| (one.operator, one.time.as_secs_f64(), one.nodes)).collect())
    }

    /// Makes the sessions of a provider that compiles one for each shape.
    #[pyo3(signature = (*, max_length, batch_sizes))]
    #[allow(clippy::needless_pass_by_value)] // The interpreter hands arguments over.
    fn warm_up(&self, py: Python<'_>, max_length: Option<usize>, batch_sizes: Option<Vec<usize>>) -> PyResult<usize> {
        py.detach(|| self.embedder.warm_up(max_length, batch_sizes.as_deref())).map_err(|error| raise(py, &error))
    }

    /// Failures in use that were not returned before.
    fn new_failures<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.embedder.new_failures().iter().map(|event| results::event(py, event)).collect()
    }
}

impl PyEmbedder {
    fn tokens<'py, T: Send>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        read: impl Fn(crate::tokenization::TokenizedText) -> T + Send + Sync,
    ) -> PyResult<Vec<T>> {
        let texts = Texts::collect(texts)?;
        let texts = texts.as_strs(py)?;
        let mut attention = Attention::new(None, None);
        let outcome = py.detach(|| {
            let threads = self.embedder.model().info().threads;
            let tokens =
                self.embedder.model().tokenization().encode_all(None, &texts, threads, &mut || attention.look_up(0))?;
            Ok(tokens.into_texts().map(read).collect())
        });
        attention.outcome(py, outcome)
    }
}

/// Looks up from waiting: signals, cancellation, progress. An exception raised on the way ends the call.
pub(super) struct Attention {
    progress: Option<Py<PyAny>>,
    cancelled: Option<Arc<AtomicBool>>,
    raised: Option<PyErr>,
    last: Instant,
}

impl Attention {
    pub(super) fn new(progress: Option<Py<PyAny>>, cancelled: Option<Arc<AtomicBool>>) -> Self {
        Self { progress, cancelled, raised: None, last: Instant::now() }
    }

    pub(super) fn look_up(&mut self, done: usize) -> ControlFlow<()> {
        self.look_up_with(|progress, py| progress.call1(py, (done,)))
    }

    /// As [`look_up`](Self::look_up), with other things to tell.
    pub(super) fn look_up_with(
        &mut self,
        tell: impl FnOnce(&Py<PyAny>, Python<'_>) -> PyResult<Py<PyAny>>,
    ) -> ControlFlow<()> {
        if self.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Acquire)) {
            return ControlFlow::Break(());
        }
        // Attaching to the interpreter may wait for other threads: not after every batch.
        if self.last.elapsed() < LOOK_UP {
            return ControlFlow::Continue(());
        }
        self.last = Instant::now();
        let outcome = Python::attach(|py| {
            py.check_signals()?;
            if let Some(progress) = &self.progress {
                tell(progress, py)?;
            }
            Ok(())
        });
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(raised) => {
                self.raised = Some(raised);
                ControlFlow::Break(())
            }
        }
    }

    pub(super) fn outcome<T>(&mut self, py: Python<'_>, outcome: Result<T>) -> PyResult<T> {
        match (self.raised.take(), outcome) {
            (Some(raised), _) => Err(raised),
            (None, Ok(value)) => Ok(value),
            (None, Err(error)) => Err(raise(py, &error)),
        }
    }

    fn finish<'py>(&mut self, py: Python<'py>, outcome: Result<Embeddings>) -> PyResult<Rows<'py>> {
        let Embeddings { vectors, usage } = self.outcome(py, outcome)?;
        if let Some(progress) = &self.progress {
            progress.call1(py, (usage.inputs,))?;
        }
        Ok((PyArray2::from_owned_array(py, vectors), usage.into()))
    }
}

fn parse_role(role: Option<&str>) -> Result<Option<Role>> {
    match role {
        None => Ok(None),
        Some("query") => Ok(Some(Role::Query)),
        Some("document") => Ok(Some(Role::Document)),
        Some(other) => Err(unknown("role", other, "query, document")),
    }
}

fn parse_truncation(truncation: &str) -> Result<Truncation> {
    match truncation {
        "truncate" => Ok(Truncation::Truncate),
        "error" => Ok(Truncation::Error),
        other => Err(unknown("truncation", other, "truncate, error")),
    }
}

fn unknown(option: &str, value: &str, known: &str) -> EmbeddingError {
    EmbeddingError::invalid_input(format!("{option}={value:?} is not known; these are: {known}"))
}
