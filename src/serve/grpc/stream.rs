//! A stream of requests, each answered when it is ready.

use std::sync::Arc;

use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::deadline::Deadline;
use super::protocol::streamed_response::Outcome;
use super::protocol::{EmbedRequest, StreamedRequest, StreamedResponse};
use super::{embedding, status};
use crate::EmbeddingError;
use crate::serve::failure::Failure;
use crate::serve::limits::Client;
use crate::serve::observation::{self, Origin, observe_message};
use crate::serve::rest::Service;

/// Requests of one stream that are worked on; further ones are not read meanwhile, which holds the client up.
const AT_A_TIME: usize = 64;

/// What a request of a stream is counted as; the stream itself is counted by its own route.
const MESSAGE: &str = "/oxembed.v1.Embedding/EmbedStream#message";

type Answers = mpsc::Sender<Result<StreamedResponse, Status>>;

/// The answers to `requests`, in the order in which they are ready.
pub(super) fn answers(
    service: Service,
    client: Client,
    requests: Streaming<StreamedRequest>,
    deadline: Option<Deadline>,
) -> ReceiverStream<Result<StreamedResponse, Status>> {
    // One that waits to be sent: where the client does not read, no more is worked on than that and what runs.
    let (sender, receiver) = mpsc::channel(1);
    let origin = observation::origin();
    tokio::spawn(async move {
        let end = tokio::select! {
            // The client has left, and what it asked for is given up with the future that works on it.
            () = sender.closed() => None,
            end = out_of_time(deadline) => Some(end),
            end = converse(&service, client, origin, requests, &sender) => end,
        };
        if let Some(end) = end {
            // It fails where the client has left, and then nobody is to be told.
            let _ = sender.send(Err(end)).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn out_of_time(deadline: Option<Deadline>) -> Status {
    match deadline {
        Some(deadline) => {
            sleep_until(deadline.at).await;
            Failure::timed_out(deadline.limit).into()
        }
        None => std::future::pending().await,
    }
}

/// Reads and answers until there is no more to read; the status that ends the stream, where that is not success.
async fn converse(
    service: &Service,
    client: Client,
    origin: Option<Origin>,
    mut requests: Streaming<StreamedRequest>,
    answers: &Answers,
) -> Option<Status> {
    let mut running = JoinSet::new();
    // Of the requests that run, so that many large ones do not fill the memory.
    let mut bytes = 0;
    let most_bytes = service.settings.max_body_bytes;
    // Set where no more is read.
    let mut end: Option<Option<Status>> = None;
    loop {
        let reads = end.is_none() && running.len() < AT_A_TIME && bytes < most_bytes;
        tokio::select! {
            request = requests.message(), if reads => match request {
                Ok(Some(request)) => {
                    let size = request.encoded_len();
                    bytes += size;
                    let (service, origin) = (service.clone(), origin.clone());
                    running.spawn(async move { (answer(&service, client, origin, request).await, size) });
                }
                Ok(None) => end = Some(None),
                Err(said) => end = Some(Some(status::unreadable(said, most_bytes))),
            },
            () = service.draining.begun(), if end.is_none() => {
                let message = "the service is stopping; send again what has no answer";
                end = Some(Some(Status::unavailable(message)));
            }
            Some(done) = running.join_next() => match done {
                Ok((answer, size)) => {
                    bytes -= size;
                    if answers.send(Ok(answer)).await.is_err() {
                        return None;
                    }
                }
                Err(error) => {
                    let lost = EmbeddingError::internal(format!("the task was lost: {error}"));
                    return Some(Failure::from(lost).into());
                }
            },
            // No more is read, and nothing runs.
            else => return end.flatten(),
        }
    }
}

async fn answer(
    service: &Service,
    client: Client,
    origin: Option<Origin>,
    request: StreamedRequest,
) -> StreamedResponse {
    // A request without its message is one in which nothing is set.
    let StreamedRequest { id, request } = request;
    let work = embedding::embed(service, client, request.unwrap_or_else(EmbedRequest::default));
    let outcome = match observe_message(Arc::clone(&service.observer), origin, MESSAGE, work).await {
        Ok(response) => Outcome::Response(response),
        Err(failure) => Outcome::Failure(failure.into()),
    };
    StreamedResponse { id, outcome: Some(outcome) }
}
