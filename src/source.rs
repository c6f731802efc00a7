//! Where the graph of a model folder comes from: written from the weights, or an ONNX file.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::config::ModelFolder;
use crate::error::{EmbeddingError, Result};
use crate::foreign::{other_weights, recognize_file};
use crate::graph::{Architecture, Author, Dialect, Target, author, known_model_types};
use crate::int8::{Epilogue, Instructions, PackedSite};
use crate::onnx::OnnxFile;
use crate::onnx::proto::ModelProto;
use crate::runtime::initializers::Initializers;
use crate::runtime::operator::PackedSites;
use crate::runtime::session::{Graph, LongGraph};
use crate::runtime::work::Work;
use crate::weights::Weights;

/// Where the weights are: one file, or the index of several. transformers takes the one where both are there.
pub const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
/// Where exporters put the graph.
pub const ONNX_FILES: &[&str] = &["onnx/model.onnx", "model.onnx"];

/// What to run, and what is known of it.
#[derive(Clone)]
pub struct Source {
    /// Where the graph comes from.
    pub origin: Origin,
    /// File name for `model_info`.
    pub name: String,
    /// `model_type` of config.json, or `onnx`.
    pub family: String,
    /// Numbers in the weights.
    pub parameters: usize,
    /// What is known of the graph.
    pub architecture: Option<Architecture>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a graph comes from.
#[derive(Clone)]
pub enum Origin {
    /// Written from the weights.
    Weights(Arc<dyn Author>, Arc<Weights>),
    /// An ONNX file.
    File(PathBuf),
}

/// A graph ready for sessions, and what is to be known of it.
pub struct ReadyGraph {
    /// The graph.
    pub graph: Graph,
    /// The weights that other graphs of the model can have too.
    pub weights: Option<Arc<Initializers>>,
    /// The work of its nodes.
    pub work: Work,
}

impl Origin {
    /// The file that errors about the graph name.
    pub fn path(&self) -> &Path {
        match self {
            Self::Weights(_, weights) => weights.path(),
            Self::File(path) => path,
        }
    }

