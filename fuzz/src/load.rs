//! A model with a changed configuration, loaded and used.

use arbitrary::Unstructured;
use oxembed::{Embedder, EmbeddingError, EncodeOptions};

use super::config_json::changed;
use super::folder::with_files;
use super::outcome::typed;

/// What loads gives rows of numbers, or says that the model makes none.
pub fn check(input: &[u8]) {
    let Ok(changed) = changed(&mut Unstructured::new(input)) else { return };
    with_files(changed.fixture, &[(changed.file, &changed.content)], |path| {
        let Some(embedder) = typed(Embedder::builder(path).provider("cpu").threads(1).load()) else { return };
        let texts = ["a", "several words, and more of them", ""];
        let outcome = match embedder.encode(&texts, &EncodeOptions::default()) {
            // Weights scaled by a setting may well overflow: that is the model's, and it is told.
            Err(EmbeddingError::InferenceFailed { message, .. }) if message.contains("not finite") => return,
            other => other,
        };
        let Some(embeddings) = typed(outcome) else { return };
        assert_eq!(embeddings.vectors.dim(), (texts.len(), embedder.model().info().dimension));
        assert!(embeddings.vectors.iter().all(|value| value.is_finite()));
    });
}
