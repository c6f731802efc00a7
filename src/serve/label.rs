//! The value of a label in the metrics, which may be a name that somebody gave.

use std::fmt::Write;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Text as the format of Prometheus wants it: the library writes it as it is, and a quotation mark would end it.
///
/// Prometheus' "Exposition formats": a backslash, a quotation mark and the end of a line are escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Label<Text>(pub Text);

impl<Text: AsRef<str>> EncodeLabelValue for Label<Text> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        for character in self.0.as_ref().chars() {
            match character {
                '\\' | '"' => write!(encoder, "\\{character}")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}
