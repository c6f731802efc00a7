//! The command line of the service; of `oxembed serve` and of the program `oxembed-serve`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use super::failure::ServeError;
use super::settings::{ModelSetting, Settings};

/// Serve embeddings: REST as OpenAI and text-embeddings-inference speak it, and gRPC on the same port.
///
/// Without a key only this machine can reach the service. SIGTERM ends it when what was asked before is answered.
#[derive(Debug, Clone, Parser)]
#[command(name = "oxembed serve", version, max_term_width = 100)]
pub struct Command {
    /// A model folder; NAME=FOLDER gives it another name, and NAME,OTHER=FOLDER several. The first answers requests that
    /// name none. Can be given again.
    #[arg(long = "model", value_name = "FOLDER", env = "OXEMBED_MODELS", value_delimiter = ';', required = true)]
    models: Vec<String>,
    /// The address to listen on.
    #[arg(long, env = "OXEMBED_HOST", default_value_t = Settings::default().host)]
    host: IpAddr,
    /// The port; 0 for one that is free.
    #[arg(long, env = "OXEMBED_PORT", default_value_t = Settings::default().port)]
    port: u16,
    /// A key that opens the service, as `Authorization: Bearer KEY`. Can be given again. Others can read a command line:
    /// the variable is better.
    #[arg(
        long = "api-key",
        value_name = "KEY",
        env = "OXEMBED_API_KEYS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    api_keys: Vec<String>,
    /// Listen on other addresses than this machine's own without a key.
    #[arg(long, env = "OXEMBED_ALLOW_ANYONE")]
    allow_anyone: bool,
    /// The certificate of the service with its chain, a PEM file: it speaks TLS only. Read again on SIGHUP.
    #[arg(long, value_name = "FILE", env = "OXEMBED_TLS_CERTIFICATE")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", env = "OXEMBED_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Admit only clients with a certificate that one of these vouches for, a PEM file.
    #[arg(long, value_name = "FILE", env = "OXEMBED_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
    /// The type of the arithmetic: float32, int8, auto.
    #[arg(long, env = "OXEMBED_DTYPE", default_value_t = Settings::default().dtype)]
    dtype: String,
    /// The execution provider: auto, cpu, cuda, …
    #[arg(long, env = "OXEMBED_PROVIDER", default_value_t = Settings::default().provider)]
    provider: String,
    /// Threads of each model (default: all cores).
    #[arg(long, value_name = "N", env = "OXEMBED_THREADS")]
    threads: Option<usize>,
    /// Cut texts over the model's limit where a request does not say what to do with them, instead of refusing it.
    #[arg(long, env = "OXEMBED_AUTO_TRUNCATE")]
    auto_truncate: bool,
    /// Most inputs of one request.
    #[arg(long, value_name = "N", env = "OXEMBED_MAX_INPUTS", default_value_t = Settings::default().max_inputs)]
    max_inputs: usize,
    /// Most inputs that wait or run, of each model; more are told to come back (429).
    #[arg(long, value_name = "N", env = "OXEMBED_MAX_QUEUED_INPUTS", default_value_t = Settings::default().max_queued_inputs)]
    max_queued_inputs: usize,
    /// Most bytes of a request.
    #[arg(long, value_name = "N", env = "OXEMBED_MAX_BODY_BYTES", default_value_t = Settings::default().max_body_bytes)]
    max_body_bytes: usize,
    /// Most connections at a time; others wait to be accepted.
    #[arg(long, value_name = "N", env = "OXEMBED_MAX_CONNECTIONS", default_value_t = Settings::default().max_connections)]
    max_connections: usize,
    /// How long a request may take.
    #[arg(long, value_name = "SECONDS", env = "OXEMBED_TIMEOUT", value_parser = seconds, default_value = "60")]
    timeout: Duration,
    /// How long a client may take to send the head of a request, or stay without one.
    #[arg(long, value_name = "SECONDS", env = "OXEMBED_HEADER_TIMEOUT", value_parser = seconds, default_value = "10")]
    header_timeout: Duration,
    /// How long requests that run may go on when the service ends.
    #[arg(long, value_name = "SECONDS", env = "OXEMBED_DRAIN", value_parser = seconds, default_value = "30")]
    drain: Duration,
    /// Most bytes of memory for vectors that were computed before; 0 for none.
    #[arg(long, value_name = "N", env = "OXEMBED_CACHE_BYTES", default_value_t = Settings::default().cache_bytes)]
    cache_bytes: u64,
    /// A file for vectors that were computed before, which outlives the service.
    #[arg(long, value_name = "FILE", env = "OXEMBED_CACHE_PATH")]
    cache_path: Option<PathBuf>,
    /// Most bytes of that file.
    #[arg(long, value_name = "N", env = "OXEMBED_CACHE_DISK_BYTES", default_value_t = Settings::default().cache_disk_bytes)]
    cache_disk_bytes: u64,
    /// A key that opens the routes under `/admin/`, which load, swap and unload models. Can be given again; without one
    /// there are no such routes.
    #[arg(
        long = "admin-key",
        value_name = "KEY",
        env = "OXEMBED_ADMIN_KEYS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    admin_keys: Vec<String>,
    /// A folder below which models may be loaded from while the service runs. Can be given again; without one only the
    /// folders given at the start can be loaded again.
    #[arg(long = "model-root", value_name = "FOLDER", env = "OXEMBED_MODEL_ROOTS", value_delimiter = ';')]
    model_roots: Vec<PathBuf>,
    /// Most bytes of memory for models: those that were not asked for longest are unloaded, and loaded again when they are.
    #[arg(long, value_name = "N", env = "OXEMBED_MEMORY_LIMIT_BYTES")]
    memory_limit_bytes: Option<u64>,
    /// Most requests a second of one key, or of one address where there are no keys.
    #[arg(long, value_name = "N", env = "OXEMBED_REQUESTS_PER_SECOND")]
    requests_per_second: Option<f64>,
    /// Most inputs a second of one key, or of one address where there are no keys.
    #[arg(long, value_name = "N", env = "OXEMBED_INPUTS_PER_SECOND")]
    inputs_per_second: Option<f64>,
    /// Check the settings and the models' folders, and end.
    #[arg(long)]
    pub check: bool,
}

