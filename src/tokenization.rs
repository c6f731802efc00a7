//! Texts into token ids, in parallel, truncated to the model's limit and counted.

mod class_settings;
pub(crate) mod quiet;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

use quiet::quietly;

use crate::batch::TokenRow;
use crate::config::{Side, TokenizerConfig};
use crate::error::{EmbeddingError, Result};
use crate::memory;

/// Texts a thread takes at a time.
const CHUNK: usize = 64;

/// Memory that the `tokenizers` crate takes for each byte of a text while it works on it, at most.
const BYTES_A_LETTER: usize = 250;
/// The same for each byte of a `tokenizer.json`.
const BYTES_A_BYTE: usize = 40;

/// A model's tokenizer. The padding and truncation stored in `tokenizer.json` are ignored: they are settings of
/// whoever saved the file, not of the model.
#[derive(Debug)]
pub struct Tokenization {
    tokenizer: Tokenizer,
    file: PathBuf,
    special_tokens: usize,
    truncation_side: TruncationDirection,
    /// Ids of the tokens that the settings call special.
    special_ids: Vec<u32>,
    stored_padding_token: Option<String>,
    /// Most tokens of a text, special tokens included.
    max_tokens: usize,
    token_types: bool,
    bounds: Bounds,
}

/// Rows of the model's tables, where they are known: ids and types have to be below them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of the embedding table.
    pub vocabulary: Option<usize>,
    /// Rows of the token-type table.
    pub token_types: Option<usize>,
}

/// What to do with a text of more tokens than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncation {
    /// Cut it, as sentence-transformers does; usage counts how many were cut.
    #[default]
    Truncate,
    /// Refuse the call, naming the first such text and its tokens.
    Error,
}

/// The tokens of some texts.
#[derive(Debug, Clone, Default)]
pub struct TokenizedTexts {
    texts: Vec<TokenizedText>,
    /// What the threads that made them worked, together.
    work: Duration,
}

/// The tokens of one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizedText {
    /// Token ids with special tokens.
    pub ids: Vec<u32>,
    /// Token types; empty where all are zero.
    pub type_ids: Vec<u32>,
    /// Number of tokens before truncation.
    pub whole_length: usize,
}

impl TokenizedText {
    /// True where tokens were cut off.
    pub fn is_truncated(&self) -> bool {
        self.whole_length > self.ids.len()
    }
}

/// One token, for people and for programs that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedToken {
    /// Its id.
    pub id: u32,
    /// As the vocabulary has it.
    pub text: String,
    /// Added by the tokenizer, and not of the text.
    pub special: bool,
    /// The characters of the text that it stands for; of none for a special one.
    pub span: Option<(usize, usize)>,
}

impl TokenizedTexts {
    /// True for no texts.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// The time that the threads worked which made these tokens, added up.
    pub fn work(&self) -> Duration {
        self.work
    }

    /// Texts whose tokens are there, which took no time to make.
    pub(crate) fn of_texts(texts: Vec<TokenizedText>) -> Self {
        Self { texts, work: Duration::ZERO }
    }

    /// The texts, one by one.
    pub fn into_texts(self) -> impl Iterator<Item = TokenizedText> {
        self.texts.into_iter()
    }

    /// The texts.
    pub fn iter(&self) -> impl Iterator<Item = &TokenizedText> {
        self.texts.iter()
    }

    /// The tokens of text `index`.
    pub fn row(&self, index: usize) -> TokenRow<'_> {
        self.texts
            .get(index)
            .map_or(TokenRow { ids: &[], type_ids: &[] }, |text| TokenRow { ids: &text.ids, type_ids: &text.type_ids })
    }
}

impl Tokenization {
    /// Reads `tokenizer.json`. `max_tokens` and `bounds` are what the graph sets.
    ///
    /// # Errors
    /// `InvalidModel` where the file is broken, or its own special tokens do not fit the model.
    pub fn load(config: &TokenizerConfig, max_tokens: usize, bounds: Bounds) -> Result<Self> {
        Self::new(read_tokenizer(&config.file)?, config, max_tokens, bounds)
    }

