//! What is suspicious: a code, how bad it is, a sentence, and what to do.

use std::path::Path;

use serde::Serialize;

use crate::error::EmbeddingError;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The model does not load or does not give right vectors.
    Error,
    /// It runs, but perhaps not as its author meant.
    Warning,
    /// Worth knowing.
    Note,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident: $severity:ident,)+) => {
        /// What was found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[doc = $doc])+ $code,)+
        }

        impl Code {
            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$code => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    /// A part of the folder that cannot be read; the sentence is the error of loading the model.
    NotLoadable: Error,
    /// ONNX Runtime does not load the graph.
    RuntimeRefuses: Error,
    /// The file format is newer than ONNX Runtime knows.
    IrVersionTooNew: Error,
    /// An operator set is newer than ONNX Runtime knows.
    OpsetTooNew: Error,
    /// A file with external data is not there.
    ExternalDataMissing: Error,
    /// External data is outside the folder of the graph.
    ExternalDataOutside: Error,
    /// External data is not where the graph says, or has another size.
    ExternalDataIncomplete: Error,
    /// An initializer has impossible dimensions, or contents of another size.
    MalformedTensor: Error,
    /// An input has a fixed batch size or sequence length.
    FixedShape: Error,
    /// Tokens have ids beyond the embedding table.
    TokensBeyondVocabulary: Error,
    /// Weights are NaN or infinite.
    NonFiniteWeights: Error,
    /// The limit in force is above the position table, which bounds it.
    LimitAbovePositions: Warning,
    /// The tokenizer's own limit is above the position table.
    TokenizerAbovePositions: Warning,
    /// sentence-transformers' limit is above the tokenizer's own.
    LimitAboveTokenizer: Warning,
    /// tokenizer.json has a truncation, which is ignored.
    StoredTruncation: Note,
    /// tokenizer.json has a padding, which is ignored.
    StoredPadding: Note,
    /// There is no padding token, or it is not in the vocabulary.
    PadTokenMissing: Error,
    /// The tokenizer gives token types, and the model has no table of them.
    TokenTypesMissing: Note,
    /// The folder names Python code, which is not run.
    CustomCode: Warning,
    /// The folder leaves something open, and sentence-transformers' default decides.
    Assumed: Warning,
    /// Tensors that the graph does not use.
    UnusedTensors: Note,
    /// More than a tenth of the weights is not used by the graph.
    ManyUnusedTensors: Warning,
    /// The graph pools, and modules.json has a pooling too.
    PooledTwice: Note,
    /// The graph normalizes, and modules.json does too.
    NormalizedTwice: Note,
    /// The graph normalizes, and modules.json does not say so.
    NormalizedInside: Warning,
    /// Vectors come in half precision.
    HalfPrecisionOutput: Note,
    /// The weights are only there as pickles, which are never opened.
    OnlyPickle: Error,
    /// ONNX Runtime is absent, so that nothing could be tried.
    RuntimeUnavailable: Warning,
}

/// Something suspicious.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with numbers and names.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The file at fault, where it is one.
    pub file: Option<String>,
}

impl Finding {
    /// A finding about the model as a whole.
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), message: message.into(), remedy: remedy.into(), file: None }
    }

    /// The same about `file`.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.display().to_string());
        self
    }

    /// What loading would fail with.
    pub fn not_loadable(error: &EmbeddingError) -> Self {
        let code = if error.to_string().contains("pytorch_model.bin") { Code::OnlyPickle } else { Code::NotLoadable };
        let finding = Self::new(code, error.to_string(), "mend what the message names, or download the model again");
        match error {
            EmbeddingError::InvalidModel { file, .. } => finding.in_file(file),
            _ => finding,
        }
    }
}

/// The worst first; else in the order in which they were found, each once.
pub fn sorted(findings: Vec<Finding>) -> Vec<Finding> {
    let mut once: Vec<Finding> = Vec::new();
    for finding in findings {
        if !once.contains(&finding) {
            once.push(finding);
        }
    }
    once.sort_by_key(|finding| finding.severity);
    once
}

/// The first few names of a list, and how many more there are.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}
