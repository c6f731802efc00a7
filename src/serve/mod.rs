//! `oxembed serve`: the embedding service. REST as OpenAI and text-embeddings-inference speak it, and gRPC, over the same
//! [`Embedder`](crate::Embedder) that the library has.
//!
//! A request walks through `connection` (sockets, timeouts) and `tls`, `rest` (routes, bodies) or `grpc` (the same in
//! protobuf), `limits` and `admission` (is there room?) and `served` (the model, whose pool of workers makes batches of what
//! all connections ask for, behind the `cache`). Nothing here computes.
//!
//! What the service is told comes through `command`, `file` and `invocation`, and is `settings`; what it tells goes through
//! `observation`, which is around every route, to `log`, `metrics` and `traces`.

mod admission;
mod any_certificate;
mod cache;
mod changes;
mod check;
mod command;
mod connection;
mod draining;
mod failure;
mod family;
mod file;
mod grpc;
mod http_client;
mod invocation;
mod kind;
mod label;
mod limits;
mod listing;
mod loading;
mod log;
mod metrics;
mod model_files;
mod model_metrics;
mod model_roots;
mod models;
mod observation;
mod patience;
mod peer;
mod process;
mod rest;
mod room;
mod served;
mod settings;
mod slot;
mod tls;
mod tokens;
mod traces;

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

pub use command::Command;
pub use failure::ServeError;
pub use invocation::Invocation;
pub use settings::{LogFormat, ModelSetting, Settings};

use cache::EmbeddingCache;
use connection::Listener;
use invocation::Problem;
use models::ModelSet;
use observation::observe;
use rest::Service;
use tls::Tls;
use traces::Traces;

/// Loads the models and serves them until the process is told to stop (SIGTERM, or SIGINT); then answers what was asked
/// before, and returns. `ready` is told the address once requests are answered.
///
/// # Errors
/// [`ServeError`] for settings that do not fit each other, an address that cannot be listened to, a cache that cannot be
/// used, a model that does not load.
pub async fn serve(settings: Settings, ready: impl FnOnce(std::net::SocketAddr)) -> Result<(), ServeError> {
    settings.check()?;
    let settings = Arc::new(settings);
    let tls = Tls::read(&settings)?;
    // The address first: that it is taken is known at once, and a model takes a while.
    let listener = Listener::bind(&settings)?;
    let cache = EmbeddingCache::open(&settings)?;
    let traces = Traces::start(&settings)?;
    let models = ModelSet::load(&settings, cache.clone()).await?;
    let service = Service::new(Arc::clone(&settings), Arc::new(models), traces.clone());
    let observer = Arc::clone(&service.observer);
    let router = rest::router(service.clone()).merge(grpc::router(&service)?);
    let router = router.layer(axum::middleware::from_fn_with_state(observer, observe));
    ready(listener.address());
    let served = listener.serve(router, tls, &service).await;
    if let Some(cache) = cache {
        // What waits to be written is written, whoever still holds it.
        cache.close();
    }
    if let Some(traces) = traces {
        traces.stop().await;
    }
    served
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
            Tls::read(&settings)?;
            check::models(&settings)?;
            say("oxembed serve: settings and model folders are fine");
            return Ok(());
        }
        log::start(settings.log_format);
        let scheme = if settings.tls_certificate.is_some() { "https" } else { "http" };
        runtime()?
            .block_on(serve(settings, |address| say(&format!("oxembed serve: listening on {scheme}://{address}"))))
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
