//! Quantizing a whole model: layer by layer, each seeing what the quantized ones before it really give.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::calibration::{CalibrationText, default_texts, enough, held_out_texts};
use super::check::Pair;
use super::file::{QuantizedModel, RECIPE};
use super::gram::Gram;
use super::groups::{OUTLIERS, Partition};
use super::quality::Quality;
use super::report::{CalibrationSize, LayerReport, Progress, QuantizationReport, SiteReport, Speed, Stage};
use super::solve::{FloatLinear, SiteErrors, solve};
use super::statistics::ChannelStatistics;
use super::stream::{Parts, Stream};
use crate::batch::Layout;
use crate::builder::threads;
use crate::config::ModelFolder;
use crate::embedder::Embedder;
use crate::error::{EmbeddingError, Result};
use crate::graph::{Linear, Linears, Part, Site, Target};
use crate::int8::{Instructions, QuantizedSite};
use crate::model::{bounds, layout, max_tokens, padding_id};
use crate::precision::{QUANTIZED_FILE, sha256};
use crate::runtime::library::library;
use crate::runtime::providers::{CPU, INT8};
use crate::source::{self, Origin};
use crate::tokenization::Tokenization;
use crate::weights::Weights;

/// Channels of a group of those that are no outliers, about.
const GROUP: usize = 128;

/// How a model is quantized.
#[derive(Debug, Clone, Default)]
pub struct QuantizeOptions {
    /// The texts to learn from; those that come with the library where there are none.
    pub calibration: Option<Vec<CalibrationText>>,
    /// The folder for the file; the one of the weights where it is not set.
    pub output: Option<PathBuf>,
    /// Writes the file even where the vectors are not near enough to the model's own.
    pub force: bool,
    /// Threads to compute with; as many as the process may use where it is not set.
    pub threads: Option<usize>,
    /// ONNX Runtime's shared library, where `ORT_DYLIB_PATH` does not name it.
    pub library: Option<PathBuf>,
}

/// Told of the progress now and then; `Break` gives up, and nothing is written.
pub type QuantizeWatch<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Quantizes the linear layers of the model in `folder` and writes `int8.safetensors` beside its weights, or into another
/// folder, if its vectors come near enough to the model's own: a mean cosine of 0.9995 and none below 0.998 on texts that
/// were kept apart. Equal inputs give equal bytes.
///
/// The weights are rounded by GPTQ (Frantar et al. 2022, <https://arxiv.org/abs/2210.17323>), layer by layer on what the
/// quantized layers before give; see `docs/int8.md`.
///
/// # Errors
/// `ModelNotFound` and `InvalidModel` as for loading, `InvalidInput` for a model that is an ONNX file, for too few texts
/// and for an output that cannot be written, `Cancelled` where `watch` said so.
pub fn quantize(folder: &Path, options: &QuantizeOptions, watch: &mut QuantizeWatch<'_>) -> Result<QuantizationReport> {
    let start = Instant::now();
    let own = default_texts()?;
    let texts = options.calibration.as_ref().unwrap_or(&own);
    enough(texts).map_err(EmbeddingError::invalid_input)?;
    let subject = Subject::load(folder, options)?;
    let output = options.output.clone().unwrap_or_else(|| subject.folder());
    check_writable(&output)?;
    let mut pass = Pass::new(&subject, texts, watch)?;
    let layers = pass.layers(watch)?;
    let calibration = CalibrationSize { texts: texts.len(), tokens: pass.full.tokens() };
    let mut model = pass.into_model();
    model.source_sha256 = sha256(&subject.weights.files())?;
    let held_out = held_out_texts()?;
    let shared = Arc::new(model.clone());
    let pair = |threads| subject.pair(threads, &shared);
    let both = pair(subject.threads)?;
    model.quality = both.quality(&held_out, watch)?;
    let (float32, int8, ratio) = both.speed(&held_out, watch)?;
    // Not both pairs at a time in memory.
    drop(both);
    let speed = Speed { float32, int8, ratio, single: pair(1)?.single_speed(&held_out, watch)? };
    let passed = model.quality.passed;
    let path = (passed || options.force).then(|| model.write(&output.join(QUANTIZED_FILE))).transpose()?;
    let instructions = Instructions::detect();
    Ok(QuantizationReport {
        passed,
        recipe: model.recipe.clone(),
        bytes: path.as_ref().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len()),
        path,
        parameters_quantized: model.parameters(),
        calibration,
        seconds: start.elapsed().as_secs_f64(),
        quality: model.quality,
        layers,
        speed,
        instructions: instructions.name().to_owned(),
        fast: instructions.is_fast(),
    })
}

