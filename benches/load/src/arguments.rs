//! What is asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use hyper::Uri;

/// Asks a server again and again, and says how long it took.
#[derive(Debug, Clone, Parser)]
pub struct Arguments {
    /// Where: http://HOST:PORT/PATH.
    #[arg(long)]
    pub url: Uri,
    /// A file with a body a line, as JSON; they are sent in turn.
    #[arg(long, value_name = "FILE")]
    pub bodies: PathBuf,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// How long.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// How long before that, without counting.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warm_up: Duration,
    /// Requests a second, over all connections; as many as there can be unless given.
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (1e-3..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a number of requests a second is needed, from 0.001 to 1000000".to_owned()),
    }
}
