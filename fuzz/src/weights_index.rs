//! The index of sharded weights, before two shards that are as they should be.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use oxembed::weights::Weights;
use serde_json::Value;

use super::folder::{fixture, with_files};
use super::json;
use super::outcome::typed;

const FIXTURE: &str = "qwen3-sharded-bf16";
const INDEX: &str = "model.safetensors.index.json";

/// An index that is accepted lists the tensors of the shards that it names, all of them and no others.
pub fn check(input: &[u8]) {
    let Ok(index) = index(input) else { return };
    let found = with_files(FIXTURE, &[(INDEX, &index)], |folder| typed(Weights::open(&folder.join(INDEX))));
    let Some(weights) = found else { return };
    let index: Value = serde_json::from_slice(&index).expect("it was read");
    let map = index["weight_map"].as_object().expect("it was read");
    let listed: BTreeSet<&str> = map.keys().map(String::as_str).collect();
    let files: BTreeSet<&str> = map.values().map(|file| file.as_str().expect("it was read")).collect();
    let found: BTreeSet<&str> = weights.tensors().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(found, listed);
    assert_eq!(weights.files().len(), files.len());
}

/// The text itself, or the fixture's index changed in its structure.
fn index(input: &[u8]) -> Result<Vec<u8>> {
    if let Some(text) = input.strip_prefix(b"r") {
        return Ok(text.to_vec());
    }
    let mut value = json::read(&fixture(FIXTURE).join(INDEX)).expect("the fixture has it");
    json::mutate(&mut value, &mut Unstructured::new(input))?;
    Ok(value.to_string().into_bytes())
}
