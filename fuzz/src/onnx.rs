//! The ONNX inspector on any bytes.

use std::path::Path;

use oxembed::inspect::inspect_with;
use oxembed::onnx::decode;
use prost::Message;
use prost::bytes::Bytes;

use super::folder::with_file;
use super::outcome::{readable, typed};

/// Bytes are described or refused; what is decoded is the same after it was written and read once more.
pub fn check(input: &[u8]) {
    let path = Path::new("model.onnx");
    let model = typed(decode(path, &Bytes::copy_from_slice(input)));
    if let Some(model) = &model {
        let bytes = model.encode_to_vec();
        let again = typed(decode(path, &Bytes::from(bytes.clone()))).expect("what was written can be read");
        assert!(again.encode_to_vec() == bytes, "a model changes when it is written and read");
    }
    let nobody_asked = Err("this is not asked here".to_owned());
    let inspection = with_file("model.onnx", input, |path| typed(inspect_with(path, &nobody_asked)));
    assert_eq!(inspection.is_some(), model.is_some(), "the inspector reads what can be decoded");
    for finding in inspection.iter().flat_map(|inspection| &inspection.findings) {
        readable(&finding.message);
        assert!(!finding.message.contains("internal error"), "{}", finding.message);
    }
}
