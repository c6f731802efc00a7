//! Running a graph that is a part of a model: hidden states in, hidden states out.

use std::sync::Arc;

use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::{Tensor, TensorRef};

use super::session::{Feed, SessionFactory};
use crate::batch::Batch;
use crate::error::{EmbeddingError, Result};
use crate::graph::Part;

/// A session over a part of a model.
#[derive(Debug)]
pub struct PartSession {
    session: Session,
    /// Keeps the weights alive.
    _factory: Arc<SessionFactory>,
}

impl PartSession {
    /// A session that computes with `threads` threads.
    ///
    /// # Errors
    /// As [`SessionFactory::create`].
    pub fn new(factory: &Arc<SessionFactory>, threads: usize) -> Result<Self> {
        Ok(Self { session: factory.create(threads)?.into_session(), _factory: Arc::clone(factory) })
    }

    /// The part's output for `batch`, `(tokens, width)`, padding included; `hidden` is its input, where it has one.
    ///
    /// # Errors
    /// `InferenceFailed` where ONNX Runtime fails.
    pub fn run(&mut self, batch: &Batch, hidden: &[f32]) -> Result<Vec<f32>> {
        self.outputs(batch, hidden).map_err(|error| {
            EmbeddingError::inference_failed(format!("a part of the model failed: {error}")).caused_by(error)
        })
    }

    fn outputs(&mut self, batch: &Batch, hidden: &[f32]) -> ort::Result<Vec<f32>> {
        let tokens = batch.rows * batch.sequence;
        let names: Vec<String> = self.session.inputs().iter().map(|port| port.name().to_owned()).collect();
        let mut inputs: Vec<(String, SessionInputValue<'_>)> = Vec::with_capacity(names.len());
        for name in names {
            let value = match Feed::named(&name) {
                Some(feed) => {
                    let values = batch.values(feed).into_owned();
                    Tensor::from_array(([batch.rows, batch.sequence], values))?.into()
                }
                // Its hidden states.
                None => TensorRef::from_array_view(([tokens, hidden.len() / tokens.max(1)], hidden))?.into(),
            };
            inputs.push((name, value));
        }
        let options = RunOptions::new()?;
        let outputs = self.session.run_with_options(inputs, &options)?;
        let output = outputs.get(Part::OUTPUT).ok_or_else(|| ort::Error::new("the output is missing"))?;
        Ok(output.try_extract_tensor::<f32>()?.1.to_vec())
    }
}
