//! The methods of the service `Embedding`.

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::deadline::Deadline;
use super::protocol::embedding_server::Embedding;
use super::protocol::{
    EmbedRequest, EmbedResponse, InfoRequest, InfoResponse, Model, Role as AskedRole, StreamedRequest,
    StreamedResponse, Token, TokenizeRequest, TokenizeResponse, Tokens,
};
use super::stream;
use crate::options::{EncodeOptions, Role};
use crate::serve::failure::Failure;
use crate::serve::limits::Client;
use crate::serve::rest::{Service, limits};
use crate::serve::served::{Inputs, Served};
use crate::tokenization::{DescribedToken, Truncation};

#[derive(Debug)]
pub(super) struct EmbeddingService(pub Service);

#[tonic::async_trait]
impl Embedding for EmbeddingService {
    async fn embed(&self, request: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        let client = limits::client(request.extensions());
        Ok(Response::new(embed(&self.0, client, request.into_inner()).await?))
    }

    type EmbedStreamStream = ReceiverStream<Result<StreamedResponse, Status>>;

    async fn embed_stream(
        &self,
        request: Request<Streaming<StreamedRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let deadline = request.extensions().get::<Deadline>().copied();
        let client = limits::client(request.extensions());
        Ok(Response::new(stream::answers(self.0.clone(), client, request.into_inner(), deadline)))
    }

    async fn tokenize(&self, request: Request<TokenizeRequest>) -> Result<Response<TokenizeResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let TokenizeRequest { model, texts, without_special_tokens, prompt_name } = request;
        if texts.is_empty() {
            return Err(Failure::invalid(Some("texts"), "texts is empty; at least one is needed").into());
        }
        let client = limits::client(&extensions);
        self.0.limits.take_inputs(client, texts.len())?;
        let served = self.0.models.get(unless_empty(&model)).await?;
        let prompt_name = unless_empty(&prompt_name).map(str::to_owned);
        let rows = served.tokenize(texts, prompt_name, !without_special_tokens).await?;
        let texts = rows.into_iter().map(|row| Tokens { tokens: row.into_iter().map(token).collect() });
        Ok(Response::new(TokenizeResponse { texts: texts.collect() }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let settings = &self.0.settings;
        let all = self.0.models.describe();
        let unloaded = all.iter().filter(|model| !model.is_loaded).map(|model| model.name.clone()).collect();
        Ok(Response::new(InfoResponse {
            models: self.0.models.all().iter().map(|served| model(served)).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            max_inputs: settings.max_inputs as u64,
            max_message_bytes: settings.max_body_bytes as u64,
            default_model: all.into_iter().next().map(|model| model.name).unwrap_or_default(),
            unloaded,
        }))
    }
}

/// Embeds the inputs of one request.
///
/// # Errors
/// What is wrong with the request; that there is no room or no time; what the model says.
pub(super) async fn embed(service: &Service, client: Client, request: EmbedRequest) -> Result<EmbedResponse, Failure> {
    let options = options(&request, service.settings.auto_truncate)?;
    let model = request.model.clone();
    let inputs = inputs(request)?;
    service.limits.take_inputs(client, inputs.len())?;
    let served = service.models.get(unless_empty(&model)).await?;
    served.check_dimensions(options.truncate_dim)?;
    let embeddings = served.embed(inputs, options).await?;
    service.metrics().answered(&served.name, &embeddings.usage);
    let (dimension, usage) = (embeddings.vectors.ncols(), embeddings.usage);
    // Made row by row in one piece, so nothing is copied.
    let (values, _) = embeddings.vectors.into_raw_vec_and_offset();
    Ok(EmbedResponse {
        model: served.name.clone(),
        dimension: fitting(dimension),
        values,
        tokens: usage.total_tokens as u64,
        truncated: fitting(usage.truncated_inputs),
    })
}

fn options(request: &EmbedRequest, auto_truncate: bool) -> Result<EncodeOptions, Failure> {
    let role = match AskedRole::try_from(request.role) {
        Ok(AskedRole::Unspecified) => None,
        Ok(AskedRole::Query) => Some(Role::Query),
        Ok(AskedRole::Document) => Some(Role::Document),
        Err(_) => {
            let message = format!("role is {}; there are ROLE_QUERY (1) and ROLE_DOCUMENT (2)", request.role);
            return Err(Failure::invalid(Some("role"), message));
        }
    };
    if request.dimensions == Some(0) {
        return Err(Failure::invalid(Some("dimensions"), "dimensions is 0; leave it out for all"));
    }
    let truncate = request.truncate.unwrap_or(auto_truncate);
    Ok(EncodeOptions {
        prompt: request.prompt.clone(),
        prompt_name: unless_empty(&request.prompt_name).map(str::to_owned),
        role,
        normalize: request.normalize,
        truncate_dim: request.dimensions.map(|dimensions| dimensions as usize),
        truncation: if truncate { Truncation::Truncate } else { Truncation::Error },
    })
}

fn inputs(request: EmbedRequest) -> Result<Inputs, Failure> {
    match (request.texts.is_empty(), request.token_ids.is_empty()) {
        (false, true) => Ok(Inputs::Texts(request.texts)),
        (true, false) => match request.token_ids.iter().position(|row| row.ids.is_empty()) {
            None => Ok(Inputs::Tokens(request.token_ids.into_iter().map(|row| row.ids).collect())),
            Some(index) => {
                let message = format!("token_ids[{index}] has no ids; at least one is needed");
                Err(Failure::invalid(Some("token_ids"), message))
            }
        },
        (true, true) => Err(Failure::invalid(Some("texts"), "texts is empty; at least one is needed")),
        (false, false) => Err(Failure::invalid(Some("token_ids"), "there are texts and token_ids; send one of them")),
    }
}

fn model(served: &Served) -> Model {
    let info = served.embedder.model().info();
    Model {
        name: served.name.clone(),
        dimension: fitting(info.dimension),
        max_seq_length: fitting(info.max_seq_length),
        dtype: info.dtype.clone(),
        provider: info.provider.clone(),
        family: info.family.clone(),
        pooling: info.pooling.clone(),
        similarity: info.similarity_fn_name.clone(),
        prompts: info.prompts.clone().into_iter().collect(),
        default_prompt_name: info.default_prompt_name.clone().unwrap_or_default(),
        loaded: served.since,
    }
}

fn token(token: DescribedToken) -> Token {
    let DescribedToken { id, text, special, span } = token;
    Token { id, text, special, start: span.map(|span| fitting(span.0)), stop: span.map(|span| fitting(span.1)) }
}

/// The value of a string that is empty where it was not set.
fn unless_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Lengths of messages are far below 2³².
fn fitting(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
