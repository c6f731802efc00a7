//! What an input may lead to: a value, or an error that says what is wrong with the input.

use oxembed::{EmbeddingError, Result};

/// More than the longest message: a few names, numbers and sentences.
const LONGEST_MESSAGE: usize = 1 << 14;

/// The value, if there is one. An error has to be one that blames the input: anything that calls itself a bug of oxembed is
/// one, and a message that repeats the input at length would fill somebody's terminal.
///
/// # Panics
/// Where the error is none of these.
pub fn typed<T>(outcome: Result<T>) -> Option<T> {
    let error = match outcome {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    match &error {
        EmbeddingError::InvalidInput { .. }
        | EmbeddingError::ModelNotFound { .. }
        | EmbeddingError::InvalidModel { .. } => {}
        other => panic!("an error that does not blame the input: {other:?}"),
    }
    readable(&error.to_string());
    None
}

/// Checks a message.
///
/// # Panics
/// Where nobody could read it.
pub fn readable(message: &str) {
    assert!(!message.trim().is_empty(), "an error with no message");
    assert!(message.len() <= LONGEST_MESSAGE, "a message of {} bytes: {message:.200}", message.len());
}
