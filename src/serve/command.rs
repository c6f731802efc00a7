//! The command line of the service; of `oxembed serve` and of the program `oxembed-serve`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Parser};

use super::failure::ServeError;
use super::settings::{LogFormat, ModelSetting, Settings};

/// What the command line calls the file of settings.
pub(super) const CONFIG: &str = "config";
/// What it calls the models, which a file has as tables.
pub(super) const MODELS: &str = "models";
/// What is asked of one run, and no setting of a service.
const ACTS: [&str; 6] = [CONFIG, "check", "print_config", "probe", "help", "version"];

/// Serve embeddings: REST as OpenAI and text-embeddings-inference speak it, and gRPC on the same port.
///
/// Without a key only this machine can reach the service. SIGTERM ends it when what was asked before is answered.
#[derive(Debug, Clone, Parser)]
#[command(name = "oxembed serve", version, max_term_width = 100)]
#[allow(clippy::struct_excessive_bools)] // A command line has switches.
pub struct Command {
    /// A model folder; NAME=FOLDER gives it another name, and NAME,OTHER=FOLDER several. The first answers requests that
    /// name none. Can be given again.
    #[arg(long = "model", value_name = "FOLDER", env = "OXEMBED_MODELS", value_delimiter = ';')]
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
    /// How long a client may take to send the head of a request.
    #[arg(long, value_name = "SECONDS", env = "OXEMBED_HEADER_TIMEOUT", value_parser = seconds, default_value = "10")]
    header_timeout: Duration,
    /// How long a connection is kept on which nothing is asked. A proxy in front should give up earlier.
    #[arg(long, value_name = "SECONDS", env = "OXEMBED_IDLE_TIMEOUT", value_parser = seconds, default_value = "75")]
    idle_timeout: Duration,
    /// How long a client may read nothing of its answer.
    #[arg(long, value_name = "SECONDS", env = "OXEMBED_WRITE_TIMEOUT", value_parser = seconds, default_value = "30")]
    write_timeout: Duration,
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
    /// How the log is written, to standard error. OXEMBED_LOG says how much of it: warn, info, debug.
    #[arg(long, value_enum, env = "OXEMBED_LOG_FORMAT", default_value_t = Settings::default().log_format)]
    log_format: LogFormat,
    /// Where traces are sent, by OTLP over HTTP: the collector's address, http://HOST:4318.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// What the service is called in traces.
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME", default_value_t = Settings::default().service_name)]
    service_name: String,
    /// A TOML file with settings, each under its flag's name with underscores, and a table [[models]] for each model. A flag
    /// goes before a variable, that before the file.
    #[arg(long, value_name = "FILE", env = "OXEMBED_CONFIG")]
    config: Option<PathBuf>,
    /// Check the settings and the models' folders, and end.
    #[arg(long)]
    pub(super) check: bool,
    /// Print the settings in force as such a file, with where each comes from, and end.
    #[arg(long)]
    pub(super) print_config: bool,
    /// Ask a running service, http://HOST:PORT/ready, and end: status 0 where it answers that it is well.
    #[arg(long, value_name = "URL")]
    pub(super) probe: Option<String>,
}

/// The arguments that are settings.
pub(super) fn settings(definition: &clap::Command) -> impl Iterator<Item = &Arg> {
    definition.get_arguments().filter(|argument| !ACTS.contains(&argument.get_id().as_str()))
}

/// The key of a setting in a file; none for the models.
pub(super) fn key(argument: &Arg) -> Option<String> {
    let flag = argument.get_long().filter(|_| argument.get_id() != MODELS)?;
    Some(flag.replace('-', "_"))
}

impl Command {
    /// The models it names.
    ///
    /// # Errors
    /// [`ServeError::Setting`].
    pub(super) fn models(&self) -> Result<Vec<ModelSetting>, ServeError> {
        self.models.iter().map(|text| model(text)).collect()
    }

