//! JSON changed in its structure: what the bytes of an input choose is a place and what to put there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

use super::folder::{CONFIG_FILES, FIXTURES, fixture};

/// Keys and values that the fixtures use, so that a change may put something where it means something.
struct Vocabulary {
    keys: Vec<String>,
    values: Vec<Value>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let (mut keys, mut values) = (BTreeSet::new(), BTreeSet::new());
    for name in FIXTURES {
        for file in CONFIG_FILES {
            if let Some(value) = read(&fixture(name).join(file)) {
                collect(&value, &mut keys, &mut values);
            }
        }
    }
    for key in OTHER_KEYS {
        keys.insert((*key).to_owned());
    }
    let mut values: Vec<Value> =
        values.iter().map(|text| serde_json::from_str(text).expect("what was written can be read")).collect();
    values.extend(EXTREMES.iter().map(|text| serde_json::from_str(text).expect("an extreme is JSON")));
    values.push(json!("long ".repeat(5000)));
    values.push((0..100).fold(Value::Null, |inner, _| json!([inner])));
    Vocabulary { keys: keys.into_iter().collect(), values }
});

/// Keys that no fixture has and readers know.
const OTHER_KEYS: &[&str] = &[
    "rope_parameters",
    "rope_scaling",
    "rope_type",
    "factor",
    "original_max_position_embeddings",
    "short_factor",
    "long_factor",
    "attention_factor",
    "low_freq_factor",
    "high_freq_factor",
    "mrope_section",
    "partial_rotary_factor",
    "sliding_window_pattern",
    "layer_types",
    "full_attention",
    "sliding_attention",
    "attention_bias",
    "mlp_bias",
    "query_pre_attn_scalar",
    "truncation_side",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "added_tokens_decoder",
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "chat_template",
    "auto_map",
    "tokenizer_class",
    "truncate_dim",
    "pooling_mode",
    "include_prompt",
    "quantization_config",
    "adapter_config",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "byte_fallback",
    "unk_id",
    "pattern",
    "Regex",
];

/// Where arithmetic breaks and types end.
const EXTREMES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "255",
    "65536",
    "1e-45",
    "1e300",
    "-1e300",
    "0.5",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1073741824",
    "\"\"",
    "\"\\u0000\"",
    "\"../..\"",
    "\"/\"",
    "\"C:\\\\\"",
    "\"NaN\"",
    "\"\\ud83d\\ude00\"",
    "\"cls\"",
    "\"linear\"",
    "\"yarn\"",
    "\"longrope\"",
    "\"llama3\"",
    "\"dynamic\"",
    "\"mistral\"",
    "\"llama\"",
    "\"qwen2\"",
    "\"(a*)*b\"",
    "\"BPE\"",
    "\"Unigram\"",
    "\"WordLevel\"",
    "\"Sequence\"",
    "\"Split\"",
    "\"Precompiled\"",
    "[]",
    "{}",
    "[[]]",
    "[0]",
    "[1,2,3]",
    "{\"\":null}",
];

/// The JSON in a file, if it is there.
pub fn read(path: &Path) -> Option<Value> {
    let bytes = std::fs::read(path).ok()?;
    Some(serde_json::from_slice(&bytes).expect("a fixture is JSON"))
}

/// Changes `value` in one to four places.
///
/// # Errors
/// None that matters: where the input has no bytes left, nothing more is changed.
pub fn mutate(value: &mut Value, input: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..input.int_in_range(1..=4)? {
        let donor = value.clone();
        change(value, &donor, input)?;
    }
    Ok(())
}

fn collect(value: &Value, keys: &mut BTreeSet<String>, values: &mut BTreeSet<String>) {
    values.insert(value.to_string());
    match value {
        Value::Object(map) => {
            keys.extend(map.keys().cloned());
            map.values().for_each(|inner| collect(inner, keys, values));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, keys, values)),
        _ => {}
    }
}

