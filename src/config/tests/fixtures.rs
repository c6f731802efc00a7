//! The fixture folders, as sentence-transformers wrote them.

use std::path::PathBuf;

use super::*;
use crate::config::{Dense, Module, PoolingMode};
use crate::error::Result;
use crate::postprocess::DenseLayer;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn zeros(dense: &Dense) -> Result<DenseLayer> {
    let bias = dense.bias.then(|| vec![0.0; dense.out_features]);
    let weight = vec![0.0; dense.in_features * dense.out_features];
    DenseLayer::new(&dense.weights_file(), dense.in_features, dense.out_features, weight, bias, dense.activation)
}

#[test]
fn every_fixture_is_read() {
    let mut names = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !path.join("modules.json").is_file() {
            continue;
        }
        let folder = ModelFolder::read(&path).unwrap();
        let mode = match name.split('-').find(|part| ["cls", "mean", "lasttoken"].contains(part)) {
            Some("cls") => PoolingMode::Cls,
            Some("mean") => PoolingMode::Mean,
            // qwen3-sharded-bf16 does not say it in its name.
            _ => PoolingMode::LastToken,
        };
        assert_eq!(folder.pooling().unwrap().modes, [mode], "{name}");
        assert_eq!(folder.modules.last(), Some(&Module::Normalize), "{name}");
        assert_eq!(folder.token_dimension, Some(48), "{name}");
        assert!(folder.tokenizer.special_tokens.of("pad_token").is_some(), "{name}");
        assert_eq!(folder.assumptions.is_empty(), name != "xlmr-mean-prompts", "{name}: {:?}", folder.assumptions);
        let steps = folder.postprocess(48, zeros).unwrap();
        assert_eq!((steps.output_dimension(), steps.ends_normalized()), (48, true), "{name}");
        assert!(folder.postprocess(47, zeros).is_err(), "{name}");
        names.push(name);
    }
    assert!(names.len() >= 5, "only {names:?} are in {}", fixtures().display());
}

#[test]
fn the_limit_of_a_folder_of_sentence_transformers_6_is_the_tokenizers() {
    let folder = ModelFolder::read(&fixtures().join("bert-mean-st6")).unwrap();
    let limit = folder.tokenizer.limit().unwrap();
    assert_eq!((limit.tokens, limit.key.as_str()), (64, "model_max_length"));
    let folder = ModelFolder::read(&fixtures().join("bert-cls")).unwrap();
    let limit = folder.tokenizer.limit().unwrap();
    assert_eq!((limit.tokens, limit.key.as_str()), (64, "max_seq_length"));
}

#[test]
fn prompts_of_the_fixtures_are_read() {
    let folder = ModelFolder::read(&fixtures().join("bert-mean-prompts")).unwrap();
    assert_eq!(folder.prompts.query_prompt(), Some("query: "));
    assert_eq!(folder.prompts.document_prompt(), Some("passage: "));
}
