//! What every backend of a model is made from.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use prost::Message;

use super::shelf::Shelf;
use super::{Backend, Interface, Sessions};
use crate::error::Result;
use crate::fingerprint::fingerprint;
use crate::graph::{Dialect, StaticShape};
use crate::ladder::{LONGEST, Ladder};
use crate::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::runtime::execution::{Execution, Surroundings};
use crate::runtime::initializers::Initializers;
use crate::runtime::placement::Placement;
use crate::runtime::providers::{ProviderRequest, Shapes};
use crate::runtime::session::{Graph, LoadedSession, SessionFactory};
use crate::source::{Origin, ReadyGraph, Source};

/// Bytes for the sessions of several shapes together.
const SESSION_MEMORY: usize = 2 << 30;
/// A text of usual length, alone: what most providers are asked first.
pub const SHORT_TEXT: (usize, usize) = (1, 16);

/// What every backend of a model is made from.
#[derive(Clone)]
pub struct Blueprint {
    /// The graph or how to write it.
    pub source: Arc<Source>,
    /// ONNX Runtime and where providers come from.
    pub surroundings: Surroundings,
    /// The most tokens of a text.
    pub max_tokens: usize,
    /// What config.json says of a token's vector, for ONNX files that do not.
    pub token_dimension: Option<usize>,
    /// A hash of the weights, once it was needed; every copy has the same.
    pub hash: Arc<OnceLock<Option<String>>>,
}

impl Blueprint {
    /// The model on `execution`, with its first session, and for the CPU that session. Where shapes are fixed, `first`
    /// has its texts and their tokens.
    ///
    /// # Errors
    /// `ProviderUnavailable` where the provider refuses the model or takes too little of it; for the CPU as loading.
    pub fn backend(&self, execution: Execution, first: (usize, usize)) -> Result<(Backend, Option<LoadedSession>)> {
        if execution.is_cpu() {
            let (backend, session) = self.on_the_cpu(execution)?;
            return Ok((backend, Some(session)));
        }
        Ok((self.on_a_device(execution, first)?, None))
    }

    fn on_the_cpu(&self, execution: Execution) -> Result<(Backend, LoadedSession)> {
        let ReadyGraph { graph, work, .. } = self.graph(&execution, None, None)?;
        let library = Arc::clone(&self.surroundings.library);
        let factory = Arc::new(SessionFactory::new(library, graph, execution.clone()));
        let session = factory.create(self.surroundings.threads)?;
        let interface = self.interface(&session)?;
        let first_placement = execution.placement("one batch, all threads".to_owned(), &session, &work)?;
        let sessions = Sessions::OfWorkers(factory);
        Ok((Backend { execution, interface, blueprint: self.clone(), sessions, first_placement }, session))
    }

    fn on_a_device(&self, execution: Execution, (rows, tokens): (usize, usize)) -> Result<Backend> {
        let is_written = matches!(self.source.origin, Origin::Weights(..));
        let ladder = match execution.shapes() {
            Shapes::Ladder { token_budget } if is_written => Some(Ladder::new(self.max_tokens, token_budget)),
            _ => None,
        };
        let most = execution.chosen.count("max_sessions").unwrap_or_else(|| self.usual_sessions());
        let mut kept = Shelf::new(most);
        let shape = ladder.as_ref().and_then(|ladder| ladder.shape(rows, tokens.min(ladder.longest())));
        let interface = self.interface(kept.session(self, &execution, shape)?)?;
        // Spelled out, the attention of a long text takes memory by the square of its length.
        let is_plain = is_written && execution.target().dialect == Dialect::Plain;
        let longest = match &ladder {
            Some(ladder) => ladder.longest(),
            None if is_plain => LONGEST,
            None => usize::MAX,
        };
        let first_placement = kept.last_placement()?;
        check_share(&execution, &first_placement)?;
        let sessions = Sessions::Shared { ladder, longest, most, kept: Mutex::new(kept) };
        Ok(Backend { execution, interface, blueprint: self.clone(), sessions, first_placement })
    }

    /// How many sessions to keep: a compiled model may be as large as its weights.
    fn usual_sessions(&self) -> usize {
        (SESSION_MEMORY / (4 * self.source.parameters).max(1)).clamp(2, 16)
    }

    /// The provider of `request`, with a place to keep what it compiles.
    ///
    /// # Errors
    /// As [`Execution::find`].
    pub fn execution(&self, request: &ProviderRequest) -> Result<Execution> {
        if request.is_cpu() || self.surroundings.cache.is_none() {
            return Execution::find(request, &self.surroundings);
        }
        let model = self.fingerprint().map(|hash| hash.chars().take(16).collect());
        Execution::find(request, &Surroundings { model, ..self.surroundings.clone() })
    }