impl Command {
    /// The settings it asks for.
    ///
    /// # Errors
    /// [`ServeError::Setting`].
    pub fn settings(self) -> Result<Settings, ServeError> {
        let settings = Settings {
            models: self.models.iter().map(|text| model(text)).collect::<Result<_, _>>()?,
            host: self.host,
            port: self.port,
            api_keys: self.api_keys,
            allow_anyone: self.allow_anyone,
            tls_certificate: self.tls_certificate,
            tls_key: self.tls_key,
            tls_client_ca: self.tls_client_ca,
            dtype: self.dtype,
            provider: self.provider,
            threads: self.threads,
            auto_truncate: self.auto_truncate,
            max_inputs: self.max_inputs,
            max_queued_inputs: self.max_queued_inputs,
            max_body_bytes: self.max_body_bytes,
            max_connections: self.max_connections,
            timeout: self.timeout,
            header_timeout: self.header_timeout,
            drain: self.drain,
            cache_bytes: self.cache_bytes,
            cache_path: self.cache_path,
            cache_disk_bytes: self.cache_disk_bytes,
            admin_keys: self.admin_keys,
            model_roots: self.model_roots,
            memory_limit_bytes: self.memory_limit_bytes,
            requests_per_second: self.requests_per_second,
            inputs_per_second: self.inputs_per_second,
        };
        settings.check()?;
        Ok(settings)
    }
}

/// `FOLDER`, `NAME=FOLDER` or `NAME,OTHER=FOLDER`.
fn model(text: &str) -> Result<ModelSetting, ServeError> {
    let (names, folder) = text.split_once('=').map_or((None, text), |(names, folder)| (Some(names), folder));
    let path = PathBuf::from(folder);
    let names = names.map_or_else(|| vec![folder_name(&path)], |names| names.split(',').map(str::to_owned).collect());
    let mut names = names.into_iter();
    match names.next() {
        Some(name) if !folder.is_empty() => Ok(ModelSetting { name, aliases: names.collect(), path }),
        _ => Err(ServeError::Setting {
            setting: "--model".to_owned(),
            message: format!("{text:?} names no folder; write FOLDER or NAME=FOLDER"),
        }),
    }
}

fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }

    #[test]
    fn names_of_models() {
        let model = |text| model(text).unwrap();
        assert_eq!(
            model("models/mini"),
            ModelSetting { name: "mini".into(), aliases: vec![], path: "models/mini".into() }
        );
        let named = model("a,b=/x/y=z");
        assert_eq!((named.name.as_str(), named.aliases, named.path), ("a", vec!["b".to_owned()], "/x/y=z".into()));
        assert!(super::model("a=").is_err());
    }

    #[test]
    fn defaults_are_those_of_the_settings() {
        let settings = Command::parse_from(["serve", "--model", "folder"]).settings().unwrap();
        let default = Settings { models: settings.models.clone(), ..Settings::default() };
        assert_eq!(format!("{settings:?}"), format!("{default:?}"));
    }
}
