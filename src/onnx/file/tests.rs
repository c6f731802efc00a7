//! Files as nobody should make them: each is an error that names the file, and takes no memory to speak of.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;
use tempfile::NamedTempFile;

use super::{MAX_FILE_BYTES, OnnxFile, decode, elements};
use crate::error::EmbeddingError;
use crate::onnx::measure::MAX_DECODED_BYTES;
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::wire::push_bytes;

const GRAPH: u32 = 7;
const NODE: u32 = 1;

fn refused(bytes: Vec<u8>) -> String {
    let error = decode(Path::new("m.onnx"), &Bytes::from(bytes)).unwrap_err();
    assert!(matches!(error, EmbeddingError::InvalidModel { .. }));
    let message = error.to_string();
    assert!(message.starts_with("m.onnx: not an ONNX model: "), "{message}");
    message
}

fn model_of(graph: GraphProto) -> ModelProto {
    ModelProto { ir_version: 9, graph: Some(graph), ..ModelProto::default() }
}

#[test]
fn millions_of_empty_nodes_are_refused_before_they_are_decoded() {
    let count = usize::try_from(MAX_DECODED_BYTES / 512).unwrap() + 1;
    let mut node = Vec::new();
    push_bytes(&mut node, NODE, &[]);
    let (nodes, mut bytes) = (node.repeat(count), Vec::new());
    push_bytes(&mut bytes, GRAPH, &nodes);
    assert!(bytes.len() < 4 << 20, "a small file");
    assert!(refused(bytes).contains("512 MiB"));
}

#[test]
fn packed_dimensions_of_one_byte_each_are_refused_before_they_are_decoded() {
    let (mut tensor, mut graph, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    push_bytes(&mut tensor, 1, &vec![1; usize::try_from(MAX_DECODED_BYTES / 16).unwrap() + 1]);
    push_bytes(&mut graph, 5, &tensor);
    push_bytes(&mut bytes, GRAPH, &graph);
    assert!(refused(bytes).contains("512 MiB"));
}

#[test]
fn subgraphs_in_subgraphs_are_read_to_a_limit() {
    let nested = |depth: usize| {
        let mut graph = Vec::new();
        for _ in 0..depth {
            let (mut attribute, mut node, mut outer) = (Vec::new(), Vec::new(), Vec::new());
            push_bytes(&mut attribute, 6, &graph);
            push_bytes(&mut node, 5, &attribute);
            push_bytes(&mut outer, NODE, &node);
            graph = outer;
        }
        let mut model = Vec::new();
        push_bytes(&mut model, GRAPH, &graph);
        model
    };
    assert!(decode(Path::new("m.onnx"), &Bytes::from(nested(20))).is_ok());
    assert!(refused(nested(50)).contains("nested too deep"));
    assert!(refused(nested(10_000)).contains("nested too deep"));
}

#[test]
fn a_length_beyond_the_file_is_refused() {
    let mut bytes = model_of(GraphProto::default()).encode_to_vec();
    // The field of the graph again, with a length of half a tebibyte.
    bytes.extend([0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(refused(bytes).contains("cut off"));
}

#[test]
fn text_and_nothing_are_refused() {
    assert!(refused(b"version https://git-lfs.github.com/spec/v1".to_vec()).contains("not protobuf"));
    assert!(refused(Vec::new()).contains("no graph"));
    assert!(refused(vec![0x08, 0x09]).contains("no graph"));
}

#[test]
fn names_that_are_not_text_are_refused() {
    let mut bytes = model_of(GraphProto::default()).encode_to_vec();
    push_bytes(&mut bytes, 2, &[0xff, 0xfe]);
    assert!(refused(bytes).contains("UTF-8"));
}

#[test]
fn a_file_of_three_gigabytes_is_refused_without_reading_it() {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(3 << 30).unwrap();
    let error = OnnxFile::open(file.path()).unwrap_err().to_string();
    assert!(error.contains(&MAX_FILE_BYTES.to_string()), "{error}");
}

#[test]
fn absent_files_and_folders_are_errors() {
    for path in ["no/such/model.onnx", "."] {
        assert!(matches!(OnnxFile::open(Path::new(path)), Err(EmbeddingError::InvalidModel { .. })));
    }
}

#[test]
fn impossible_dimensions_are_not_counted() {
    let tensor = |dims: &[i64]| TensorProto { dims: dims.to_vec(), ..TensorProto::default() };
    assert_eq!(elements(&tensor(&[2, 3])), Some(6));
    assert_eq!(elements(&tensor(&[])), Some(1));
    assert_eq!(elements(&tensor(&[2, -1])), None);
    assert_eq!(elements(&tensor(&[i64::MAX, 4])), None);
}

#[test]
fn parameters_of_subgraphs_count_and_weights_are_views_of_the_file() {
    let weights = TensorProto {
        dims: vec![4],
        data_type: 1,
        name: "w".to_owned(),
        raw_data: vec![7; 16].into(),
        ..TensorProto::default()
    };
    let inner = GraphProto { initializer: vec![weights.clone()], ..GraphProto::default() };
    let attribute = AttributeProto { g: Some(inner), ..AttributeProto::default() };
    let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
    let graph = GraphProto { node: vec![node], initializer: vec![weights], ..GraphProto::default() };
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&model_of(graph).encode_to_vec()).unwrap();
    let model = OnnxFile::open(file.path()).unwrap();
    assert_eq!(model.parameters(), 8);
    let raw = &model.model.graph.as_ref().unwrap().initializer[0].raw_data;
    assert!(model.bytes.as_ptr_range().contains(&raw.as_ptr()), "no copy");
}

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_refused(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = include_bytes!("../../../tests/fixtures/bert-cls/onnx/model.onnx").to_vec();
        // The graph's structure; behind it are the weights, whose damage nobody can see.
        let structure = 40_000;
        for (place, value) in damage {
            bytes[place.index(structure)] = value;
        }
        match decode(Path::new("m.onnx"), &Bytes::from(bytes)) {
            Ok(model) => prop_assert!(model.graph.is_some()),
            Err(error) => prop_assert!(matches!(error, EmbeddingError::InvalidModel { .. }), "{}", error),
        }
    }
}
