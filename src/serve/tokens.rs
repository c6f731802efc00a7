//! Token ids that clients send: can they be of the model's own tokenizer?

use super::failure::Failure;
use crate::embedder::Embedder;
use crate::error::Result;

/// Any word: it is only looked at what stands around it.
const WORD: &str = "word";

/// Refuses ids without the special tokens that the model's tokenizer puts around every text. Some of OpenAI's clients send
/// ids of OpenAI's tokenizer (LangChain's does unless it is told not to), which would silently give vectors of other words.
///
/// # Errors
/// What stands there, and what should.
pub(crate) fn check(embedder: &Embedder, texts: &[Vec<u32>]) -> std::result::Result<(), Failure> {
    let (first, last) = around(embedder)?;
    for (index, ids) in texts.iter().enumerate() {
        if !ids.starts_with(&first) || !ids.ends_with(&last) {
            let message = format!(
                "the token ids of text {index} are not of this model's own tokenizer, whose ids begin with {first:?} and \
                 end with {last:?}; send texts (LangChain: check_embedding_ctx_length=False), or what /tokenize gives"
            );
            return Err(Failure::invalid(Some("input"), message));
        }
    }
    Ok(())
}

/// The special tokens before and after a text.
fn around(embedder: &Embedder) -> Result<(Vec<u32>, Vec<u32>)> {
    let tokens = embedder.model().tokenization().describe(WORD, true)?;
    let first: Vec<u32> = tokens.iter().take_while(|token| token.special).map(|token| token.id).collect();
    let after = tokens.iter().skip(first.len()).rev().take_while(|token| token.special).map(|token| token.id);
    let mut last: Vec<u32> = after.collect();
    last.reverse();
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_another_tokenizer_are_refused() {
        let embedder = Embedder::load("models/all-MiniLM-L6-v2").unwrap();
        // [CLS] and [SEP] of every BERT in English.
        assert_eq!(around(&embedder).unwrap(), (vec![101], vec![102]));
        let own = |text: &str| embedder.model().tokenization().encode(text).unwrap().ids;
        check(&embedder, &[own(""), own("a text")]).unwrap();
        for (wrong, says) in [(vec![101], "text 1"), (vec![64, 1495], "text 1"), (vec![101, 2060], "end with [102]")] {
            let failure = check(&embedder, &[own("a text"), wrong]).unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
