//! What a graph takes and gives.

use std::path::Path;

use crate::error::{EmbeddingError, Result};
use crate::runtime::ports::{OutputKind, discover};
use crate::runtime::session::{Feed, LoadedSession, OutputType, Port, Ports};

/// What a graph takes and gives.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Inputs and the output.
    pub ports: Ports,
    /// What the output holds.
    pub kind: OutputKind,
    /// Width of what is read.
    pub width: usize,
}

impl Interface {
    /// Of the graph in `session`; `written` is the width of one that we wrote, `said` what config.json says of others.
    ///
    /// # Errors
    /// `InvalidModel` where an ONNX `file` has inputs or outputs that are not understood.
    pub fn of(file: &Path, written: Option<usize>, session: &LoadedSession, said: Option<usize>) -> Result<Self> {
        if let Some(width) = written {
            let feed = |port: Port| {
                let feed = match port.name.as_str() {
                    "attention_mask" => Feed::AttentionMask,
                    "position_ids" => Feed::PositionIds,
                    "token_type_ids" => Feed::TokenTypeIds,
                    _ => Feed::InputIds,
                };
                (port.name, feed, false)
            };
            let feeds = session.inputs().into_iter().map(feed).collect();
            let ports = Ports { feeds, output: "last_hidden_state".to_owned(), output_type: OutputType::Float32 };
            return Ok(Self { ports, kind: OutputKind::Tokens, width });
        }
        let found = discover(file, &session.inputs(), &session.outputs())?;
        let width = match found.kind {
            OutputKind::Tokens => found.width.or(said),
            OutputKind::Sentence => found.width,
        };
        let width = width.ok_or_else(|| {
            let output = &found.ports.output;
            let problem = format!("the output {output:?} does not say how wide it is, and neither does config.json");
            EmbeddingError::invalid_model(file, problem)
        })?;
        Ok(Self { ports: found.ports, kind: found.kind, width })
    }
}
