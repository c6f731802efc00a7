//! What a service is told.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::cache::LEAST_BYTES;
use super::failure::ServeError;
use super::http_client;

/// One in a quarter of an hour; at less, a client would be told to come back another day.
const LEAST_RATE: f64 = 0.001;

/// A model to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSetting {
    /// Its name in requests.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Its folder.
    pub path: PathBuf,
}

impl ModelSetting {
    /// Names a model without a name by its folder.
    pub(super) fn name_by_folder(&mut self) {
        if self.name.is_empty() {
            let folder = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
            self.name = folder.unwrap_or_else(|| self.path.display().to_string());
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line, for programs.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Everything that can be set. The defaults serve this machine only.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The models; the first answers requests that name none.
    pub models: Vec<ModelSetting>,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 for one that is free.
    pub port: u16,
    /// Keys that open the service; none: everybody who can reach it.
    pub api_keys: Vec<String>,
    /// Listen on other addresses than this machine's own without a key.
    pub allow_anyone: bool,
    /// The certificate of the service with its chain, a PEM file; with it, the service speaks TLS only.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    pub tls_key: Option<PathBuf>,
    /// Certificates, in a PEM file, of those who vouch for clients; with it, a client needs a certificate too.
    pub tls_client_ca: Option<PathBuf>,
    /// The type of the arithmetic, as of [`EmbedderBuilder::dtype`](crate::EmbedderBuilder::dtype).
    pub dtype: String,
    /// The execution provider.
    pub provider: String,
    /// Threads of each model; by default all cores.
    pub threads: Option<usize>,
    /// Cut texts over the model's limit where a request does not say what to do with them, instead of refusing it.
    pub auto_truncate: bool,
    /// Most inputs of one request.
    pub max_inputs: usize,
    /// Most inputs that wait or run, of each model; more are told to come back.
    pub max_queued_inputs: usize,
    /// Most bytes of a request.
    pub max_body_bytes: usize,
    /// Most connections at a time; others wait to be accepted.
    pub max_connections: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle_timeout: Duration,
    /// How long a client may read nothing of its answer.
    pub write_timeout: Duration,
    /// How long requests that run may go on when the service ends.
    pub drain: Duration,
    /// Most bytes of memory for rows that were computed before; 0 for none.
    pub cache_bytes: u64,
    /// A file for rows that were computed before, which outlives the service.
    pub cache_path: Option<PathBuf>,
    /// Most bytes of that file.
    pub cache_disk_bytes: u64,
    /// Keys that open the routes under `/admin/`, and nothing else; none: there are no such routes.
    pub admin_keys: Vec<String>,
    /// Folders below which models may be loaded from while the service runs, besides those given at the start.
    pub model_roots: Vec<PathBuf>,
    /// Most bytes of memory for models; those that were not asked for longest go, and come back when they are.
    pub memory_limit_bytes: Option<u64>,
    /// Most requests of one client a second; a client is a key, or an address where there are no keys.
    pub requests_per_second: Option<f64>,
    /// Most inputs of one client a second.
    pub inputs_per_second: Option<f64>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Where traces are sent, by OTLP over HTTP; none: nowhere.
    pub otlp_endpoint: Option<String>,
    /// What the service is called in traces.
    pub service_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            api_keys: Vec::new(),
            allow_anyone: false,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            dtype: "float32".to_owned(),
            provider: "auto".to_owned(),
            threads: None,
            auto_truncate: false,
            max_inputs: 2048,
            max_queued_inputs: 16_384,
            max_body_bytes: 16 << 20,
            max_connections: 1024,
            timeout: Duration::from_mins(1),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            cache_bytes: 0,
            cache_path: None,
            cache_disk_bytes: 1 << 30,
            admin_keys: Vec::new(),
            model_roots: Vec::new(),
            memory_limit_bytes: None,
            requests_per_second: None,
            inputs_per_second: None,
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            service_name: "oxembed".to_owned(),
        }
    }
}

