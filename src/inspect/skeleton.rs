//! A graph without its weights, for asking ONNX Runtime what it makes of it.
//!
//! Large initializers are replaced by zeros in a sparse file, which take neither memory nor disk: what ONNX Runtime does
//! to a graph depends on the shapes of weights and on the values of small constants, and those stay.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use prost::Message;
use prost::bytes::Bytes;
use tempfile::TempDir;

use super::external::{Place, inside, place};
use super::graph::tensor_bytes;
use crate::error::{EmbeddingError, Result};
use crate::onnx::decode;
use crate::onnx::proto::{DATA_LOCATION_EXTERNAL, ModelProto, StringStringEntryProto, TensorProto};
use crate::onnx::wire::{Content, Fields, push_bytes};
use crate::runtime::forking::UnderWay;
use crate::runtime::library::Library;
use crate::runtime::placement::nodes_by_provider;
use crate::runtime::providers::append_cpu;

/// Contents up to this size may be shapes, axes or masks; larger ones are weights.
const SMALL: u64 = 64 << 10;
const ZEROS: &str = "zeros.bin";
const OPTIMIZED: &str = "optimized.onnx";

/// Field numbers of `ModelProto` and `GraphProto`.
pub const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;

/// Where the external data of a graph is.
#[derive(Debug, Clone, Copy)]
pub enum ExternalData<'a> {
    /// In files of this folder, all of them checked.
    In(&'a Path),
    /// Handed to the session by name: weights, and nothing else.
    ByName,
}

/// A graph whose weights are zeros.
#[derive(Debug)]
pub struct Skeleton {
    /// The model's bytes.
    pub model: Vec<u8>,
    /// The name that errors give it.
    pub file: PathBuf,
    folder: TempDir,
}

impl Skeleton {
    /// The skeleton of the model in `bytes`; `file` is the name that errors give it.
    ///
    /// # Errors
    /// `InvalidModel` where an initializer is malformed; `Internal` where no temporary folder can be made.
    pub fn new(file: &Path, bytes: &[u8], external: ExternalData<'_>) -> Result<Self> {
        let mut writer = Writer { file, external, largest: 1, out: Vec::new() };
        writer.model(bytes)?;
        let Writer { largest, out, .. } = writer;
        let temporary =
            |error: std::io::Error| EmbeddingError::internal(format!("no temporary folder can be made: {error}"));
        let folder = tempfile::tempdir().map_err(temporary)?;
        File::create(folder.path().join(ZEROS)).and_then(|zeros| zeros.set_len(largest)).map_err(temporary)?;
        Ok(Self { model: out, file: file.to_owned(), folder })
    }

    /// Nodes by provider in a session as the embedder would make it.
    ///
    /// # Errors
    /// As loading the model.
    pub fn placement(&self, library: &Library) -> Result<BTreeMap<String, usize>> {
        let _under_way = UnderWay::begin();
        let session = self
            .builder(library, GraphOptimizationLevel::Level3)
            .and_then(|builder| Ok(builder.with_config_entry("session.record_ep_graph_assignment_info", "1")?))
            .and_then(|mut builder| builder.commit_from_memory(&self.model));
        nodes_by_provider(&session.map_err(|error| self.refused(error))?)
    }

    /// The model after the optimizations that ONNX Runtime makes before it asks providers what they take.
    ///
    /// # Errors
    /// `InvalidModel` where ONNX Runtime refuses the model.
    pub fn optimized(&self, library: &Library) -> Result<(Bytes, ModelProto)> {
        let _under_way = UnderWay::begin();
        let path = self.folder.path().join(OPTIMIZED);
        self.builder(library, GraphOptimizationLevel::Level1)
            .and_then(|builder| Ok(builder.with_optimized_model_path(&path)?))
            .and_then(|mut builder| builder.commit_from_memory(&self.model))
            .map_err(|error| self.refused(error))?;
        let read = |error: std::io::Error| {
            EmbeddingError::inference_failed(format!("ONNX Runtime did not write the optimized graph: {error}"))
        };
        let file = File::open(&path).map_err(read)?;
        // SAFETY: the map is read-only, of a file in a folder that was made for this and that only this user may enter.
        let bytes = Bytes::from_owner(unsafe { Mmap::map(&file) }.map_err(read)?);
        let model = decode(&self.file, &bytes)?;
        Ok((bytes, model))
    }

