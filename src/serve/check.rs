//! What `--check` looks at besides the settings themselves: the folders of the models, all that is in them.

use super::failure::ServeError;
use super::settings::Settings;
use crate::inspect::{Severity, inspect};

/// Reads every model's folder as far as that goes without running it.
///
/// # Errors
/// [`ServeError`] for the first in which something is wrong.
pub(super) fn models(settings: &Settings) -> Result<(), ServeError> {
    for model in &settings.models {
        let failed = |source| ServeError::Model { name: model.name.clone(), source: Box::new(source) };
        let inspection = inspect(&model.path).map_err(failed)?;
        let mut errors = inspection.findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        if let Some(error) = errors.next() {
            let message = format!("{}; {}", error.message, error.remedy);
            return Err(ServeError::Folder { name: model.name.clone(), message });
        }
    }
    Ok(())
}
