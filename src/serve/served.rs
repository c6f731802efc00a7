//! A model as the service has it: its name, its queue, its embedder.

use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::failure::Failure;
use super::observation;
use crate::embedder::{Embedder, Embeddings};
use crate::options::EncodeOptions;

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
        if count > self.max_inputs {
            let message =
                format!("{count} inputs are more than the {} of one request; send them in several", self.max_inputs);
            return Err(Failure::invalid(Some("input"), message));
        }
        observation::asked(&self.name, count);
        let _admitted = self.admission.enter(count)?;
        let work = async {
            match inputs {
                Inputs::Texts(texts) => self.embedder.encode_async(texts, options).await,
                Inputs::Tokens(tokens) => self.embedder.encode_tokens_async(tokens, options).await,
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
}