/// Goes down to a place and changes what is there.
fn change(value: &mut Value, donor: &Value, input: &mut Unstructured<'_>) -> Result<()> {
    let goes_on = input.ratio(3, 4)?;
    match value {
        Value::Object(map) if goes_on && !map.is_empty() => {
            let place = input.choose_index(map.len())?;
            change(map.values_mut().nth(place).expect("an index of the map"), donor, input)
        }
        Value::Array(items) if goes_on && !items.is_empty() => {
            let place = input.choose_index(items.len())?;
            change(&mut items[place], donor, input)
        }
        Value::Object(map) => change_object(map, donor, input),
        Value::Array(items) => change_array(items, donor, input),
        scalar => {
            *scalar = other(scalar, donor, input)?;
            Ok(())
        }
    }
}

fn change_object(map: &mut Map<String, Value>, donor: &Value, input: &mut Unstructured<'_>) -> Result<()> {
    let place = if map.is_empty() { 0 } else { input.choose_index(map.len())? };
    let key = map.keys().nth(place).cloned().unwrap_or_default();
    match input.int_in_range(0..=3)? {
        0 => {
            map.remove(&key);
        }
        1 => {
            let value = map.remove(&key).unwrap_or_default();
            map.insert(input.choose(&VOCABULARY.keys)?.clone(), value);
        }
        2 => {
            let value = other(&Value::Null, donor, input)?;
            map.insert(input.choose(&VOCABULARY.keys)?.clone(), value);
        }
        _ => {
            let value = other(map.get(&key).unwrap_or(&Value::Null), donor, input)?;
            map.insert(key, value);
        }
    }
    Ok(())
}

fn change_array(items: &mut Vec<Value>, donor: &Value, input: &mut Unstructured<'_>) -> Result<()> {
    let place = if items.is_empty() { 0 } else { input.choose_index(items.len())? };
    match input.int_in_range(0..=3)? {
        0 if !items.is_empty() => {
            items.remove(place);
        }
        1 if !items.is_empty() => {
            let twin = items[place].clone();
            items.insert(place, twin);
        }
        2 if !items.is_empty() => {
            let last = items.len() - 1;
            items.swap(place, last);
        }
        _ => {
            let value = other(items.first().unwrap_or(&Value::Null), donor, input)?;
            items.insert(place, value);
        }
    }
    Ok(())
}

/// Something to stand in place of `value`.
fn other(value: &Value, donor: &Value, input: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match input.int_in_range(0..=7)? {
        0 | 1 => input.choose(&VOCABULARY.values)?.clone(),
        2 => near(value, input)?,
        3 => json!(input.int_in_range(-3..=70_000)?),
        4 => json!(input.arbitrary::<f64>()?),
        5 => json!(input.arbitrary::<&str>()?),
        6 => json!([value]),
        _ => part(donor, input)?.clone(),
    })
}

/// A value of the same kind.
fn near(value: &Value, input: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match value {
        Value::Bool(truth) => json!(!truth),
        Value::Number(number) if number.is_i64() => {
            let number = number.as_i64().expect("it is one");
            let factor: i64 = *input.choose(&[0, 1, 2, -1, 1000])?;
            json!(number.saturating_mul(factor).saturating_add(input.int_in_range(-2..=2)?))
        }
        Value::Number(number) => json!(number.as_f64().unwrap_or(0.0) * input.choose(&[-1.0, 0.0, 2.0, 1e9, 1e-9])?),
        Value::String(text) => json!(format!("{text}{}", input.arbitrary::<&str>()?)),
        Value::Null => json!({}),
        Value::Array(_) => json!({ "0": value }),
        Value::Object(map) => map.values().cloned().collect(),
    })
}

/// Some value inside another.
fn part<'a>(value: &'a Value, input: &mut Unstructured<'_>) -> Result<&'a Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => return Ok(value),
    };
    if inner.is_empty() || input.ratio(1, 4)? {
        return Ok(value);
    }
    part(input.choose(&inner)?, input)
}
