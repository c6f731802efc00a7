//! What calls return beside vectors.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::embedder::PlacementReport;
use crate::failover::FailureEvent;
use crate::info::ModelInfo;
use crate::options;
use crate::quantize::Quality;
use crate::runtime::placement::Placement;
use crate::stages::Stages;

/// What a call took.
#[pyclass(frozen, module = "oxembed._core")]
#[derive(Debug)]
pub struct Usage {
    usage: options::Usage,
}

impl From<options::Usage> for Usage {
    fn from(usage: options::Usage) -> Self {
        Self { usage }
    }
}

#[pymethods]
impl Usage {
    /// Tokens of all texts after truncation, special tokens and prompts included.
    #[getter]
    fn total_tokens(&self) -> usize {
        self.usage.total_tokens
    }

    /// Number of texts that were cut.
    #[getter]
    fn truncated_inputs(&self) -> usize {
        self.usage.truncated_inputs
    }

    /// Wall time in milliseconds.
    #[getter]
    fn duration_ms(&self) -> f64 {
        self.usage.duration.as_secs_f64() * 1e3
    }

    fn __repr__(&self) -> String {
        format!(
            "Usage(total_tokens={}, truncated_inputs={}, duration_ms={:.3})",
            self.usage.total_tokens,
            self.usage.truncated_inputs,
            self.duration_ms()
        )
    }
}

/// `model_info()` as a dict of plain values.
pub fn model_info<'py>(py: Python<'py>, info: &ModelInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &info.name)?;
    dict.set_item("path", &info.path)?;
    dict.set_item("family", &info.family)?;
    dict.set_item("source", &info.source)?;
    dict.set_item("dimension", info.dimension)?;
    dict.set_item("max_seq_length", info.max_seq_length)?;
    dict.set_item("pooling", &info.pooling)?;
    dict.set_item("modules", &info.modules)?;
    let prompts = PyDict::new(py);
    for (name, prompt) in &info.prompts {
        prompts.set_item(name, prompt)?;
    }
    dict.set_item("prompts", prompts)?;
    dict.set_item("default_prompt_name", &info.default_prompt_name)?;
    dict.set_item("similarity_fn_name", &info.similarity_fn_name)?;
    dict.set_item("padding_side", &info.padding_side)?;
    dict.set_item("vocabulary_size", info.vocabulary_size)?;
    dict.set_item("parameters", info.parameters)?;
    dict.set_item("dtype", &info.dtype)?;
    dict.set_item("quality", info.quality.as_ref().map(|quality| self::quality(py, quality)).transpose()?)?;
    dict.set_item("provider", &info.provider)?;
    dict.set_item("threads", info.threads)?;
    dict.set_item("assumptions", &info.assumptions)?;
    Ok(dict)
}

fn quality<'py>(py: Python<'py>, quality: &Quality) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("mean", quality.mean)?;
    dict.set_item("minimum", quality.minimum)?;
    dict.set_item("first_percentile", quality.first_percentile)?;
    dict.set_item("texts", quality.texts)?;
    dict.set_item("passed", quality.passed)?;
    Ok(dict)
}

/// `placement()` as a dict of plain values.
pub fn placement<'py>(py: Python<'py>, report: &PlacementReport) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let sessions =
        report.sessions.iter().map(|session| session_placement(py, session)).collect::<PyResult<Vec<_>>>()?;
    dict.set_item("sessions", sessions)?;
    let not_used = report.not_used.iter().map(|not| {
        let dict = PyDict::new(py);
        dict.set_item("provider", &not.provider)?;
        dict.set_item("reason", &not.reason)?;
        Ok(dict)
    });
    dict.set_item("not_used", not_used.collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item("events", report.events.iter().map(|each| event(py, each)).collect::<PyResult<Vec<_>>>()?)?;
    dict.set_item("failures", report.failures)?;
    Ok(dict)
}

fn session_placement<'py>(py: Python<'py>, placement: &Placement) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("session", &placement.session)?;
    dict.set_item("provider", &placement.provider)?;
    dict.set_item("device", &placement.device)?;
    dict.set_item("dtype", &placement.dtype)?;
    dict.set_item("threads", placement.threads)?;
    dict.set_item("providers", placement.providers.clone())?;
    dict.set_item("work", placement.work.clone())?;
    dict.set_item("nodes", placement.nodes())?;
    Ok(dict)
}

/// `stages()` as a dict of counts, and of times in seconds.
pub fn stages<'py>(py: Python<'py>, stages: &Stages) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let Stages { calls, texts, truncated_texts, batches, tokens, padded_tokens, .. } = *stages;
    dict.set_item("calls", calls)?;
    dict.set_item("texts", texts)?;
    dict.set_item("truncated_texts", truncated_texts)?;
    dict.set_item("batches", batches)?;
    dict.set_item("tokens", tokens)?;
    dict.set_item("padded_tokens", padded_tokens)?;
    let Stages { tokenize, plan, copy, run, pool, wait, .. } = *stages;
    dict.set_item("tokenize", tokenize.as_secs_f64())?;
    dict.set_item("plan", plan.as_secs_f64())?;
    dict.set_item("copy", copy.as_secs_f64())?;
    dict.set_item("run", run.as_secs_f64())?;
    dict.set_item("pool", pool.as_secs_f64())?;
    dict.set_item("wait", wait.as_secs_f64())?;
    Ok(dict)
}

/// A failure in use.
pub fn event<'py>(py: Python<'py>, event: &FailureEvent) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("provider", &event.provider)?;
    dict.set_item("next", &event.next)?;
    dict.set_item("message", &event.message)?;
    dict.set_item("texts", event.texts)?;
    dict.set_item("unix_time", event.unix_time)?;
    Ok(dict)
}
