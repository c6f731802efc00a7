//! JSON files that are not what they should be.

use super::*;
use crate::config::document::refuse_large_file;
use crate::config::{Document, MAX_CONFIG_BYTES};

fn document(text: &str) -> Document {
    Document::from_text("config.json", text).unwrap()
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let message = Document::from_text("config.json", text).unwrap_err().to_string();
    for part in parts {
        assert!(message.starts_with("config.json: ") && message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn truncated_json_is_named_as_such() {
    refused(r#"{"a": 1, "b"#, &["ends too early"]);
    refused("", &["ends too early"]);
}

#[test]
fn python_literals_are_named() {
    refused(r#"{"a": NaN}"#, &["NaN", "Python"]);
    refused(r#"{"a": Infinity}"#, &["Infinity", "Python"]);
    refused(r#"{"a": -Infinity}"#, &["-Infinity", "Python"]);
    refused("{\n  \"a\": [1,\n NaN]\n}", &["NaN", "Python"]);
    refused(r#"{"NaN": oops}"#, &["not valid JSON"]);
}

#[test]
fn byte_order_marks_and_other_encodings_are_refused() {
    refused("\u{feff}{}", &["byte order mark"]);
    let folder = Folder::bare();
    folder.write_bytes("config.json", b"{\"a\": \"\xff\xfe\"}");
    folder.refused("config.json", &["not valid JSON"]);
}

#[test]
fn what_is_not_an_object_is_refused() {
    refused("[1, 2]", &["a list", "an object"]);
    refused("null", &["null", "an object"]);
    refused("3", &["a number", "an object"]);
}

#[test]
fn deep_nesting_is_refused_without_overflow() {
    refused(&format!("{{\"a\": {}", "[".repeat(1_000_000)), &["not valid JSON", "recursion limit"]);
}

#[test]
fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
    let folder = Folder::bare();
    // Sparse: takes no room on disk, and would parse as an error if it were read.
    fs::File::create(folder.path().join("config.json")).unwrap().set_len(MAX_CONFIG_BYTES + 1).unwrap();
    folder.refused("config.json", &["16777217 bytes", "at most 16777216"]);
}

#[test]
fn a_folder_in_place_of_a_file_is_refused() {
    let folder = Folder::bare();
    folder.remove("config.json");
    fs::create_dir(folder.path().join("config.json")).unwrap();
    folder.refused("config.json", &["not a regular file"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_is_a_broken_file_and_not_an_absent_one() {
    let folder = Folder::bare();
    folder.remove("config.json");
    std::os::unix::fs::symlink("../../blobs/gone", folder.path().join("config.json")).unwrap();
    folder.refused("config.json", &["missing"]);
}

#[test]
fn getters_refuse_other_types_and_values_outside_and_name_everything() {
    let config = document(r#"{"n": -1, "text": 5, "flag": "yes", "big": 1e30, "none": null, "list": ["a", 1]}"#);
    let message = |error: EmbeddingError| error.to_string();
    assert_eq!(
        message(config.usize_in("n", 1..=8).unwrap_err()),
        "config.json: n = -1: a whole number from 1 to 8 is understood"
    );
    assert_eq!(
        message(config.usize_in("absent", 1..=8).unwrap_err()),
        "config.json: absent: a whole number from 1 to 8 is needed here"
    );
    assert_eq!(message(config.str("text").unwrap_err()), "config.json: text = 5: a string is understood");
    assert_eq!(
        message(config.bool_or("flag", true).unwrap_err()),
        r#"config.json: flag = "yes": true and false are understood"#
    );
    assert_eq!(
        message(config.bool_or("none", true).unwrap_err()),
        "config.json: none = null: true and false are understood"
    );
    assert!(config.usize_in("big", 1..=usize::MAX).is_err());
    assert!(config.f64_in("big", 0.0..=1.0).is_err());
    assert!(config.f32_positive_or("n", 1.0).is_err());
    assert!(config.f32_positive_or("none", 1.0).is_err());
    assert!(config.optional_strings("list").is_err());
    assert!(config.section("list").is_err());
    assert_eq!(config.optional_usize_in("none", 1..=8).unwrap(), None);
    assert_eq!(config.optional_bool("none").unwrap(), None);
    assert!(!config.has("none") && config.get("none").is_some());
}

#[test]
fn numbers_beyond_f32_are_refused() {
    let config = document(r#"{"large": 1e300, "tiny": 1e-300, "zero": 0}"#);
    for key in ["large", "tiny", "zero"] {
        assert!(config.f32_positive_or(key, 1.0).is_err(), "{key}");
    }
}

#[test]
fn numbers_are_read_as_they_stand() {
    let config = document(r#"{"half": 0.5, "two": 2, "none": null}"#);
    assert!((config.f64_in("half", 0.0..=1.0).unwrap() - 0.5).abs() < f64::EPSILON);
    assert!((config.f64_in("two", 1.0..=2.0).unwrap() - 2.0).abs() < f64::EPSILON);
    assert_eq!(config.optional_f64_in("half", 0.5..=1.0).unwrap(), Some(0.5));
    assert_eq!(config.optional_f64_in("none", 0.0..=1.0).unwrap(), None);
    assert!((config.f32_positive_or("half", 1.0).unwrap() - 0.5).abs() < f32::EPSILON);
    assert!((config.f32_positive_or("absent", 3.0).unwrap() - 3.0).abs() < f32::EPSILON);
}

#[test]
fn a_file_may_be_as_large_as_the_limit() {
    let folder = Folder::bare();
    let file = folder.path().join("config.json");
    let size = fs::metadata(&file).unwrap().len();
    assert!(refuse_large_file(&file, size).is_ok());
    let message = refuse_large_file(&file, size - 1).unwrap_err().to_string();
    assert!(message.contains(&format!("{size} bytes; at most {} are read", size - 1)), "{message}");
}

#[test]
fn what_two_documents_say_is_joined_and_the_second_wins() {
    let joined = document(r#"{"a": 1, "b": 2}"#).updated_by(&document(r#"{"b": 3, "c": 4}"#));
    assert_eq!(joined, document(r#"{"a": 1, "b": 3, "c": 4}"#));
}

#[test]
fn a_section_names_its_place_in_messages() {
    let config = document(r#"{"rope": {"theta": "x", "inner": {"n": 0}}}"#);
    let rope = config.section("rope").unwrap().unwrap();
    assert_eq!(
        rope.f64_in("theta", 1.0..=9.0).unwrap_err().to_string(),
        r#"config.json: rope.theta = "x": a number from 1 to 9 is understood"#
    );
    let inner = rope.section("inner").unwrap().unwrap();
    assert!(inner.usize_in("n", 1..=2).unwrap_err().to_string().contains("rope.inner.n = 0"));
}

#[test]
fn choices_list_what_is_known() {
    let config = document(r#"{"act": "mish"}"#);
    let known = [("gelu", 1), ("relu", 2), ("silu", 3)];
    assert_eq!(
        config.choice("act", &known).unwrap_err().to_string(),
        r#"config.json: act = "mish": "gelu", "relu" and "silu" are understood"#
    );
    assert!(config.choice("absent", &known).unwrap_err().to_string().contains("gelu"));
    assert_eq!(config.optional_choice("absent", &known).unwrap(), None);
}

#[test]
fn a_value_of_a_megabyte_is_shortened_in_the_message() {
    let config = document(&format!(r#"{{"a": "{}"}}"#, "x".repeat(1 << 20)));
    assert!(config.usize_in("a", 0..=1).unwrap_err().to_string().len() < 400);
}
