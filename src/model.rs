//! A model folder made ready to run: which graph, which tokenizer, which steps after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{Blueprint, Interface};
use crate::batch::Layout;
use crate::choice::{self, Probe, Selection};
use crate::config::{Document, ModelFolder, Module, Prompts, Side};
use crate::error::{EmbeddingError, Result};
use crate::failover::{Failover, NotUsed};
use crate::forward::{Forward, RowOptions};
use crate::graph::{Architecture, PositionScheme};
use crate::info::ModelInfo;
use crate::linears::{LinearShape, linear_shapes};
use crate::memory;
use crate::options::{EncodeOptions, Role};
use crate::postprocess::{DenseLayer, PoolingMode, Postprocess, PostprocessOptions};
use crate::precision::{self, Asked};
use crate::quantize::QuantizedModel;
use crate::runtime::execution::Surroundings;
use crate::runtime::ports::OutputKind;
use crate::runtime::providers::ProviderRequest;
use crate::runtime::session::LoadedSession;
use crate::source::{self, Origin, Source};
use crate::stages::StageCounters;
use crate::tokenization::{Bounds, Tokenization};
use crate::weights::Weights;

/// What the user asked for when loading.
#[derive(Debug, Clone)]
pub(crate) struct LoadSettings {
    pub max_seq_length: Option<usize>,
    pub truncate_dim: Option<usize>,
    pub onnx_file: Option<PathBuf>,
    /// Execution providers in order of preference.
    pub providers: Vec<ProviderRequest>,
    /// Quantized layers that are in no file yet.
    pub quantized: Option<Arc<QuantizedModel>>,
    /// ONNX Runtime, and where providers come from.
    pub surroundings: Surroundings,
}

/// A model and what runs it.
pub(crate) struct Loaded {
    pub model: Model,
    pub forward: Arc<Forward>,
    /// The CPU's first session, where the CPU is the first provider.
    pub session: Option<LoadedSession>,
    /// Providers that were asked for and are not used.
    pub not_used: Vec<NotUsed>,
}

/// A loaded model, but for its sessions.
#[derive(Debug)]
pub struct Model {
    info: ModelInfo,
    prompts: Prompts,
    tokenization: Tokenization,
    postprocess: Arc<Postprocess>,
    truncate_dim: Option<usize>,
    padding_id: u32,
    source: Arc<Source>,
}

impl Model {
    /// Makes `folder` ready to run, with its first session.
    pub(crate) fn load(folder: &ModelFolder, settings: LoadSettings) -> Result<Loaded> {
        let loaded = Self::load_from(folder, settings);
        let file = loaded.as_ref().map_or(&*folder.path, |loaded| loaded.model.source.origin.path());
        match (folder.check_unchanged(file), loaded) {
            (Ok(()), loaded) => loaded,
            (Err(changed), Ok(_)) => Err(changed),
            // What failed may be no more than a sign of it.
            (Err(changed), Err(error)) => Err(changed.caused_by(error)),
        }
    }

