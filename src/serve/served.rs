//! A model as the service has it: its name, its queue, its embedder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::cache::{CommonKey, Computed, EmbeddingCache, Key, PartlyKnown};
use super::failure::{Failure, Kind};
use super::observation;
use super::room::Share;
use super::tokens;
use crate::embedder::{Embedder, Embeddings};
use crate::error::EmbeddingError;
use crate::options::EncodeOptions;
use crate::tokenization::{DescribedToken, Truncation};

/// Inputs of so many bytes are hashed where they are, in less time than another thread takes to wake up.
const SMALL_BYTES: usize = 64 << 10;

/// What a request wants embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inputs {
    Texts(Vec<String>),
    /// Token ids of the model's own tokenizer.
    Tokens(Vec<Vec<u32>>),
}

impl Inputs {
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            Self::Tokens(tokens) => tokens.iter().map(|ids| size_of_val(ids.as_slice())).sum(),
        }
    }

    /// Those at `places`.
    fn at(&self, places: &[usize]) -> Self {
        fn picked<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
            places.iter().filter_map(|place| all.get(*place).cloned()).collect()
        }
        match self {
            Self::Texts(texts) => Self::Texts(picked(texts, places)),
            Self::Tokens(tokens) => Self::Tokens(picked(tokens, places)),
        }
    }
}

/// A model that answers requests.
#[derive(Debug)]
pub(crate) struct Served {
    pub name: String,
    pub embedder: Embedder,
    pub admission: Arc<Admission>,
    /// The same for texts that are to be tokenized and no more: quickly done, they do not wait for those that are embedded.
    pub(super) tokenizing: Arc<Admission>,
    /// When it was loaded, in seconds since 1970.
    pub since: u64,
    /// Most inputs of one request.
    pub max_inputs: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// Tells it from all others, where somebody wants to know.
    pub hash: Option<String>,
    /// Requests to the model of this name, since the service started.
    pub(super) requests: Arc<AtomicU64>,
    pub(super) cache: Option<Arc<EmbeddingCache>>,
    /// Behind the embedder, so that its memory is given back before it counts as free.
    pub(super) share: Share,
}

