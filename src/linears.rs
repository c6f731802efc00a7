//! The linear layers of a model by their shape: where nearly all of its arithmetic is, and how fast this machine could do it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ort::session::Session;
use ort::value::TensorRef;

use crate::error::{EmbeddingError, Result};
use crate::graph::{PRODUCT_INPUT, product_graph};
use crate::onnx::OnnxFile;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::runtime::execution::Execution;
use crate::runtime::initializers::Initializers;
use crate::runtime::library::library;
use crate::runtime::session::{Graph, SessionFactory};
use crate::source::Origin;

/// Linear layers of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinearShape {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// How many layers have it.
    pub layers: usize,
}

/// The linear layers that every token goes through, by shape, the smallest first. None of an ONNX file that cannot be
/// decoded or keeps its matrices in a way of its own, as quantized ones do.
pub(crate) fn linear_shapes(origin: &Origin) -> Vec<LinearShape> {
    let mut layers: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    match origin {
        Origin::Weights(author, _) => {
            for linear in author.sites().into_iter().flatten().flat_map(|site| site.linears) {
                *layers.entry((linear.inputs, linear.rows.len())).or_default() += 1;
            }
        }
        Origin::File(path) => {
            let graph = OnnxFile::open(path).ok().and_then(|file| file.model.graph);
            for shape in graph.iter().flat_map(products) {
                *layers.entry(shape).or_default() += 1;
            }
        }
    }
    layers.into_iter().map(|((inputs, outputs), layers)| LinearShape { inputs, outputs, layers }).collect()
}

/// Inputs and outputs of the products with a constant matrix.
fn products(graph: &GraphProto) -> Vec<(usize, usize)> {
    let matrices: BTreeMap<&str, (usize, usize)> = graph
        .initializer
        .iter()
        .filter_map(|tensor| match tensor.dims.as_slice() {
            [rows, columns] => Some((tensor.name.as_str(), (size(*rows)?, size(*columns)?))),
            _ => None,
        })
        .collect();
    let shape = |node: &NodeProto| {
        let is_product = matches!(node.op_type.as_str(), "MatMul" | "Gemm" | "FusedMatMul" | "Attention");
        let (rows, columns) = *matrices.get(node.input.get(1).filter(|_| is_product)?.as_str())?;
        let is_transposed = node.attribute.iter().any(|attribute| attribute.name == "transB" && attribute.i == 1);
        Some(if is_transposed { (columns, rows) } else { (rows, columns) })
    };
    graph.node.iter().filter_map(shape).collect()
}

fn size(dimension: i64) -> Option<usize> {
    usize::try_from(dimension).ok().filter(|size| *size > 0)
}

/// Multiply-adds a second of `threads` threads together, each with an ONNX Runtime of one thread that computes `rows` rows of
/// one linear layer, again and again for `time`: what the workers of a call would reach if there were nothing else to do.
///
/// ```
/// # fn main() -> oxembed::Result<()> {
/// use std::time::Duration;
/// let shape = oxembed::linears::LinearShape { inputs: 64, outputs: 128, layers: 1 };
/// assert!(oxembed::linears::products_per_second(None, shape, 32, 2, Duration::from_millis(20))? > 1e4);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `ServiceUnavailable` where there is no ONNX Runtime, `InferenceFailed` where it fails, `InvalidInput` for a number that
/// is 0.
pub fn products_per_second(
    path: Option<&Path>,
    shape: LinearShape,
    rows: usize,
    threads: usize,
    time: Duration,
) -> Result<f64> {
    let LinearShape { inputs, outputs, .. } = shape;
    let Some(size) = inputs.checked_mul(outputs).filter(|size| size.min(&rows).min(&threads) > &0) else {
        return Err(EmbeddingError::invalid_input("a product needs at least one row, input, output and thread"));
    };
    let failed = |error: ort::Error| {
        EmbeddingError::inference_failed(format!("a product of {rows} rows, {inputs} to {outputs}, failed: {error}"))
            .caused_by(error)
    };
    let written = product_graph(inputs, outputs, numbers(size));
    let graph = Graph::Written {
        initializers: Arc::new(Initializers::new(written.initializers, threads)?),
        sites: Arc::default(),
        model: written.model,
        long: None,
    };
    let factory = Arc::new(SessionFactory::new(library(path)?, graph, Execution::cpu_beside_others()?));
    let values = numbers(rows * inputs);
    let run = |session: &mut Session| {
        let input = TensorRef::from_array_view(([rows, inputs], values.as_slice()))?;
        session.run(ort::inputs![PRODUCT_INPUT => input]).map(drop)
    };
    let mut sessions = Vec::with_capacity(threads);
    for _ in 0..threads {
        let mut session = factory.create(1)?.into_session();
        // The first run asks for memory.
        run(&mut session).map_err(failed)?;
        sessions.push(session);
    }
    let start = Barrier::new(threads);
    let rate = |mut session: Session| {
        start.wait();
        let (start, mut runs) = (Instant::now(), 0.0);
        while start.elapsed() < time || runs < 1.0 {
            run(&mut session)?;
            runs += 1.0;
        }
        Ok(runs / start.elapsed().as_secs_f64())
    };
    let rate = &rate;
    let rates: ort::Result<Vec<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || rate(session))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|rate| rate.unwrap_or_else(|_| Err(ort::Error::new("its thread panicked")))).collect()
    });
    Ok(rates.map_err(failed)?.iter().sum::<f64>() * rows as f64 * size as f64)
}

/// Numbers that are nothing special to a processor.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index % 61) as f32 / 64.0 - 0.4).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LinearShape, products, products_per_second};
    use crate::error::EmbeddingError;
    use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

    #[test]
    fn a_product_is_one_with_a_constant_matrix() {
        let node = |op_type: &str, weight: &str, attribute| NodeProto {
            op_type: op_type.to_owned(),
            input: vec!["x".to_owned(), weight.to_owned()],
            attribute,
            ..NodeProto::default()
        };
        let transposed = AttributeProto { name: "transB".to_owned(), i: 1, ..AttributeProto::default() };
        let tensor =
            |name: &str, dims: &[i64]| TensorProto { name: name.to_owned(), dims: dims.to_vec(), ..Default::default() };
        let graph = GraphProto {
            node: vec![
                node("MatMul", "matrix", Vec::new()),
                node("Gemm", "matrix", vec![transposed]),
                node("Gather", "matrix", Vec::new()),
                node("MatMul", "other", Vec::new()),
                node("MatMul", "row", Vec::new()),
            ],
            initializer: vec![tensor("matrix", &[30, 20]), tensor("row", &[30])],
            ..GraphProto::default()
        };
        assert_eq!(products(&graph), [(30, 20), (20, 30)]);
    }

    #[test]
    fn nothing_cannot_be_measured() {
        for (inputs, outputs, rows, threads) in [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)] {
            let shape = LinearShape { inputs, outputs, layers: 1 };
            let outcome = products_per_second(None, shape, rows, threads, Duration::ZERO);
            assert!(matches!(outcome, Err(EmbeddingError::InvalidInput { .. })), "{outcome:?}");
        }
    }
}
