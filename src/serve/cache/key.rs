//! What a row is kept under: a hash of everything that it depends on.

use sha2::{Digest, Sha256};

use crate::forward::RowOptions;
use crate::serve::served::Inputs;

/// The hash.
pub(crate) type Key = [u8; 32];

/// Changes with what is hashed and how, so that rows of another version are not found.
const VERSION: &str = "oxembed row 1";

/// What the rows of a call have in common: the model, the prompt, the options.
#[derive(Debug, Clone)]
pub(crate) struct CommonKey(Sha256);

impl CommonKey {
    /// For rows of the model whose hash is `model`. Whether texts may be cut is no part of it: a row that is kept says
    /// whether its text was.
    pub fn new(model: &str, prompt: Option<&str>, options: &RowOptions) -> Self {
        let mut hash = Sha256::new();
        add(&mut hash, VERSION.as_bytes());
        add(&mut hash, model.as_bytes());
        add(&mut hash, prompt.unwrap_or_default().as_bytes());
        add(&mut hash, &(options.dimension as u64).to_le_bytes());
        // `Some(false)` asks for nothing, as `None` does.
        add(&mut hash, &[u8::from(options.postprocess.normalize == Some(true))]);
        Self(hash)
    }

    /// The key of each input.
    pub fn keys(&self, inputs: &Inputs) -> Vec<Key> {
        match inputs {
            Inputs::Texts(texts) => texts.iter().map(|text| self.key(b"text", text.as_bytes())).collect(),
            Inputs::Tokens(tokens) => {
                let bytes = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
                tokens.iter().map(|ids| self.key(b"ids", &bytes(ids))).collect()
            }
        }
    }

    fn key(&self, kind: &[u8], content: &[u8]) -> Key {
        let mut hash = self.0.clone();
        add(&mut hash, kind);
        add(&mut hash, content);
        hash.finalize().into()
    }
}

/// With its length, so that parts cannot run into each other.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::postprocess::PostprocessOptions;

    fn options(dimension: usize, normalize: Option<bool>) -> RowOptions {
        let postprocess = PostprocessOptions { truncate_dim: Some(dimension), normalize };
        RowOptions { prompt_tokens: 0, postprocess, dimension }
    }

    fn text(text: &str) -> Inputs {
        Inputs::Texts(vec![text.to_owned()])
    }

    #[test]
    fn whatever_changes_a_row_changes_its_key() {
        let plain = options(8, None);
        let keys = [
            CommonKey::new("a", None, &plain).keys(&text("x")),
            CommonKey::new("b", None, &plain).keys(&text("x")),
            CommonKey::new("a", Some("query: "), &plain).keys(&text("x")),
            CommonKey::new("a", None, &options(4, None)).keys(&text("x")),
            CommonKey::new("a", None, &options(8, Some(true))).keys(&text("x")),
            CommonKey::new("a", None, &plain).keys(&text("y")),
            // The bytes of "x" and of a token id that looks like it.
            CommonKey::new("a", None, &plain).keys(&text("x\0\0\0")),
            CommonKey::new("a", None, &plain).keys(&Inputs::Tokens(vec![vec![u32::from(b'x')]])),
            // A prompt that the text could go on with, and the other way round.
            CommonKey::new("a", Some("x"), &plain).keys(&text("y")),
            CommonKey::new("a", None, &plain).keys(&text("xy")),
            CommonKey::new("ax", None, &plain).keys(&text("y")),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn what_changes_no_row_changes_no_key() {
        let key = |normalize, prompt| CommonKey::new("a", prompt, &options(8, normalize)).keys(&text("x"));
        assert_eq!(key(None, None), key(Some(false), Some("")));
    }
}
