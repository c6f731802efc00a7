//! Any texts and options, by small models of several families.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use oxembed::tokenization::Truncation;
use oxembed::{Embedder, EmbeddingError, Embeddings, EncodeOptions, Role};

use super::folder::fixture;

const NAMES: [&str; 5] =
    ["bert-mean-st6", "bert-mean-prompts", "xlmr-mean-prompts", "gemma3-mean-dense", "qwen3-lasttoken"];

static EMBEDDERS: LazyLock<BTreeMap<&str, Embedder>> = LazyLock::new(|| {
    let load = |name| Embedder::builder(fixture(name)).provider("cpu").threads(2).load().expect("a fixture loads");
    NAMES.map(|name| (name, load(name))).into()
});

/// As many rows as texts, of finite numbers, each the same to the bit as for the text alone; else an error for one of the
/// reasons that there are.
pub fn check(input: &[u8]) {
    let Ok(call) = Call::of(&mut Unstructured::new(input)) else { return };
    let embedder = &EMBEDDERS[call.model];
    let embeddings = match embedder.encode(&call.texts, &call.options) {
        Ok(embeddings) => embeddings,
        Err(EmbeddingError::InvalidInput { message, index }) => {
            return assert!(call.is_invalid(index), "refused for no reason: {message}: {call:?}");
        }
        Err(other) => panic!("{other:?}: {call:?}"),
    };
    assert!(!call.is_invalid(None), "accepted: {call:?}");
    call.compare(embedder, &embeddings);
}

#[derive(Debug)]
struct Call<'a> {
    model: &'static str,
    texts: Vec<&'a str>,
    options: EncodeOptions,
}

impl<'a> Call<'a> {
    fn of(input: &mut Unstructured<'a>) -> Result<Self> {
        let model = input.choose(&NAMES)?;
        let options = EncodeOptions {
            prompt: if input.ratio(1, 4)? { Some(input.arbitrary::<&str>()?.to_owned()) } else { None },
            prompt_name: if input.ratio(1, 4)? {
                Some((*input.choose(&["query", "document", "", "no such prompt"])?).to_owned())
            } else {
                None
            },
            role: *input.choose(&[None, Some(Role::Query), Some(Role::Document)])?,
            normalize: input.arbitrary()?,
            truncate_dim: if input.ratio(1, 2)? { Some(input.int_in_range(0..=80)?) } else { None },
            truncation: if input.ratio(1, 4)? { Truncation::Error } else { Truncation::Truncate },
        };
        let mut texts = Vec::new();
        while !input.is_empty() && texts.len() < 40 {
            texts.push(match input.int_in_range(0..=5)? {
                0 => "",
                1 => texts.last().copied().unwrap_or("the same text twice"),
                2 => LONG.get(..input.int_in_range(0..=LONG.len())?).unwrap_or_default(),
                _ => input.arbitrary()?,
            });
        }
        Ok(Self { model, texts, options })
    }

    /// Whether the call has to be refused; `index` is the text that it was refused for.
    fn is_invalid(&self, index: Option<usize>) -> bool {
        let embedder = &EMBEDDERS[self.model];
        let has_name = |name: &String| embedder.model().info().prompts.contains_key(name);
        let names_unknown =
            self.options.prompt.is_none() && self.options.prompt_name.as_ref().is_some_and(|name| !has_name(name));
        let limit = embedder.model().info().max_seq_length;
        let is_over = |text: &&str| self.tokens(text).1 > limit;
        let over = self.texts.iter().position(is_over).filter(|_| self.options.truncation == Truncation::Error);
        names_unknown
            || self.options.truncate_dim == Some(0)
            || over.is_some_and(|over| index.is_none_or(|index| index == over))
    }

    /// Tokens of a text behind the prompt of the call, after and before it is cut.
    fn tokens(&self, text: &str) -> (usize, usize) {
        let model = EMBEDDERS[self.model].model();
        let prompts = &model.info().prompts;
        let named = |name: &str| prompts.get(name).cloned();
        let EncodeOptions { prompt, prompt_name, role, .. } = &self.options;
        let prompt = prompt.clone().or_else(|| match (prompt_name, role) {
            (Some(name), _) => named(name),
            (None, Some(Role::Query)) => named("query"),
            (None, Some(Role::Document)) => named("document"),
            (None, None) => model.info().default_prompt_name.as_deref().and_then(named),
        });
        let joined = format!("{}{text}", prompt.unwrap_or_default());
        let tokens = model.tokenization().encode(&joined).expect("any text has tokens");
        (tokens.ids.len(), tokens.whole_length)
    }

    fn compare(&self, embedder: &Embedder, embeddings: &Embeddings) {
        let info = embedder.model().info();
        let width = self.options.truncate_dim.map_or(info.dimension, |asked| asked.min(info.dimension));
        assert_eq!(embeddings.vectors.dim(), (self.texts.len(), width));
        assert!(embeddings.vectors.iter().all(|value| value.is_finite()), "{self:?}");
        let tokens: Vec<(usize, usize)> = self.texts.iter().map(|text| self.tokens(text)).collect();
        assert_eq!(embeddings.usage.inputs, self.texts.len());
        assert_eq!(embeddings.usage.total_tokens, tokens.iter().map(|(cut, _)| cut).sum::<usize>(), "{self:?}");
        let truncated = tokens.iter().filter(|(cut, whole)| cut < whole).count();
        assert_eq!(embeddings.usage.truncated_inputs, truncated, "{self:?}");
        for (text, row) in self.texts.iter().zip(embeddings.vectors.rows()) {
            if self.options.normalize == Some(true) {
                let length = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
                assert!((length - 1.0).abs() < 1e-5, "length {length}: {self:?}");
            }
            let alone = embedder.encode(&[text], &self.options).expect("it was accepted in company").vectors;
            let bits = |value: &f32| value.to_bits();
            assert!(alone.iter().map(bits).eq(row.iter().map(bits)), "{text:?} alone: {self:?}");
        }
    }
}

/// Longer than any model's limit.
const LONG: &str = include_str!("encode.rs");
