//! Making sessions over one model and running batches in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::session::{RunOptions, Session};
use ort::value::{Tensor, TensorElementType, ValueType};

use super::execution::Execution;
use super::forking::UnderWay;
use super::initializers::Initializers;
use super::library::Library;
use super::messages::first_line;
use super::operator::{PackedSites, domain};
use super::threads::SessionThreads;
use crate::batch::Batch;
use crate::error::{EmbeddingError, Result};
use crate::graph::WEIGHTS_FOLDER;
use crate::schedule::TOKEN_BUDGET;
use crate::stages::{Stage, Stopwatch};

/// Where the graph comes from.
#[derive(Debug)]
pub enum Graph {
    /// Written by us, with the weights beside it.
    Written {
        /// The serialized model.
        model: Vec<u8>,
        /// Its weights.
        initializers: Arc<Initializers>,
        /// Its quantized linear layers, by the names that nodes have for them.
        sites: Arc<PackedSites>,
        /// The graph for one long text, over the same weights, where there is one.
        long: Option<LongGraph>,
    },
    /// An ONNX file of the model folder.
    File(PathBuf),
}

/// Writes the serialized model for one long text, when the first is met.
pub struct LongGraph(pub Box<dyn Fn() -> Result<Vec<u8>> + Send + Sync>);

impl std::fmt::Debug for LongGraph {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LongGraph")
    }
}

/// Makes the sessions of one model. They share one copy of the weights, packed for the matrix product once.
#[derive(Debug)]
pub struct SessionFactory {
    library: Arc<Library>,
    graph: Graph,
    execution: Execution,
    prepacked: PrepackedWeights,
}

impl SessionFactory {
    /// A factory; nothing is loaded yet.
    pub fn new(library: Arc<Library>, graph: Graph, execution: Execution) -> Self {
        Self { library, graph, execution, prepacked: PrepackedWeights::new() }
    }

    /// A session that computes with `threads` threads.
    ///
    /// # Errors
    /// `InvalidModel` where ONNX Runtime refuses an ONNX file, `InferenceFailed` where it refuses a written graph,
    /// `ProviderUnavailable` where it is another provider than the CPU that does.
    pub fn create(self: &Arc<Self>, threads: usize) -> Result<LoadedSession> {
        let session = self.session(threads, self.written(), None)?;
        Ok(LoadedSession { session, long: None, threads, factory: Arc::clone(self) })
    }