impl Served {
    /// Embeds the inputs of one request, among those of all others; rows that are kept are not computed again.
    ///
    /// # Errors
    /// What is wrong with the request; that there is no room or no time; what the model says.
    pub async fn embed(&self, inputs: Inputs, options: EncodeOptions) -> Result<Embeddings, Failure> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let count = inputs.len();
        self.check_count(count)?;
        if let Inputs::Tokens(tokens) = &inputs {
            tokens::check(&self.embedder, tokens)?;
        }
        observation::asked(&self.name, count);
        let work = async {
            match (&self.cache, &self.hash) {
                (Some(cache), Some(hash)) => self.embed_cached(cache, hash, inputs, options).await,
                _ => Ok(self.compute(inputs, options).await?.embeddings),
            }
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => {
                let embeddings = outcome?;
                observation::embedded(&embeddings.usage);
                Ok(embeddings)
            }
            Err(_) => Err(Failure::timed_out(self.timeout)),
        }
    }

    /// The tokens of each text, not truncated; with special ones or without.
    ///
    /// # Errors
    /// Too many texts, no room or no time, an unknown prompt, what the tokenizer says.
    pub async fn tokenize(
        &self,
        texts: Vec<String>,
        prompt_name: Option<String>,
        special: bool,
    ) -> Result<Vec<Vec<DescribedToken>>, Failure> {
        self.check_count(texts.len())?;
        let admitted = self.tokenizing.enter(texts.len())?;
        let embedder = self.embedder.clone();
        // Gone with this future, when the client leaves or the time is over; the task looks whether it is still there.
        let client = Arc::new(());
        let waiting = Arc::downgrade(&client);
        let task = tokio::task::spawn_blocking(move || {
            // Until the work is really at its end.
            let _admitted = admitted;
            let options = EncodeOptions { prompt_name, ..EncodeOptions::default() };
            let model = embedder.model();
            let prompt = model.prompt(&options)?.unwrap_or_default();
            let wanted = texts.iter().take_while(|_| waiting.strong_count() > 0);
            let tokens = wanted.map(|text| model.tokenization().describe(&format!("{prompt}{text}"), special));
            tokens.collect::<crate::Result<Vec<_>>>()
        });
        let outcome = tokio::time::timeout(self.timeout, task).await.map_err(|_| Failure::timed_out(self.timeout))?;
        drop(client);
        Ok(outcome.map_err(|error| EmbeddingError::internal(format!("the task was lost: {error}")))??)
    }

    /// Refuses more dimensions than a vector has.
    ///
    /// # Errors
    /// That, with how many there are.
    pub fn check_dimensions(&self, dimensions: Option<usize>) -> Result<(), Failure> {
        let most = self.embedder.model().info().dimension;
        match dimensions {
            Some(asked) if asked > most => {
                let message = format!("dimensions is {asked}, and the model's vectors have {most}");
                Err(Failure::invalid(Some("dimensions"), message))
            }
            _ => Ok(()),
        }
    }

    fn check_count(&self, count: usize) -> Result<(), Failure> {
        if count > self.max_inputs {
            let message =
                format!("{count} inputs are more than the {} of one request; send them in several", self.max_inputs);
            return Err(Failure::invalid(Some("input"), message));
        }
        Ok(())
    }

    /// What the model makes of the inputs.
    async fn compute(&self, inputs: Inputs, options: EncodeOptions) -> Result<Computed, Failure> {
        let _admitted = self.admission.enter(inputs.len())?;
        let (embeddings, each) = match inputs {
            Inputs::Texts(texts) => self.embedder.encode_each_async(texts, options).await?,
            Inputs::Tokens(tokens) => self.embedder.encode_tokens_each_async(tokens, options).await?,
        };
        Ok(Computed { embeddings, each })
    }

    /// What the cache has and, in one call, what it has not.
    async fn embed_cached(
        &self,
        cache: &EmbeddingCache,
        hash: &str,
        inputs: Inputs,
        options: EncodeOptions,
    ) -> Result<Embeddings, Failure> {
        let start = Instant::now();
        let (inputs, keys, dimension) = self.keys(hash, inputs, &options).await?;
        let known = PartlyKnown::new(cache.find(&keys, options.truncation == Truncation::Error).await);
        let missing = known.missing();
        if missing.is_empty() {
            return Ok(known.complete(None, dimension, start.elapsed())?);
        }
        let computed = match self.compute(inputs.at(&missing), options.clone()).await {
            // It says which input is to blame, counted among those that were missing: asked again, among all.
            Err(failure) if failure.kind == Kind::Invalid && missing.len() < inputs.len() => {
                return Ok(self.compute(inputs, options).await?.embeddings);
            }
            outcome => outcome?,
        };
        // Once another provider has taken over, rows are no longer those of the model as it was loaded.
        if self.embedder.forward().failover.failures() == 0 {
            let keys = missing.iter().filter_map(|place| keys.get(*place));
            keys.zip(computed.rows()).for_each(|(key, row)| cache.keep(*key, row));
        }
        Ok(known.complete(Some(&computed), dimension, start.elapsed())?)
    }

    /// The keys of the inputs, and the numbers of a row.
    async fn keys(
        &self,
        hash: &str,
        inputs: Inputs,
        options: &EncodeOptions,
    ) -> Result<(Inputs, Vec<Key>, usize), Failure> {
        let model = self.embedder.model();
        model.check_unchanged()?;
        let prompt = match &inputs {
            Inputs::Texts(_) => model.prompt(options)?,
            // Whoever sends tokens has put them there.
            Inputs::Tokens(_) => None,
        };
        let row_options = model.row_options(options, prompt)?;
        let common = CommonKey::new(hash, prompt, &row_options);
        if inputs.bytes() <= SMALL_BYTES {
            let keys = common.keys(&inputs);
            return Ok((inputs, keys, row_options.dimension));
        }
        let hashed = tokio::task::spawn_blocking(move || {
            let keys = common.keys(&inputs);
            (inputs, keys)
        });
        let (inputs, keys) =
            hashed.await.map_err(|error| EmbeddingError::internal(format!("the task was lost: {error}")))?;
        Ok((inputs, keys, row_options.dimension))
    }
}