    fn load_from(folder: &ModelFolder, settings: LoadSettings) -> Result<Loaded> {
        memory::ensure(0, "the model")?;
        let mut assumptions = folder.assumptions.clone();
        let mut source = source::choose(folder, settings.onnx_file.as_deref(), &mut assumptions)?;
        let LoadSettings { quantized, surroundings, .. } = &settings;
        let asked = Asked {
            dtype: &surroundings.dtype,
            quantized: quantized.clone(),
            is_on_the_cpu: &|| choice::is_left_to_the_cpu(surroundings, &settings.providers),
        };
        let precision = precision::settle(&mut source, &asked, &mut assumptions)?;
        let architecture = source.architecture.clone();
        let architecture = architecture.as_ref();
        let max_tokens = max_tokens(folder, settings.max_seq_length, architecture, &mut assumptions)?;
        let bounds = bounds(architecture);
        let is_written = matches!(source.origin, Origin::Weights(..));
        let blueprint = Blueprint {
            source: Arc::new(source),
            surroundings: Surroundings { dtype: precision.dtype, ..settings.surroundings },
            max_tokens,
            token_dimension: folder.token_dimension,
            hash: Arc::default(),
        };
        let (opening, tokenization) = side_by_side(
            || choice::open(&blueprint, &settings.providers),
            || Tokenization::load(&folder.tokenizer, max_tokens, bounds),
        )?;
        let Interface { kind, width, .. } = *opening.interface();
        let postprocess = Arc::new(postprocess(folder, kind, width, blueprint.source.origin.path())?);
        let padding_id = padding_id(folder, &tokenization)?;
        let layout = layout(folder, is_written, architecture, padding_id);
        let truncate_dim = settings.truncate_dim.or(folder.truncate_dim);
        let options = PostprocessOptions { truncate_dim, normalize: None };
        let dimension = postprocess.dimension(options)?;
        let threads = blueprint.surroundings.threads;
        let probe = Probe {
            tokenization: &tokenization,
            layout,
            postprocess: Arc::clone(&postprocess),
            threads,
            options: RowOptions { prompt_tokens: 0, postprocess: options, dimension },
        };
        let Selection { backends, session, stepped_over, lost } = opening.close(&blueprint, &probe)?;
        assumptions.extend(stepped_over.iter().map(NotUsed::sentence));
        let first = backends.first().ok_or_else(|| EmbeddingError::internal("no provider was chosen"))?.get()?;
        let info = ModelInfo {
            family: blueprint.source.family.clone(),
            source: blueprint.source.name.clone(),
            dimension,
            max_seq_length: max_tokens,
            pooling: pooling_names(folder, kind),
            vocabulary_size: bounds.vocabulary.unwrap_or_else(|| tokenization.vocabulary_size()),
            parameters: blueprint.source.parameters,
            dtype: first.execution.dtype.name.to_owned(),
            quality: precision.quality,
            provider: first.execution.name.clone(),
            threads,
            assumptions,
            ..described(folder)
        };
        let failover = Failover::new(backends.iter().map(|backend| backend.name.clone()).collect());
        let backends = backends.into_iter().map(Arc::new).collect();
        let stages = StageCounters::default();
        let forward = Arc::new(Forward { backends, failover, layout, postprocess: Arc::clone(&postprocess), stages });
        let source = blueprint.source;
        let prompts = folder.prompts.clone();
        let model = Self { info, prompts, tokenization, postprocess, truncate_dim, padding_id, source };
        Ok(Loaded { model, forward, session, not_used: [stepped_over, lost].concat() })
    }

    /// Refuses a model whose weights were written to in place since they were loaded.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match &self.source.origin {
            Origin::Weights(_, weights) => weights.check_unchanged(),
            Origin::File(_) => Ok(()),
        }
    }

    /// What was loaded.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The model's tokenizer.
    pub fn tokenization(&self) -> &Tokenization {
        &self.tokenization
    }

    /// The linear layers that every token goes through, by shape; none of an ONNX file in which they cannot be found.
    ///
    /// ```
    /// # fn main() -> oxembed::Result<()> {
    /// let embedder = oxembed::Embedder::load("models/all-MiniLM-L6-v2")?;
    /// let shapes = embedder.model().linear_shapes();
    /// let products: usize = shapes.iter().map(|shape| shape.inputs * shape.outputs * shape.layers).sum();
    /// // Six layers: four products of the width 384 with itself, and one to the inner width 1536 and back.
    /// assert_eq!(products, 6 * (4 * 384 * 384 + 2 * 384 * 1536));
    /// # Ok(())
    /// # }
    /// ```
    pub fn linear_shapes(&self) -> Vec<LinearShape> {
        linear_shapes(&self.source.origin)
    }

    /// The id that shorter texts are filled up with.
    pub fn padding_id(&self) -> u32 {
        self.padding_id
    }

    /// The prompt that `options` choose; an empty one is none.
    pub(crate) fn prompt<'a>(&'a self, options: &'a EncodeOptions) -> Result<Option<&'a str>> {
        let prompts = &self.prompts;
        let named = options.prompt.is_some() || options.prompt_name.is_some();
        let prompt = match options.role {
            Some(Role::Query) if !named => prompts.query_prompt(),
            Some(Role::Document) if !named => prompts.document_prompt(),
            _ => prompts.resolve(options.prompt.as_deref(), options.prompt_name.as_deref())?,
        };
        Ok(prompt.filter(|prompt| !prompt.is_empty()))
    }

    /// How rows are made of tokens for a call with `options` and `prompt`.
    pub(crate) fn row_options(&self, options: &EncodeOptions, prompt: Option<&str>) -> Result<RowOptions> {
        let prompt_tokens = match prompt {
            Some(prompt) if self.postprocess.leaves_out_prompt() => self.tokenization.prompt_tokens(prompt)?,
            _ => 0,
        };
        let truncate_dim = options.truncate_dim.or(self.truncate_dim);
        let postprocess = PostprocessOptions { truncate_dim, normalize: options.normalize };
        Ok(RowOptions { prompt_tokens, postprocess, dimension: self.postprocess.dimension(postprocess)? })
    }
}

