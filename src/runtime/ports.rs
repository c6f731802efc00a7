//! What an ONNX graph wants and gives, found by name and type.

use std::path::Path;

use ort::value::TensorElementType;

use super::session::{Feed, OutputType, Port, Ports};
use crate::error::{EmbeddingError, Result};

/// Names under which exporters know an input, besides the feed's own.
const INPUT_NAMES: &[(&str, Feed)] = &[
    ("input_ids", Feed::InputIds),
    ("input.1", Feed::InputIds),
    ("input", Feed::InputIds),
    ("ids", Feed::InputIds),
    ("attention_mask", Feed::AttentionMask),
    ("input_mask", Feed::AttentionMask),
    ("mask", Feed::AttentionMask),
    ("token_type_ids", Feed::TokenTypeIds),
    ("segment_ids", Feed::TokenTypeIds),
    ("position_ids", Feed::PositionIds),
    ("positions", Feed::PositionIds),
];

impl Feed {
    /// What an input of this name wants.
    pub fn named(name: &str) -> Option<Self> {
        INPUT_NAMES.iter().find(|(known, _)| *known == name).map(|(_, feed)| *feed)
    }
}

/// Names of outputs in order of preference; token embeddings first, as the folder says how to pool them.
const TOKEN_OUTPUTS: &[&str] = &["last_hidden_state", "token_embeddings", "hidden_states", "last_hidden_states"];
const SENTENCE_OUTPUTS: &[&str] = &["sentence_embedding", "sentence_embeddings", "embeddings", "pooled_embeddings"];

/// What the chosen output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// `(batch, sequence, hidden)`: pooling and what follows it is ours to do.
    Tokens,
    /// `(batch, dimension)`: pooled inside the graph.
    Sentence,
}

/// The ports of a graph, the kind of its output and the output's width, where the graph fixes it.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// What to feed and what to read.
    pub ports: Ports,
    /// What the output holds.
    pub kind: OutputKind,
    /// Width of the output's last dimension.
    pub width: Option<usize>,
}

/// Finds out what to feed the graph in `file` and which output to read.
///
/// # Errors
/// `InvalidModel` naming the input or the outputs that are not understood, and those that would be.
pub fn discover(file: &Path, inputs: &[Port], outputs: &[Port]) -> Result<Discovered> {
    let feeds = inputs.iter().map(|port| feed(file, port)).collect::<Result<Vec<_>>>()?;
    if !feeds.iter().any(|(_, feed, _)| *feed == Feed::InputIds) {
        return Err(EmbeddingError::invalid_model(file, "the graph has no input for token ids (input_ids)"));
    }
    let (output, kind) = choose_output(file, outputs)?;
    let output_type = match output.element_type {
        Some(TensorElementType::Float32) => OutputType::Float32,
        Some(TensorElementType::Float16) => OutputType::Float16,
        other => {
            let value = Some(other.map_or_else(|| "no tensor".to_owned(), |element_type| element_type.to_string()));
            let problem = "outputs of float32 and float16 are understood";
            return Err(EmbeddingError::invalid_key(file, &output.name, value, problem));
        }
    };
    let width = output.shape.last().and_then(|width| usize::try_from(*width).ok()).filter(|width| *width > 0);
    Ok(Discovered { ports: Ports { feeds, output: output.name.clone(), output_type }, kind, width })
}

fn feed(file: &Path, port: &Port) -> Result<(String, Feed, bool)> {
    let Some(feed) = Feed::named(&port.name) else {
        let known: Vec<&str> = INPUT_NAMES.iter().map(|(name, _)| *name).collect();
        let problem =
            format!("the graph has an input that a text encoder does not have; these are known: {}", known.join(", "));
        return Err(EmbeddingError::invalid_key(file, &port.name, None, problem));
    };
    let narrow = match port.element_type {
        Some(TensorElementType::Int64) => false,
        Some(TensorElementType::Int32) => true,
        other => {
            let value = Some(other.map_or_else(|| "no tensor".to_owned(), |element_type| element_type.to_string()));
            return Err(EmbeddingError::invalid_key(
                file,
                &port.name,
                value,
                "inputs of int64 and int32 are understood",
            ));
        }
    };
    Ok((port.name.clone(), feed, narrow))
}

