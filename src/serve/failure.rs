//! What can go wrong: with the service as a whole, and with one request.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;

use crate::error::EmbeddingError;

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting that cannot be honoured.
    #[error("{setting}: {message}")]
    Setting {
        /// Its name, as on the command line.
        setting: String,
        /// What is wrong and what would work.
        message: String,
    },
    /// A file of settings that is not understood.
    #[error("{}: {message}", place(path, *line))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on; none where the file cannot be read.
        line: Option<usize>,
        /// What is wrong and what would work.
        message: String,
    },
    /// Another service that was asked does not answer that it is well.
    #[error("{url}: {message}")]
    Probe {
        /// Where.
        url: String,
        /// What came instead.
        message: String,
    },
    /// Nobody can listen there.
    #[error("cannot listen on {address}: {source}. Another --host or --port may be free")]
    Address {
        /// Where.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// A model that does not load.
    #[error("model {name:?} does not load: {source}")]
    Model {
        /// Its name in the service.
        name: String,
        /// Why.
        source: Box<EmbeddingError>,
    },
    /// A file for kept rows that cannot be used.
    #[error("the cache {} cannot be used: {message}. Give another --cache-path; an old cache can be removed", path.display())]
    Cache {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        message: String,
    },
    /// A model's folder in which something is wrong.
    #[error("model {name:?} does not load: {message}")]
    Folder {
        /// Its name in the service.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The runtime of the service could not be started.
    #[error("the service cannot start: {source}")]
    Runtime {
        /// The system's error.
        source: std::io::Error,
    },
}

fn place(path: &Path, line: Option<usize>) -> String {
    line.map_or_else(|| path.display().to_string(), |line| format!("{}:{line}", path.display()))
}

/// Why one request has no answer. Each route writes it in its own API's words.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub status: StatusCode,
    pub kind: Kind,
    /// What to change.
    pub message: String,
    /// The key of the body that is to blame.
    pub key: Option<&'static str>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// What a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is wrong.
    Invalid,
    /// No such model.
    UnknownModel,
    /// No key, or a wrong one.
    Unauthorized,
    /// Too much waits already.
    Overloaded,
    /// It took longer than the request may.
    TimedOut,
    /// The model failed.
    Backend,
}

impl Kind {
    /// For the log and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::UnknownModel => "unknown_model",
            Self::Unauthorized => "unauthorized",
            Self::Overloaded => "overloaded",
            Self::TimedOut => "timed_out",
            Self::Backend => "backend",
        }
    }
}

impl Failure {
    /// A request that is wrong in `key`.
    pub fn invalid(key: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::Invalid, key, message)
    }

    pub fn new(status: StatusCode, kind: Kind, key: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), key, retry_after: None }
    }

    /// No key, or a wrong one; `how` says how one is sent.
    pub fn unauthorized(how: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Kind::Unauthorized, None, format!("this service needs a key: {how}"))
    }

    /// The queue is full.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::Overloaded, None, message);
        Self { retry_after: Some(retry_after), ..failure }
    }

    /// The request ran out of time.
    pub fn timed_out(limit: Duration) -> Self {
        let message = format!("the request was not answered within {} s and is given up", limit.as_secs_f64());
        Self::new(StatusCode::GATEWAY_TIMEOUT, Kind::TimedOut, None, message)
    }
}

/// As clients are told when to come back: rounded up.
pub(crate) fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

impl From<EmbeddingError> for Failure {
    fn from(error: EmbeddingError) -> Self {
        match &error {
            EmbeddingError::InvalidInput { message, .. } => Self::invalid(Some("input"), message.clone()),
            EmbeddingError::ProviderUnavailable { .. } | EmbeddingError::ServiceUnavailable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Backend, None, error.to_string())
            }
            _ => {
                tracing::error!(%error, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Backend, None, error.to_string())
            }
        }
    }
}