    /// A session of its own that writes a profile to a file whose name begins with `prefix`.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn profiled(self: &Arc<Self>, threads: usize, prefix: &Path) -> Result<LoadedSession> {
        let session = self.session(threads, self.written(), Some(prefix))?;
        Ok(LoadedSession { session, long: None, threads, factory: Arc::clone(self) })
    }

    /// The serialized graph, where we wrote it.
    fn written(&self) -> &[u8] {
        match &self.graph {
            Graph::Written { model, .. } => model.as_slice(),
            Graph::File(_) => &[],
        }
    }

    /// A session over the written graph `model`, or over the ONNX file.
    fn session(&self, threads: usize, model: &[u8], profile: Option<&Path>) -> Result<Session> {
        let _under_way = UnderWay::begin();
        // The thread that runs the session is one of them.
        let waiting = SessionThreads::start(threads.saturating_sub(1))?;
        let builder = self.builder(threads).and_then(|builder| {
            let builder = builder.with_thread_manager(waiting.clone())?;
            match profile {
                Some(prefix) => Ok(builder.with_profiling(prefix)?),
                None => Ok(builder),
            }
        });
        let session = builder.and_then(|mut builder| match &self.graph {
            Graph::Written { .. } => builder.commit_from_memory(model),
            Graph::File(path) => builder.commit_from_file(path),
        });
        waiting.dismiss();
        let session = session.map_err(|error| match &self.graph {
            _ if !self.execution.is_cpu() => {
                self.execution.unavailable(format!("it refuses the model: {}", first_line(&error)))
            }
            Graph::Written { .. } => {
                EmbeddingError::inference_failed(format!("ONNX Runtime refused the written graph: {error}"))
                    .caused_by(error)
            }
            Graph::File(path) => {
                EmbeddingError::invalid_model(path, format!("ONNX Runtime refuses the file: {error}")).caused_by(error)
            }
        })?;
        if let Graph::Written { initializers, .. } = &self.graph
            && initializers.packs()
        {
            // The matrices have been copied; what else is needed of the file comes back by itself.
            initializers.release();
        }
        Ok(session)
    }

    fn builder(&self, threads: usize) -> ort::Result<SessionBuilder> {
        let mut builder = Session::builder(&self.library.environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            // Spinning threads burn the cores that the next batch needs. What they do for the session with all threads was
            // tried, see docs/performance.md.
            .with_intra_op_spinning(false)?
            // Shapes change with every batch: a pattern would be made for each and kept. DirectML forbids patterns, and
            // any execution but in sequence.
            .with_memory_pattern(false)?
            .with_parallel_execution(false)?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
        self.execution.put_into(&mut builder, &self.library)?;
        if let Graph::Written { initializers, sites, .. } = &self.graph {
            if !sites.is_empty() {
                builder = builder.with_operators(domain(sites)?)?;
            }
            builder =
                builder.with_config_entry("session.model_external_initializers_file_folder_path", WEIGHTS_FOLDER)?;
            builder = self.with_weights(builder, initializers)?;
        }
        Ok(builder)
    }

    /// Other providers compile the weights into what they make of the graph, so they have to be part of it; on the CPU
    /// they are handed to the finished session, which packs them once for all sessions.
    fn with_weights(&self, mut builder: SessionBuilder, initializers: &Initializers) -> ort::Result<SessionBuilder> {
        if !self.execution.is_cpu() {
            for (name, value) in initializers.values() {
                builder = builder.with_external_initializer(name, Arc::clone(value))?;
            }
            return Ok(builder);
        }
        builder = if initializers.packs() {
            builder.with_prepacked_weights(&self.prepacked)?
        } else {
            builder.with_config_entry("session.disable_prepacking", "1")?
        };
        for (name, value) in initializers.values() {
            builder = builder.with_initializer(name, Arc::clone(value))?;
        }
        Ok(builder)
    }
}

/// A session and what keeps its weights alive.
#[derive(Debug)]
pub struct LoadedSession {
    session: Session,
    /// The session for one long text, once there was one.
    long: Option<Session>,
    /// Threads it computes with.
    pub threads: usize,
    factory: Arc<SessionFactory>,
}

/// Name, element type and rank of an input or output.
#[derive(Debug, Clone)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Element type; `None` for what is not a tensor.
    pub element_type: Option<TensorElementType>,
    /// Sizes of the dimensions, -1 where they vary.
    pub shape: Vec<i64>,
}

impl LoadedSession {
    /// The graph's inputs.
    pub fn inputs(&self) -> Vec<Port> {
        self.session.inputs().iter().map(|port| describe(port.name(), port.dtype())).collect()
    }

    /// The graph's outputs.
    pub fn outputs(&self) -> Vec<Port> {
        self.session.outputs().iter().map(|port| describe(port.name(), port.dtype())).collect()
    }

    /// ONNX Runtime's session alone; whoever takes it keeps the factory.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// Ends the profile of a session that was made with one; returns its file.
    ///
    /// # Errors
    /// `InferenceFailed` where it cannot be written.
    pub fn end_profile(&mut self) -> Result<String> {
        self.session.end_profiling().map_err(|error| {
            EmbeddingError::inference_failed(format!("ONNX Runtime's profile cannot be written: {error}"))
                .caused_by(error)
        })
    }