    /// As [`load`](Self::load), of a file that was read before.
    pub(crate) fn new(
        mut tokenizer: Tokenizer,
        config: &TokenizerConfig,
        max_tokens: usize,
        bounds: Bounds,
    ) -> Result<Self> {
        let file = config.file.clone();
        let broken = |problem: String| EmbeddingError::invalid_model(&file, problem);
        let stored_padding_token = tokenizer.get_padding().map(|padding| padding.pad_token.clone());
        let truncation_side = truncation_side(config, &tokenizer);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| broken(error.to_string()))?;
        quietly(|| class_settings::apply(&mut tokenizer, config))
            .ok_or_else(|| broken("the `tokenizers` library panicked".to_owned()))??;
        let special_tokens = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if special_tokens >= max_tokens {
            return Err(broken(format!(
                "the tokenizer adds {special_tokens} special tokens, and the limit is {max_tokens} tokens: no room is \
                 left for text; set a larger max_seq_length"
            )));
        }
        let special = config.special_tokens.all();
        let special_ids = special.filter_map(|token| tokenizer.token_to_id(&token.content)).collect();
        let tokenization = Self {
            tokenizer,
            file,
            special_tokens,
            truncation_side,
            special_ids,
            stored_padding_token,
            max_tokens,
            token_types: config.token_types,
            bounds,
        };
        // The special tokens alone: a tokenizer that belongs to another model is often caught here.
        tokenization.encode("")?;
        Ok(tokenization)
    }

    /// Number of tokens the tokenizer knows, added ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The id of `token`, if the model has an embedding for it. A token that only the settings know is added to the
    /// vocabulary, and few models have room for it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        let has_row = |id: &u32| self.bounds.vocabulary.is_none_or(|rows| (*id as usize) < rows);
        self.tokenizer.token_to_id(token).filter(has_row)
    }

    /// Number of leading tokens that belong to `prompt`, for models whose pooling leaves the prompt out: the prompt's
    /// own tokens with the special tokens before them, as sentence-transformers counts them (one special token at the
    /// end of the prompt tokenized alone is not the prompt's).
    ///
    /// # Errors
    /// As [`Tokenization::encode_all`].
    pub fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        let tokens = self.encode(prompt)?;
        let closes = tokens.ids.last().is_some_and(|last| self.special_ids.contains(last));
        Ok(tokens.ids.len() - usize::from(closes))
    }

    /// The padding token that `tokenizer.json` itself names.
    pub fn stored_padding_token(&self) -> Option<String> {
        self.stored_padding_token.clone()
    }

    /// Tokens of one text.
    ///
    /// # Errors
    /// `InvalidModel` where the tokenizer fails, or gives an id that the model has no embedding for.
    pub fn encode(&self, text: &str) -> Result<TokenizedText> {
        // A tokenizer takes any text: where it fails, its file is to blame.
        let broken = |reason: String| {
            EmbeddingError::invalid_model(&self.file, format!("the tokenizer fails on a text: {reason}"))
        };
        let encoding = quietly(|| self.encode_whole(text))
            .ok_or_else(|| broken("the `tokenizers` library panicked".to_owned()))?
            .map_err(|error| broken(error.to_string()))?;
        let (encoding, whole_length) = encoding;
        let ids = encoding.get_ids().to_vec();
        if let Some(rows) = self.bounds.vocabulary
            && let Some(id) = ids.iter().find(|id| **id as usize >= rows)
        {
            let problem = format!(
                "the tokenizer gives the id {id}, and the model's embedding table has {rows} rows: the tokenizer \
                 belongs to another model"
            );
            return Err(EmbeddingError::invalid_model(&self.file, problem));
        }
        let type_ids = self.type_ids(&encoding)?;
        Ok(TokenizedText { ids, type_ids, whole_length })
    }

    /// The tokens of a text that was tokenized before, special tokens included.
    ///
    /// # Errors
    /// `InvalidInput` for ids that the model has no embedding for.
    pub fn of_ids(&self, ids: &[u32]) -> Result<TokenizedText> {
        let rows = self.bounds.vocabulary.unwrap_or_else(|| self.vocabulary_size());
        if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
            return Err(EmbeddingError::invalid_input(format!(
                "the token id {id} is not the model's, which has {rows}: ids have to be of its own tokenizer; send texts"
            )));
        }
        let mut kept = ids.to_vec();
        if kept.len() > self.max_tokens {
            let last = kept.last().copied().filter(|last| self.special_ids.contains(last));
            kept.truncate(self.max_tokens);
            if let (Some(last), Some(end)) = (last, kept.last_mut()) {
                // The token that closes a text, which pooling may look at.
                *end = last;
            }
        }
        Ok(TokenizedText { ids: kept, type_ids: Vec::new(), whole_length: ids.len() })
    }

    /// The tokens of a text one by one, not truncated; with special ones or without.
    ///
    /// # Errors
    /// As [`Tokenization::encode`].
    pub fn describe(&self, text: &str, special: bool) -> Result<Vec<DescribedToken>> {
        let broken = |reason: String| {
            EmbeddingError::invalid_model(&self.file, format!("the tokenizer fails on a text: {reason}"))
        };
        let encoding = quietly(|| self.tokenizer.encode_char_offsets(text, special))
            .ok_or_else(|| broken("the `tokenizers` library panicked".to_owned()))?
            .map_err(|error| broken(error.to_string()))?;
        let masks = encoding.get_special_tokens_mask().iter().zip(encoding.get_offsets());
        let tokens = encoding.get_ids().iter().zip(encoding.get_tokens()).zip(masks);
        Ok(tokens
            .map(|((id, text), (special, span))| {
                let special = *special != 0;
                DescribedToken { id: *id, text: text.clone(), special, span: (!special).then_some(*span) }
            })
            .collect())
    }

    /// Token types, where the model is given them and one of them is not zero.
    fn type_ids(&self, encoding: &Encoding) -> Result<Vec<u32>> {
        let type_ids = encoding.get_type_ids();
        let Some(largest) = type_ids.iter().max().filter(|largest| self.token_types && **largest > 0) else {
            return Ok(Vec::new());
        };
        if let Some(rows) = self.bounds.token_types
            && *largest as usize >= rows
        {
            let problem = format!("the tokenizer gives the token type {largest}, and the model has {rows} of them");
            return Err(EmbeddingError::invalid_model(&self.file, problem));
        }
        Ok(type_ids.to_vec())
    }

    /// The truncated encoding and the number of tokens before truncation.
    fn encode_whole(&self, text: &str) -> tokenizers::Result<(Encoding, usize)> {
        let mut encoding = self.tokenizer.encode_fast(text, false)?;
        let whole_length = encoding.get_ids().len() + self.special_tokens;
        if whole_length > self.max_tokens {
            encoding.truncate(self.max_tokens - self.special_tokens, 0, self.truncation_side);
            drop(encoding.take_overflowing());
        }
        Ok((self.tokenizer.post_process(encoding, None, true)?, whole_length))
    }

    /// Tokens of `prompt` followed by each text, on up to `threads` threads. `watch` is asked now and then, on the
    /// calling thread, whether to go on.
    ///
    /// # Errors
    /// As [`Tokenization::encode`], with the text's position; `Cancelled` where `watch` breaks.
    pub fn encode_all(
        &self,
        prompt: Option<&str>,
        texts: &[&str],
        threads: usize,
        watch: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<TokenizedTexts> {
        let start = Instant::now();
        let chunks = texts.len().div_ceil(CHUNK);
        let threads = threads.min(chunks);
        if threads <= 1 {
            let mut tokens = Vec::with_capacity(texts.len());
            for (number, chunk) in texts.chunks(CHUNK).enumerate() {
                if number > 0 && watch().is_break() {
                    return Err(EmbeddingError::Cancelled);
                }
                tokens.extend(self.encode_chunk(prompt, chunk, number * CHUNK)?);
            }
            return Ok(TokenizedTexts { texts: tokens, work: start.elapsed() });
        }
        self.encode_in_parallel(prompt, texts, threads, watch)
    }

    fn encode_in_parallel(
        &self,
        prompt: Option<&str>,
        texts: &[&str],
        threads: usize,
        watch: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<TokenizedTexts> {
        let chunks: Vec<&[&str]> = texts.chunks(CHUNK).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for number in 0..threads {
                let (sender, chunks, next, stop) = (sender.clone(), &chunks, &next, &stop);
                let work = move || {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(chunk) = chunks.get(number) else { return };
                        let start = Instant::now();
                        let tokens = self.encode_chunk(prompt, chunk, number * CHUNK);
                        if sender.send((number, tokens, start.elapsed())).is_err() {
                            return;
                        }
                    }
                };
                match std::thread::Builder::new().spawn_scoped(scope, work) {
                    Ok(_) => {}
                    // With a thread less the others do its part.
                    Err(error) if number > 0 => {
                        tracing::debug!(%error, "a thread for tokenizing could not be started");
                        break;
                    }
                    Err(error) => {
                        let problem = "no thread for tokenizing could be started";
                        return Err(EmbeddingError::inference_failed(problem).caused_by(error));
                    }
                }
            }
            drop(sender);
            let mut done: Vec<Option<Vec<TokenizedText>>> = vec![None; chunks.len()];
            let mut work = Duration::ZERO;
            for (number, tokens, time) in receiver {
                work += time;
                let tokens = tokens.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                if let Some(slot) = done.get_mut(number) {
                    *slot = Some(tokens);
                }
                if watch().is_break() {
                    stop.store(true, Ordering::Relaxed);
                    return Err(EmbeddingError::Cancelled);
                }
            }
            let texts: Vec<TokenizedText> = done.into_iter().flatten().flatten().collect();
            Ok(TokenizedTexts { texts, work })
        })
    }

    fn encode_chunk(&self, prompt: Option<&str>, texts: &[&str], first: usize) -> Result<Vec<TokenizedText>> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        memory::ensure(bytes.saturating_mul(BYTES_A_LETTER), "tokenizing")?;
        let mut joined = String::new();
        let encode = |(offset, text): (usize, &&str)| {
            let text = match prompt {
                Some(prompt) => {
                    joined.clear();
                    joined.push_str(prompt);
                    joined.push_str(text);
                    joined.as_str()
                }
                None => text,
            };
            self.encode(text).map_err(|error| match error {
                EmbeddingError::InvalidModel { file, key, value, problem, source } => EmbeddingError::InvalidModel {
                    file,
                    key,
                    value,
                    problem: format!("{problem} (text {})", first + offset),
                    source,
                },
                other => other,
            })
        };
        texts.iter().enumerate().map(encode).collect()
    }
}

/// Reads a `tokenizer.json` as it stands.
pub(crate) fn read_tokenizer(file: &Path) -> Result<Tokenizer> {
    let broken = |problem: String| EmbeddingError::invalid_model(file, problem);
    let bytes = std::fs::read(file).map_err(|error| broken("the file cannot be read".into()).caused_by(error))?;
    memory::ensure(bytes.len().saturating_mul(BYTES_A_BYTE), "the tokenizer")?;
    // The crate panics on some malformed files where it should return an error.
    quietly(|| Tokenizer::from_bytes(&bytes))
        .ok_or_else(|| broken("not a tokenizer that the `tokenizers` library can read".into()))?
        .map_err(|error| broken(format!("not a tokenizer that the `tokenizers` library can read: {error}")))
}

/// `tokenizer_config.json` says which end is cut, else the truncation stored in `tokenizer.json`, else it is the end.
fn truncation_side(config: &TokenizerConfig, tokenizer: &Tokenizer) -> TruncationDirection {
    match config.truncation_side {
        Some(Side::Left) => TruncationDirection::Left,
        Some(Side::Right) => TruncationDirection::Right,
        None => tokenizer.get_truncation().map_or(TruncationDirection::Right, |stored| stored.direction),
    }
}