/// The sessions and the tokenizer, which take as long to make as each other.
fn side_by_side<T: Send>(
    sessions: impl FnOnce() -> Result<T> + Send,
    tokenization: impl FnOnce() -> Result<Tokenization>,
) -> Result<(T, Tokenization)> {
    if memory::is_limited() {
        // One after the other, so that the room that one has made sure of is not taken by the other.
        return Ok((sessions()?, tokenization()?));
    }
    std::thread::scope(|scope| {
        let sessions = std::thread::Builder::new().spawn_scoped(scope, sessions).map_err(|error| {
            EmbeddingError::inference_failed("no thread for loading the model could be started").caused_by(error)
        })?;
        let tokenization = tokenization();
        let sessions = sessions.join().map_err(|_| EmbeddingError::internal("making a session panicked"))?;
        Ok((sessions?, tokenization?))
    })
}

/// What the folder says of a model; the rest is for the graph and the settings to say.
fn described(folder: &ModelFolder) -> ModelInfo {
    ModelInfo {
        name: model_name(&folder.path),
        path: folder.path.display().to_string(),
        modules: module_names(&folder.modules),
        prompts: folder.prompts.prompts.clone(),
        default_prompt_name: folder.prompts.default_prompt_name.clone(),
        similarity_fn_name: folder.similarity.name().to_owned(),
        padding_side: side_name(folder.tokenizer.padding_side).to_owned(),
        ..ModelInfo::default()
    }
}

/// The limit in force: what the user asked for, else what the folder says, at most what the model can.
pub(crate) fn max_tokens(
    folder: &ModelFolder,
    asked: Option<usize>,
    architecture: Option<&Architecture>,
    assumptions: &mut Vec<String>,
) -> Result<usize> {
    let possible = positions(folder, architecture);
    if let Some(asked) = asked {
        return match possible {
            Some(possible) if asked > possible => Err(EmbeddingError::invalid_input(format!(
                "max_seq_length={asked} is more than the {possible} positions that the model has"
            ))),
            _ if asked == 0 => Err(EmbeddingError::invalid_input("max_seq_length has to be at least 1")),
            _ => Ok(asked),
        };
    }
    // sentence-transformers takes its own limit as it is, and bounds the tokenizer's by the trained length.
    let trained = trained_tokens(folder, architecture);
    let own = folder.tokenizer.max_seq_length.as_ref();
    let bound = if own.is_some() { possible } else { trained };
    match (folder.tokenizer.limit(), bound) {
        (Some(limit), Some(bound)) if limit.tokens > bound => {
            assumptions.push(format!(
                "{}: {} = {} is more than the {bound} positions that the model has; the limit is {bound}",
                limit.file.display(),
                limit.key,
                limit.tokens
            ));
            Ok(bound)
        }
        (Some(limit), _) => Ok(limit.tokens),
        (None, Some(bound)) => Ok(bound),
        (None, None) => Err(EmbeddingError::invalid_model(
            &folder.path,
            "the folder does not say how many tokens the model takes; say it with max_seq_length=",
        )),
    }
}

/// The most tokens that there are positions for.
fn positions(folder: &ModelFolder, architecture: Option<&Architecture>) -> Option<usize> {
    architecture.map(|architecture| architecture.max_tokens).or_else(|| said_positions(folder))
}

/// The most tokens of a text in training, which is all that a table of positions has.
pub(crate) fn trained_tokens(folder: &ModelFolder, architecture: Option<&Architecture>) -> Option<usize> {
    architecture.map(|architecture| architecture.trained_tokens).or_else(|| said_positions(folder))
}

fn said_positions(folder: &ModelFolder) -> Option<usize> {
    let config: &Document = folder.transformer.as_ref()?;
    config.optional_usize_in("max_position_embeddings", 1..=1 << 30).ok().flatten()
}

