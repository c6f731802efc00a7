//! What came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use hyper::StatusCode;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::run::Error;

/// The longest time that is told from longer ones, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;

/// Times of answers, in microseconds to three digits, and how many were none.
#[derive(Debug)]
pub struct Times {
    histogram: Histogram<u64>,
    bytes: usize,
    failures: BTreeMap<String, usize>,
}

impl Times {
    /// None yet.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { histogram: Histogram::new_with_max(LONGEST, 3)?, bytes: 0, failures: BTreeMap::new() })
    }

    /// An answer, or why there is none. Only those with status 200 count with their time.
    pub fn record(&mut self, outcome: Result<(StatusCode, usize), Error>, time: Duration) {
        let failure = match outcome {
            Ok((StatusCode::OK, bytes)) => {
                self.bytes += bytes;
                self.histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST));
                return;
            }
            Ok((status, _)) => status.as_str().to_owned(),
            Err(error) => error.to_string(),
        };
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Those of another connection.
    pub fn add(&mut self, other: &Self) -> Result<(), Error> {
        self.histogram.add(&other.histogram)?;
        self.bytes += other.bytes;
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
        Ok(())
    }

    /// All of them together.
    pub fn report(self, arguments: &Arguments) -> Report {
        let seconds = arguments.seconds.as_secs_f64();
        let milliseconds = |microseconds: u64| microseconds as f64 / 1e3;
        let at = |percentile: f64| milliseconds(self.histogram.value_at_percentile(percentile));
        let latency = [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9)];
        let mut milliseconds_at: BTreeMap<&'static str, f64> =
            latency.into_iter().map(|(name, percentile)| (name, at(percentile))).collect();
        milliseconds_at.insert("max", milliseconds(self.histogram.max()));
        milliseconds_at.insert("mean", self.histogram.mean() / 1e3);
        Report {
            connections: arguments.connections,
            rate: arguments.rate,
            seconds,
            requests: self.histogram.len(),
            requests_per_second: self.histogram.len() as f64 / seconds,
            bytes: self.bytes,
            failures: self.failures,
            milliseconds: milliseconds_at,
        }
    }
}

/// The result as it is written.
#[derive(Debug, Serialize)]
pub struct Report {
    connections: u32,
    rate: Option<f64>,
    seconds: f64,
    /// Answers with status 200.
    requests: u64,
    requests_per_second: f64,
    bytes: usize,
    /// By status, or by what happened to the connection.
    failures: BTreeMap<String, usize>,
    /// Percentiles, mean and maximum of the times of these answers.
    milliseconds: BTreeMap<&'static str, f64>,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn percentiles_are_those_of_sorted_times() {
        let mut times = Times::new().unwrap();
        // 1 to 1000 ms in an order of no meaning.
        for number in 0..1000_u64 {
            times.record(Ok((StatusCode::OK, 10)), Duration::from_millis(number * 7919 % 1000 + 1));
        }
        times.record(Ok((StatusCode::TOO_MANY_REQUESTS, 5)), Duration::from_secs(9));
        times.record(Err("broken".into()), Duration::from_secs(9));
        let mut both = Times::new().unwrap();
        both.add(&times).unwrap();
        let arguments = Arguments::parse_from(["load", "--url", "http://x/", "--bodies", "b", "--seconds", "4"]);
        let report = both.report(&arguments);
        assert_eq!((report.requests, report.bytes), (1000, 10_000));
        assert!((report.requests_per_second - 250.0).abs() < 1e-9);
        for (name, expected) in [("p50", 500.0), ("p90", 900.0), ("p99", 990.0), ("p99.9", 999.0), ("max", 1000.0)] {
            // Three digits of the histogram.
            assert!(
                (report.milliseconds[name] - expected).abs() <= expected * 2e-3,
                "{name}: {}",
                report.milliseconds[name]
            );
        }
        assert_eq!(report.failures, BTreeMap::from([("429".to_owned(), 1), ("broken".to_owned(), 1)]));
    }
}
