//! Frequencies against those of transformers, and settings that are refused.

use super::{Rotary, RotaryKeys};
use crate::config::Document;

const KEYS: RotaryKeys = RotaryKeys { theta: "rope_theta", default_theta: 10_000.0, layer_type: None, scaled: true };

fn read(text: &str) -> crate::error::Result<Rotary> {
    read_for(8, text)
}

fn read_for(head_size: usize, text: &str) -> crate::error::Result<Rotary> {
    Rotary::read(&Document::from_text("config.json", text).unwrap(), KEYS, head_size)
}

fn assert_frequencies(rotary: &Rotary, expected: &[f32], factor: f32) {
    assert_eq!(rotary.frequencies.len(), expected.len());
    for (pair, (frequency, expected)) in rotary.frequencies.iter().zip(expected).enumerate() {
        assert!((frequency / expected - 1.0).abs() < 1e-6, "pair {pair}: {frequency}, expected {expected}");
    }
    assert!((rotary.factor - factor).abs() < 1e-6, "{} {factor}", rotary.factor);
}

#[test]
fn frequencies_are_powers_of_the_base() {
    let rotary = read(r#"{"rope_theta": 10000.0}"#).unwrap();
    for (frequency, expected) in rotary.frequencies.iter().zip([1.0, 0.1, 0.01, 0.001]) {
        assert!((frequency / expected - 1.0).abs() < 1e-6, "{frequency} {expected}");
    }
}

#[test]
fn both_spellings_mean_the_same() {
    let old = read(r#"{"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}}"#).unwrap();
    let new = read(r#"{"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}"#).unwrap();
    assert_eq!(old, new);
    assert!((old.frequencies[0] - 0.25).abs() < 1e-7);
}

#[test]
fn a_dynamic_scaling_bounds_the_text() {
    let text = r#"{"max_position_embeddings": 64, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}"#;
    let rotary = read(text).unwrap();
    assert_eq!((rotary.max_tokens, rotary.frequencies), (Some(64), read("{}").unwrap().frequencies));
}

// The numbers of the next three tests are those of transformers 5.23: `ROPE_INIT_FUNCTIONS[rope_type]` for a
// `LlamaConfig` with these settings.

#[test]
fn linear_scaling_is_that_of_transformers() {
    let rotary = read(r#"{"rope_scaling": {"rope_type": "linear", "factor": 4.0}}"#).unwrap();
    assert_frequencies(&rotary, &[0.25, 0.025, 0.0025, 0.000_25], 1.0);
}

#[test]
fn yarn_is_that_of_transformers() {
    let text = r#"{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
        "original_max_position_embeddings": 32}}"#;
    let slow = [0.025, 7.905_695e-3, 0.0025, 7.905_694_7e-4, 0.000_25, 7.905_694e-5];
    let expected = [&[1.0, 0.197_642_36], &slow[..]].concat();
    assert_frequencies(&read_for(16, text).unwrap(), &expected, 1.138_629_4);

    let text = r#"{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
        "original_max_position_embeddings": 32, "truncate": false, "beta_fast": 4.0, "beta_slow": 2.0}}"#;
    let expected = [&[1.0, 0.079_056_94], &slow[..]].concat();
    assert_frequencies(&read_for(16, text).unwrap(), &expected, 1.138_629_4);

    // The length before scaling stands beside the section here, and `mscale` decides on the factor.
    let text = r#"{"original_max_position_embeddings": 4096, "rope_theta": 10000.0, "rope_scaling":
        {"type": "yarn", "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 1.0}}"#;
    let expected = [1.0, 0.316_227_76, 0.1, 0.023_914_725, 5.125e-3, 8.498_622e-4, 2.5e-5, 7.905_694_5e-6];
    assert_frequencies(&read_for(16, text).unwrap(), &expected, 0.921_042_4);

    let text = r#"{"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "yarn", "factor": 8.0,
        "rope_theta": 1e6, "original_max_position_embeddings": 256, "attention_factor": 0.5, "beta_fast": 16.0}}"#;
    let expected =
        [1.0, 0.125_961_45, 0.013_176_158, 7.029_266_6e-4, 1.25e-4, 2.222_849_3e-5, 3.952_847e-6, 7.029_267e-7];
    assert_frequencies(&read_for(16, text).unwrap(), &expected, 0.5);
}

