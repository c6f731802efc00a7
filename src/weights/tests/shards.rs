//! Several files and their index: where one of them lies.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::Weights;
use super::{assert_says, refused, whole};

/// A model of two shards: `a` and `b` in the first, `c` in the second.
struct Sharded {
    folder: TempDir,
}

const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

impl Sharded {
    fn new() -> Self {
        let sharded = Self { folder: TempDir::new().unwrap() };
        fs::write(sharded.file(FIRST), whole(&[("a", 1), ("b", 2)])).unwrap();
        fs::write(sharded.file(SECOND), whole(&[("c", 3)])).unwrap();
        sharded.index(&json!({
            "metadata": {"total_size": 24},
            "weight_map": {"a": FIRST, "b": FIRST, "c": SECOND},
        }));
        sharded
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self) -> PathBuf {
        self.file("model.safetensors.index.json")
    }

    fn index(&self, value: &Value) {
        fs::write(self.path(), value.to_string()).unwrap();
    }

    /// `c` is said to be in `place`.
    fn c_in(&self, place: &Value) {
        self.index(&json!({"weight_map": {"a": FIRST, "b": FIRST, "c": place}}));
    }

    /// What opening says of `file`.
    fn refused(&self, file: &str) -> String {
        refused(&self.path(), &self.file(file))
    }
}

#[test]
fn tensors_of_two_files() {
    let sharded = Sharded::new();
    let weights = Weights::open(&sharded.path()).unwrap();
    assert_eq!(weights.parameters(), 6);
    assert_eq!(weights.tensor("b", &[2]).unwrap().path(), sharded.file(FIRST));
    assert_eq!(weights.tensor("c", &[3]).unwrap().path(), sharded.file(SECOND));
    let message = weights.tensor("c", &[4]).unwrap_err().to_string();
    assert_says(&message, &[SECOND, "c = shape [3]", "[4]"]);
    assert_says(&weights.tensor("d", &[1]).unwrap_err().to_string(), &["index.json", "missing", "3 tensors"]);
}

/// transformers does not read it; exporters have written wrong ones.
#[test]
fn a_total_size_that_lies_is_not_looked_at() {
    let sharded = Sharded::new();
    let map = json!({"a": FIRST, "b": FIRST, "c": SECOND});
    for metadata in [json!({"total_size": 1}), json!({"total_size": -1e300}), json!("none"), json!(null)] {
        sharded.index(&json!({"metadata": metadata, "weight_map": map}));
        assert_eq!(Weights::open(&sharded.path()).unwrap().parameters(), 6);
    }
}

#[test]
fn a_shard_is_missing() {
    let sharded = Sharded::new();
    fs::remove_file(sharded.file(SECOND)).unwrap();
    assert_says(&sharded.refused(SECOND), &["missing", "index.json", "one of 2", "download"]);
}

#[test]
fn a_shard_is_truncated() {
    let sharded = Sharded::new();
    let bytes = fs::read(sharded.file(SECOND)).unwrap();
    fs::write(sharded.file(SECOND), &bytes[..bytes.len() - 4]).unwrap();
    assert_says(&sharded.refused(SECOND), &["12 bytes", "8 are there", "partial download"]);
}

#[test]
fn a_shard_lacks_a_tensor() {
    let sharded = Sharded::new();
    fs::write(sharded.file(FIRST), whole(&[("a", 1)])).unwrap();
    assert_says(&sharded.refused(FIRST), &["b: the tensor is missing", "index.json", "download the folder again"]);
}

#[test]
fn a_shard_has_a_tensor_of_another() {
    let sharded = Sharded::new();
    fs::write(sharded.file(SECOND), whole(&[("b", 2), ("c", 3)])).unwrap();
    assert_says(&sharded.refused(SECOND), &["b: ", "in this file", FIRST]);
}

#[test]
fn a_shard_has_a_tensor_that_the_index_does_not_list() {
    let sharded = Sharded::new();
    fs::write(sharded.file(SECOND), whole(&[("c", 3), ("d", 1)])).unwrap();
    assert_says(&sharded.refused(SECOND), &["d: ", "does not list it"]);
}

#[test]
fn an_index_that_names_files_elsewhere() {
    let sharded = Sharded::new();
    let outside = TempDir::new().unwrap();
    let absolute = outside.path().join("x.safetensors");
    fs::write(&absolute, whole(&[("c", 3)])).unwrap();
    fs::create_dir(sharded.file("sub")).unwrap();
    fs::write(sharded.file("sub/x.safetensors"), whole(&[("c", 3)])).unwrap();
    let places = ["../x.safetensors", "..\\x.safetensors", "C:x.safetensors", "sub/x.safetensors", "x\0.safetensors"];
    for place in places.into_iter().chain([absolute.to_str().unwrap()]) {
        sharded.c_in(&json!(place));
        assert_says(&sharded.refused("model.safetensors.index.json"), &["weight_map.c", "beside the index"]);
    }
}