    /// The graph for `target`, ready for sessions; weights that are not among `known` are converted by `threads`
    /// threads.
    pub fn graph(&self, target: &Target, threads: usize, known: Option<&Arc<Initializers>>) -> Result<ReadyGraph> {
        match self {
            Self::Weights(author, weights) => {
                let written = author.write(weights, target, None)?;
                tracing::debug!(nodes = written.nodes, "wrote the graph");
                let initializers = Arc::new(Initializers::beside(known, written.initializers, threads)?);
                let sites = Arc::new(packed_sites(weights, &written.sites)?);
                let long = (target.shape.is_none() && target.dialect == Dialect::Fused).then(|| {
                    let (author, weights, long) = (Arc::clone(author), Arc::clone(weights), target.for_one_long_text());
                    LongGraph(Box::new(move || Ok(author.write(&weights, &long, None)?.model)))
                });
                let work = work(&written.model, author.architecture().hidden_size);
                let shared = Some(Arc::clone(&initializers));
                let graph = Graph::Written { model: written.model, initializers, sites, long };
                Ok(ReadyGraph { graph, weights: shared, work })
            }
            Self::File(path) => {
                if let Some(meaning) = recognize_file(path) {
                    return Err(EmbeddingError::invalid_model(path, meaning));
                }
                // Where the file cannot be decoded, ONNX Runtime says what is wrong with it.
                let graph = OnnxFile::open(path).ok().and_then(|file| file.model.graph);
                let work = graph.map_or_else(Work::default, |graph| Work::of(&graph, 0));
                Ok(ReadyGraph { graph: Graph::File(path.clone()), weights: None, work })
            }
        }
    }
}

/// The quantized layers of a graph, packed for this processor.
pub(crate) fn packed_sites(weights: &Weights, sites: &[(String, Epilogue)]) -> Result<PackedSites> {
    let instructions = Instructions::detect();
    let packed = sites.iter().filter_map(|(name, epilogue)| {
        let site = weights.quantized()?.site(name)?;
        Some(PackedSite::new(site, *epilogue, instructions).map(|packed| (name.clone(), Arc::new(packed))))
    });
    packed.collect()
}

fn work(model: &[u8], hidden: usize) -> Work {
    let graph = <ModelProto as prost::Message>::decode(model).ok().and_then(|model| model.graph);
    graph.map_or_else(Work::default, |graph| Work::of(&graph, hidden))
}

/// Which graph runs, before anything large is read.
pub enum Choice {
    /// One that `author` writes over the weights in the file of this name.
    Written { author: Box<dyn Author>, weights: &'static str },
    /// The ONNX file `path`; `author` knows its family, if anybody does.
    File { path: PathBuf, author: Option<Box<dyn Author>> },
}

/// The weights, where we know the family; else an ONNX file; or the ONNX file that was asked for.
pub fn choose(folder: &ModelFolder, onnx_file: Option<&Path>, assumptions: &mut Vec<String>) -> Result<Source> {
    match decide(folder, onnx_file, assumptions)? {
        Choice::Written { author, weights } => written_source(author, folder, weights),
        Choice::File { path, author } => Ok(onnx_source(folder, path, author.as_deref())),
    }
}

/// Name of the file of weights that a transformer's folder has.
pub fn weights_file(folder: &Path) -> Option<&'static str> {
    WEIGHTS.into_iter().find(|file| folder.join(file).is_file())
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
    let weights = weights_file(&folder.transformer_path);
    let onnx = ONNX_FILES.iter().map(|file| folder.transformer_path.join(file)).find(|path| path.is_file());
    match (author, weights, onnx) {
        (Ok(Some(author)), Some(weights), _) => Ok(Choice::Written { author, weights }),
        (Ok(author), weights, Some(onnx)) => {
            if let (None, Some(weights)) = (&author, weights) {
                assumptions.push(format!(
                    "the family of config.json is not one whose graph is written from {weights}; running {}",
                    onnx.display()
                ));
            }
            Ok(Choice::File { path: onnx, author })
        }
        (Ok(Some(_)), None, None) => Err(no_weights(folder)),
        (Ok(None), _, None) => Err(unknown_family(folder)),
        // A setting that we could not write a graph for does not matter to a graph that exists.
        (Err(_), None, Some(path)) => Ok(Choice::File { path, author: None }),
        (Err(error), ..) => Err(error),
    }
}

fn written_source(author: Box<dyn Author>, folder: &ModelFolder, file: &str) -> Result<Source> {
    let architecture = author.architecture();
    let weights = Weights::open(&folder.transformer_path.join(file))?.with_prefix_of(author.anchor())?;
    Ok(Source {
        name: file.to_owned(),
        family: architecture.family.clone(),
        parameters: weights.parameters(),
        origin: Origin::Weights(Arc::from(author), Arc::new(weights)),
        architecture: Some(architecture),
    })
}

fn onnx_source(folder: &ModelFolder, path: PathBuf, author: Option<&dyn Author>) -> Source {
    let name = path.strip_prefix(&folder.transformer_path).unwrap_or(&path).display().to_string();
    let model_type = folder.transformer.as_ref().and_then(|config| config.optional_str("model_type").ok().flatten());
    let parameters = match OnnxFile::open(&path) {
        Ok(file) => file.parameters(),
        Err(error) => {
            // ONNX Runtime is the judge of the file: it may know a format that we do not, and else says what is wrong.
            tracing::debug!(%error, "the parameters of the ONNX file cannot be counted");
            0
        }
    };
    let family = model_type.unwrap_or("onnx").to_owned();
    Source { origin: Origin::File(path), name, family, parameters, architecture: author.map(Author::architecture) }
}

fn no_weights(folder: &ModelFolder) -> EmbeddingError {
    let [file, index] = WEIGHTS;
    for name in WEIGHTS {
        let path = folder.transformer_path.join(name);
        if path.is_dir() {
            return EmbeddingError::invalid_model(&path, "this is a folder; a file of that name is understood");
        }
        if path.is_symlink() {
            let problem = "the file is missing: this is a link to nowhere, as an interrupted download leaves it; \
                           download the model again";
            return EmbeddingError::invalid_model(&path, problem);
        }
        if path.exists() {
            return EmbeddingError::invalid_model(&path, "this is not a regular file");
        }
    }
    let others = other_weights(&folder.transformer_path);
    let problem = format!(
        "the file is missing, and there is no {index}, onnx/model.onnx or model.onnx in its place{}",
        others.map_or_else(String::new, |others| format!("; {others}"))
    );
    EmbeddingError::invalid_model(&folder.transformer_path.join(file), problem)
}

fn unknown_family(folder: &ModelFolder) -> EmbeddingError {
    let file = folder.transformer_path.join("config.json");
    let Some(config) = &folder.transformer else {
        return EmbeddingError::invalid_model(&file, "the file is missing, and there is no ONNX file either");
    };
    let known = known_model_types();
    let name = config.optional_str("model_type").ok().flatten().unwrap_or_default();
    let meant = closest(name, &known).map_or_else(String::new, |meant| format!("; {meant:?} may be meant"));
    let code = if config.has("auto_map") {
        "the model needs Python code of its own (auto_map), which is never run; "
    } else {
        ""
    };
    let problem = format!(
        "{code}this family's graph cannot be written{meant}. Known are {}. Of another family, an ONNX file is run: put \
         one in the folder as onnx/model.onnx or model.onnx",
        known.join(", ")
    );
    config.invalid("model_type", problem)
}

/// The known name that differs in one letter of three at most, or in case and hyphens only.
fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&plain(name), &plain(known));
    // Of a name of a megabyte no distance has to be known.
    let known = known.iter().copied().filter(|known| name.len() <= known.len() + 2);
    known.min_by_key(|known| distance(known)).filter(|known| 3 * distance(known) <= known.len())
}