#[test]
fn llama3_is_that_of_transformers() {
    let text = r#"{"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 128}, "rope_theta": 500000.0}"#;
    let expected =
        [1.0, 0.191_126_5, 4.700_754e-3, 9.115_831e-4, 1.767_766_8e-4, 3.428_102_4e-5, 6.647_869_7e-6, 1.289_173_2e-6];
    assert_frequencies(&read_for(16, text).unwrap(), &expected, 1.0);
    let error = read(&text.replace("4.0", "1.0")).unwrap_err().to_string();
    assert!(error.contains("rope_scaling.high_freq_factor = 1.0"), "{error}");
}

/// Alibaba-NLP/new-impl: `1 / (base * factor) ** (2 i / width) / factor ** (2 / width)`.
#[test]
fn ntk_is_that_of_new_impl() {
    let text = r#"{"rope_theta": 10000.0, "rope_scaling": {"type": "ntk", "factor": 2.0}}"#;
    // 2^-1/4, 40000^-1/4, 2^-1/4 / 20000^1/2, (2 * 20000^3)^-1/4
    let expected = [0.840_896_4, 0.070_710_68, 5.946_036e-3, 0.0005];
    assert_frequencies(&read(text).unwrap(), &expected, 1.0);
    let text = r#"{"rope_scaling": {"type": "ntk", "factor": 16.0, "mixed_b": 0.5}}"#;
    // Divided by 16 to the power of the square root of 1/4, 2/4, 3/4 and 1.
    let expected = [0.25, 0.1 / 7.102_993, 0.01 / 11.035_66, 0.001 / 16.0];
    assert_frequencies(&read(text).unwrap(), &expected, 1.0);
    let text = text.replace("16.0", "1.0");
    assert_frequencies(&read(&text).unwrap(), &[1.0, 0.1, 0.01, 0.001], 1.0);
}

#[test]
fn each_kind_of_layer_has_its_own_settings() {
    let keys = RotaryKeys { layer_type: Some("sliding_attention"), ..KEYS };
    let read = |text| Rotary::read(&Document::from_text("config.json", text).unwrap(), keys, 8);
    let text = r#"{"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 16.0}}}"#;
    assert_frequencies(&read(text).unwrap(), &[1.0, 0.5, 0.25, 0.125], 1.0);
    let error = read(r#"{"rope_parameters": {"rope_type": "default"}}"#).unwrap_err().to_string();
    assert!(error.contains("rope_parameters") && error.contains("full_attention"), "{error}");
}

#[test]
fn what_is_not_whole_heads_of_pairs_is_refused() {
    let error = read_for(7, "{}").unwrap_err().to_string();
    assert!(error.contains("head_dim") && error.contains("even width"), "{error}");
    let error = read(r#"{"rope_parameters": {"partial_rotary_factor": 0.5}}"#).unwrap_err().to_string();
    assert!(error.contains("rope_parameters.partial_rotary_factor = 0.5: 1.0 is understood"), "{error}");
    for theta in ["0.0", "-1.0", "1e13", "\"ten\""] {
        let error = read(&format!(r#"{{"rope_theta": {theta}}}"#)).unwrap_err().to_string();
        assert!(error.contains("rope_theta"), "{error}");
    }
}

#[test]
fn an_unknown_scaling_is_named() {
    let error = read(r#"{"rope_scaling": {"rope_type": "longrope"}}"#).unwrap_err().to_string();
    assert!(error.contains("rope_scaling.rope_type = \"longrope\"") && error.contains("\"yarn\""), "{error}");
    let error = read(r#"{"rope_scaling": {"rope_type": "linear"}}"#).unwrap_err().to_string();
    assert!(error.contains("rope_scaling.factor"), "{error}");
}

#[test]
fn tables_have_a_row_each_position() {
    let (cosines, sines) = read("{}").unwrap().tables(3);
    assert_eq!((cosines.len(), sines.len()), (12, 12));
    assert_eq!((cosines[0], sines[0]), (1.0, 0.0));
    assert!((sines[8] - 2.0_f32.sin()).abs() < 1e-7);
}
