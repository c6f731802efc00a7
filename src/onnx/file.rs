//! Opening an ONNX file.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::Message;
use prost::bytes::Bytes;

use super::measure::measure;
use super::proto::{GraphProto, ModelProto, TensorProto};
use crate::error::{EmbeddingError, Result};

/// Protobuf cannot read more than this, and neither can ONNX Runtime.
pub const MAX_FILE_BYTES: u64 = (2 << 30) - 1;

/// A model and the file that it is a view of.
#[derive(Debug, Clone)]
pub struct OnnxFile {
    /// The file.
    pub path: PathBuf,
    /// Its bytes, mapped.
    pub bytes: Bytes,
    /// What they say.
    pub model: ModelProto,
}

impl OnnxFile {
    /// Maps and decodes the file `path`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it cannot be read, is no ONNX model, or would take too much memory.
    pub fn open(path: &Path) -> Result<Self> {
        let refused = |problem: String| EmbeddingError::invalid_model(path, problem);
        let file = File::open(path).map_err(|error| refused("the file cannot be opened".into()).caused_by(error))?;
        let metadata =
            file.metadata().map_err(|error| refused("the file cannot be looked at".into()).caused_by(error))?;
        if !metadata.is_file() {
            return Err(refused("this is not a regular file".into()));
        }
        let length = metadata.len();
        if length > MAX_FILE_BYTES {
            return Err(refused(format!(
                "{length} bytes; an ONNX file has at most {MAX_FILE_BYTES}, larger models keep their weights in a file \
                 beside it"
            )));
        }
        let bytes = if length == 0 {
            Bytes::new()
        } else {
            // SAFETY: the map is read-only. A file that somebody else writes to or truncates while it is mapped is the one
            // hazard mmap cannot exclude, as for the weights.
            let map = unsafe { Mmap::map(&file) }
                .map_err(|error| refused("the file cannot be mapped".into()).caused_by(error))?;
            Bytes::from_owner(map)
        };
        let model = decode(path, &bytes)?;
        Ok(Self { path: path.to_owned(), bytes, model })
    }

    /// Numbers in all initializers, those of subgraphs included.
    pub fn parameters(&self) -> usize {
        let parameters = self.model.graph.as_ref().map_or(0, parameters);
        usize::try_from(parameters).unwrap_or(usize::MAX)
    }
}

/// The model in `bytes`; `path` is the name that errors give it.
///
/// # Errors
/// [`EmbeddingError::InvalidModel`] where the bytes are no ONNX model, or one that would take too much memory.
pub fn decode(path: &Path, bytes: &Bytes) -> Result<ModelProto> {
    let refused = |problem: String| EmbeddingError::invalid_model(path, format!("not an ONNX model: {problem}"));
    measure(bytes).map_err(|refusal| refused(refusal.to_string()))?;
    let model = ModelProto::decode(bytes.clone()).map_err(|error| refused(error.to_string()))?;
    if model.graph.is_none() {
        return Err(refused("it has no graph".into()));
    }
    Ok(model)
}

/// Numbers in a tensor; `None` where its dimensions are negative or their product is beyond counting.
pub fn elements(tensor: &TensorProto) -> Option<u64> {
    let dimensions = tensor.dims.iter().map(|dimension| u64::try_from(*dimension).ok());
    dimensions.into_iter().try_fold(1_u64, |product, dimension| product.checked_mul(dimension?))
}

fn parameters(graph: &GraphProto) -> u64 {
    let own =
        graph.initializer.iter().chain(graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()));
    let own: u64 = own.filter_map(elements).fold(0, u64::saturating_add);
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let inner = attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)).map(parameters);
    inner.fold(own, u64::saturating_add)
}

#[cfg(test)]
mod tests;
