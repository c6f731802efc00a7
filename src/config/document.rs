//! JSON files of a model folder, read with errors that name the file, the key, the value and what is understood.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{EmbeddingError, Result};
use crate::foreign::recognize;

/// Largest configuration file that is read. Real ones have a few kilobytes; a larger one is an attack or a mistake.
pub const MAX_CONFIG_BYTES: u64 = 16 * 1024 * 1024;

/// A JSON object of a model folder, with typed access.
///
/// Getters come in three kinds. `str`, `usize_in`, … : the key must be there. `…_or`: the default where the key is
/// absent; `null` is an error, because Python would use the `null`. `optional_…`: `None` where the key is absent or
/// `null`. A value of another type or outside the range is always an error.
///
/// ```
/// use oxembed::config::Document;
///
/// let config = Document::from_text("config.json", r#"{"model_type": "bert", "hidden_size": 384}"#)?;
/// assert_eq!(config.str("model_type")?, "bert");
/// assert_eq!(config.usize_in("hidden_size", 1..=65_536)?, 384);
/// assert!((config.f32_positive_or("layer_norm_eps", 1e-12)? - 1e-12).abs() < 1e-20);
/// let error = config.usize_in("num_hidden_layers", 1..=1024).unwrap_err();
/// assert!(error.to_string().starts_with("config.json: num_hidden_layers: "));
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    path: PathBuf,
    /// Where this object stands inside its file, as `rope_parameters.`: put before a key in messages.
    prefix: String,
    map: Map<String, Value>,
}