impl Settings {
    /// Whether they fit each other.
    ///
    /// # Errors
    /// [`ServeError::Setting`] that names the first that does not.
    pub fn check(&self) -> Result<(), ServeError> {
        let wrong = |setting: &str, message: String| Err(ServeError::Setting { setting: setting.to_owned(), message });
        if self.models.is_empty() {
            return wrong("--model", "there is no model to serve; name at least one".to_owned());
        }
        let mut names: Vec<&String> =
            self.models.iter().flat_map(|model| std::iter::once(&model.name).chain(&model.aliases)).collect();
        names.sort();
        if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next) {
            return wrong("--model", format!("the name {twice:?} is given twice; write other=FOLDER for one"));
        }
        if let Some(name) = names.iter().find(|name| name.trim().is_empty()) {
            return wrong("--model", format!("{name:?} is no name"));
        }
        if self.api_keys.iter().any(|key| key.trim().is_empty()) {
            return wrong("--api-key", "a key is empty; leave it out for a service without keys".to_owned());
        }
        if !self.host.is_loopback() && self.api_keys.is_empty() && !self.allow_anyone {
            let message = format!(
                "{} can be reached by others, and no key is set; set --api-key, or --allow-anyone where something else \
                 keeps strangers out",
                self.host
            );
            return wrong("--host", message);
        }
        match (&self.tls_certificate, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) => return wrong("--tls-key", "the certificate's private key is needed too".to_owned()),
            (None, Some(_), _) => return wrong("--tls-certificate", "the key's certificate is needed too".to_owned()),
            (None, None, Some(_)) => {
                let message = "certificates of clients need --tls-certificate and --tls-key".to_owned();
                return wrong("--tls-client-ca", message);
            }
            (Some(_), Some(_), _) | (None, None, None) => {}
        }
        for (setting, value) in [
            ("--max-inputs", self.max_inputs),
            ("--max-queued-inputs", self.max_queued_inputs),
            ("--max-body-bytes", self.max_body_bytes),
            ("--max-connections", self.max_connections),
        ] {
            if value == 0 {
                return wrong(setting, "0 would refuse everything; it has to be at least 1".to_owned());
            }
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && let Err(message) = http_client::checked(endpoint)
        {
            return wrong("--otlp-endpoint", message);
        }
        for (setting, value) in [
            ("--timeout", self.timeout),
            ("--header-timeout", self.header_timeout),
            ("--idle-timeout", self.idle_timeout),
            ("--write-timeout", self.write_timeout),
        ] {
            if value.is_zero() {
                return wrong(setting, "no time at all would refuse everything".to_owned());
            }
        }
        self.check_operation()
    }

    /// What is kept, who may change models, how much a client may ask for.
    fn check_operation(&self) -> Result<(), ServeError> {
        let wrong = |setting: &str, message: String| Err(ServeError::Setting { setting: setting.to_owned(), message });
        if self.cache_path.is_some() && self.cache_disk_bytes < LEAST_BYTES {
            let message =
                format!("{} is too little for a file of rows; the least is {LEAST_BYTES}", self.cache_disk_bytes);
            return wrong("--cache-disk-bytes", message);
        }
        if self.admin_keys.iter().any(|key| key.trim().is_empty()) {
            return wrong("--admin-key", "a key is empty; leave it out for a service without admin routes".to_owned());
        }
        if self.admin_keys.iter().any(|key| self.api_keys.contains(key)) {
            let message = "an admin key is an API key as well, so every client could change the models; choose another";
            return wrong("--admin-key", message.to_owned());
        }
        if let Some(root) = self.model_roots.iter().find(|root| !root.is_dir()) {
            return wrong("--model-root", format!("{} is no folder", root.display()));
        }
        if self.memory_limit_bytes == Some(0) {
            return wrong(
                "--memory-limit-bytes",
                "0 leaves no room for any model; leave it out for no limit".to_owned(),
            );
        }
        for (setting, rate) in
            [("--requests-per-second", self.requests_per_second), ("--inputs-per-second", self.inputs_per_second)]
        {
            if let Some(rate) = rate.filter(|rate| !(rate.is_finite() && *rate >= LEAST_RATE)) {
                return wrong(setting, format!("{rate} is no rate; it has to be a number from {LEAST_RATE} on"));
            }
        }
        Ok(())
    }

    /// Whether models have to be told from each other by what they hold.
    pub(super) fn wants_hashes(&self) -> bool {
        self.cache_bytes > 0 || self.cache_path.is_some() || !self.admin_keys.is_empty()
    }

    /// Whether somebody wants to know what models take.
    pub(super) fn wants_memory(&self) -> bool {
        self.memory_limit_bytes.is_some() || !self.admin_keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_model(change: impl FnOnce(&mut Settings)) -> Result<(), ServeError> {
        let model = |name: &str| ModelSetting { name: name.to_owned(), aliases: Vec::new(), path: PathBuf::from("m") };
        let mut settings = Settings { models: vec![model("one"), model("two")], ..Settings::default() };
        change(&mut settings);
        settings.check()
    }

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        match with_model(change) {
            Err(ServeError::Setting { setting, .. }) => setting,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_fine() {
        with_model(|_| {}).unwrap();
    }

    #[test]
    fn strangers_need_a_key_or_permission() {
        let open = |settings: &mut Settings| settings.host = IpAddr::from([0, 0, 0, 0]);
        assert_eq!(refused(open), "--host");
        with_model(|settings| {
            open(settings);
            settings.api_keys = vec!["secret".to_owned()];
        })
        .unwrap();
        with_model(|settings| {
            open(settings);
            settings.allow_anyone = true;
        })
        .unwrap();
    }

    #[test]
    fn what_would_refuse_everything_is_refused() {
        assert_eq!(refused(|settings| settings.models.clear()), "--model");
        assert_eq!(refused(|settings| settings.models[1].aliases.push("one".to_owned())), "--model");
        assert_eq!(refused(|settings| settings.max_inputs = 0), "--max-inputs");
        assert_eq!(refused(|settings| settings.api_keys.push(" ".to_owned())), "--api-key");
        assert_eq!(refused(|settings| settings.timeout = Duration::ZERO), "--timeout");
        assert_eq!(refused(|settings| settings.memory_limit_bytes = Some(0)), "--memory-limit-bytes");
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(|settings| settings.requests_per_second = Some(rate)), "--requests-per-second");
            assert_eq!(refused(|settings| settings.inputs_per_second = Some(rate)), "--inputs-per-second");
        }
    }

    #[test]
    fn what_would_do_other_than_it_says_is_refused() {
        let few = |settings: &mut Settings| settings.cache_disk_bytes = 1000;
        with_model(few).unwrap();
        assert_eq!(
            refused(|settings| {
                few(settings);
                settings.cache_path = Some(PathBuf::from("rows"));
            }),
            "--cache-disk-bytes"
        );
        assert_eq!(refused(|settings| settings.admin_keys.push(String::new())), "--admin-key");
        assert_eq!(
            refused(|settings| {
                settings.api_keys = vec!["same".to_owned(), "other".to_owned()];
                settings.admin_keys = vec!["same".to_owned()];
            }),
            "--admin-key"
        );
        assert_eq!(refused(|settings| settings.model_roots.push(PathBuf::from("no/such/folder"))), "--model-root");
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let file = || Some(PathBuf::from("file.pem"));
        assert_eq!(refused(|settings| settings.tls_certificate = file()), "--tls-key");
        assert_eq!(refused(|settings| settings.tls_key = file()), "--tls-certificate");
        assert_eq!(refused(|settings| settings.tls_client_ca = file()), "--tls-client-ca");
        with_model(|settings| (settings.tls_certificate, settings.tls_key) = (file(), file())).unwrap();
    }
}
