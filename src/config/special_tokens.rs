//! The tokens that a folder's files give a role, and those that they add to the vocabulary.

use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;

use super::document::Document;
use super::tokenizer_class::TokenizerClass;
use crate::error::Result;

const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const LISTS: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];
const DECODER: &str = "added_tokens_decoder";

/// The special tokens of `tokenizer_config.json` and its companions, else those of the tokenizer's class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpecialTokens {
    /// By role; then those without one. A token can have several roles.
    tokens: Vec<(String, AddedToken)>,
    /// The tokens that are added to the vocabulary in place of those of `tokenizer.json`, by their ids.
    pub declared: Option<Vec<AddedToken>>,
    /// Those that go with the ones of `tokenizer.json`, by their ids: an old folder's `added_tokens.json`.
    pub beside: Vec<(u32, AddedToken)>,
}

impl SpecialTokens {
    /// The token of a role, as `cls_token`.
    pub fn of(&self, role: &str) -> Option<&str> {
        self.tokens.iter().find(|(name, _)| name == role).map(|(_, token)| token.content.as_str())
    }

    /// Every special token, in transformers' order, some more than once.
    pub fn all(&self) -> impl Iterator<Item = &AddedToken> {
        self.tokens.iter().map(|(_, token)| token)
    }

    /// transformers takes `special_tokens_map.json` and `added_tokens.json` first, but not at all where
    /// `tokenizer_config.json` has `added_tokens_decoder`.
    pub(super) fn read(folder: &Path, config: Option<&Document>, class: &TokenizerClass) -> Result<Self> {
        let declared = config.map(read_decoder).transpose()?.flatten();
        let (mut map, mut beside) = (None, Vec::new());
        if declared.is_none() {
            map = Document::read_optional(&folder.join("special_tokens_map.json"))?;
        }
        let documents: Vec<&Document> = map.iter().chain(config).collect();
        let mut tokens = Vec::new();
        for role in ROLES {
            let token = match documents.iter().find(|document| document.get(role).is_some()) {
                Some(document) => read_token(document, role, document.get(role))?,
                None => class.token_of(role).map(special),
            };
            tokens.extend(token.map(|token| (role.to_owned(), with_spaces_of(token, role, class))));
        }
        if let Some(config) = config {
            for role in config.keys().filter(|key| key.ends_with("_token") && !ROLES.contains(key)) {
                if let Some(Value::String(content)) = config.get(role) {
                    tokens.push((role.to_owned(), special(content)));
                }
            }
        }
        for (list, document) in LISTS.iter().flat_map(|list| documents.iter().map(move |document| (*list, document))) {
            let extra = read_list(document, list)?;
            tokens.extend(extra.into_iter().map(|token| (list.to_owned(), token)));
        }
        if declared.is_none()
            && let Some(added) = Document::read_optional(&folder.join("added_tokens.json"))?
        {
            beside = read_ids(&added, &tokens)?;
        }
        if tokens.iter().all(|(list, _)| !LISTS.contains(&list.as_str())) {
            tokens.extend(class.extra_tokens.iter().map(|content| (LISTS[0].to_owned(), special(content))));
        }
        Ok(Self { tokens, declared, beside })
    }
}

fn special(content: &str) -> AddedToken {
    AddedToken::from(content, true)
}

/// Some classes' mask takes the spaces before it, where a plain string names it.
fn with_spaces_of(token: AddedToken, role: &str, class: &TokenizerClass) -> AddedToken {
    let takes_them = class.mask_takes_spaces && role == "mask_token";
    let is_plain = token == special(&token.content);
    if takes_them && is_plain { token.lstrip(true) } else { token }
}

/// A token is a string or an object as `{"content": "[PAD]", "lstrip": false, …}`.
fn read_token(document: &Document, key: &str, value: Option<&Value>) -> Result<Option<AddedToken>> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    if let Value::String(content) = value {
        return Ok(Some(special(content)));
    }
    let mut token = read_object(document, key, value)?;
    token.special = true;
    Ok(Some(token))
}

/// Without `normalized`, a special token is found in the text as it stands.
fn read_object(document: &Document, key: &str, value: &Value) -> Result<AddedToken> {
    let Some(content) = value.get("content").and_then(Value::as_str) else {
        return Err(document.invalid(key, "a token is understood: a string, or an object with \"content\""));
    };
    let flag = |name: &str| match value.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(document.invalid(key, format!("a token's {name:?} is true or false"))),
    };
    let is_special = flag("special")?.unwrap_or(false);
    Ok(AddedToken {
        content: content.to_owned(),
        single_word: flag("single_word")?.unwrap_or(false),
        lstrip: flag("lstrip")?.unwrap_or(false),
        rstrip: flag("rstrip")?.unwrap_or(false),
        normalized: flag("normalized")?.unwrap_or(!is_special),
        special: is_special,
    })
}

fn read_list(document: &Document, key: &str) -> Result<Vec<AddedToken>> {
    let items: Vec<&Value> = match document.get(key) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(Value::Object(named)) => named.values().collect(),
        Some(_) => return Err(document.invalid(key, "a list of tokens is understood")),
    };
    items.into_iter().filter_map(|item| read_token(document, key, Some(item)).transpose()).collect()
}

/// `{"0": {"content": "<s>", …}, …}`, in the order of the ids.
fn read_decoder(config: &Document) -> Result<Option<Vec<AddedToken>>> {
    let Some(value) = config.get(DECODER) else { return Ok(None) };
    let Some(entries) = value.as_object() else {
        return Err(config.invalid(DECODER, "an object is understood: ids, each with its token"));
    };
    let mut tokens = Vec::with_capacity(entries.len());
    for (id, value) in entries {
        let Ok(id) = id.parse::<u32>() else {
            return Err(config.invalid(DECODER, format!("{id:?} is not a token id")));
        };
        tokens.push((id, read_object(config, DECODER, value)?));
    }
    tokens.sort_by_key(|(id, _)| *id);
    Ok(Some(tokens.into_iter().map(|(_, token)| token).collect()))
}

/// `{"<extra>": 32000, …}`.
fn read_ids(added: &Document, tokens: &[(String, AddedToken)]) -> Result<Vec<(u32, AddedToken)>> {
    let mut found = Vec::new();
    for content in added.keys() {
        let is_special = tokens.iter().any(|(_, token)| token.content == content);
        let Some(id) = added.get(content).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()) else {
            return Err(added.invalid(content, "a token id is understood"));
        };
        found.push((id, AddedToken::from(content, is_special)));
    }
    Ok(found)
}
