//! Making sessions over one model and running batches in them.

use std::path::PathBuf;
use std::sync::Arc;

use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::session::{RunOptions, Session};
use ort::value::{Tensor, TensorElementType, ValueType};

use super::initializers::Initializers;
use super::library::Library;
use crate::batch::Batch;
use crate::error::{EmbeddingError, Result};

/// Where the graph comes from.
#[derive(Debug)]
pub enum Graph {
    /// Written by us, with the weights beside it.
    Written {
        /// The serialized model.
        model: Vec<u8>,
        /// Its weights.
        initializers: Initializers,
        /// The folder in which the weights lie.
        folder: PathBuf,
    },
    /// An ONNX file of the model folder.
    File(PathBuf),
}

/// Makes the sessions of one model. They share one copy of the weights, packed for the matrix product once.
#[derive(Debug)]
pub struct SessionFactory {
    library: Arc<Library>,
    graph: Graph,
    prepacked: PrepackedWeights,
}

impl SessionFactory {
    /// A factory; nothing is loaded yet.
    pub fn new(library: Arc<Library>, graph: Graph) -> Self {
        Self { library, graph, prepacked: PrepackedWeights::new() }
    }

    /// A session that computes with `threads` threads.
    ///
    /// # Errors
    /// `InvalidModel` where ONNX Runtime refuses an ONNX file, `InferenceFailed` where it refuses a written graph.
    pub fn create(self: &Arc<Self>, threads: usize) -> Result<LoadedSession> {
        let session = self.builder(threads).and_then(|mut builder| match &self.graph {
            Graph::Written { model, .. } => builder.commit_from_memory(model),
            Graph::File(path) => builder.commit_from_file(path),
        });
        let session = session.map_err(|error| match &self.graph {
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
        Ok(LoadedSession { session, threads, _factory: Arc::clone(self) })
    }

    fn builder(&self, threads: usize) -> ort::Result<SessionBuilder> {
        let mut builder = Session::builder(&self.library.environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            // Spinning threads burn the cores that the next batch needs.
            .with_intra_op_spinning(false)?
            // Shapes change with every batch: a pattern would be made for each and kept.
            .with_memory_pattern(false)?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
        if let Graph::Written { initializers, folder, .. } = &self.graph {
            builder = if initializers.packs() {
                builder.with_prepacked_weights(&self.prepacked)?
            } else {
                builder.with_config_entry("session.disable_prepacking", "1")?
            };
            builder = builder
                .with_config_entry("session.model_external_initializers_file_folder_path", folder.to_string_lossy())?;
            for (name, value) in initializers.values() {
                builder = builder.with_initializer(name, Arc::clone(value))?;
            }
        }
        Ok(builder)
    }
}

/// A session and what keeps its weights alive.
#[derive(Debug)]
pub struct LoadedSession {
    session: Session,
    /// Threads it computes with.
    pub threads: usize,
    _factory: Arc<SessionFactory>,
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

    /// ONNX Runtime's session, for reading its placement.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Runs `batch` and gives its output to `read`: the numbers as `f32` and the shape.
    ///
    /// # Errors
    /// `Cancelled` where `run_options` were terminated, `InferenceFailed` otherwise.
    pub fn run<T>(
        &mut self,
        ports: &Ports,
        batch: &Batch,
        run_options: &RunOptions,
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
        let outputs = self.session.run_with_options(inputs, run_options).map_err(failed)?;
        let output = outputs
            .get(&ports.output)
            .ok_or_else(|| EmbeddingError::inference_failed(format!("the output {:?} is missing", ports.output)))?;
        match ports.output_type {
            OutputType::Float32 => {
                let (shape, values) = output.try_extract_tensor::<f32>().map_err(failed)?;
                read(values, shape)
            }
            OutputType::Float16 => {
                let (shape, values) = output.try_extract_tensor::<half::f16>().map_err(failed)?;
                read(&half::slice::HalfFloatSliceExt::to_f32_vec(values), shape)
            }
        }
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
