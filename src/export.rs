//! A written graph as an ONNX file, for other programs.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::config::ModelFolder;
use crate::error::{EmbeddingError, Result};
use crate::graph::{Initializer, InitializerData, Target};
use crate::model::{load_dense, max_tokens};
use crate::onnx::proto::{DATA_LOCATION_EXTERNAL, ModelProto, StringStringEntryProto, TensorProto};
use crate::source::{self, Origin};
use crate::unfinished::{Unfinished, WriteWatch, with_suffix};
use crate::weights::StoredType;

/// Weights up to this size are part of the file; protobuf ends at 2 GiB.
const LARGEST_INSIDE: usize = 1 << 30;
/// Tensors of a data file start at multiples of this, so that it can be mapped into memory.
const ALIGNMENT: usize = 4096;

/// How a graph is exported.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// What it is written for.
    pub target: Target,
    /// Whether pooling and what follows it are part of the graph, whose output then is `sentence_embedding`.
    pub pooling_inside: bool,
    /// A shorter limit than the folder's, in tokens.
    pub max_seq_length: Option<usize>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { target: Target::CPU, pooling_inside: false, max_seq_length: None }
    }
}

/// Asked now and then while files are written; `Break` gives the export up.
pub type ExportWatch<'a> = WriteWatch<'a>;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The ONNX file.
    pub path: PathBuf,
    /// The file of its weights, where they are not inside.
    pub data_path: Option<PathBuf>,
    /// Number of nodes.
    pub nodes: usize,
    /// Bytes of weights.
    pub weight_bytes: usize,
    /// Names of its inputs, all `int64 (batch, sequence)`.
    pub inputs: Vec<String>,
    /// Name of its output.
    pub output: String,
}

/// Writes the graph of the model in `folder` to the file `output`, and beside it `output.data` where the weights are
/// more than a gigabyte.
///
/// The graph takes padding on either side. The files appear when they are whole, and replace others of their names.
///
/// ```
/// use oxembed::export::{ExportOptions, export};
///
/// # fn main() -> oxembed::Result<()> {
/// # let folder = tempfile::tempdir().map_err(|_| ()).unwrap();
/// let output = folder.path().join("minilm.onnx");
/// let exported = export("models/all-MiniLM-L6-v2".as_ref(), &output, &ExportOptions::default())?;
/// assert_eq!(exported.output, "last_hidden_state");
/// assert!(output.is_file() && exported.data_path.is_none());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `ModelNotFound` and `InvalidModel` as for loading, and where the model already is an ONNX file; `InvalidInput` where
/// the target or the output cannot be honoured.
pub fn export(folder: &Path, output: &Path, options: &ExportOptions) -> Result<Exported> {
    export_watched(folder, output, options, &mut || ControlFlow::Continue(()))
}

/// As [`export`]; `watch` is asked now and then, and with `Break` no file appears.
///
/// # Errors
/// As [`export`]; `Cancelled` where `watch` said so.
pub fn export_watched(
    folder: &Path,
    output: &Path,
    options: &ExportOptions,
    watch: &mut ExportWatch<'_>,
) -> Result<Exported> {
    export_within(LARGEST_INSIDE, folder, output, options, watch)
}

/// As [`export_watched`], with weights of up to `largest_inside` bytes as part of the file.
fn export_within(
    largest_inside: usize,
    folder: &Path,
    output: &Path,
    options: &ExportOptions,
    watch: &mut ExportWatch<'_>,
) -> Result<Exported> {
    check_name(output)?;
    let folder = ModelFolder::read(folder)?;
    let mut assumptions = Vec::new();
    let source = source::choose(&folder, None, &mut assumptions)?;
    let limit = max_tokens(&folder, options.max_seq_length, source.architecture.as_ref(), &mut assumptions)?;
    let (author, weights) = match source.origin {
        Origin::Weights(author, weights) => (author, weights),
        Origin::File(path) => {
            return Err(EmbeddingError::invalid_model(&path, "the model is an ONNX file already; copy that"));
        }
    };
    let target = options.target.with_padding_anywhere();
    let sequence = target.shape.map_or(1, |shape| shape.sequence);
    if sequence > limit {
        return Err(EmbeddingError::invalid_input(format!(
            "a shape of {sequence} tokens is more than the {limit} that the model takes"
        )));
    }
    let head = if options.pooling_inside {
        Some(folder.postprocess(author.architecture().hidden_size, load_dense)?)
    } else {
        None
    };
    let written = author.write(&weights, &target.with_max_tokens(limit), head.as_ref())?;
    let mut model = ModelProto::decode(written.model.as_slice())
        .map_err(|error| EmbeddingError::internal(format!("a written graph cannot be read: {error}")))?;
    model.metadata_props = metadata(&folder, limit, options.pooling_inside);
    let weight_bytes = written.initializers.iter().map(size).sum();
    let data = if weight_bytes > largest_inside {
        Some(write_outside(&mut model, &written.initializers, &with_suffix(output, ".data"), watch)?)
    } else {
        put_inside(&mut model, &written.initializers);
        None
    };
    let file = Unfinished::write(output, watch, |file| file.write_all(&model.encode_to_vec()))?;
    let data_path = data.map(Unfinished::finish).transpose()?;
    let path = file.finish()?;
    let graph = model.graph.unwrap_or_default();
    Ok(Exported {
        path,
        data_path,
        nodes: written.nodes,
        weight_bytes,
        inputs: graph.input.into_iter().map(|input| input.name).collect(),
        output: graph.output.into_iter().map(|output| output.name).next().unwrap_or_default(),
    })
}

