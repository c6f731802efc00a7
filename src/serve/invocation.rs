//! What a service is told, and by what: a flag goes before its environment variable, that before the file, that before the
//! default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::builder::{OsStr, Resettable};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::command::{self, Command};
use super::failure::ServeError;
use super::file::SettingsFile;
use super::settings::{ModelSetting, Settings};

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("flag"),
            Self::Variable(name) => formatter.write_str(name),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// Why there is nothing to do or to serve.
#[derive(Debug)]
pub(super) enum Problem {
    /// The command line is not understood, or asks for help.
    Usage(clap::Error),
    /// A setting is wrong.
    Setting(ServeError),
}

/// A command line with what it leaves to the environment, a file and the defaults.
#[derive(Debug)]
pub struct Invocation {
    pub(super) command: Command,
    pub(super) matches: ArgMatches,
    pub(super) origins: BTreeMap<String, Origin>,
    models: Vec<ModelSetting>,
}

impl Invocation {
    /// Reads the command line `arguments`, the program's name first, the environment, and the file that either names.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Problem> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        // A variable that is there and empty is none: so files of containers and units write what may be left out.
        let definition = Command::command().mut_args(|argument| match argument.get_env().and_then(std::env::var_os) {
            Some(value) if value.is_empty() => argument.env(Resettable::<OsStr>::Reset),
            _ => argument,
        });
        // What flags and variables say, whatever else is wrong with them: that is told below, when the file is read.
        let given = definition.clone().ignore_errors(true).try_get_matches_from(&arguments).map_err(Problem::Usage)?;
        let file = match given.get_one::<PathBuf>(command::CONFIG) {
            Some(path) => Some(SettingsFile::read(path, &definition).map_err(Problem::Setting)?),
            None => None,
        };
        let origins: BTreeMap<String, Origin> = command::settings(&definition)
            .map(|argument| (argument.get_id().to_string(), origin(argument, &given, file.as_ref())))
            .collect();
        let from_file = |id: &str| matches!(origins.get(id), Some(Origin::File { .. }));
        let values = file.iter().flat_map(|file| &file.values).filter(|value| from_file(&value.id));
        let added = values.flat_map(|value| &value.arguments).map(OsString::from);
        let (name, rest) = arguments.split_at(arguments.len().min(1));
        let all = name.iter().cloned().chain(added).chain(rest.iter().cloned());
        let matches = definition.try_get_matches_from(all).map_err(Problem::Usage)?;
        let command = Command::from_arg_matches(&matches).map_err(Problem::Usage)?;
        let models = match file {
            Some(file) if from_file(command::MODELS) => file.models,
            _ => command.models().map_err(Problem::Setting)?,
        };
        Ok(Self { command, matches, origins, models })
    }

    /// The models as they are asked for: a path may be the name of one, and a name may be empty. Who knows better puts the
    /// folder and the name there.
    pub fn models_mut(&mut self) -> &mut Vec<ModelSetting> {
        &mut self.models
    }

    pub(super) fn models(&self) -> &[ModelSetting] {
        &self.models
    }

    /// True where models are going to be looked at.
    pub fn needs_models(&self) -> bool {
        self.command.probe.is_none() && !self.command.print_config
    }

    /// The settings in force.
    ///
    /// # Errors
    /// [`ServeError`] that says where the wrong one comes from.
    pub fn settings(&self) -> Result<Settings, ServeError> {
        let mut settings = self.command.clone().unchecked()?;
        settings.models.clone_from(&self.models);
        for model in &mut settings.models {
            model.name_by_folder();
        }
        settings.check().map_err(|error| self.traced(error))?;
        Ok(settings)
    }

    /// The same error, with the place where the setting was made.
    fn traced(&self, error: ServeError) -> ServeError {
        let ServeError::Setting { setting, message } = error else { return error };
        let definition = Command::command();
        let flag = setting.trim_start_matches("--");
        let argument = command::settings(&definition).find(|argument| argument.get_long() == Some(flag));
        let origin = argument.and_then(|argument| self.origins.get(argument.get_id().as_str()));
        match origin {
            Some(Origin::File { path, line }) => {
                let message = format!("{}: {message}", flag.replace('-', "_"));
                ServeError::File { path: path.clone(), line: Some(*line), message }
            }
            Some(Origin::Variable(name)) => {
                ServeError::Setting { message: format!("{message} (it comes from {name})"), setting }
            }
            _ => ServeError::Setting { setting, message },
        }
    }
}

fn origin(argument: &clap::Arg, given: &ArgMatches, file: Option<&SettingsFile>) -> Origin {
    let id = argument.get_id().as_str();
    match given.value_source(id) {
        Some(ValueSource::CommandLine) => return Origin::Flag,
        Some(ValueSource::EnvVariable) => {
            let name = argument.get_env().unwrap_or_default();
            return Origin::Variable(name.to_string_lossy().into_owned());
        }
        _ => {}
    }
    let line = file.and_then(|file| match id {
        command::MODELS => file.models_line,
        _ => file.values.iter().find(|value| value.id == id).map(|value| value.line),
    });
    match (file, line) {
        (Some(file), Some(line)) => Origin::File { path: file.path.clone(), line },
        _ => Origin::Default,
    }
}
