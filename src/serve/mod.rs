//! `oxembed serve`: the embedding service. REST as OpenAI and text-embeddings-inference speak it, and gRPC, over the same
//! [`Embedder`](crate::Embedder) that the library has.
//!
//! A request walks through `connection` (sockets, timeouts) and `tls`, `rest` (routes, bodies) or `grpc` (the same in
//! protobuf), `admission` (is there room?) and `served` (the model, whose pool of workers makes batches of what all connections ask for). Nothing here computes.

mod admission;
mod cache;
mod changes;
mod command;
mod connection;
mod draining;
mod failure;
mod grpc;
mod limits;
mod loading;
mod metrics;
mod model_files;
mod model_roots;
mod models;
mod peer;
mod rest;
mod room;
mod served;
mod settings;
mod slot;
mod tls;
mod tokens;

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use clap::Parser;

pub use command::Command;
pub use failure::ServeError;
pub use settings::{ModelSetting, Settings};

use cache::EmbeddingCache;
use connection::Listener;
use models::ModelSet;
use rest::Service;
use tls::Tls;

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
    let listener = Listener::bind(&settings).await?;
    let cache = EmbeddingCache::open(&settings)?;
    let models = ModelSet::load(&settings, cache.clone()).await?;
    let service = Service::new(Arc::clone(&settings), Arc::new(models));
    let router = rest::router(service.clone()).merge(grpc::router(&service)?);
    ready(listener.address());
    let served = listener.serve(router, tls, &service.draining).await;
    if let Some(cache) = cache {
        // What waits to be written is written, whoever still holds it.
        cache.close();
    }
    served
}

/// Runs the command line `arguments`, the program's name first, to its end, and returns the exit status: 0 done, 1 failed,
/// 2 wrong usage. What an operator reads goes to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            // Help and version are no errors, and say so by their status.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    log_to_standard_error();
    match follow(command) {
        Ok(()) => 0,
        Err(error) => {
            say(&format!("oxembed serve: {error}"));
            1
        }
    }
}

fn follow(command: Command) -> Result<(), ServeError> {
    let only_check = command.check;
    let settings = command.settings()?;
    if only_check {
        Tls::read(&settings)?;
        for model in &settings.models {
            let read = crate::config::ModelFolder::read(&model.path);
            read.map_err(|source| ServeError::Model { name: model.name.clone(), source })?;
        }
        say("oxembed serve: settings and model folders are fine");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("oxembed-serve").build();
    let runtime = runtime.map_err(|source| ServeError::Runtime { source })?;
    let scheme = if settings.tls_certificate.is_some() { "https" } else { "http" };
    runtime.block_on(serve(settings, |address| say(&format!("oxembed serve: listening on {scheme}://{address}"))))
}

fn say(line: &str) {
    // Where nobody reads there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn log_to_standard_error() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OXEMBED_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Another one may be there already, of a program that embeds the service.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
