//! What a user asks of a provider, and what becomes of it.

use std::collections::BTreeMap;

use super::setting::Setting;
use super::{Options, Provider};
use crate::error::{EmbeddingError, Result};

/// A provider by name, with settings.
///
/// ```
/// use oxembed::ProviderRequest;
///
/// let request = ProviderRequest::named("coreml").setting("compute_units", "cpu_and_gpu").setting("minimum_share", "0.9");
/// assert_eq!(request.name(), "coreml");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderRequest {
    name: String,
    settings: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
}

impl ProviderRequest {
    /// The provider `name` (`cpu`, `coreml`, …), ONNX Runtime's own name for it, or `auto`.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), settings: BTreeMap::new(), options: BTreeMap::new() }
    }

    /// A setting, by this library's name for it; names and values are checked when the model is loaded.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// An option of the provider itself, handed on as it is; it wins over the settings.
    #[must_use]
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }

    /// The name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for the CPU, by either name.
    pub fn is_cpu(&self) -> bool {
        Provider::named(&self.name).is_some_and(Provider::is_cpu)
    }

    /// The settings, checked and completed with the defaults of `provider`.
    ///
    /// # Errors
    /// `InvalidInput` for a setting that the provider does not have, or a value that it does not take.
    pub fn chosen(&self, provider: &Provider) -> Result<Chosen> {
        let known: Vec<&Setting> = provider.all_settings().collect();
        if let Some(name) = self.settings.keys().find(|name| known.iter().all(|setting| setting.name != name.as_str()))
        {
            if known.is_empty() {
                let problem = format!("provider {:?} has no settings, and {name:?} was given", self.name);
                return Err(EmbeddingError::invalid_input(problem));
            }
            let names = known.iter().map(|setting| setting.name).collect::<Vec<_>>().join(", ");
            return Err(EmbeddingError::invalid_input(format!(
                "provider {:?} has no setting {name:?}; it has {names}; options of ONNX Runtime's own go into options",
                self.name
            )));
        }
        if let Some((key, _)) = self.options.iter().find(|(key, value)| key.contains('\0') || value.contains('\0')) {
            let problem = format!("provider {:?}: the option {key:?} contains a NUL character", self.name);
            return Err(EmbeddingError::invalid_input(problem));
        }
        if provider.is_cpu()
            && let Some(key) = self.options.keys().next()
        {
            let problem = format!("provider {:?} has no options of its own, and {key:?} was given", self.name);
            return Err(EmbeddingError::invalid_input(problem));
        }
        let mut values = Vec::new();
        for setting in known {
            let asked = self.settings.get(setting.name).map(String::as_str).or(setting.default);
            if let Some(value) = asked {
                values.push((setting, value.to_owned(), setting.runtime_value(&self.name, value)?));
            }
        }
        Ok(Chosen {
            values: values.into_iter().map(|(setting, value, own)| (*setting, value, own)).collect(),
            options: self.options.clone().into_iter().collect(),
        })
    }
}

impl From<&str> for ProviderRequest {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<String> for ProviderRequest {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}

/// A provider's settings, all of them checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Setting, value, and the provider's own word for it.
    values: Vec<(Setting, String, String)>,
    /// Options of the provider itself.
    options: Options,
}

impl Chosen {
    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(setting, ..)| setting.name == name).map(|(_, value, _)| value.as_str())
    }

    /// A setting that is a whole number.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.get(name).and_then(|value| value.parse().ok())
    }

    /// The least share of the work to be placed.
    pub fn minimum_share(&self) -> f64 {
        self.get("minimum_share").and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// The options that the provider is given for the settings.
    pub fn runtime_options(&self) -> Options {
        let option =
            |(setting, _, own): &(Setting, String, String)| Some((setting.runtime_key?.to_owned(), own.clone()));
        self.values.iter().filter_map(option).collect()
    }

    /// `options` with the user's own, which win.
    pub fn completed(&self, mut options: Options) -> Options {
        for (key, value) in &self.options {
            options.retain(|(known, _)| known != key);
            options.push((key.clone(), value.clone()));
        }
        options
    }
}