#[test]
fn an_index_that_names_other_files() {
    let sharded = Sharded::new();
    for place in ["pytorch_model-00002-of-00002.bin", "", ".", "..", ".safetensors", "model.safetensors.index.json"] {
        sharded.c_in(&json!(place));
        assert_says(&sharded.refused("model.safetensors.index.json"), &["weight_map.c", ".safetensors"]);
    }
}

#[test]
fn an_index_that_names_a_folder() {
    let sharded = Sharded::new();
    fs::create_dir(sharded.file("x.safetensors")).unwrap();
    sharded.c_in(&json!("x.safetensors"));
    assert_says(&sharded.refused("x.safetensors"), &["not a regular file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_index_that_names_a_device() {
    let sharded = Sharded::new();
    std::os::unix::fs::symlink("/dev/zero", sharded.file("x.safetensors")).unwrap();
    sharded.c_in(&json!("x.safetensors"));
    assert_says(&sharded.refused("x.safetensors"), &["not a regular file"]);
}

#[test]
fn an_index_without_tensors() {
    let sharded = Sharded::new();
    sharded.index(&json!({"weight_map": {}}));
    assert_says(&sharded.refused("model.safetensors.index.json"), &["weight_map", "no tensors"]);
}

#[test]
fn an_index_of_another_form() {
    let sharded = Sharded::new();
    for index in [
        json!({}),
        json!([]),
        json!({"weight_map": null}),
        json!({"weight_map": ["a"]}),
        json!({"weight_map": "a"}),
        json!({"weight_map": {"a": 1}}),
        json!({"weight_map": {"a": [FIRST]}}),
        json!({"weight_map": {"a": null}}),
    ] {
        sharded.index(&index);
        assert_says(&sharded.refused("model.safetensors.index.json"), &["not in the form that is understood"]);
    }
}

#[test]
fn an_index_with_a_name_twice() {
    let sharded = Sharded::new();
    let text = format!(r#"{{"weight_map": {{"a": "{FIRST}", "b": "{FIRST}", "c": "{SECOND}", "a": "{SECOND}"}}}}"#);
    fs::write(sharded.path(), text).unwrap();
    assert_says(&sharded.refused("model.safetensors.index.json"), &["\"a\"", "twice"]);
    fs::write(sharded.path(), r#"{"weight_map": {"a": "x.safetensors"}, "weight_map": {}}"#).unwrap();
    assert_says(&sharded.refused("model.safetensors.index.json"), &["duplicate field"]);
}

#[test]
fn an_index_of_too_many_names() {
    let sharded = Sharded::new();
    let map: serde_json::Map<_, _> = (0..=1 << 17).map(|index| (format!("{index:x}"), json!(FIRST))).collect();
    sharded.index(&json!({ "weight_map": map }));
    assert_says(&sharded.refused("model.safetensors.index.json"), &["more than 131072 names"]);
}

#[test]
fn an_index_of_a_hundred_megabytes() {
    let sharded = Sharded::new();
    fs::OpenOptions::new().write(true).open(sharded.path()).unwrap().set_len(100 << 20).unwrap();
    assert_says(&sharded.refused("model.safetensors.index.json"), &["104857600 bytes", "16777216"]);
}

#[test]
fn an_index_that_is_a_folder_or_missing() {
    let sharded = Sharded::new();
    fs::remove_file(sharded.path()).unwrap();
    assert_says(&sharded.refused("model.safetensors.index.json"), &["missing"]);
    fs::create_dir(sharded.path()).unwrap();
    assert_says(&sharded.refused("model.safetensors.index.json"), &["not a regular file"]);
}

#[test]
fn an_index_that_is_a_git_lfs_pointer() {
    let sharded = Sharded::new();
    fs::write(sharded.path(), "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n").unwrap();
    assert_says(&sharded.refused("model.safetensors.index.json"), &["git lfs pull"]);
}

/// As a Hugging Face cache keeps them: links to files of other names in a folder elsewhere.
#[cfg(unix)]
#[test]
fn shards_behind_links() {
    let sharded = Sharded::new();
    let blobs = TempDir::new().unwrap();
    for (number, name) in [FIRST, SECOND].into_iter().enumerate() {
        let blob = blobs.path().join(number.to_string());
        fs::rename(sharded.file(name), &blob).unwrap();
        std::os::unix::fs::symlink(&blob, sharded.file(name)).unwrap();
    }
    let weights = Weights::open(&sharded.path()).unwrap();
    assert_eq!(weights.parameters(), 6);
}

#[test]
fn a_prefix_over_several_files() {
    let sharded = Sharded::new();
    fs::write(sharded.file(SECOND), whole(&[("bert.c", 3)])).unwrap();
    sharded.index(&json!({"weight_map": {"a": FIRST, "b": FIRST, "bert.c": SECOND}}));
    let weights = Weights::open(&sharded.path()).unwrap().with_prefix_of("c").unwrap();
    assert!(weights.has("c"));
    assert!(!weights.has("a"));
}