    /// The settings it asks for, which may not fit each other.
    ///
    /// # Errors
    /// [`ServeError::Setting`].
    pub(super) fn unchecked(self) -> Result<Settings, ServeError> {
        Ok(Settings {
            models: self.models()?,
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
            idle_timeout: self.idle_timeout,
            write_timeout: self.write_timeout,
            drain: self.drain,
            cache_bytes: self.cache_bytes,
            cache_path: self.cache_path,
            cache_disk_bytes: self.cache_disk_bytes,
            admin_keys: self.admin_keys,
            model_roots: self.model_roots,
            memory_limit_bytes: self.memory_limit_bytes,
            requests_per_second: self.requests_per_second,
            inputs_per_second: self.inputs_per_second,
            log_format: self.log_format,
            otlp_endpoint: self.otlp_endpoint,
            service_name: self.service_name,
        })
    }
}

/// `FOLDER`, which leaves the name empty, `NAME=FOLDER` or `NAME,OTHER=FOLDER`.
fn model(text: &str) -> Result<ModelSetting, ServeError> {
    let wrong = |message: &str| {
        Err(ServeError::Setting { setting: "--model".to_owned(), message: format!("{text:?} {message}") })
    };
    let (names, folder) = text.split_once('=').map_or((None, text), |(names, folder)| (Some(names), folder));
    if folder.is_empty() {
        return wrong("names no folder; write FOLDER or NAME=FOLDER");
    }
    let mut names = names.into_iter().flat_map(|names| names.split(',')).map(str::to_owned);
    match names.next() {
        Some(name) if name.is_empty() => wrong("has an empty name; write FOLDER or NAME=FOLDER"),
        name => Ok(ModelSetting { name: name.unwrap_or_default(), aliases: names.collect(), path: folder.into() }),
    }
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
            ModelSetting { name: String::new(), aliases: vec![], path: "models/mini".into() }
        );
        let named = model("a,b=/x/y=z");
        assert_eq!((named.name.as_str(), named.aliases, named.path), ("a", vec!["b".to_owned()], "/x/y=z".into()));
        assert!(super::model("a=").is_err() && super::model("=a").is_err());
    }

    #[test]
    fn defaults_are_those_of_the_settings() {
        let settings = Command::parse_from(["serve", "--model", "folder"]).unchecked().unwrap();
        let default = Settings { models: settings.models.clone(), ..Settings::default() };
        assert_eq!(format!("{settings:?}"), format!("{default:?}"));
    }

    /// The names of the fields of a struct, of what `Debug` shows of it on many lines.
    fn fields(debug: &str) -> Vec<&str> {
        let own = debug
            .lines()
            .filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '}', ']'])));
        own.filter_map(|line| Some(line.split_once(':')?.0)).collect()
    }

    #[test]
    fn every_setting_has_a_flag_a_variable_a_key_and_a_line_in_the_guide() {
        use clap::CommandFactory;
        let definition = Command::command();
        let guide = include_str!("../../docs/serve_settings.md");
        let mut ids = Vec::new();
        for argument in settings(&definition) {
            let id = argument.get_id().as_str();
            let flag = argument.get_long().unwrap();
            let variable = argument.get_env().unwrap_or_else(|| panic!("{id} has no variable")).to_string_lossy();
            let plain = flag.replace('-', "_").to_uppercase();
            let expected = [format!("OXEMBED_{plain}"), format!("OXEMBED_{plain}S"), format!("OTEL_{plain}")];
            assert!(expected.contains(&variable.to_string()) || id == "otlp_endpoint", "{variable}");
            assert!(argument.get_help().is_some(), "{id} is not explained");
            let key = key(argument).unwrap_or_else(|| "[[models]]".to_owned());
            let row = guide.lines().find(|line| line.starts_with(&format!("| `--{flag}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/serve_settings.md has no row for --{flag}"));
            assert!(row.contains(&format!("`{variable}`")) && row.contains(&format!("`{key}`")), "{row}");
            if let [value] = argument.get_default_values() {
                assert!(row.contains(&format!("`{}`", value.to_string_lossy())), "the default is not in {row}");
            }
            ids.push(id);
        }
        let shown = format!("{:#?}", Settings { models: vec![], ..Settings::default() });
        let mut fields = fields(&shown);
        fields.sort_unstable();
        ids.sort_unstable();
        assert_eq!(ids, fields, "a setting has no flag, or a flag is no setting");
    }
}