    /// A hash of the weights; `None` where they cannot be read.
    pub fn fingerprint(&self) -> Option<&str> {
        let hash = || fingerprint(&self.source.origin, self.surroundings.cache.as_deref());
        self.hash.get_or_init(hash).as_deref()
    }

    /// The graph for a provider, of one shape or of any; weights that are not among `known` are converted.
    pub(super) fn graph(
        &self,
        execution: &Execution,
        shape: Option<StaticShape>,
        known: Option<&Arc<Initializers>>,
    ) -> Result<ReadyGraph> {
        let mut target = execution.target().with_max_tokens(self.max_tokens);
        if let Some(shape) = shape {
            target = target.with_shape(shape.batch, shape.sequence);
        }
        let mut ready = self.source.origin.graph(&target, self.surroundings.threads, known)?;
        if let Some(name) = execution.provider.cache_key
            && let Some(weights) = self.fingerprint()
            && let Graph::Written { model, .. } = &mut ready.graph
        {
            let key = cache_key(weights, model, &self.surroundings.library.version);
            add_metadata(model, name, key);
        }
        Ok(ready)
    }

    fn interface(&self, session: &LoadedSession) -> Result<Interface> {
        let path: &Path = self.source.origin.path();
        let written = match &self.source.origin {
            Origin::Weights(author, _) => Some(author.architecture().hidden_size),
            Origin::File(_) => None,
        };
        Interface::of(path, written, session, self.token_dimension)
    }
}

fn check_share(execution: &Execution, placement: &Placement) -> Result<()> {
    let (share, least) = (placement.share(&execution.runtime_name), execution.chosen.minimum_share());
    if share >= least && placement.providers.contains_key(&execution.runtime_name) {
        return Ok(());
    }
    let nodes = placement.providers.get(&execution.runtime_name).copied().unwrap_or(0);
    if nodes == 0 {
        let all = placement.nodes();
        return Err(
            execution.unavailable(format!("it takes none of the model's {all} nodes, and leaves them to the CPU"))
        );
    }
    Err(execution.unavailable(format!(
        "it takes {nodes} of the model's {} nodes, {:.1}% of the multiply-adds, and leaves the others to the CPU; at least \
         {:.1}% are asked for (minimum_share={least})",
        placement.nodes(),
        share * 100.0,
        least * 100.0,
    )))
}

/// What tells a compiled graph from others: 64 letters and digits.
fn cache_key(weights: &str, model: &[u8], runtime_version: &str) -> String {
    let mut key = blake3::Hasher::new();
    for part in [weights.as_bytes(), model, runtime_version.as_bytes()] {
        key.update(&(part.len() as u64).to_le_bytes());
        key.update(part);
    }
    key.finalize().to_hex().to_string()
}

/// Adds to a serialized model: the fields of two messages one behind the other are those of one.
fn add_metadata(model: &mut Vec<u8>, key: &str, value: String) {
    let entry = StringStringEntryProto { key: key.to_owned(), value };
    let addition = ModelProto { metadata_props: vec![entry], ..ModelProto::default() };
    model.extend(addition.encode_to_vec());
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{add_metadata, cache_key};
    use crate::onnx::proto::{GraphProto, ModelProto};

    #[test]
    fn a_cache_key_is_what_coreml_takes_and_depends_on_everything() {
        let keys = [
            cache_key("weights", b"graph", "1.31.1"),
            cache_key("other weights", b"graph", "1.31.1"),
            cache_key("weights", b"other graph", "1.31.1"),
            cache_key("weights", b"graph", "1.31.2"),
            cache_key("weightsg", b"raph", "1.31.1"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(key.len() <= 64 && key.chars().all(|letter| letter.is_ascii_alphanumeric()), "{key}");
            assert!(!keys[..index].contains(key), "{index}");
        }
        assert_eq!(keys[0], cache_key("weights", b"graph", "1.31.1"));
    }

    #[test]
    fn metadata_is_added_to_a_finished_model() {
        let graph = GraphProto { name: "graph".to_owned(), ..GraphProto::default() };
        let model = ModelProto { ir_version: 9, graph: Some(graph), ..ModelProto::default() };
        let mut bytes = model.encode_to_vec();
        add_metadata(&mut bytes, "KEY", "value".to_owned());
        let read = ModelProto::decode(bytes.as_slice()).unwrap();
        assert_eq!((read.ir_version, read.graph), (9, model.graph));
        let entries: Vec<(&str, &str)> =
            read.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        assert_eq!(entries, [("KEY", "value")]);
    }
}
