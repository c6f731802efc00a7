//! The log, on standard error: for people or for programs.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::fmt;

use super::settings::LogFormat;

/// Which events are logged, as `tracing_subscriber` reads it: `warn`, `debug`, `info,oxembed=debug`.
const FILTER: &str = "OXEMBED_LOG";

/// Writes the log to standard error from now on. Another one may be there already, of a program that embeds the service: it
/// stays.
pub(super) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