impl Document {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where the file is missing, larger than [`MAX_CONFIG_BYTES`], not JSON or not
    /// an object.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_value(path, "", read_json(path)?)
    }

    /// As [`read`](Self::read); `None` where there is no such file.
    ///
    /// # Errors
    /// As [`read`](Self::read), but for the missing file.
    pub fn read_optional(path: &Path) -> Result<Option<Self>> {
        if is_absent(path) { Ok(None) } else { Self::read(path).map(Some) }
    }

    /// Parses a JSON object; `path` is the name that errors give it.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where the text is not a JSON object.
    pub fn from_text(path: impl Into<PathBuf>, text: &str) -> Result<Self> {
        let path = path.into();
        let value = parse(&path, text.as_bytes())?;
        Self::from_value(&path, "", value)
    }

    pub(super) fn from_value(path: &Path, prefix: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { path: path.to_owned(), prefix: prefix.to_owned(), map }),
            other => {
                let place = if prefix.is_empty() { "the file" } else { prefix.trim_end_matches('.') };
                let problem = format!("{place} holds {}: an object, {{…}}, is understood", kind(&other));
                Err(EmbeddingError::invalid_model(path, problem))
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys, those with `null` too.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// The value as it stands, `null` too.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Whether the key is there with something other than `null`.
    pub fn has(&self, key: &str) -> bool {
        self.present(key).is_some()
    }

    /// The first of several spellings of a key that is there with something other than `null`.
    ///
    /// ```
    /// # use oxembed::config::Document;
    /// let config = Document::from_text("config.json", r#"{"n_embd": 768}"#)?;
    /// let key = config.first_of(&["hidden_size", "n_embd"]).unwrap_or("hidden_size");
    /// assert_eq!(config.usize_in(key, 1..=65_536)?, 768);
    /// # Ok::<(), oxembed::EmbeddingError>(())
    /// ```
    pub fn first_of<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        keys.iter().copied().find(|key| self.has(key))
    }

    /// A string.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is absent or something else.
    pub fn str(&self, key: &str) -> Result<&str> {
        self.optional_str(key)?.ok_or_else(|| self.invalid(key, "a string is needed here"))
    }

    /// A string, if there is one.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else.
    pub fn optional_str(&self, key: &str) -> Result<Option<&str>> {
        match self.present(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(key, "a string is understood")),
        }
    }

    /// A boolean; `default` where the key is absent.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else, `null` too.
    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.map.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.invalid(key, "true and false are understood")),
        }
    }

    /// A boolean, if there is one.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else.
    pub fn optional_bool(&self, key: &str) -> Result<Option<bool>> {
        match self.present(key) {
            None => Ok(None),
            Some(_) => self.bool_or(key, false).map(Some),
        }
    }

    /// A whole number inside `range`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is absent, something else or outside.
    pub fn usize_in(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let problem = format!("a whole number from {} to {} is needed here", range.start(), range.end());
        self.optional_usize_in(key, range)?.ok_or_else(|| self.invalid(key, problem))
    }

    /// A whole number inside `range`, if there is one.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else or outside.
    pub fn optional_usize_in(&self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>> {
        let Some(value) = self.present(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let problem = format!("a whole number from {} to {} is understood", range.start(), range.end());
                Err(self.invalid(key, problem))
            }
        }
    }

    /// A number inside `range`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is absent, something else or outside.
    pub fn f64_in(&self, key: &str, range: RangeInclusive<f64>) -> Result<f64> {
        let problem = format!("a number from {} to {} is needed here", range.start(), range.end());
        self.optional_f64_in(key, range)?.ok_or_else(|| self.invalid(key, problem))
    }

    /// A number inside `range`, if there is one.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else or outside.
    pub fn optional_f64_in(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.present(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let problem = format!("a number from {} to {} is understood", range.start(), range.end());
                Err(self.invalid(key, problem))
            }
        }
    }

    /// A number above zero, as `f32`; `default` where the key is absent.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else (`null` too), not above zero, or beyond `f32`.
    pub fn f32_positive_or(&self, key: &str, default: f32) -> Result<f32> {
        let Some(value) = self.map.get(key) else { return Ok(default) };
        #[expect(clippy::cast_possible_truncation, reason = "what `f32` cannot hold is refused below")]
        let number = value.as_f64().map(|number| number as f32);
        number
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| self.invalid(key, "a number above zero is understood"))
    }

    /// The meaning of a string out of a table of known ones.
    ///
    /// ```
    /// # use oxembed::config::Document;
    /// let config = Document::from_text("config.json", r#"{"hidden_act": "swish"}"#)?;
    /// let error = config.choice("hidden_act", &[("gelu", 1), ("relu", 2)]).unwrap_err();
    /// assert_eq!(error.to_string(), r#"config.json: hidden_act = "swish": "gelu" and "relu" are understood"#);
    /// # Ok::<(), oxembed::EmbeddingError>(())
    /// ```
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`], listing the known ones, where it is absent or unknown.
    pub fn choice<T: Clone>(&self, key: &str, known: &[(&str, T)]) -> Result<T> {
        self.optional_choice(key, known)?
            .ok_or_else(|| self.invalid(key, format!("needed here: {}", understood(known))))
    }

    /// As [`choice`](Self::choice), if there is a string.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`], listing the known ones, where it is unknown.
    pub fn optional_choice<T: Clone>(&self, key: &str, known: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.present(key) else { return Ok(None) };
        let found = value.as_str().and_then(|text| known.iter().find(|(name, _)| *name == text));
        match found {
            Some((_, meaning)) => Ok(Some(meaning.clone())),
            None => Err(self.invalid(key, understood(known))),
        }
    }

    /// A list of strings, if there is one.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else.
    pub fn optional_strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let Some(value) = self.present(key) else { return Ok(None) };
        value
            .as_array()
            .and_then(|items| items.iter().map(Value::as_str).collect())
            .map(Some)
            .ok_or_else(|| self.invalid(key, "a list of strings is understood"))
    }

    /// The object under a key, if there is one, as a document of its own: messages say `key.inner`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where it is something else.
    pub fn section(&self, key: &str) -> Result<Option<Self>> {
        match self.present(key) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                let prefix = format!("{}{key}.", self.prefix);
                Ok(Some(Self { path: self.path.clone(), prefix, map: map.clone() }))
            }
            Some(_) => Err(self.invalid(key, "an object, {…}, is understood")),
        }
    }

    /// These keys and those of `other`, whose values win.
    #[must_use]
    pub fn updated_by(&self, other: &Self) -> Self {
        let mut map = self.map.clone();
        map.extend(other.map.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self { path: self.path.clone(), prefix: self.prefix.clone(), map }
    }

    /// Refuses keys outside `known`: an unknown key may change the vectors.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] naming the first unknown key and the known ones.
    pub fn refuse_unknown_keys(&self, known: &[&str]) -> Result<()> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(self.invalid(key, format!("unknown key; these are understood: {}", known.join(", ")))),
        }
    }

    /// An error about a key; the value is taken from the document.
    #[must_use]
    pub fn invalid(&self, key: &str, problem: impl Into<String>) -> EmbeddingError {
        let value = self.map.get(key).map(Value::to_string);
        EmbeddingError::invalid_key(&self.path, &format!("{}{key}", self.prefix), value, problem)
    }

    fn present(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }
}

