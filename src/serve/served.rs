//! A model as the service has it: its name, its queue, its embedder.

use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::failure::Failure;
use super::tokens;
use crate::embedder::{Embedder, Embeddings};
use crate::error::EmbeddingError;
use crate::options::EncodeOptions;
use crate::tokenization::DescribedToken;

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
}

/// A model that answers requests.
#[derive(Debug)]
pub(crate) struct Served {
    pub name: String,
    pub embedder: Embedder,
    pub admission: Arc<Admission>,
    /// When it was loaded, in seconds since 1970.
    pub since: u64,
    /// Most inputs of one request.
    pub max_inputs: usize,
    /// How long a request may take.
    pub timeout: Duration,
}

impl Served {
    /// Embeds the inputs of one request, among those of all others.
    ///
    /// # Errors
    /// What is wrong with the request; that there is no room or no time; what the model says.
    pub async fn embed(&self, inputs: Inputs, options: EncodeOptions) -> Result<Embeddings, Failure> {
        let count = inputs.len();
        self.check_count(count)?;
        if let Inputs::Tokens(tokens) = &inputs {
            tokens::check(&self.embedder, tokens)?;
        }
        let _admitted = self.admission.enter(count)?;
        let work = async {
            match inputs {
                Inputs::Texts(texts) => self.embedder.encode_async(texts, options).await,
                Inputs::Tokens(tokens) => self.embedder.encode_tokens_async(tokens, options).await,
            }
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Failure::timed_out(self.timeout)),
        }
    }

    /// The tokens of each text, not truncated; with special ones or without.
    ///
    /// # Errors
    /// Too many texts, an unknown prompt, what the tokenizer says.
    pub async fn tokenize(
        &self,
        texts: Vec<String>,
        prompt_name: Option<String>,
        special: bool,
    ) -> Result<Vec<Vec<DescribedToken>>, Failure> {
        self.check_count(texts.len())?;
        let embedder = self.embedder.clone();
        let tokens = tokio::task::spawn_blocking(move || {
            let options = EncodeOptions { prompt_name, ..EncodeOptions::default() };
            let model = embedder.model();
            let prompt = model.prompt(&options)?.unwrap_or_default();
            let tokens = texts.iter().map(|text| model.tokenization().describe(&format!("{prompt}{text}"), special));
            tokens.collect::<crate::Result<Vec<_>>>()
        });
        let tokens = tokens.await.map_err(|error| EmbeddingError::internal(format!("the task was lost: {error}")));
        Ok(tokens.and_then(|outcome| outcome)?)
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
}
