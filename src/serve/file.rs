//! The file of settings: TOML, with a key for each flag, its name with underscores, and a table for each model.
//!
//! Which keys there are, and what they may be, is asked of the command line's own definition. So a setting that has a flag has
//! its key here, with the same rules.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, Command};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};

use super::command;
use super::failure::ServeError;
use super::kind::Kind;
use super::settings::ModelSetting;

/// How alike two keys are of which one may be meant by the other.
const ALIKE: f64 = 0.75;
/// The list of models.
const MODELS: &str = "models";

/// What a file says.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub path: PathBuf,
    pub values: Vec<FileValue>,
    pub models: Vec<ModelSetting>,
    /// Where the models are.
    pub models_line: Option<usize>,
}

/// A setting of a file.
#[derive(Debug)]
pub(super) struct FileValue {
    /// As the command line calls it.
    pub id: String,
    pub line: usize,
    /// The same for the command line.
    pub arguments: Vec<String>,
}

/// A model of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileModel {
    path: PathBuf,
    #[serde(default)]
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
}

impl SettingsFile {
    /// Reads the file `path` of settings that `definition` has.
    ///
    /// # Errors
    /// [`ServeError::File`] for a file that cannot be read or is not TOML, and for a key or value that is not understood.
    pub fn read(path: &Path, definition: &Command) -> Result<Self, ServeError> {
        let failed = |line, message| ServeError::File { path: path.to_owned(), line, message };
        let text =
            std::fs::read_to_string(path).map_err(|error| failed(None, format!("it cannot be read: {error}")))?;
        parse(&text, definition)
            .map(|(values, models, models_line)| Self { path: path.to_owned(), values, models, models_line })
            .map_err(|Wrong { span, message }| failed(Some(line_of(&text, span.start)), message))
    }
}

/// What is wrong with a part of the text.
#[derive(Debug)]
struct Wrong {
    span: Range<usize>,
    message: String,
}

impl From<toml::de::Error> for Wrong {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', "; ");
        Self { span: error.span().unwrap_or_default(), message }
    }
}

type Parsed = (Vec<FileValue>, Vec<ModelSetting>, Option<usize>);

fn parse(text: &str, definition: &Command) -> Result<Parsed, Wrong> {
    let (mut values, mut models, mut models_line) = (Vec::new(), Vec::new(), None);
    for (key, value) in DeTable::parse(text)?.into_inner() {
        let line = line_of(text, key.span().start);
        if key.get_ref() == MODELS {
            models = tables(value)?;
            models_line = Some(line);
        } else {
            let argument = argument(&key, definition)?;
            let arguments = arguments(&key, &value, argument)?;
            values.push(FileValue { id: argument.get_id().to_string(), line, arguments });
        }
    }
    Ok((values, models, models_line))
}

/// The setting of a key.
fn argument<'a>(key: &Spanned<DeString<'_>>, definition: &'a Command) -> Result<&'a Arg, Wrong> {
    let keys = || command::settings(definition).filter_map(|argument| Some((command::key(argument)?, argument)));
    if let Some((_, argument)) = keys().find(|(known, _)| known == key.get_ref()) {
        return Ok(argument);
    }
    let mut known: Vec<String> = keys().map(|(known, _)| known).chain([MODELS.to_owned()]).collect();
    known.sort();
    let alike = |other: &&String| strsim::jaro_winkler(key.get_ref(), other);
    let nearest =
        known.iter().max_by(|one, other| alike(one).total_cmp(&alike(other))).filter(|found| alike(found) > ALIKE);
    let hint = nearest.map_or_else(String::new, |found| format!(" Is {found:?} meant?"));
    // The value is not shown: it may be a secret under a misspelled key.
    let message = format!("{:?} is no setting.{hint} There are: {}", key.get_ref(), known.join(", "));
    Err(Wrong { span: key.span(), message })
}

/// The value as the command line takes it.
fn arguments(key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>, argument: &Arg) -> Result<Vec<String>, Wrong> {
    let flag = argument.get_long().unwrap_or_default();
    let kind = Kind::of(argument);
    let wrong = |span, message: String| {
        let shown =
            if argument.is_hide_env_values_set() { String::new() } else { format!(" = {}", shown(value.get_ref())) };
        Wrong { span, message: format!("{}{shown}: {message}", key.get_ref()) }
    };
    let unlike = || wrong(value.span(), format!("it has to be {}", kind.in_words()));
    let texts = match (kind, value.get_ref()) {
        (Kind::Switch, DeValue::Boolean(is_on)) => {
            return Ok(if *is_on { vec![format!("--{flag}")] } else { Vec::new() });
        }
        (Kind::Texts, DeValue::Array(values)) => {
            let text = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err(unlike()),
            };
            values.iter().map(text).collect::<Result<_, _>>()?
        }
        (kind, value) => vec![scalar(kind, value).ok_or_else(unlike)?],
    };
    if let Some(delimiter) = argument.get_value_delimiter()
        && texts.iter().any(|text| text.contains(delimiter))
    {
        return Err(wrong(value.span(), format!("{delimiter:?} stands between values elsewhere and cannot be in one")));
    }
    let arguments: Vec<String> = texts.into_iter().map(|text| format!("--{flag}={text}")).collect();
    check(argument, &arguments).map_err(|message| wrong(value.span(), message))?;
    Ok(arguments)
}