fn understood<T>(known: &[(&str, T)]) -> String {
    let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
    match names.split_last() {
        None => "nothing is understood".to_owned(),
        Some((only, [])) => format!("{only} is understood"),
        Some((last, others)) => format!("{} and {last} are understood", others.join(", ")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether nothing has this name. A link to nowhere is a broken download and a folder that may not be read is a mistake:
/// neither is absent, so that reading it tells.
pub(super) fn is_absent(path: &Path) -> bool {
    let error = path.symlink_metadata().err().map(|error| error.kind());
    matches!(error, Some(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Reads JSON of any form, up to [`MAX_CONFIG_BYTES`].
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    refuse_large_file(path, MAX_CONFIG_BYTES)?;
    let unreadable = |error: std::io::Error| EmbeddingError::invalid_model(path, "cannot be read").caused_by(error);
    let mut bytes = Vec::new();
    // The limit again, on what is read: the file may grow between the two.
    File::open(path).map_err(unreadable)?.take(MAX_CONFIG_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    parse(path, &bytes)
}

/// Refuses what is not a regular file of at most `limit` bytes, without reading it.
pub(crate) fn refuse_large_file(path: &Path, limit: u64) -> Result<()> {
    let metadata = path.metadata().map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::NotFound => "the file is missing",
            _ => "the file cannot be read",
        };
        EmbeddingError::invalid_model(path, problem).caused_by(error)
    })?;
    if !metadata.is_file() {
        return Err(EmbeddingError::invalid_model(path, "this is not a regular file"));
    }
    if metadata.len() > limit {
        let problem = format!("{} bytes; at most {limit} are read", metadata.len());
        return Err(EmbeddingError::invalid_model(path, problem));
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(EmbeddingError::invalid_model(path, "starts with a byte order mark; plain UTF-8 is understood"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = if let Some(meaning) = recognize(bytes) {
            meaning.to_owned()
        } else if error.is_eof() {
            format!("the JSON ends too early, a partial download? ({error})")
        } else if let Some(literal) = python_literal(bytes, error.line(), error.column()) {
            format!("holds {literal}, which Python writes and JSON does not have ({error})")
        } else if error.is_data() {
            format!("not in the form that is understood ({error})")
        } else {
            format!("not valid JSON ({error})")
        };
        EmbeddingError::invalid_model(path, problem).caused_by(error)
    })
}

/// `NaN` or `Infinity` where the parser stopped: it stops at or just behind the first letter.
fn python_literal(bytes: &[u8], line: usize, column: usize) -> Option<&'static str> {
    let line = bytes.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let from_stop = line.get(column.saturating_sub(2)..)?;
    let near = from_stop.get(..12).unwrap_or(from_stop);
    ["NaN", "-Infinity", "Infinity"]
        .into_iter()
        .find(|literal| near.windows(literal.len()).any(|window| window == literal.as_bytes()))
}