fn choose_output<'a>(file: &Path, outputs: &'a [Port]) -> Result<(&'a Port, OutputKind)> {
    let named = |names: &[&str], rank: usize| {
        names.iter().find_map(|name| {
            outputs.iter().find(|port| port.name == *name && (port.shape.len() == rank || port.shape.is_empty()))
        })
    };
    if let Some(port) = named(TOKEN_OUTPUTS, 3) {
        return Ok((port, OutputKind::Tokens));
    }
    if let Some(port) = named(SENTENCE_OUTPUTS, 2) {
        return Ok((port, OutputKind::Sentence));
    }
    // Odd names: the rank decides, where it leaves one choice.
    let is_float =
        |port: &&Port| matches!(port.element_type, Some(TensorElementType::Float32 | TensorElementType::Float16));
    for (rank, kind) in [(3, OutputKind::Tokens), (2, OutputKind::Sentence)] {
        let mut ports = outputs.iter().filter(is_float).filter(|port| port.shape.len() == rank);
        if let (Some(port), None) = (ports.next(), ports.next()) {
            return Ok((port, kind));
        }
    }
    let found: Vec<String> = outputs.iter().map(|port| format!("{} {:?}", port.name, port.shape)).collect();
    let problem = format!(
        "none of the graph's outputs can be told to be the embeddings: {}; known names are {} and {}",
        found.join(", "),
        TOKEN_OUTPUTS.join(", "),
        SENTENCE_OUTPUTS.join(", "),
    );
    Err(EmbeddingError::invalid_model(file, problem))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use ort::value::TensorElementType;

    use super::{OutputKind, discover};
    use crate::runtime::session::{Feed, OutputType, Port};

    fn port(name: &str, element_type: TensorElementType, shape: &[i64]) -> Port {
        Port { name: name.to_owned(), element_type: Some(element_type), shape: shape.to_vec() }
    }

    fn ids() -> Port {
        port("input_ids", TensorElementType::Int64, &[-1, -1])
    }

    #[test]
    fn token_embeddings_are_preferred_to_pooled_ones() {
        let outputs = [
            port("sentence_embedding", TensorElementType::Float32, &[-1, 8]),
            port("token_embeddings", TensorElementType::Float32, &[-1, -1, 8]),
        ];
        let found = discover(Path::new("m.onnx"), &[ids()], &outputs).unwrap();
        assert_eq!(
            (found.ports.output.as_str(), found.kind, found.width),
            ("token_embeddings", OutputKind::Tokens, Some(8))
        );
    }

    #[test]
    fn odd_names_are_understood_by_rank_and_type() {
        let inputs = [ids(), port("segment_ids", TensorElementType::Int32, &[-1, -1])];
        let outputs = [
            port("1234", TensorElementType::Float16, &[-1, -1, -1]),
            port("pooler", TensorElementType::Float32, &[-1, 8]),
        ];
        let found = discover(Path::new("m.onnx"), &inputs, &outputs).unwrap();
        assert_eq!((found.ports.output.as_str(), found.kind), ("1234", OutputKind::Tokens));
        assert_eq!(found.ports.output_type, OutputType::Float16);
        assert!(found.ports.feeds.contains(&("segment_ids".to_owned(), Feed::TokenTypeIds, true)));
    }

    #[test]
    fn an_input_that_nobody_feeds_is_named() {
        let inputs = [ids(), port("pixel_values", TensorElementType::Float32, &[-1, 3, 224, 224])];
        let error = discover(Path::new("m.onnx"), &inputs, &[]).unwrap_err().to_string();
        assert!(error.contains("pixel_values") && error.contains("attention_mask"), "{error}");
    }

    #[test]
    fn ambiguous_outputs_are_named() {
        let outputs = ["a", "b"].map(|name| port(name, TensorElementType::Float32, &[-1, -1, 8]));
        let error = discover(Path::new("m.onnx"), &[ids()], &outputs).unwrap_err().to_string();
        assert!(error.contains("a [-1, -1, 8], b [-1, -1, 8]"), "{error}");
    }
}