pub(crate) fn postprocess(folder: &ModelFolder, kind: OutputKind, width: usize, file: &Path) -> Result<Postprocess> {
    match kind {
        OutputKind::Tokens => folder.postprocess(width, load_dense),
        OutputKind::Sentence => {
            if folder.modules.iter().any(|module| matches!(module, Module::Dense(_))) {
                let problem = "the graph gives pooled vectors, and modules.json has Dense modules of which cannot be told \
                               whether the graph contains them; export the graph with its token embeddings";
                return Err(EmbeddingError::invalid_model(file, problem));
            }
            // A pooled row is one token, whose mean is itself. Normalizing twice changes nothing.
            let normalize = folder.modules.iter().any(|module| matches!(module, Module::Normalize));
            let steps = if normalize { vec![crate::postprocess::Step::Normalize] } else { Vec::new() };
            Postprocess::new(width, vec![PoolingMode::Mean], true, steps)
        }
    }
}

/// Reads the weights of a dense layer.
pub(crate) fn load_dense(dense: &crate::config::Dense) -> Result<DenseLayer> {
    let file = dense.weights_file();
    let weights = Weights::open(&file)?.with_prefix_of("linear.weight")?;
    let weight = weights.tensor("linear.weight", &[dense.out_features, dense.in_features])?.to_f32();
    let bias = match dense.bias.then(|| weights.tensor("linear.bias", &[dense.out_features])) {
        Some(bias) => Some(bias?.to_f32()),
        None => None,
    };
    DenseLayer::new(&file, dense.in_features, dense.out_features, weight, bias, dense.activation)
}

pub(crate) fn padding_id(folder: &ModelFolder, tokenization: &Tokenization) -> Result<u32> {
    let token = folder.tokenizer.special_tokens.of("pad_token").map(str::to_owned);
    let token = token.or_else(|| tokenization.stored_padding_token());
    let file = folder.transformer_path.join("tokenizer_config.json");
    let Some(token) = token else {
        let problem = "the tokenizer has no padding token, which batches need; name one of its tokens here";
        return Err(EmbeddingError::invalid_key(&file, "pad_token", None, problem));
    };
    tokenization.id_of(&token).ok_or_else(|| {
        let problem =
            "the padding token is not in the vocabulary of tokenizer.json, or the model has no embedding for it";
        EmbeddingError::invalid_key(&file, "pad_token", Some(token.clone()), problem)
    })
}

/// The ids that the graph has embeddings for.
pub(crate) fn bounds(architecture: Option<&Architecture>) -> Bounds {
    Bounds {
        vocabulary: architecture.map(|architecture| architecture.vocabulary_size),
        token_types: architecture.and_then(|architecture| architecture.token_types),
    }
}

pub(crate) fn layout(folder: &ModelFolder, is_written: bool, known: Option<&Architecture>, padding_id: u32) -> Layout {
    Layout {
        // A written graph gives the same bits on either side only where softmax adds up the same numbers in the same
        // lanes, which is the right.
        padding_side: if is_written { Side::Right } else { folder.tokenizer.padding_side },
        padding_id,
        // An ONNX file that takes `position_ids` looks them up in the family's table, so they count as its family does.
        positions: known.map_or(PositionScheme::FromZero, |architecture| architecture.positions),
        // A product of one row takes another way through ONNX Runtime where the matrix is not packed, to other bits.
        shortest: if is_written { 2 } else { 1 },
    }
}

fn model_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}

/// In place of pooling modes, where the graph pools.
pub(crate) const INSIDE_THE_GRAPH: &str = "inside the graph";

fn pooling_names(folder: &ModelFolder, kind: OutputKind) -> Vec<String> {
    match (kind, folder.pooling()) {
        (OutputKind::Sentence, _) => vec![INSIDE_THE_GRAPH.to_owned()],
        (_, Some(pooling)) => pooling.modes.iter().map(|mode| mode.name().to_owned()).collect(),
        (_, None) => Vec::new(),
    }
}

pub(crate) fn module_names(modules: &[Module]) -> Vec<String> {
    let name = |module: &Module| match module {
        Module::Pooling(_) => "Pooling".to_owned(),
        Module::Dense(dense) => format!("Dense({} -> {})", dense.in_features, dense.out_features),
        Module::Normalize => "Normalize".to_owned(),
    };
    std::iter::once("Transformer".to_owned()).chain(modules.iter().map(name)).collect()
}

pub(crate) fn side_name(side: Side) -> &'static str {
    match side {
        Side::Right => "right",
        Side::Left => "left",
    }
}
