//! Inspecting a model folder, part by part: what fails is a finding, and the rest goes on.

use std::path::Path;
use std::sync::Arc;

use prost::bytes::Bytes;

use super::findings::{Code, Finding};
use super::onnx_file::Inspected;
use super::providers::{self, Subject};
use super::report::{GraphFacts, Inspection, Kind, ModelFacts, ProviderFacts, Runs, TokenizerFacts, WeightFacts};
use super::skeleton::ExternalData;
use super::{files, graph, model_facts, tokenizer, weights};
use crate::config::{Document, ModelFolder, Module, Parts};
use crate::error::{EmbeddingError, Result};
use crate::graph::{Architecture, Author, Target, WrittenGraph};
use crate::model;
use crate::onnx::{OnnxFile, decode};
use crate::runtime::library::Library;
use crate::runtime::ports::OutputKind;
use crate::source::{self, Choice};
use crate::tokenization::{Bounds, Tokenization, read_tokenizer};
use crate::weights::Weights;

/// The name that stands for a written graph where a file is named.
const WRITTEN: &str = "written graph";

/// Inspects the folder `path`.
///
/// # Errors
/// [`EmbeddingError::ModelNotFound`] where there is no such folder.
pub fn inspect(path: &Path, library: &Result<Arc<Library>, String>) -> Result<Inspection> {
    let parts = Parts::read(path)?;
    let mut folder = Folder {
        model: model_facts::read(&parts),
        parts,
        library,
        findings: Vec::new(),
        runs: None,
        tokenizer: None,
        weights: None,
        graph: None,
        providers: Vec::new(),
    };
    folder.read();
    let used = folder.runs.as_ref().map(|runs| runs.file.clone());
    Ok(Inspection {
        path: path.display().to_string(),
        kind: Kind::Folder,
        unused_files: files::unused(&folder.parts.transformer_path, used.as_deref()),
        runs: folder.runs,
        model: Some(folder.model),
        tokenizer: folder.tokenizer,
        weights: folder.weights,
        graph: folder.graph,
        providers: folder.providers,
        findings: folder.findings,
    })
}

struct Folder<'a> {
    parts: Parts,
    library: &'a Result<Arc<Library>, String>,
    findings: Vec<Finding>,
    runs: Option<Runs>,
    model: ModelFacts,
    tokenizer: Option<TokenizerFacts>,
    weights: Option<WeightFacts>,
    graph: Option<GraphFacts>,
    providers: Vec<ProviderFacts>,
}

/// Tokens of the text for which a folder's graph for CoreML is looked at.
const COREML_TOKENS: usize = 128;

