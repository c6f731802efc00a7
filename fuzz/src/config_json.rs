//! Configuration files changed in their structure, read as far as a graph is written of them.

use arbitrary::{Result, Unstructured};
use oxembed::config::ModelFolder;
use oxembed::inspect::{Severity, inspect_with};
use serde_json::json;

use super::folder::{CONFIG_FILES, FIXTURES, fixture, with_files};
use super::json;
use super::outcome::{readable, typed};

/// What reading the folder refuses, looking into it tells; neither ends in more than a message.
pub fn check(input: &[u8]) {
    let Ok(changed) = changed(&mut Unstructured::new(input)) else { return };
    with_files(changed.fixture, &[(changed.file, &changed.content)], |path| {
        let is_read = typed(ModelFolder::read(path)).is_some();
        let nobody_asked = Err("this is not asked here".to_owned());
        let inspection = typed(inspect_with(path, &nobody_asked)).expect("the folder is there");
        for finding in &inspection.findings {
            readable(&finding.message);
            assert!(!finding.message.contains("internal error"), "{}", finding.message);
        }
        let has_error = inspection.findings.iter().any(|finding| finding.severity == Severity::Error);
        assert!(is_read || has_error, "a folder that cannot be read is nothing to be told of");
    });
}

/// A fixture with a file that is not as it was.
pub struct Changed {
    /// Its name.
    pub fixture: &'static str,
    /// The file in it.
    pub file: &'static str,
    /// What it holds now.
    pub content: Vec<u8>,
}

/// The change that an input stands for.
///
/// # Errors
/// Where the input is too short to choose anything.
pub fn changed(input: &mut Unstructured<'_>) -> Result<Changed> {
    let name = input.choose(&FIXTURES)?;
    // Half of the changes are to the transformer's own file: it has the most settings.
    let file = if input.arbitrary()? { "config.json" } else { input.choose(&CONFIG_FILES)? };
    let mut value = json::read(&fixture(name).join(file)).unwrap_or_else(|| json!({}));
    json::mutate(&mut value, input)?;
    Ok(Changed { fixture: name, file, content: value.to_string().into_bytes() })
}