fn scalar(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Whole | Kind::Number, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        (Kind::Number, DeValue::Float(number)) => Some(number.as_str().to_owned()),
        (Kind::Text, DeValue::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// Lets the command line look at the value of one setting.
fn check(argument: &Arg, arguments: &[String]) -> Result<(), String> {
    let alone = Command::new("serve").no_binary_name(true).arg(argument.clone());
    match alone.try_get_matches_from(arguments) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) => {
            // The first paragraph; what follows is about the command line.
            let text = error.to_string();
            let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
            let message = lines.collect::<Vec<_>>().join(" ");
            Err(message.trim_start_matches("error: ").to_owned())
        }
        _ => Ok(()),
    }
}

/// `[[models]]`.
fn tables(value: Spanned<DeValue<'_>>) -> Result<Vec<ModelSetting>, Wrong> {
    let span = value.span();
    let DeValue::Array(tables) = value.into_inner() else {
        let message = "models has to be tables: [[models]], then path = \"FOLDER\", and name and aliases if need be";
        return Err(Wrong { span, message: message.to_owned() });
    };
    let model = |table: Spanned<DeValue<'_>>| {
        let span = table.span();
        let FileModel { path, name, aliases } = FileModel::deserialize(ValueDeserializer::from(table))
            .map_err(Wrong::from)
            .map_err(|wrong| Wrong { message: format!("models: {}", wrong.message), ..wrong })?;
        if path.as_os_str().is_empty() {
            return Err(Wrong { span, message: "models: path is empty; name a folder".to_owned() });
        }
        Ok(ModelSetting { name, aliases, path })
    };
    tables.into_iter().map(model).collect()
}

/// A value as it would be written.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(is_on) => is_on.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(_) => "[…]".to_owned(),
        DeValue::Table(_) => "{…}".to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parsed(text: &str) -> Result<Parsed, Wrong> {
        parse(text, &command::Command::command())
    }

    fn refused(text: &str) -> (usize, String) {
        let wrong = parsed(text).unwrap_err();
        (line_of(text, wrong.span.start), wrong.message)
    }

    #[test]
    fn values_become_arguments() {
        let text = "# a comment\nport = 0x1f90\nauto_truncate = true\nallow_anyone = false\ntimeout = 2.5\n\
                    api_key = [\"a\", \"b\"]\n[[models]]\npath = \"one\"\n[[models]]\npath = \"two\"\nname = \"second\"\naliases = [\"2\"]";
        let (values, models, line) = parsed(text).unwrap();
        let arguments: Vec<&str> = values.iter().flat_map(|value| &value.arguments).map(String::as_str).collect();
        assert_eq!(arguments, ["--api-key=a", "--api-key=b", "--auto-truncate", "--port=8080", "--timeout=2.5"]);
        assert_eq!(values.iter().map(|value| value.line).collect::<Vec<_>>(), [4, 6, 3, 2, 5]);
        let model = |name: &str, aliases: &[&str], path: &str| ModelSetting {
            name: name.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            path: path.into(),
        };
        assert_eq!(models, [model("", &[], "one"), model("second", &["2"], "two")]);
        assert_eq!(line, Some(7));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, says) in [
            ("port = 80\nport = 81", 2, "duplicate key"),
            ("port = ", 1, "value"),
            ("\nprot = 80", 2, "\"prot\" is no setting. Is \"port\" meant?"),
            ("max-inputs = 8", 1, "Is \"max_inputs\" meant?"),
            ("port = \"80\"", 1, "port = \"80\": it has to be a whole number"),
            ("port = 99999", 1, "99999 is not in 0..=65535"),
            ("max_inputs = -1", 1, "max_inputs = -1: invalid value '-1'"),
            ("host = \"nowhere\"", 1, "host = \"nowhere\": invalid value"),
            ("timeout = \"60\"", 1, "it has to be a number"),
            ("timeout = -1", 1, "timeout = -1"),
            ("auto_truncate = 1", 1, "it has to be true or false"),
            ("api_key = \"a\"", 1, "api_key: it has to be a list of texts"),
            ("log_format = \"xml\"", 1, "[possible values: text, json]"),
            ("[server]\nport = 1", 1, "\"server\" is no setting"),
            ("models = [\"a\"]", 1, "models: "),
            ("models = \"a\"", 1, "[[models]]"),
            ("[[models]]\nname = \"a\"", 1, "missing field `path`"),
            ("[[models]]\npath = \"\"", 1, "path is empty"),
            (
                "[[models]]\npath = \"a\"\nalias = [\"b\"]",
                3,
                "unknown field `alias`, expected one of `path`, `name`, `aliases`",
            ),
            ("[[models]]\npath = 1", 2, "expected path string"),
            ("check = true", 1, "\"check\" is no setting"),
        ] {
            let (found, message) = refused(text);
            assert!(found == line && message.contains(says), "{text}: line {found}, {message}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for text in
            ["api_key = \"hush\"", "api_key = [\"hush,hush\"]", "api_keys = [\"hush\"]", "api_key = [\"hush\", 1]"]
        {
            let (_, message) = refused(text);
            assert!(!message.contains("hush"), "{message}");
        }
    }
}
