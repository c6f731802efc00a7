//! The service contract: strict requests, and a trait that a service can hold without knowing what is behind it.

use async_trait::async_trait;
use ndarray::Array2;

use crate::embedder::{Embedder, Embeddings};
use crate::error::{EmbeddingError, Result};
use crate::info::{HealthStatus, ModelInfo};
use crate::options::{EncodeOptions, Usage};

/// Texts for one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEmbeddingRequest {
    /// The model's name; another than the provider's is refused.
    pub model: String,
    /// The texts: at least one, none of them blank.
    pub inputs: Vec<String>,
    /// Rows of length one.
    pub normalize: bool,
}

impl BatchEmbeddingRequest {
    /// A request for normalized rows.
    pub fn new(model: impl Into<String>, inputs: Vec<String>) -> Self {
        Self { model: model.into(), inputs, normalize: true }
    }

    /// The options of a call that asks for `normalize`.
    pub(crate) fn options(normalize: bool) -> EncodeOptions {
        EncodeOptions { normalize: Some(normalize), ..EncodeOptions::default() }
    }
}

/// One row a text, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchEmbeddingResponse {
    /// The model's name.
    pub model: String,
    /// `(n, dimension)`, row-major.
    pub embeddings: Array2<f32>,
    /// Tokens, truncations, time.
    pub usage: Usage,
}

/// Something that turns texts into vectors.
///
/// ```
/// use oxembed::{BatchEmbeddingRequest, Embedder, EmbeddingProvider, OnnxEmbeddingProvider};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> oxembed::Result<()> {
/// let embedder = Embedder::load("models/all-MiniLM-L6-v2")?;
/// let provider: Box<dyn EmbeddingProvider> = Box::new(OnnxEmbeddingProvider::new(embedder));
/// let request = BatchEmbeddingRequest::new("all-MiniLM-L6-v2", vec!["a text".to_owned()]);
/// let response = provider.embed_batch(request).await?;
/// assert_eq!(response.embeddings.dim(), (1, 384));
/// assert!(provider.health_check().await.healthy);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait EmbeddingProvider: Send + Sync {
    /// Embeds the inputs of `request`.
    ///
    /// # Errors
    /// `InvalidInput` for an empty list, an empty or blank input (with its index), too many inputs, another model's
    /// name; `InferenceFailed` where the model fails.
    async fn embed_batch(&self, request: BatchEmbeddingRequest) -> Result<BatchEmbeddingResponse>;

    /// What is loaded.
    fn model_info(&self) -> ModelInfo;

    /// Whether it works.
    async fn health_check(&self) -> HealthStatus;
}

/// [`EmbeddingProvider`] over an [`Embedder`]. It must be used inside a tokio runtime, whose blocking threads it
/// waits on.
#[derive(Debug, Clone)]
pub struct OnnxEmbeddingProvider {
    embedder: Embedder,
    max_inputs: usize,
}

impl OnnxEmbeddingProvider {
    /// Most inputs of a request, unless set otherwise.
    pub const MAX_INPUTS: usize = 2048;

    /// A provider that accepts [`Self::MAX_INPUTS`] inputs.
    pub fn new(embedder: Embedder) -> Self {
        Self { embedder, max_inputs: Self::MAX_INPUTS }
    }

    /// Accepts another number of inputs.
    #[must_use]
    pub fn with_max_inputs(mut self, max_inputs: usize) -> Self {
        self.max_inputs = max_inputs;
        self
    }

    /// The embedder behind it.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }
}

#[async_trait]
impl EmbeddingProvider for OnnxEmbeddingProvider {
    async fn embed_batch(&self, request: BatchEmbeddingRequest) -> Result<BatchEmbeddingResponse> {
        let name = &self.embedder.model().info().name;
        if request.model != *name {
            let message = format!("the request is for the model {:?}; this is {name:?}", request.model);
            return Err(EmbeddingError::invalid_input(message));
        }
        checked_inputs(&request.inputs, self.max_inputs)?;
        let options = BatchEmbeddingRequest::options(request.normalize);
        let embedder = self.embedder.clone();
        let embeddings = tokio::task::spawn_blocking(move || embedder.encode(&request.inputs, &options)).await;
        let Embeddings { vectors, usage } =
            embeddings.map_err(|error| EmbeddingError::internal(format!("the task was lost: {error}")))??;
        Ok(BatchEmbeddingResponse { model: name.clone(), embeddings: vectors, usage })
    }

    fn model_info(&self) -> ModelInfo {
        self.embedder.model().info().clone()
    }

    async fn health_check(&self) -> HealthStatus {
        let embedder = self.embedder.clone();
        match tokio::task::spawn_blocking(move || embedder.health()).await {
            Ok(health) => health,
            Err(error) => HealthStatus {
                healthy: false,
                message: format!("the check was lost: {error}"),
                latency: std::time::Duration::ZERO,
            },
        }
    }
}

/// The strict rules for the inputs of a request.
pub(crate) fn checked_inputs<S: AsRef<str>>(inputs: &[S], max_inputs: usize) -> Result<()> {
    if inputs.is_empty() {
        return Err(EmbeddingError::invalid_input("inputs is empty; at least one text is needed"));
    }
    if inputs.len() > max_inputs {
        let message = format!("{} inputs are more than the {max_inputs} of one request; split them", inputs.len());
        return Err(EmbeddingError::invalid_input(message));
    }
    match inputs.iter().position(|input| input.as_ref().trim().is_empty()) {
        None => Ok(()),
        Some(index) => Err(EmbeddingError::invalid_text(
            index,
            format!("input {index} is empty or blank; leave it out, or embed it with encode()"),
        )),
    }
}
