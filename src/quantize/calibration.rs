//! The texts that a model is quantized by, and those it is checked on.

use std::path::Path;

use serde::Deserialize;

use crate::error::{EmbeddingError, Result};

/// Texts that come with the library: of many kinds and languages, written for this.
const CALIBRATION: &str = include_str!("texts/calibration.jsonl");
/// Others of the same kinds.
const HELD_OUT: &str = include_str!("texts/held_out.jsonl");
/// The kind of texts that are not said to be of any.
const UNNAMED: &str = "text";
/// Fewer texts say too little about what comes to a layer.
const FEWEST: usize = 32;

/// A text and what kind of text it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationText {
    /// Such as `question` or `code`: quality is told by kind.
    #[serde(default = "unnamed")]
    pub kind: String,
    /// The text.
    pub text: String,
}

fn unnamed() -> String {
    UNNAMED.to_owned()
}

/// The calibration texts that come with the library.
///
/// # Errors
/// None in practice: the texts are part of the library, and a test reads them.
pub fn default_texts() -> Result<Vec<CalibrationText>> {
    json_lines(Path::new("texts/calibration.jsonl"), CALIBRATION)
}

/// The texts that come with the library to check a quantized model on.
///
/// # Errors
/// As [`default_texts`].
pub fn held_out_texts() -> Result<Vec<CalibrationText>> {
    json_lines(Path::new("texts/held_out.jsonl"), HELD_OUT)
}

/// Reads texts of the user's own: a text a line, or where the name ends in `.jsonl` or `.json` an object a line, with `text` and
/// perhaps `kind`.
///
/// # Errors
/// `InvalidInput` where the file cannot be read, a line is no such object, or there are fewer than 32 texts.
pub fn read_texts(path: &Path) -> Result<Vec<CalibrationText>> {
    let content = std::fs::read_to_string(path).map_err(|error| {
        EmbeddingError::invalid_input(format!("the calibration texts in {} cannot be read: {error}", path.display()))
    })?;
    // Windows programs mark UTF-8 so.
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let is_json = |name: &std::ffi::OsStr| ["jsonl", "json"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let texts = if path.extension().is_some_and(is_json) {
        json_lines(path, content)?
    } else {
        let lines = content.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| CalibrationText { kind: unnamed(), text: line.to_owned() }).collect()
    };
    enough(&texts).map_err(|problem| EmbeddingError::invalid_input(format!("{}: {problem}", path.display())))?;
    Ok(texts)
}

/// Whether there are enough texts; in words where not.
pub(super) fn enough(texts: &[CalibrationText]) -> std::result::Result<(), String> {
    if texts.len() >= FEWEST {
        return Ok(());
    }
    Err(format!(
        "{} texts are too few to quantize by; give at least {FEWEST}, better some hundreds of different lengths, or none \
         to use those that come with the library",
        texts.len()
    ))
}

fn json_lines(path: &Path, content: &str) -> Result<Vec<CalibrationText>> {
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            EmbeddingError::invalid_input(format!(
                "{}, line {}: {error}; expected an object such as {{\"kind\": \"question\", \"text\": \"…\"}}",
                path.display(),
                number + 1
            ))
        })
    };
    lines.map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::{default_texts, held_out_texts, read_texts};

    fn words(text: &str) -> HashSet<String> {
        text.split_whitespace().map(str::to_lowercase).collect()
    }

    #[test]
    fn the_texts_to_learn_from_and_to_be_checked_on_are_different() {
        let (learned, checked) = (default_texts().unwrap(), held_out_texts().unwrap());
        let kinds = |texts: &[super::CalibrationText]| -> HashSet<String> {
            texts.iter().map(|text| text.kind.clone()).collect()
        };
        assert!(learned.len() > 500 && checked.len() > 300);
        assert_eq!(kinds(&learned), kinds(&checked));
        let learned: Vec<HashSet<String>> = learned.iter().map(|text| words(&text.text)).collect();
        for text in checked {
            let mine = words(&text.text);
            for other in learned.iter().filter(|other| other.len() + mine.len() > 4) {
                let (both, either) = (mine.intersection(other).count(), mine.union(other).count());
                assert!(10 * both <= 6 * either, "{:?}", text.text);
            }
        }
    }

    #[test]
    fn texts_of_ones_own_are_lines_or_objects() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, objects) = (folder.path().join("texts.txt"), folder.path().join("texts.jsonl"));
        let lines: Vec<String> = (0..40).map(|number| format!("text {number}")).collect();
        std::fs::write(&plain, lines.join("\n") + "\n\n").unwrap();
        assert_eq!(read_texts(&plain).unwrap().len(), 40);
        let line = |number| format!("{{\"text\": \"text {number}\", \"kind\": \"a\"}}\n");
        std::fs::write(&objects, (0..40).map(line).collect::<String>()).unwrap();
        assert!(read_texts(&objects).unwrap().iter().all(|text| text.kind == "a"));
        for (content, complaint) in
            [("{\"txt\": 1}", "line 1"), ("{\"text\": \"a\"}\n\n[]", "line 3"), ("{\"text\": \"a\"}", "too few")]
        {
            std::fs::write(&objects, content).unwrap();
            let error = read_texts(&objects).unwrap_err().to_string();
            assert!(error.contains(complaint) && error.contains("texts.jsonl"), "{error}");
        }
        assert!(read_texts(&folder.path().join("none.txt")).unwrap_err().to_string().contains("none.txt"));
    }
}
