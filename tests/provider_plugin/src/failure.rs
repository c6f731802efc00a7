//! Why something could not be done, until it becomes an `OrtStatus`.

use std::borrow::Cow;

/// A message for whoever made the session.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure(pub Cow<'static, str>);

/// What went well, or why it did not.
pub type Result<T> = std::result::Result<T, Failure>;

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self(message.into())
    }
}

impl From<&'static str> for Failure {
    fn from(message: &'static str) -> Self {
        Self(message.into())
    }
}