/// Better known before the work than after it.
fn check_writable(folder: &Path) -> Result<()> {
    tempfile::tempfile_in(folder).map(drop).map_err(|error| {
        EmbeddingError::invalid_input(format!(
            "{QUANTIZED_FILE} cannot be written to {}: {error}; choose a folder with --output DIR (output= in Python)",
            folder.display()
        ))
    })
}

/// The model that is quantized.
struct Subject<'a> {
    path: &'a Path,
    options: &'a QuantizeOptions,
    weights: Arc<Weights>,
    parts: Parts,
    tokenization: Tokenization,
    layout: Layout,
    threads: usize,
}

impl<'a> Subject<'a> {
    fn load(path: &'a Path, options: &'a QuantizeOptions) -> Result<Self> {
        let threads = threads(options.threads)?;
        let folder = ModelFolder::read(path)?;
        let mut assumptions = folder.assumptions.clone();
        let source = source::choose(&folder, None, &mut assumptions)?;
        let architecture = source.architecture.clone();
        let max_tokens = max_tokens(&folder, None, architecture.as_ref(), &mut assumptions)?;
        let (author, weights) = match source.origin {
            Origin::Weights(author, weights) => (author, weights),
            Origin::File(file) => {
                let problem = "the model is an ONNX file, whose layers cannot be taken apart; weights in \
                               model.safetensors are needed";
                return Err(EmbeddingError::invalid_model(&file, problem));
            }
        };
        let tokenization = Tokenization::load(&folder.tokenizer, max_tokens, bounds(architecture.as_ref()))?;
        let padding_id = padding_id(&folder, &tokenization)?;
        let layout = layout(&folder, true, architecture.as_ref(), padding_id);
        let target = Target { linears: Linears::Quantized, ..Target::CPU }.with_max_tokens(max_tokens);
        let library = library(options.library.as_deref())?;
        let parts = Parts { author, target, library, threads };
        Ok(Self { path, options, weights, parts, tokenization, layout, threads })
    }

    /// The folder of the weights.
    fn folder(&self) -> PathBuf {
        self.weights.path().parent().unwrap_or(Path::new("")).to_owned()
    }

    /// The model in both precisions, ready to embed.
    fn pair(&self, threads: usize, model: &Arc<QuantizedModel>) -> Result<Pair> {
        let builder = || {
            let builder = Embedder::builder(self.path).provider(CPU.name).threads(threads);
            match &self.options.library {
                Some(library) => builder.library(library),
                None => builder,
            }
        };
        let quantized = builder().dtype(INT8.name).quantized(Arc::clone(model));
        Ok(Pair { full: builder().load()?, quantized: quantized.load()? })
    }
}

impl QuantizedModel {
    /// Without sites, and nothing is known of it yet.
    fn unfinished() -> Self {
        Self { sites: Vec::new(), recipe: RECIPE.to_owned(), source_sha256: String::new(), quality: Quality::default() }
    }
}

/// The way of the texts through the layers.
struct Pass<'a> {
    subject: &'a Subject<'a>,
    /// What the model itself gives.
    full: Stream,
    /// What the quantized layers give.
    quantized: Stream,
    model: QuantizedModel,
    steps: usize,
    sites: Vec<[Site; 4]>,
}

impl<'a> Pass<'a> {
    fn new(subject: &'a Subject<'a>, texts: &[CalibrationText], watch: &mut QuantizeWatch<'_>) -> Result<Self> {
        let inputs: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
        let sites = subject.parts.author.sites();
        let total = steps(&sites);
        let mut go_on = || watch(Progress { stage: Stage::Layers, done: 0, total });
        let tokens = subject.tokenization.encode_all(None, &inputs, subject.threads, &mut go_on)?;
        let mut full = Stream::new(&tokens, &subject.layout);
        full.advance(&mut subject.parts.session(&subject.weights, Part::Embeddings)?)?;
        let model = QuantizedModel::unfinished();
        Ok(Self { subject, quantized: full.clone(), full, model, steps: 0, sites })
    }

