//! What a service is told.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::failure::ServeError;
use super::http_client;

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
            dtype: "float32".to_owned(),
            provider: "auto".to_owned(),
            threads: None,
            auto_truncate: false,
            max_inputs: 2048,
            max_queued_inputs: 16_384,
            max_body_bytes: 16 << 20,
            max_connections: 1024,
            timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
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
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong("--model", format!("the name {:?} is given twice; write other=FOLDER for one", twice[0]));
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
        if let Some(endpoint) = &self.otlp_endpoint {
            if let Err(message) = http_client::checked(endpoint) {
                return wrong("--otlp-endpoint", message);
            }
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
        Ok(())
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
    }
}