    /// ONNX Runtime's session, for reading its placement.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Runs `batch` and gives its output to `read`: the numbers as `f32` and the shape. What each step takes goes to `clock`.
    ///
    /// # Errors
    /// `Cancelled` where `run_options` were terminated, `InferenceFailed` otherwise.
    pub fn run<T>(
        &mut self,
        ports: &Ports,
        batch: &Batch,
        run_options: &RunOptions,
        clock: &mut Stopwatch<'_>,
        read: impl FnOnce(&[f32], &[i64]) -> Result<T>,
    ) -> Result<T> {
        let failed = |error: ort::Error| {
            if error.message().contains("terminate flag") {
                return EmbeddingError::Cancelled;
            }
            let shape = [batch.rows, batch.sequence];
            EmbeddingError::inference_failed(format!("a batch of shape {shape:?} failed: {error}")).caused_by(error)
        };
        let inputs = ports.inputs(batch).map_err(failed)?;
        clock.lap(Stage::Copy);
        let session = self.session_for(batch)?;
        clock.skip();
        let outputs = session.run_with_options(inputs, run_options);
        clock.lap(Stage::Run);
        let outputs = outputs.map_err(failed)?;
        let output = outputs
            .get(&ports.output)
            .ok_or_else(|| EmbeddingError::inference_failed(format!("the output {:?} is missing", ports.output)))?;
        let outcome = match ports.output_type {
            OutputType::Float32 => {
                let (shape, values) = output.try_extract_tensor::<f32>().map_err(failed)?;
                read(values, shape)
            }
            OutputType::Float16 => {
                let (shape, values) = output.try_extract_tensor::<half::f16>().map_err(failed)?;
                read(&half::slice::HalfFloatSliceExt::to_f32_vec(values), shape)
            }
        };
        clock.lap(Stage::Pool);
        outcome
    }
}

impl LoadedSession {
    /// A text that is longer than a batch is always alone in one, so that its row does not depend on others.
    fn session_for(&mut self, batch: &Batch) -> Result<&mut Session> {
        let Graph::Written { long: Some(long), .. } = &self.factory.graph else { return Ok(&mut self.session) };
        if batch.rows > 1 || batch.sequence <= TOKEN_BUDGET {
            return Ok(&mut self.session);
        }
        let session = match self.long.take() {
            Some(session) => session,
            None => self.factory.session(self.threads, &(long.0)()?, None)?,
        };
        Ok(self.long.insert(session))
    }
}

fn describe(name: &str, value_type: &ValueType) -> Port {
    let (element_type, shape) = match value_type {
        ValueType::Tensor { ty, shape, .. } => (Some(*ty), shape.to_vec()),
        _ => (None, Vec::new()),
    };
    Port { name: name.to_owned(), element_type, shape }
}

/// How the output's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputType {
    /// Single precision.
    Float32,
    /// Half precision, widened after the run.
    Float16,
}

/// What is fed to an input of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Token ids.
    InputIds,
    /// One for a token, zero for padding.
    AttentionMask,
    /// Token types.
    TokenTypeIds,
    /// Positions.
    PositionIds,
}

/// The graph's inputs and the output that is read.
#[derive(Debug, Clone)]
pub struct Ports {
    /// In the order of the graph: name, what is fed, and whether as `int32` instead of `int64`.
    pub feeds: Vec<(String, Feed, bool)>,
    /// Name of the output.
    pub output: String,
    /// Its element type.
    pub output_type: OutputType,
}

impl Ports {
    fn inputs(&self, batch: &Batch) -> ort::Result<Vec<(String, ort::session::SessionInputValue<'static>)>> {
        let shape = [batch.rows, batch.sequence];
        let value = |(name, feed, narrow): &(String, Feed, bool)| {
            let values = batch.values(*feed);
            #[allow(clippy::cast_possible_truncation)] // Ids, masks and positions are far below 2^31.
            let value = if *narrow {
                let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
                Tensor::from_array((shape, values))?.into_dyn()
            } else {
                Tensor::from_array((shape, values.into_owned()))?.into_dyn()
            };
            Ok((name.clone(), value.into()))
        };
        self.feeds.iter().map(value).collect()
    }
}
