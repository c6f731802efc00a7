//! What the time of a run goes into, by operator: ONNX Runtime's own profile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use ort::session::RunOptions;
use serde::Deserialize;

use crate::batch::{Batch, TokenRow};
use crate::embedder::{Embedder, Watch};
use crate::error::{EmbeddingError, Result};
use crate::schedule::TOKEN_BUDGET;
use crate::stages::{StageCounters, Stopwatch};

/// The nodes of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorTime {
    /// The operator, as ONNX Runtime calls it after its optimizations.
    pub operator: String,
    /// The time of all its nodes in all runs.
    pub time: Duration,
    /// How many nodes were run.
    pub nodes: u64,
}

/// An event of ONNX Runtime's profile; other kinds of events have other members.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    dur: u64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    op_name: String,
}

impl Embedder {
    /// Runs `texts` in a session of its own, of one thread, with ONNX Runtime's profiler, and adds up the time of its nodes by
    /// operator, the longest first. Texts that are longer than a batch are left out: they have another graph. `watch` is
    /// asked between batches.
    ///
    /// # Errors
    /// `InvalidInput` where another provider than the CPU does the work, which has no such profile; else as
    /// [`Embedder::encode_watched`].
    ///
    /// ```
    /// # fn main() -> oxembed::Result<()> {
    /// let embedder = oxembed::Embedder::builder("models/all-MiniLM-L6-v2").provider("cpu").load()?;
    /// let mut go_on = |_: usize| std::ops::ControlFlow::Continue(());
    /// let operators = embedder.operator_times(&["a cat", "a dog in the rain"], &mut go_on)?;
    /// assert!(operators.iter().any(|operator| operator.operator == "Gemm" && operator.nodes >= 36));
    /// # Ok(())
    /// # }
    /// ```
    pub fn operator_times(&self, texts: &[&str], watch: &mut Watch<'_>) -> Result<Vec<OperatorTime>> {
        let (model, forward) = (self.model(), self.forward());
        let backend =
            forward.backends.first().ok_or_else(|| EmbeddingError::internal("there is no provider"))?.get()?;
        let factory = backend.factory_of_workers().ok_or_else(|| {
            let name = &backend.execution.name;
            let message = format!("ONNX Runtime's profile by operator is one of the CPU, and the provider is {name:?}");
            EmbeddingError::invalid_input(message)
        })?;
        let folder = tempfile::tempdir().map_err(|error| {
            EmbeddingError::inference_failed("there is no folder for ONNX Runtime's profile").caused_by(error)
        })?;
        let tokens = model.tokenization().encode_all(None, texts, model.info().threads, &mut || watch(0))?;
        let lengths: Vec<usize> = tokens.iter().map(|text| text.ids.len()).collect();
        let mut session = factory.profiled(1, &folder.path().join("profile"))?;
        let options = RunOptions::new()
            .map_err(|error| EmbeddingError::inference_failed("a run could not be prepared").caused_by(error))?;
        let (counters, mut done) = (StageCounters::default(), 0);
        for planned in backend.plan(&lengths, model.info().threads) {
            let rows: Vec<TokenRow<'_>> = planned.texts.iter().map(|text| tokens.row(*text)).collect();
            let batch = Batch::pad(&rows, &forward.layout);
            if batch.sequence <= TOKEN_BUDGET {
                let mut clock = Stopwatch::start(&counters);
                session.run(&backend.interface.ports, &batch, &options, &mut clock, |_, _| Ok(()))?;
            }
            done += rows.len();
            if watch(done).is_break() {
                return Err(EmbeddingError::Cancelled);
            }
        }
        read(Path::new(&session.end_profile()?))
    }
}

fn read(path: &Path) -> Result<Vec<OperatorTime>> {
    let failed = |error: std::io::Error| {
        EmbeddingError::inference_failed("ONNX Runtime's profile cannot be read").caused_by(error)
    };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let events: Vec<Event> = serde_json::from_reader(file).map_err(|error| failed(error.into()))?;
    Ok(by_operator(events))
}

fn by_operator(events: Vec<Event>) -> Vec<OperatorTime> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for Event { dur, args, .. } in events.into_iter().filter(Event::is_of_a_kernel) {
        let (time, nodes) = sums.entry(args.op_name).or_default();
        *time += dur;
        *nodes += 1;
    }
    let operator = |(operator, (time, nodes))| OperatorTime { operator, time: Duration::from_micros(time), nodes };
    let mut operators: Vec<OperatorTime> = sums.into_iter().map(operator).collect();
    operators.sort_by_key(|operator| std::cmp::Reverse(operator.time));
    operators
}

impl Event {
    /// Around it there are others: of fences, of the whole run.
    fn is_of_a_kernel(&self) -> bool {
        self.cat == "Node" && self.name.ends_with("_kernel_time") && !self.args.op_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{OperatorTime, by_operator};

    #[test]
    fn only_kernels_count() {
        let events = r#"[
            {"cat": "Session", "name": "model_run", "dur": 900, "ts": 1, "ph": "X", "args": {}},
            {"cat": "Node", "name": "a_fence_before", "dur": 5, "args": {"op_name": "Gemm"}},
            {"cat": "Node", "name": "a_kernel_time", "dur": 70, "args": {"op_name": "Gemm", "node_index": "3"}},
            {"cat": "Node", "name": "b_kernel_time", "dur": 40, "args": {"op_name": "Gemm"}},
            {"cat": "Node", "name": "c_kernel_time", "dur": 200, "args": {"op_name": "Attention"}}
        ]"#;
        let time = |operator: &str, time, nodes| OperatorTime {
            operator: operator.to_owned(),
            time: Duration::from_micros(time),
            nodes,
        };
        assert_eq!(
            by_operator(serde_json::from_str(events).unwrap()),
            [time("Attention", 200, 1), time("Gemm", 110, 2)]
        );
    }
}
