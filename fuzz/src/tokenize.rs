//! Any text, by the embedded model's tokenizer and those of the fixtures.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use oxembed::config::{ModelFolder, Side};
use oxembed::tokenization::{Bounds, Tokenization, TokenizedText};

use super::folder::{fixture, repository};

/// One of each kind: WordPiece, byte-level BPE, BPE with SentencePiece's spaces, Unigram.
const NAMES: [&str; 5] = ["all-MiniLM-L6-v2", "bert-cls", "qwen3-lasttoken", "gemma3-mean-dense", "xlmr-mean-prompts"];
/// Limits, special tokens included; the last one is none.
const LIMITS: [usize; 4] = [3, 16, 256, 1 << 30];

struct Model {
    tokenizations: BTreeMap<usize, Tokenization>,
    side: Option<Side>,
    vocabulary: usize,
}

static MODELS: LazyLock<BTreeMap<&str, Model>> = LazyLock::new(|| NAMES.map(|name| (name, model(name))).into());

fn model(name: &str) -> Model {
    let embedded = repository().join("models").join(name);
    let folder = if embedded.is_dir() { embedded } else { fixture(name) };
    let folder = ModelFolder::read(&folder).expect("a fixture can be read");
    let config = folder.transformer.as_ref().expect("a fixture has a config.json");
    let vocabulary = config.usize_in("vocab_size", 1..=1 << 30).expect("a fixture has a vocabulary");
    let bounds = Bounds { vocabulary: Some(vocabulary), token_types: None };
    let load = |limit| (limit, Tokenization::load(&folder.tokenizer, limit, bounds).expect("a fixture's tokenizer"));
    Model { tokenizations: LIMITS.map(load).into(), side: folder.tokenizer.truncation_side, vocabulary }
}

/// Ids are below the vocabulary, a text is cut to the limit and counted whole, and it has the same tokens in any company.
pub fn check(input: &[u8]) {
    let Ok(call) = Call::of(&mut Unstructured::new(input)) else { return };
    let model = &MODELS[call.model];
    let limited = &model.tokenizations[&call.limit];
    let whole = &model.tokenizations[&LIMITS[3]];
    let mut never = || ControlFlow::Continue(());
    let texts: Vec<&str> = call.text.split('\n').collect();
    // More texts than a thread takes at a time.
    let texts = texts.repeat(call.copies);
    let together = limited.encode_all(call.prompt, &texts, call.threads, &mut never).expect("any text has tokens");
    assert_eq!(together.len(), texts.len());
    for (found, text) in together.iter().zip(&texts) {
        let joined = format!("{}{text}", call.prompt.unwrap_or_default());
        assert_eq!(found, &limited.encode(&joined).expect("any text has tokens"), "{joined:?} alone");
        let whole = whole.encode(&joined).expect("any text has tokens");
        assert!(found.ids.iter().all(|id| (*id as usize) < model.vocabulary), "{joined:?}");
        assert_eq!(found.whole_length, whole.ids.len(), "{joined:?}");
        assert_eq!(found.is_truncated(), whole.ids.len() > call.limit, "{joined:?}");
        assert_eq!(found.ids.len(), whole.ids.len().min(call.limit), "{joined:?}");
        assert!(is_cut_from(found, &whole, model.side), "{joined:?}: {found:?} of {whole:?}");
    }
}

/// Whether the ids are those of the whole text without some in the middle: before the special tokens at the end, or behind
/// those at the start.
fn is_cut_from(found: &TokenizedText, whole: &TokenizedText, side: Option<Side>) -> bool {
    /// Special tokens at one end, at most.
    const SPECIAL: usize = 2;
    let length = found.ids.len();
    (0..=SPECIAL.min(length)).any(|special| {
        let kept = if side == Some(Side::Left) { special } else { length - special };
        let (start, end) = found.ids.split_at(kept);
        whole.ids.starts_with(start) && whole.ids.ends_with(end)
    })
}

struct Call<'a> {
    model: &'static str,
    limit: usize,
    threads: usize,
    copies: usize,
    prompt: Option<&'a str>,
    text: &'a str,
}

impl<'a> Call<'a> {
    fn of(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            model: input.choose(&NAMES)?,
            limit: *input.choose(&LIMITS)?,
            threads: input.int_in_range(0..=3)?,
            copies: *input.choose(&[1, 1, 1, 1, 1, 1, 1, 150])?,
            prompt: if input.ratio(1, 4)? { Some(input.arbitrary()?) } else { None },
            text: as_text(input.bytes(input.len())?),
        })
    }
}

/// The valid start of the bytes.
fn as_text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to there"),
    }
}