/// The name keeps an export from replacing a model's own files, none of which ends like this.
fn check_name(output: &Path) -> Result<()> {
    if output.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("onnx")) {
        let problem = format!("{} cannot be written: the name has to end in .onnx", output.display());
        return Err(EmbeddingError::invalid_input(problem));
    }
    if output.is_dir() {
        return Err(EmbeddingError::invalid_input(format!("{} cannot be written: it is a folder", output.display())));
    }
    Ok(())
}

fn metadata(folder: &ModelFolder, limit: usize, pooling_inside: bool) -> Vec<StringStringEntryProto> {
    let name = folder.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pooling = if pooling_inside { "inside" } else { "outside" };
    [("model", name), ("max_seq_length", limit.to_string()), ("pooling", pooling.to_owned())]
        .map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value })
        .to_vec()
}

fn size(initializer: &Initializer) -> usize {
    match &initializer.data {
        InitializerData::Stored(tensor) => tensor.bytes().len(),
        InitializerData::As(arithmetic, tensor) => tensor.len() * arithmetic.stored_type().size(),
        InitializerData::Computed { arithmetic, values, .. } => values.len() * arithmetic.stored_type().size(),
    }
}

/// The numbers, little-endian, as ONNX has them.
fn bytes(initializer: &Initializer) -> Cow<'_, [u8]> {
    match &initializer.data {
        InitializerData::Stored(tensor) => Cow::Borrowed(tensor.bytes()),
        InitializerData::As(arithmetic, tensor) if tensor.dtype == arithmetic.stored_type() => {
            Cow::Borrowed(tensor.bytes())
        }
        InitializerData::As(arithmetic, tensor) => {
            Cow::Owned(converted(tensor.dtype, tensor.bytes(), arithmetic.stored_type()))
        }
        InitializerData::Computed { arithmetic, values, .. } => {
            let singles: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Cow::Owned(converted(StoredType::Float32, &singles, arithmetic.stored_type()))
        }
    }
}

fn converted(from: StoredType, stored: &[u8], to: StoredType) -> Vec<u8> {
    let mut numbers = vec![0; stored.len() / from.size() * to.size()];
    from.convert(stored, to, &mut numbers);
    if cfg!(target_endian = "big") {
        numbers.chunks_exact_mut(to.size()).for_each(<[u8]>::reverse);
    }
    numbers
}

/// Tensor and initializer of every weight; constants are in the model's bytes already.
fn weights<'a>(
    model: &'a mut ModelProto,
    initializers: &'a [Initializer],
) -> impl Iterator<Item = (&'a mut TensorProto, &'a Initializer)> {
    let tensors = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    tensors.filter(|tensor| tensor.data_location == DATA_LOCATION_EXTERNAL).filter_map(|tensor| {
        let initializer = initializers.iter().find(|initializer| initializer.name == tensor.name)?;
        Some((tensor, initializer))
    })
}

fn put_inside(model: &mut ModelProto, initializers: &[Initializer]) {
    for (tensor, initializer) in weights(model, initializers) {
        tensor.raw_data = bytes(initializer).into_owned().into();
        tensor.data_location = 0;
        tensor.external_data.clear();
    }
}

fn write_outside(
    model: &mut ModelProto,
    initializers: &[Initializer],
    path: &Path,
    watch: &mut ExportWatch<'_>,
) -> Result<Unfinished> {
    let Some(location) = path.file_name().and_then(|name| name.to_str()) else {
        let problem = format!("{} cannot be written: ONNX refers to it by a name in UTF-8", path.display());
        return Err(EmbeddingError::invalid_input(problem));
    };
    Unfinished::write(path, watch, |file| {
        let mut offset = 0_usize;
        for (tensor, initializer) in weights(model, initializers) {
            let bytes = bytes(initializer);
            let padding = offset.next_multiple_of(ALIGNMENT) - offset;
            file.write_all(&[0; ALIGNMENT][..padding])?;
            file.write_all(&bytes)?;
            let entries = [
                ("location", location.to_owned()),
                ("offset", (offset + padding).to_string()),
                ("length", bytes.len().to_string()),
            ];
            tensor.external_data =
                entries.map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value }).to_vec();
            offset += padding + bytes.len();
        }
        Ok(())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
#[path = "export_tests.rs"]
mod tests;
