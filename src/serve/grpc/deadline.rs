//! How long a client is willing to wait.

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::time::Instant;

use crate::serve::failure::Failure;

const HEADER: &str = "grpc-timeout";

/// When the client of a request stops waiting for it; among the request's extensions where it said so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub at: Instant,
    /// What it asked for.
    pub limit: Duration,
}

impl Deadline {
    /// Of a request that has these headers and came just now.
    ///
    /// # Errors
    /// A time that is none.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        let limit = value.to_str().ok().and_then(duration).ok_or_else(|| {
            let message = format!("{HEADER} is {value:?}; it has to be up to 8 digits and one of H, M, S, m, u, n");
            Failure::invalid(Some(HEADER), message)
        })?;
        // What is too far away to be a time is no deadline.
        Ok(Instant::now().checked_add(limit).map(|at| Self { at, limit }))
    }
}

/// `100m` is 100 milliseconds: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_units() {
        for (text, seconds) in [
            ("2H", 7200.0),
            ("3M", 180.0),
            ("4S", 4.0),
            ("5m", 0.005),
            ("6u", 6e-6),
            ("7n", 7e-9),
            ("99999999H", 359_999_996_400.0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in ["", "S", "1", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S", "1Sé", "é"] {
            assert_eq!(duration(text), None, "{text}");
        }
        let headers = HeaderMap::from_iter([(HEADER.parse().unwrap(), "soon".parse().unwrap())]);
        let failure = Deadline::read(&headers).unwrap_err();
        assert!(failure.message.contains("\"soon\""), "{}", failure.message);
        assert!(Deadline::read(&HeaderMap::new()).unwrap().is_none());
    }
}