    /// A session of `model`, one made from this skeleton, as it stands.
    ///
    /// # Errors
    /// `InvalidModel` where ONNX Runtime refuses the model.
    pub fn session(&self, library: &Library, model: &[u8]) -> Result<Session> {
        let _under_way = UnderWay::begin();
        self.builder(library, GraphOptimizationLevel::Disable)
            .and_then(|mut builder| builder.commit_from_memory(model))
            .map_err(|error| self.refused(error))
    }

    fn builder(&self, library: &Library, level: GraphOptimizationLevel) -> ort::Result<SessionBuilder> {
        let folder = self.folder.path().to_string_lossy();
        let mut builder = Session::builder(&library.environment)?
            .with_optimization_level(level)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_prepacking(false)?
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
        append_cpu(&mut builder, &library.environment)?;
        Ok(builder)
    }

    /// In the words of loading it.
    fn refused(&self, error: ort::Error) -> EmbeddingError {
        EmbeddingError::invalid_model(&self.file, format!("ONNX Runtime refuses the file: {error}")).caused_by(error)
    }
}

/// Copies a model as it stands but for its large initializers.
struct Writer<'a> {
    file: &'a Path,
    external: ExternalData<'a>,
    /// Bytes of the largest initializer that was replaced.
    largest: u64,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn model(&mut self, bytes: &[u8]) -> Result<()> {
        for field in Fields::of(bytes) {
            let field = field.map_err(|broken| self.invalid(broken.to_string()))?;
            match field.content {
                Content::Bytes(graph) if field.number == MODEL_GRAPH => {
                    let graph = self.graph(graph)?;
                    push_bytes(&mut self.out, MODEL_GRAPH, &graph);
                }
                _ => self.out.extend_from_slice(field.whole),
            }
        }
        Ok(())
    }

    fn graph(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for field in Fields::of(bytes) {
            let field = field.map_err(|broken| self.invalid(broken.to_string()))?;
            let replaced = match field.content {
                Content::Bytes(tensor) if field.number == GRAPH_INITIALIZER => self.initializer(tensor)?,
                _ => None,
            };
            match replaced {
                Some(tensor) => push_bytes(&mut out, GRAPH_INITIALIZER, &tensor.encode_to_vec()),
                None => out.extend_from_slice(field.whole),
            }
        }
        Ok(out)
    }

    /// What stands in for an initializer; none where it stays.
    fn initializer(&mut self, bytes: &[u8]) -> Result<Option<TensorProto>> {
        let tensor = Header::decode(bytes).map_err(|error| self.invalid(error.to_string()))?.tensor();
        let Some(size) = tensor_bytes(&tensor) else { return Ok(None) };
        let place = place(&tensor).map_err(|entry| self.invalid(format!("{}: {entry}", tensor.name)))?;
        match (place, self.external) {
            (None, _) if size <= SMALL => Ok(None),
            (Some(place), ExternalData::In(folder)) if size <= SMALL => {
                let raw_data = self.read(folder, &place, size)?;
                Ok(Some(TensorProto { raw_data, external_data: Vec::new(), data_location: 0, ..tensor }))
            }
            _ => {
                self.largest = self.largest.max(size);
                Ok(Some(zeros(tensor, size)))
            }
        }
    }

    fn read(&self, folder: &Path, place: &Place, size: u64) -> Result<Bytes> {
        use std::io::{Read, Seek, SeekFrom};
        let path = inside(folder, &place.location)
            .ok_or_else(|| self.invalid(format!("{:?} is not inside the graph's folder", place.location)))?;
        let unreadable =
            |error: std::io::Error| EmbeddingError::invalid_model(&path, "cannot be read").caused_by(error);
        let mut file = File::open(&path).map_err(unreadable)?;
        file.seek(SeekFrom::Start(place.offset)).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(bytes.into())
    }

    fn invalid(&self, problem: String) -> EmbeddingError {
        EmbeddingError::invalid_model(self.file, problem)
    }
}

/// A `TensorProto` but for its contents, so that they are not copied.
#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<StringStringEntryProto>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

impl Header {
    fn tensor(self) -> TensorProto {
        let Self { dims, data_type, name, external_data, data_location } = self;
        TensorProto { dims, data_type, name, external_data, data_location, ..TensorProto::default() }
    }
}

fn zeros(tensor: TensorProto, size: u64) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    TensorProto {
        external_data: vec![
            entry("location", ZEROS.to_owned()),
            entry("offset", "0".to_owned()),
            entry("length", size.to_string()),
        ],
        data_location: DATA_LOCATION_EXTERNAL,
        ..tensor
    }
}
