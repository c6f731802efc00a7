//! Failures in gRPC's words: the one place where codes are chosen.

use std::sync::Arc;

use axum::http::StatusCode;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::protocol;
use crate::serve::failure::{Failure, Kind, whole_seconds};

/// A status is a header, and clients take no more than 8 KiB of those; a message may quote what the client sent.
const LONGEST_MESSAGE: usize = 1000;

/// Marks the statuses that this service made.
#[derive(Debug, thiserror::Error)]
#[error("said by the service itself")]
struct Ours;

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut metadata = MetadataMap::new();
        if let Some(seconds) = failure.retry_after.map(whole_seconds) {
            metadata.insert("retry-after", MetadataValue::from(seconds));
        }
        let mut status = Self::with_metadata(code(&failure), shortened(failure.message), metadata);
        status.set_source(Arc::new(Ours));
        status
    }
}

impl From<Failure> for protocol::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            code: code(&failure) as i32,
            retry_after: failure.retry_after.map(whole_seconds),
            message: failure.message,
        }
    }
}

/// Whether the status comes from a [`Failure`], not from tonic.
pub(super) fn is_ours(status: &Status) -> bool {
    std::error::Error::source(status).is_some_and(<dyn std::error::Error>::is::<Ours>)
}

/// What tonic says of a message that it cannot read, with the codes that say whose fault it is: to tonic, garbage is an
/// internal error, and a message over the `limit` is out of range.
pub(super) fn unreadable(status: Status, limit: usize) -> Status {
    match status.code() {
        Code::OutOfRange => Status::resource_exhausted(format!(
            "the message is larger than {limit} bytes; send the texts in several requests"
        )),
        Code::Internal => {
            let message = format!("the message cannot be read: {}", status.message());
            Status::invalid_argument(shortened(message))
        }
        _ => status,
    }
}

/// At most as long as a header may be, cut between characters.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}

fn code(failure: &Failure) -> Code {
    match failure.kind {
        Kind::Invalid if failure.status == StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        Kind::Invalid if failure.status == StatusCode::CONFLICT => Code::FailedPrecondition,
        Kind::Invalid => Code::InvalidArgument,
        Kind::UnknownModel => Code::NotFound,
        Kind::Unauthorized => Code::Unauthenticated,
        Kind::Overloaded => Code::ResourceExhausted,
        Kind::TimedOut => Code::DeadlineExceeded,
        Kind::Backend if failure.status == StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        Kind::Backend => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::EmbeddingError;

    #[test]
    fn every_failure_has_its_code() {
        let failure = |status, kind| Failure::new(status, kind, None, "what to change");
        for (failure, code) in [
            (Failure::invalid(Some("input"), "what to change"), Code::InvalidArgument),
            (failure(StatusCode::PAYLOAD_TOO_LARGE, Kind::Invalid), Code::ResourceExhausted),
            (failure(StatusCode::CONFLICT, Kind::Invalid), Code::FailedPrecondition),
            (failure(StatusCode::NOT_FOUND, Kind::UnknownModel), Code::NotFound),
            (Failure::unauthorized("what to change"), Code::Unauthenticated),
            (Failure::overloaded("what to change", Duration::from_secs(2)), Code::ResourceExhausted),
            (Failure::timed_out(Duration::from_secs(2)), Code::DeadlineExceeded),
            (failure(StatusCode::SERVICE_UNAVAILABLE, Kind::Backend), Code::Unavailable),
            (EmbeddingError::internal("what to change").into(), Code::Internal),
        ] {
            let message = failure.message.clone();
            let streamed = protocol::Failure::from(failure.clone());
            assert_eq!((streamed.code, &streamed.message), (code as i32, &message));
            let status = Status::from(failure);
            assert_eq!((status.code(), status.message()), (code, message.as_str()));
            assert!(is_ours(&status) && is_ours(&status.clone()));
        }
    }

    #[test]
    fn when_to_come_back_is_rounded_up() {
        for (after, seconds) in [(1000, 1), (1001, 2), (60_000, 60)] {
            let failure = Failure::overloaded("full", Duration::from_millis(after));
            assert_eq!(protocol::Failure::from(failure.clone()).retry_after, Some(seconds));
            assert_eq!(Status::from(failure).metadata().get("retry-after").unwrap(), seconds.to_string().as_str());
        }
        assert!(Status::from(Failure::invalid(None, "no")).metadata().is_empty());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        for letter in ["a", "é", "語", "🦀"] {
            let status = Status::from(Failure::invalid(None, letter.repeat(5000)));
            let message = status.message().strip_suffix('…').unwrap();
            assert!(message.len() > LONGEST_MESSAGE - 4 && message.len() <= LONGEST_MESSAGE);
            assert_eq!(message, letter.repeat(message.len() / letter.len()));
        }
    }

    #[test]
    fn what_tonic_cannot_read_is_the_clients_fault() {
        let code = |status| unreadable(status, 10).code();
        assert_eq!(code(Status::internal("garbage")), Code::InvalidArgument);
        assert_eq!(code(Status::out_of_range("too long")), Code::ResourceExhausted);
        assert_eq!(code(Status::unimplemented("a compression")), Code::Unimplemented);
        assert!(!is_ours(&Status::internal("garbage")));
    }
}
