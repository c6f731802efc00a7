//! Typed access to the keys of a request, with errors that say what is understood.

use serde_json::{Map, Value};

use crate::serve::failure::Failure;
use crate::serve::served::Inputs;

/// A JSON object whose keys are taken one by one, so that what is left was not understood.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    taken: Vec<&'static str>,
}

impl Fields {
    pub fn new(map: Map<String, Value>) -> Self {
        Self { map, taken: Vec::new() }
    }

    /// The value; none for a key that is absent or `null`.
    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.taken.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub fn string(&mut self, key: &'static str) -> Result<Option<String>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(unlike(key, "a string", &other)),
        }
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let texts = value.as_array().map(|values| values.iter().map(|text| text.as_str().map(str::to_owned)));
        let texts = texts.and_then(Iterator::collect);
        texts.map(Some).ok_or_else(|| unlike(key, "a list of strings", &value))
    }

    pub fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(unlike(key, "true or false", &other)),
        }
    }

    /// A whole number from 1 on.
    pub fn count(&mut self, key: &'static str) -> Result<Option<usize>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match whole(&value).and_then(|number| usize::try_from(number).ok()) {
                Some(number) if number > 0 => Ok(Some(number)),
                _ => Err(unlike(key, "a whole number from 1 on", &value)),
            },
        }
    }

    /// One of some words.
    pub fn one_of(&mut self, key: &'static str, words: &[&'static str]) -> Result<Option<&'static str>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let found = value.as_str().and_then(|text| words.iter().find(|word| **word == text));
        found.copied().map(Some).ok_or_else(|| unlike(key, &words.join(" or "), &value))
    }

    /// A text, a list of texts, the token ids of one, or a list of those; true where it is a list.
    pub fn inputs(&mut self, key: &'static str) -> Result<(Inputs, bool), Failure> {
        let kinds = "a string, a list of strings, a list of token ids, or a list of such lists";
        let Some(value) = self.take(key) else {
            return Err(Failure::invalid(Some(key), format!("{key} is missing; it has to be {kinds}")));
        };
        match value {
            Value::String(text) => Ok((Inputs::Texts(vec![text]), false)),
            Value::Array(values) => match values.first() {
                None => Err(Failure::invalid(Some(key), format!("{key} is empty; at least one input is needed"))),
                Some(Value::Number(_)) => Ok((Inputs::Tokens(vec![ids(key, None, values)?]), false)),
                Some(Value::Array(_)) => {
                    let rows = values.into_iter().enumerate().map(|(index, row)| match row {
                        Value::Array(row) => ids(key, Some(index), row),
                        other => {
                            Err(unlike(&format!("{key}[{index}]"), "a list of token ids, as the first is", &other))
                        }
                    });
                    Ok((Inputs::Tokens(rows.collect::<Result<_, _>>()?), true))
                }
                Some(_) => {
                    let texts = values.into_iter().enumerate().map(|(index, text)| match text {
                        Value::String(text) => Ok(text),
                        other => Err(unlike(&format!("{key}[{index}]"), "a string", &other)),
                    });
                    Ok((Inputs::Texts(texts.collect::<Result<_, _>>()?), true))
                }
            },
            other => Err(unlike(key, kinds, &other)),
        }
    }

    /// Refuses keys that were not taken.
    pub fn finish(self) -> Result<(), Failure> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => {
                let known = self.taken.join(", ");
                Err(Failure::invalid(None, format!("{key:?} is not understood here; these are: {known}")))
            }
        }
    }
}

fn ids(key: &'static str, index: Option<usize>, values: Vec<Value>) -> Result<Vec<u32>, Failure> {
    let name = index.map_or_else(|| key.to_owned(), |index| format!("{key}[{index}]"));
    if values.is_empty() {
        return Err(Failure::invalid(Some(key), format!("{name} has no token ids; at least one is needed")));
    }
    let id = |(place, value): (usize, Value)| {
        let id = whole(&value).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| unlike(&format!("{name}[{place}]"), "a token id", &value))
    };
    values.into_iter().enumerate().map(id).collect()
}

/// A whole number that is not negative; `2.0` is one as well, as languages without whole numbers write it.
fn whole(value: &Value) -> Option<u64> {
    let written = |number: f64| format!("{number}").parse().ok();
    value.as_u64().or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).and_then(written))
}

fn unlike(name: &str, expected: &str, found: &Value) -> Failure {
    let mut shown = found.to_string();
    if shown.len() > 60 {
        let end = (0..=60).rev().find(|end| shown.is_char_boundary(*end)).unwrap_or(0);
        shown.truncate(end);
        shown.push('…');
    }
    Failure::invalid(None, format!("{name} has to be {expected}, not {shown}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(map) => Fields::new(map),
            _ => panic!("an object"),
        }
    }

    #[test]
    fn all_forms_of_inputs() {
        let inputs = |value: Value| fields(json!({ "input": value })).inputs("input").unwrap();
        assert_eq!(inputs(json!("a")), (Inputs::Texts(vec!["a".into()]), false));
        assert_eq!(inputs(json!(["a", ""])), (Inputs::Texts(vec!["a".into(), String::new()]), true));
        assert_eq!(inputs(json!([1, 2])), (Inputs::Tokens(vec![vec![1, 2]]), false));
        assert_eq!(inputs(json!([1.0, 2])), (Inputs::Tokens(vec![vec![1, 2]]), false));
        assert_eq!(inputs(json!([[1], [2, 3]])), (Inputs::Tokens(vec![vec![1], vec![2, 3]]), true));
    }

    #[test]
    fn what_is_no_input_is_named() {
        for (value, says) in [
            (json!([]), "input is empty"),
            (json!(["a", 1]), "input[1] has to be a string, not 1"),
            (json!([1, "a"]), "input[1] has to be a token id"),
            (json!([1, -1]), "input[1] has to be a token id, not -1"),
            (json!([1, 1.5]), "input[1] has to be a token id, not 1.5"),
            (json!([1, 1e300]), "input[1] has to be a token id, not 1e"),
            (json!([[1], "a"]), "input[1] has to be a list of token ids"),
            (json!([[]]), "input[0] has no token ids"),
            (json!({"a": 1}), "input has to be a string"),
            (json!(null), "input is missing"),
            (json!([null]), "input[0] has to be a string, not null"),
        ] {
            let failure = fields(json!({ "input": value })).inputs("input").unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn lists_of_strings() {
        let strings = |value: Value| fields(json!({ "names": value })).strings("names");
        assert_eq!(strings(json!(["a", "b"])).unwrap(), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(strings(json!(null)).unwrap(), None);
        for wrong in [json!("a"), json!(["a", 1]), json!({"a": "b"})] {
            assert!(strings(wrong).unwrap_err().message.contains("names has to be a list of strings"));
        }
    }

    #[test]
    fn keys_that_are_not_understood_are_named() {
        let mut fields = fields(json!({"model": "m", "inputt": "a"}));
        fields.string("model").unwrap();
        assert!(fields.finish().unwrap_err().message.starts_with("\"inputt\" is not understood here"));
    }
}
