//! Where the graph of a model folder comes from: written from the weights, or an ONNX file.

use std::path::{Component, Path, PathBuf};

use crate::config::ModelFolder;
use crate::error::{EmbeddingError, Result};
use crate::graph::{Architecture, Author, author, known_model_types};
use crate::onnx::OnnxFile;
use crate::runtime::initializers::Initializers;
use crate::runtime::session::Graph;
use crate::weights::Weights;

/// The weights of a graph that is written.
pub const WEIGHTS: &str = "model.safetensors";
/// Where exporters put the graph.
pub const ONNX_FILES: &[&str] = &["onnx/model.onnx", "model.onnx"];

/// A graph ready for sessions, and what is known of it.
pub struct Source {
    /// The graph.
    pub graph: Graph,
    /// File name for `model_info`.
    pub name: String,
    /// `model_type` of config.json, or `onnx`.
    pub family: String,
    /// Numbers in the weights.
    pub parameters: usize,
    /// What is known of the graph.
    pub architecture: Option<Architecture>,
}

/// Which graph runs, before anything large is read.
pub enum Choice {
    /// One that `author` writes over `weights`.
    Written { author: Box<dyn Author>, weights: PathBuf },
    /// The ONNX file `path`; `author` knows its family, if anybody does.
    File { path: PathBuf, author: Option<Box<dyn Author>> },
}

/// The weights, where we know the family; else an ONNX file; or the ONNX file that was asked for.
pub fn choose(folder: &ModelFolder, onnx_file: Option<&Path>, assumptions: &mut Vec<String>) -> Result<Source> {
    match decide(folder, onnx_file, assumptions)? {
        Choice::Written { author, weights } => written_source(author.as_ref(), &weights),
        Choice::File { path, author } => Ok(onnx_source(folder, path, author.as_deref())),
    }
}

/// What [`choose`] makes ready to run.
pub fn decide(folder: &ModelFolder, onnx_file: Option<&Path>, assumptions: &mut Vec<String>) -> Result<Choice> {
    let author = match &folder.transformer {
        // An ONNX file may come with a config.json that is not a transformer's.
        Some(config) if onnx_file.is_none() || config.has("model_type") => author(config),
        _ => Ok(None),
    };
    if let Some(file) = onnx_file {
        let path = folder.transformer_path.join(file);
        let is_inside = file.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_inside || !path.is_file() {
            let problem = "onnx_file has to name a file inside the model folder, such as onnx/model.onnx";
            return Err(EmbeddingError::invalid_model(&path, problem));
        }
        // Settings that we could not write a graph for do not matter to a graph that exists.
        return Ok(Choice::File { path, author: author.ok().flatten() });
    }
    let weights = folder.transformer_path.join(WEIGHTS);
    let onnx = ONNX_FILES.iter().map(|file| folder.transformer_path.join(file)).find(|path| path.is_file());
    match (author, onnx) {
        (Ok(Some(author)), _) if weights.is_file() => Ok(Choice::Written { author, weights }),
        (Ok(author), Some(onnx)) => {
            if author.is_none() && weights.is_file() {
                assumptions.push(format!(
                    "the family of config.json is not one whose graph is written from {WEIGHTS}; running {}",
                    onnx.display()
                ));
            }
            Ok(Choice::File { path: onnx, author })
        }
        (Ok(Some(_)), None) => Err(no_weights(folder, &weights)),
        (Ok(None), None) => Err(unknown_family(folder)),
        // A setting that we could not write a graph for does not matter to a graph that exists.
        (Err(_), Some(path)) if !weights.is_file() => Ok(Choice::File { path, author: None }),
        (Err(error), _) => Err(error),
    }
}

fn written_source(author: &dyn Author, path: &Path) -> Result<Source> {
    let architecture = author.architecture();
    let weights = Weights::open(path)?.with_prefix_of(author.anchor())?;
    let written = author.write(&weights)?;
    tracing::debug!(nodes = written.nodes, family = architecture.family, "wrote the graph");
    let initializers = Initializers::new(&written.initializers)?;
    Ok(Source {
        graph: Graph::Written { model: written.model, initializers, folder: weights.folder().to_owned() },
        name: WEIGHTS.to_owned(),
        family: architecture.family.clone(),
        parameters: weights.parameters(),
        architecture: Some(architecture),
    })
}

fn onnx_source(folder: &ModelFolder, path: PathBuf, author: Option<&dyn Author>) -> Source {
    let name = path.strip_prefix(&folder.transformer_path).unwrap_or(&path).display().to_string();
    let model_type = folder.transformer.as_ref().and_then(|config| config.optional_str("model_type").ok().flatten());
    // Positions are the exported graph's own affair: what it takes as `position_ids` counts from zero.
    let architecture = author.map(|author| Architecture { positions: None, ..author.architecture() });
    let parameters = match OnnxFile::open(&path) {
        Ok(file) => file.parameters(),
        Err(error) => {
            // ONNX Runtime is the judge of the file: it may know a format that we do not, and else says what is wrong.
            tracing::debug!(%error, "the parameters of the ONNX file cannot be counted");
            0
        }
    };
    Source { graph: Graph::File(path), name, family: model_type.unwrap_or("onnx").to_owned(), parameters, architecture }
}

fn no_weights(folder: &ModelFolder, weights: &Path) -> EmbeddingError {
    let has = |name: &str| folder.transformer_path.join(name).is_file();
    let problem = if has("model.safetensors.index.json") {
        "the weights are split into several files, and this version reads a single one; save them again with \
         save_pretrained(folder, max_shard_size=\"100GB\")"
    } else if has("pytorch_model.bin") {
        "there is only pytorch_model.bin, which runs code when it is read and is therefore never opened; save the model \
         again with SentenceTransformer(folder).save_pretrained(folder), which writes model.safetensors"
    } else {
        "the file is missing, and there is no onnx/model.onnx or model.onnx in its place"
    };
    EmbeddingError::invalid_model(weights, problem)
}

fn unknown_family(folder: &ModelFolder) -> EmbeddingError {
    let known = known_model_types().join(", ");
    let file = folder.transformer_path.join("config.json");
    let Some(config) = &folder.transformer else {
        return EmbeddingError::invalid_model(&file, "the file is missing, and there is no ONNX file either");
    };
    let problem = format!(
        "this family's graph cannot be written, and there is no onnx/model.onnx or model.onnx to run; known are {known}"
    );
    config.invalid("model_type", problem)
}