    /// What was made; the streams, which are the largest thing here, are given up.
    fn into_model(self) -> QuantizedModel {
        self.model
    }

    fn layers(&mut self, watch: &mut QuantizeWatch<'_>) -> Result<Vec<LayerReport>> {
        (0..self.sites.len()).map(|number| self.layer(number, watch)).collect()
    }

    fn layer(&mut self, number: usize, watch: &mut QuantizeWatch<'_>) -> Result<LayerReport> {
        let mut sites = Vec::new();
        for (index, site) in self.sites.get(number).cloned().into_iter().flatten().enumerate() {
            self.step(watch)?;
            let (quantized, errors) = self.site(number, index, &site)?;
            sites.push(SiteReport { role: site.role, error: errors.solved.sqrt(), rounded: errors.nearest.sqrt() });
            self.model.sites.push(quantized);
        }
        self.step(watch)?;
        let Subject { parts, weights, .. } = self.subject;
        self.full.advance(&mut parts.session(weights, Part::Layer(number))?)?;
        let so_far = self.weights_so_far(number);
        self.quantized.advance(&mut parts.session(&so_far, Part::Layer(number))?)?;
        Ok(LayerReport { layer: number, error: self.full.distance(&self.quantized), sites })
    }

    fn step(&mut self, watch: &mut QuantizeWatch<'_>) -> Result<()> {
        let done = self.steps;
        self.steps += 1;
        Progress { stage: Stage::Layers, done, total: steps(&self.sites) }.tell(watch)
    }

    /// The weights with the sites of one layer that are quantized so far, which are the last ones.
    fn weights_so_far(&self, layer: usize) -> Weights {
        let before: usize = self.sites.iter().take(layer).map(|sites| sites.len()).sum();
        let sites = self.model.sites.get(before..).unwrap_or_default().to_vec();
        let model = QuantizedModel { sites, ..QuantizedModel::unfinished() };
        Weights::clone(&self.subject.weights).with_quantized(Arc::new(model))
    }

    /// Quantizes one site by the inputs that come to it.
    fn site(&self, layer: usize, index: usize, site: &Site) -> Result<(QuantizedSite, SiteErrors)> {
        let Subject { parts, weights, .. } = self.subject;
        let mut session = parts.session(&self.weights_so_far(layer), Part::UpTo { layer, site: index })?;
        let mut seen: Vec<Vec<f32>> = Vec::new();
        let inputs = site.linears.first().map_or(0, |linear| linear.inputs);
        let mut statistics = ChannelStatistics::new(inputs);
        self.quantized.observe(&mut session, |rows| {
            statistics.add(&rows)?;
            seen.push(rows);
            Ok(())
        })?;
        let partition = Partition::choose(&statistics.magnitudes(), OUTLIERS, GROUP)?;
        let mut gram = Gram::new(partition.clone())?;
        for rows in seen {
            gram.add(&rows)?;
        }
        let layers = site.linears.iter().map(|linear| FullLayer::of(weights, linear)).collect::<Result<Vec<_>>>()?;
        let layers: Vec<FloatLinear<'_>> = layers.iter().map(FullLayer::view).collect();
        solve(&layers, &partition, &gram.finish()?)
    }
}

/// A step for each site of each layer, and one for the layer as a whole.
fn steps(layers: &[[Site; 4]]) -> usize {
    layers.iter().map(|sites| sites.len() + 1).sum()
}

/// A layer as it is stored, in single precision.
struct FullLayer {
    key: String,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl FullLayer {
    fn of(weights: &Weights, linear: &Linear) -> Result<Self> {
        let (weight, bias) = linear.stored(weights)?;
        Ok(Self { key: linear.key(), weight: weight.to_f32(), bias: bias.map(|bias| bias.to_f32()) })
    }

    fn view(&self) -> FloatLinear<'_> {
        FloatLinear { key: &self.key, weight: &self.weight, bias: self.bias.as_deref() }
    }
}
