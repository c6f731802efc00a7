//! What a graph is written for.

use crate::error::{EmbeddingError, Result};
use crate::weights::StoredType;

/// The operators that a graph may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The operators that ONNX Runtime computes as one on a CPU or a GPU: `Attention`, `RotaryEmbedding`,
    /// `RMSNormalization`.
    Fused,
    /// The small operators that CoreML's ML programs consist of, and that every other provider knows.
    Plain,
}

impl Dialect {
    /// Version of the file format and of the standard operators. Providers other than the CPU know the newest operators
    /// last, and what they do not know they leave to the CPU without a word.
    pub fn versions(self) -> (i64, i64) {
        match self {
            // ONNX Runtime 1.24, the oldest we accept, knows 24.
            Self::Fused => (11, 23),
            // The first with `Gelu`.
            Self::Plain => (9, 20),
        }
    }
}

/// The operator that looks up rows of a table of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// `Gather`, which every provider knows.
    Gather,
    /// `GatherND`, which ONNX Runtime's checker of what CoreML takes has in its table, and `Gather` not. The code that decides
    /// on a Mac has it the other way round.
    GatherNd,
}

/// The type of the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// Single precision.
    Float32,
    /// Half precision, with sums in single where the kernels have it.
    Float16,
}

impl Arithmetic {
    /// The type of stored numbers that need no conversion.
    pub fn stored_type(self) -> StoredType {
        match self {
            Self::Float32 => StoredType::Float32,
            Self::Float16 => StoredType::Float16,
        }
    }
}

/// How the linear layers of a graph are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linears {
    /// By the products of the arithmetic.
    Full,
    /// In 8-bit integers where the model has quantized ones, in the arithmetic where it has not.
    Quantized,
}

/// Rows and tokens of every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticShape {
    /// Texts in a batch.
    pub batch: usize,
    /// Tokens a text, padding included.
    pub sequence: usize,
}

/// Where padding may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Behind the tokens, where this library puts it.
    Behind,
    /// On either side, as other programs may have it.
    Anywhere,
}

/// What a batch of the graph holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batches {
    /// Texts of any number and length.
    Padded,
    /// A single text without padding, so long that its attention is computed in parts.
    OneLongText,
}

/// What a graph is written for: a provider's operators, a type, perhaps a fixed shape.
///
/// ```
/// use oxembed::graph::Target;
///
/// assert_eq!(Target::named("coreml")?, Target::COREML);
/// let error = Target::named("tpu").unwrap_err();
/// assert!(error.to_string().contains("cpu, coreml, plain, gpu"));
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The operators.
    pub dialect: Dialect,
    /// The operator for tables.
    pub lookup: Lookup,
    /// The type of the arithmetic.
    pub arithmetic: Arithmetic,
    /// The linear layers.
    pub linears: Linears,
    /// The shape, where it is fixed.
    pub shape: Option<StaticShape>,
    /// The most tokens that a text will have: tables of positions end there.
    pub max_tokens: usize,
    /// Where padding may stand.
    pub padding: Padding,
    /// What a batch holds.
    pub batches: Batches,
}

/// Names of targets.
const TARGETS: [(&str, Target); 4] =
    [("cpu", Target::CPU), ("coreml", Target::COREML), ("plain", Target::PLAIN), ("gpu", Target::GPU)];

impl Target {
    /// The CPU provider: fused operators, single precision, any shape.
    pub const CPU: Self = Self {
        dialect: Dialect::Fused,
        lookup: Lookup::Gather,
        arithmetic: Arithmetic::Float32,
        linears: Linears::Full,
        shape: None,
        max_tokens: usize::MAX,
        padding: Padding::Behind,
        batches: Batches::Padded,
    };
    /// Any other provider: small operators; for most of them one shape.
    pub const PLAIN: Self = Self { dialect: Dialect::Plain, ..Self::CPU };
    /// CoreML by ONNX Runtime's checker: the same in one shape, with tables looked up by the operator that it knows.
    pub const COREML: Self = Self { lookup: Lookup::GatherNd, ..Self::PLAIN };
    /// Graphics processors: fused operators, half precision, any shape.
    pub const GPU: Self = Self { arithmetic: Arithmetic::Float16, ..Self::CPU };

    /// The target of a name.
    ///
    /// # Errors
    /// `InvalidInput` listing the names.
    pub fn named(name: &str) -> Result<Self> {
        TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target).ok_or_else(|| {
            let known = TARGETS.map(|(name, _)| name).join(", ");
            EmbeddingError::invalid_input(format!("target {name:?} is not known; known are {known}"))
        })
    }

    /// The same for batches of one shape only.
    #[must_use]
    pub fn with_shape(self, batch: usize, sequence: usize) -> Self {
        Self { shape: Some(StaticShape { batch, sequence }), max_tokens: sequence, ..self }
    }

    /// The same for programs that pad on either side.
    #[must_use]
    pub fn with_padding_anywhere(self) -> Self {
        Self { padding: Padding::Anywhere, ..self }
    }

    /// The same for one long text at a time.
    #[must_use]
    pub fn for_one_long_text(self) -> Self {
        Self { batches: Batches::OneLongText, ..self }
    }

    /// The same for texts of at most `tokens` tokens.
    #[must_use]
    pub fn with_max_tokens(self, tokens: usize) -> Self {
        Self { max_tokens: self.max_tokens.min(tokens), ..self }
    }
}
