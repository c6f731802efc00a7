//! Looks through the bytes of an ONNX model before they are decoded: a file of two-byte nodes would take a hundred times
//! its size in memory, and a deeply nested one the stack.

use super::wire::{Broken, Content, Fields};

/// Most bytes that a decoded graph may take, weights not counted: they stay in the file. The largest graphs in use, with
/// a hundred thousand nodes, take a fifth of it.
pub const MAX_DECODED_BYTES: u64 = 512 << 20;
/// Messages inside messages; every subgraph takes three. The protobuf library of ONNX Runtime has the same limit.
pub const MAX_DEPTH: usize = 100;

/// Why a model is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no protobuf.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// More than [`MAX_DECODED_BYTES`].
    #[error("the graph without its weights would take more than {} MiB in memory", MAX_DECODED_BYTES >> 20)]
    TooLarge,
    /// More than [`MAX_DEPTH`].
    #[error("subgraphs are nested too deep: at most {MAX_DEPTH} messages inside each other are read")]
    TooDeep,
}

/// The messages of [`super::proto`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    OpsetId,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Entry,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
}

/// What decoding does with a field.
enum Decoded {
    Message(Kind),
    Text,
    /// Numbers of one byte and more each, as eight bytes each.
    Packed,
    /// Not copied, or not declared.
    Nothing,
}

impl Kind {
    fn field(self, number: u32) -> Decoded {
        use Decoded::{Message, Nothing, Packed, Text};
        match (self, number) {
            (Self::Model, 2..=4)
            | (Self::Graph | Self::Dimension, 2)
            | (Self::Node, 1..=4 | 7)
            | (Self::OpsetId | Self::Attribute | Self::ValueInfo, 1)
            | (Self::Tensor, 8)
            | (Self::Entry, 1 | 2) => Text,
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Message(Self::Graph),
            (Self::Model, 8) => Message(Self::OpsetId),
            (Self::Model, 14) | (Self::Tensor, 13) => Message(Self::Entry),
            (Self::Graph, 1) => Message(Self::Node),
            (Self::Graph, 5) | (Self::SparseTensor, 1) => Message(Self::Tensor),
            (Self::Graph, 11..=13) => Message(Self::ValueInfo),
            (Self::Graph, 15) => Message(Self::SparseTensor),
            (Self::Node, 5) => Message(Self::Attribute),
            (Self::Attribute, 8) | (Self::Tensor, 1) => Packed,
            (Self::ValueInfo, 2) => Message(Self::Type),
            (Self::Type, 1) => Message(Self::TensorType),
            (Self::TensorType, 2) => Message(Self::Shape),
            (Self::Shape, 1) => Message(Self::Dimension),
            _ => Nothing,
        }
    }
}

/// Refuses the model in `bytes` where decoding it would take too much memory or stack.
///
/// # Errors
/// [`Refusal`], which says what is too much.
pub fn measure(bytes: &[u8]) -> Result<(), Refusal> {
    let mut left = MAX_DECODED_BYTES;
    message(Kind::Model, bytes, MAX_DEPTH, &mut left)
}

fn message(kind: Kind, bytes: &[u8], depth: usize, left: &mut u64) -> Result<(), Refusal> {
    /// More than any message's own fields, times two for vectors that grow.
    const MESSAGE: u64 = 512;
    /// A string or number in a vector that grows.
    const ITEM: u64 = 64;
    let depth = depth.checked_sub(1).ok_or(Refusal::TooDeep)?;
    take(left, MESSAGE)?;
    for field in Fields::of(bytes) {
        let field = field?;
        match (kind.field(field.number), field.content) {
            (Decoded::Message(kind), Content::Bytes(bytes)) => message(kind, bytes, depth, left)?,
            (Decoded::Text, Content::Bytes(bytes)) => take(left, ITEM + bytes.len() as u64)?,
            (Decoded::Packed, Content::Bytes(bytes)) => take(left, ITEM + 16 * bytes.len() as u64)?,
            // A number of an unpacked list; `functions`, which are views of the file.
            (Decoded::Packed, Content::Number) | (_, Content::Bytes(_)) => take(left, ITEM)?,
            (_, Content::Number) => {}
        }
    }
    Ok(())
}

fn take(left: &mut u64, bytes: u64) -> Result<(), Refusal> {
    *left = left.checked_sub(bytes).ok_or(Refusal::TooLarge)?;
    Ok(())
}
