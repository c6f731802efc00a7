//! `oxembed serve`: the embedding service. REST as OpenAI and text-embeddings-inference speak it, over the same
//! [`Embedder`](crate::Embedder) that the library has.
//!
//! A request walks through `connection` (sockets, timeouts), `rest` (routes, bodies), `admission` (is there room?) and
//! `served` (the model, whose pool of workers makes batches of what all connections ask for). Nothing here computes.
//!
//! What the service is told comes through `command`, `file` and `invocation`, and is `settings`; what it tells goes through
//! `observation`, which is around every route, to `log`, `metrics` and `traces`.

mod admission;
mod check;
mod command;
mod connection;
mod failure;
mod file;
mod http_client;
mod invocation;
mod kind;
mod listing;
mod log;
mod metrics;
mod model_metrics;
mod models;
mod observation;
mod patience;
mod process;
mod rest;
mod served;
mod settings;
mod traces;

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

pub use command::Command;
pub use failure::ServeError;
pub use invocation::Invocation;
pub use settings::{LogFormat, ModelSetting, Settings};

use connection::Listener;
use invocation::Problem;
use metrics::Metrics;
use models::ModelSet;
use observation::Observer;
use traces::Traces;

/// Loads the models and serves them until the process is told to stop (SIGTERM, or SIGINT); then answers what was asked
/// before, and returns. `ready` is told the address once requests are answered.
///
/// # Errors
/// [`ServeError`] for settings that do not fit each other, an address that cannot be listened to, a model that does not
/// load.
pub async fn serve(settings: Settings, ready: impl FnOnce(std::net::SocketAddr)) -> Result<(), ServeError> {
    settings.check()?;
    let settings = Arc::new(settings);
    // The address first: that it is taken is known at once, and a model takes a while.
    let listener = Listener::bind(&settings).await?;
    let models = Arc::new(ModelSet::load(&settings).await?);
    let metrics = Arc::new(Metrics::new(&models));
    let traces = Traces::start(&settings)?;
    let observer = Observer { metrics: Arc::clone(&metrics), traces: traces.clone() };
    let router = rest::router(settings, models, Arc::new(observer));
    ready(listener.address());
    let outcome = listener.serve(router, metrics).await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    outcome
}

/// Runs the command line `arguments`, the program's name first, to its end, and returns the exit status: 0 done, 1 failed,
/// 2 wrong usage. What an operator reads goes to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match Invocation::read(arguments) {
        Ok(invocation) => invocation.run(),
        Err(status) => status,
    }
}

impl Invocation {
    /// Reads the command line `arguments`, the program's name first, the environment, and the file that either names.
    ///
    /// # Errors
    /// The exit status, 0 for help, after what there is to say was said.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, u8> {
        Self::parse(arguments).map_err(|problem| match problem {
            Problem::Usage(error) => {
                // Help and version are no errors, and say so by their status.
                let _ = error.print();
                u8::try_from(error.exit_code()).unwrap_or(2)
            }
            Problem::Setting(error) => failed(&error),
        })
    }

    /// Does what is asked for, to its end, and returns the exit status.
    pub fn run(&self) -> u8 {
        self.follow().map_or_else(|error| failed(&error), |()| 0)
    }

    fn follow(&self) -> Result<(), ServeError> {
        if let Some(url) = &self.command.probe {
            return runtime()?.block_on(http_client::probe(url));
        }
        if self.command.print_config {
            // As the log: where nobody reads there is nobody to tell.
            let _ = std::io::stdout().write_all(listing::listing(self).as_bytes());
            return Ok(());
        }
        let settings = self.settings()?;
        if self.command.check {
            check::models(&settings)?;
            say("oxembed serve: settings and model folders are fine");
            return Ok(());
        }
        log::start(settings.log_format);
        runtime()?.block_on(serve(settings, |address| say(&format!("oxembed serve: listening on http://{address}"))))
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("oxembed-serve").build();
    runtime.map_err(|source| ServeError::Runtime { source })
}

fn failed(error: &ServeError) -> u8 {
    say(&format!("oxembed serve: {error}"));
    1
}

fn say(line: &str) {
    // Where nobody reads there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}