impl Folder<'_> {
    fn read(&mut self) {
        for error in self.parts.errors() {
            self.failed(&error);
        }
        self.custom_code();
        match ModelFolder::from_parts(self.parts.clone()) {
            Ok(folder) => self.whole(&folder),
            Err(error) => {
                self.failed(&error);
                self.remains();
            }
        }
    }

    fn failed(&mut self, error: &EmbeddingError) {
        self.findings.push(Finding::not_loadable(error));
    }

    /// The value of a step; what it fails with is a finding.
    fn part<T>(&mut self, outcome: Result<T>) -> Option<T> {
        outcome.inspect_err(|error| self.failed(error)).ok()
    }

    /// A folder whose settings can be read.
    fn whole(&mut self, folder: &ModelFolder) {
        for assumption in &folder.assumptions {
            let remedy = "compare with the model's page; put what it says into modules.json and the files it names";
            self.findings.push(Finding::new(Code::Assumed, assumption.clone(), remedy));
        }
        self.model.complete(folder);
        let mut assumptions = Vec::new();
        let choice = source::decide(folder, None, &mut assumptions);
        let architecture = choice.as_ref().ok().and_then(architecture);
        match choice {
            Ok(choice) => self.choice(folder, choice),
            Err(error) => {
                self.failed(&error);
                self.remains();
            }
        }
        let max_tokens = model::max_tokens(folder, None, architecture.as_ref(), &mut assumptions);
        let max_tokens = self.part(max_tokens);
        self.model.limit(folder, architecture.as_ref(), max_tokens);
        self.tokenizer(folder, architecture.as_ref(), max_tokens);
    }

    /// A folder that does not load: its weights and ONNX file are looked at all the same.
    fn remains(&mut self) {
        let folder = self.parts.transformer_path.clone();
        if let Some(file) = source::weights_file(&folder)
            && let Some(weights) = self.part(Weights::open(&folder.join(file)))
        {
            self.weights(&weights, file);
        }
        if let Some(path) = source::ONNX_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
            self.onnx_file(&path);
        }
        if self.tokenizer.is_none()
            && let Ok(config) = self.parts.tokenizer.clone()
            && let Some(read) = self.part(read_tokenizer(&config.file))
        {
            let facts = tokenizer::facts(&config, &read);
            self.findings.extend(tokenizer::stored(&config, &facts));
            self.tokenizer = Some(facts);
        }
    }

    fn choice(&mut self, folder: &ModelFolder, choice: Choice) {
        match choice {
            Choice::Written { author, weights } => {
                let file = weights.to_owned();
                let family = author.architecture().family;
                let reason =
                    format!("the graph of the family {family:?} is written from its weights, which are in {file}");
                self.runs = Some(Runs { graph: WRITTEN, file: file.clone(), reason });
                if let Some(weights) = self.part(Weights::open(&folder.transformer_path.join(weights))) {
                    self.written(author.as_ref(), weights, &file);
                    let width = author.architecture().hidden_size;
                    let postprocess = model::postprocess(folder, OutputKind::Tokens, width, Path::new(WRITTEN));
                    self.part(postprocess);
                }
            }
            Choice::File { path, author } => {
                let file = files::relative(&folder.transformer_path, &path);
                let reason = match (author.is_some(), source::weights_file(&folder.transformer_path).is_some()) {
                    (_, false) => format!("there is no {} to write a graph from", source::WEIGHTS.join(" or ")),
                    (true, true) => "the graph cannot be written from the weights".to_owned(),
                    (false, true) => "the family in config.json is not one whose graph is written".to_owned(),
                };
                self.runs = Some(Runs { graph: "ONNX file", file, reason });
                if let Some(inspected) = self.onnx_file(&path) {
                    self.twice(folder, &inspected);
                }
            }
        }
    }

    fn is_written(&self) -> bool {
        self.runs.as_ref().is_some_and(|runs| runs.graph == WRITTEN)
    }

    fn weights(&mut self, weights: &Weights, file: &str) {
        let facts = weights::facts(weights, file);
        self.findings.extend(weights::non_finite(weights));
        self.model.parameters = Some(facts.parameters);
        self.model.stored_dtype = weights.stored_type().map(|stored| stored.name().to_owned());
        self.weights = Some(facts);
    }

    fn written(&mut self, author: &dyn Author, weights: Weights, file: &str) {
        self.weights(&weights, file);
        let Some(weights) = self.part(weights.with_prefix_of(author.anchor())) else { return };
        let limit = author.architecture().trained_tokens;
        let target = Target::CPU.with_max_tokens(limit);
        let Some(WrittenGraph { model, .. }) = self.part(author.write(&weights, &target, None)) else { return };
        let (unused, finding) = weights::unused(&weights);
        self.findings.extend(finding);
        if let Some(facts) = &mut self.weights {
            facts.unused = unused;
        }
        let name = Path::new(WRITTEN);
        let bytes = Bytes::from(model);
        let Some(model) = self.part(decode(name, &bytes)) else { return };
        self.graph = Some(graph::facts(WRITTEN, bytes.len(), &model, Vec::new()));
        let tokens = limit.min(COREML_TOKENS);
        let coreml = self.part(author.write(&weights, &Target::COREML.with_shape(1, tokens), None));
        let coreml = coreml.as_ref().map(|written| (written.model.as_slice(), format!("a text of {tokens} tokens")));
        let subject = Subject { file: name, bytes: &bytes, model: &model, external: Ok(ExternalData::ByName), coreml };
        self.providers = providers::facts(&subject, self.library, &mut self.findings);
    }

    fn onnx_file(&mut self, path: &Path) -> Option<Inspected> {
        let file = self.part(OnnxFile::open(path))?;
        let parameters = file.parameters();
        let name = files::relative(&self.parts.transformer_path, path);
        let inspected = Inspected::new(file, &name, &mut self.findings);
        if self.weights.is_none() {
            self.model.parameters = Some(parameters);
            let most = inspected.facts.parameters_by_dtype.iter().max_by_key(|(_, facts)| facts.parameters);
            self.model.stored_dtype = most.map(|(name, _)| name.clone());
        }
        self.providers = providers::facts(&inspected.subject(), self.library, &mut self.findings);
        self.graph = Some(inspected.facts.clone());
        Some(inspected)
    }

    /// Steps that both the graph and modules.json have.
    fn twice(&mut self, folder: &ModelFolder, inspected: &Inspected) {
        let Some(found) = &inspected.ports else { return };
        let width = found.width.or(folder.token_dimension);
        if let Some(width) = width {
            self.part(model::postprocess(folder, found.kind, width, &inspected.file.path));
        }
        let file = &inspected.file.path;
        let output = &found.ports.output;
        if inspected.pools() {
            self.model.pooling = vec![model::INSIDE_THE_GRAPH.to_owned()];
            let message =
                format!("the output {output:?} is pooled inside the graph; the pooling of the folder is not used");
            let remedy = "nothing, if the graph pools as the folder says; else export it with its token embeddings";
            self.findings.push(Finding::new(Code::PooledTwice, message, remedy).in_file(file));
        }
        if inspected.normalizes() {
            let says_so = folder.modules.iter().any(|module| matches!(module, Module::Normalize));
            let (code, message, remedy) = if says_so {
                let message = format!("the output {output:?} is normalized, and modules.json normalizes again");
                (Code::NormalizedTwice, message, "nothing: a vector of length 1 stays as it is")
            } else {
                let message = format!("the output {output:?} is normalized, and modules.json has no Normalize");
                (
                    Code::NormalizedInside,
                    message,
                    "expect vectors of length 1, where sentence-transformers gives others",
                )
            };
            self.findings.push(Finding::new(code, message, remedy).in_file(file));
        }
    }

    fn tokenizer(&mut self, folder: &ModelFolder, architecture: Option<&Architecture>, max_tokens: Option<usize>) {
        let config = &folder.tokenizer;
        self.findings.extend(tokenizer::limits(config, model::trained_tokens(folder, architecture)));
        if self.tokenizer.is_some() {
            return;
        }
        let Some(read) = self.part(read_tokenizer(&config.file)) else { return };
        let facts = tokenizer::facts(config, &read);
        self.findings.extend(tokenizer::stored(config, &facts));
        let rows = architecture.map(|architecture| architecture.vocabulary_size).or(self.model.vocabulary_size);
        self.findings.extend(rows.and_then(|rows| tokenizer::beyond_vocabulary(config, &read, rows)));
        self.tokenizer = Some(facts);
        let token_types = architecture.and_then(|architecture| architecture.token_types);
        if config.token_types && token_types.is_none() && architecture.is_some() && self.is_written() {
            let message = "the tokenizer gives token types, and the model has no table of them; they are not used";
            let remedy = "nothing, if the tokenizer belongs to the model";
            self.findings.push(Finding::new(Code::TokenTypesMissing, message, remedy).in_file(&config.file));
        }
        let bounds = Bounds { vocabulary: architecture.map(|known| known.vocabulary_size), token_types };
        let tokens = max_tokens.unwrap_or(usize::MAX);
        let Some(tokenization) = self.part(Tokenization::new(read, config, tokens, bounds)) else { return };
        if let Err(error) = model::padding_id(folder, &tokenization) {
            let remedy = "name one of the tokenizer's tokens as pad_token in tokenizer_config.json";
            self.findings.push(Finding::new(Code::PadTokenMissing, error.to_string(), remedy));
        }
    }

    fn custom_code(&mut self) {
        let settings = self.parts.tokenizer.as_ref().ok().and_then(|config| config.document.as_ref());
        let documents = [self.parts.transformer.as_ref().ok().and_then(Option::as_ref), settings];
        let named: Vec<&Document> =
            documents.into_iter().flatten().filter(|document| document.has("auto_map")).collect();
        for document in named {
            let message = "auto_map names Python code that comes with the model (trust_remote_code); it is not run";
            let remedy =
                "nothing, if the model's vectors agree with its page: the family's graph is written without it";
            self.findings.push(Finding::new(Code::CustomCode, message, remedy).in_file(document.path()));
        }
    }
}

fn architecture(choice: &Choice) -> Option<Architecture> {
    match choice {
        Choice::Written { author, .. } => Some(author.architecture()),
        Choice::File { author, .. } => author.as_ref().map(|author| author.architecture()),
    }
}
