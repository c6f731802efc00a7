//! Files that lie, one test for each lie.

mod shards;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A file with this header and as many zero bytes of tensors.
fn file_of(header: &str, bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

/// A header for one-dimensional `F32` tensors, one behind the other.
fn header(tensors: &[(&str, usize)]) -> String {
    let mut start = 0;
    let entries = tensors.iter().map(|(name, length)| {
        let end = start + 4 * length;
        let entry = json!({"dtype": "F32", "shape": [length], "data_offsets": [start, end]});
        start = end;
        ((*name).to_owned(), entry)
    });
    Value::Object(entries.collect()).to_string()
}

fn whole(tensors: &[(&str, usize)]) -> Vec<u8> {
    file_of(&header(tensors), tensors.iter().map(|(_, length)| 4 * length).sum())
}

/// What opening a file of these bytes says, without the path.
fn refusal(bytes: &[u8]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    refused(&path, &path)
}

/// What opening `path` says of `file`.
fn refused(path: &Path, file: &Path) -> String {
    let error = Weights::open(path).unwrap_err();
    assert!(matches!(error, EmbeddingError::InvalidModel { .. }), "{error:?}");
    let message = error.to_string();
    message.strip_prefix(&format!("{}: ", file.display())).unwrap_or_else(|| panic!("{message}")).to_owned()
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn tensors_of_one_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut bytes = whole(&[("a", 2), ("b", 0), ("c", 1)]);
    let length = bytes.len();
    bytes[length - 12..].copy_from_slice(&[1.0_f32, -2.0, 0.5].map(f32::to_le_bytes).concat());
    fs::write(&path, bytes).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert_eq!(weights.tensor("a", &[2]).unwrap().to_f32(), [1.0, -2.0]);
    assert_eq!(weights.tensor("c", &[1]).unwrap().to_f32(), [0.5]);
    assert!(weights.tensor("b", &[0]).unwrap().is_empty());
    assert_eq!(weights.parameters(), 3);
    assert_eq!(weights.tensor("a", &[2]).unwrap().path(), path);
}

#[test]
fn an_empty_file() {
    assert_says(&refusal(b""), &["empty", "download it again"]);
}

#[test]
fn fewer_bytes_than_the_length_of_a_header() {
    assert_says(&refusal(b"\x08\0\0"), &["3 bytes"]);
}

#[test]
fn a_header_longer_than_any() {
    for length in [(8 << 20) + 1, 100 << 30, u64::MAX / 2, u64::MAX - 7, u64::MAX] {
        assert_says(&refusal(&length.to_le_bytes()), &[&length.to_string(), "8388608"]);
    }
}

#[test]
fn a_header_longer_than_the_file() {
    assert_says(&refusal(&file_of("{}", 0)[..9]), &["ends at byte 10", "at byte 9", "partial download"]);
}

#[test]
fn a_header_of_no_bytes() {
    assert_says(&refusal(&file_of("", 16)), &["not a safetensors file", "EOF"]);
}

#[test]
fn a_truncated_download() {
    let file = whole(&[("a", 100)]);
    assert_says(&refusal(&file[..file.len() - 1]), &["400 bytes", "399", "partial download"]);
}

#[test]
fn bytes_behind_the_last_tensor() {
    let mut file = whole(&[("a", 1)]);
    file.push(0);
    assert_says(&refusal(&file), &["4 bytes", "5 are there", "added"]);
}

#[test]
fn a_git_lfs_pointer() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n";
    assert_says(&refusal(pointer), &["Git LFS", "git lfs pull"]);
}

#[test]
fn a_web_page() {
    for page in ["<!DOCTYPE html><html><body>404</body></html>", "\n<html>Sign in</html>", "<!doctype HTML>"] {
        assert_says(&refusal(page.as_bytes()), &["web page"]);
    }
}

#[test]
fn a_file_of_torch_under_the_wrong_name() {
    assert_says(&refusal(b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl"), &["torch.save", "never opened"]);
    assert_says(&refusal(b"\x80\x02}q\0(X\x01\0\0\0aq\x01cos\nsystem\n"), &["pickle", "never opened"]);
}

#[test]
fn a_name_twice() {
    let entry = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    assert_says(&refusal(&file_of(&format!("{{{entry},{entry}}}"), 4)), &["\"a\"", "twice"]);
}

fn refused_entry(entry: &Value, bytes: usize) -> String {
    refusal(&file_of(&json!({ "a": entry }).to_string(), bytes))
}

#[test]
fn a_shape_whose_product_overflows() {
    for shape in [json!([1_u64 << 40, 1_u64 << 40]), json!([u64::MAX, 2]), json!([u64::MAX]), json!([1_u64 << 62, 4])] {
        let message = refused_entry(&json!({"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}), 16);
        assert_says(&message, &["overflow"]);
    }
}

#[test]
fn a_shape_of_other_bytes_than_there_are() {
    let message = refused_entry(&json!({"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}), 16);
    assert_says(&message, &["invalid shape, data type, or offset"]);
}

#[test]
fn offsets_that_are_negative_backwards_or_no_numbers() {
    for offsets in [json!([-4, 0]), json!([16, 0]), json!([0.0, 16.0]), json!([0]), json!("0-16"), json!([0, u64::MAX])]
    {
        refused_entry(&json!({"dtype": "F32", "shape": [4], "data_offsets": offsets}), 16);
    }
}

#[test]
fn offsets_that_overlap_or_leave_a_gap() {
    for start in [0, 3, 5, 8] {
        let header = json!({
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [start, start + 4]},
        });
        let message = refusal(&file_of(&header.to_string(), start + 4));
        assert_says(&message, &["invalid offset for tensor"]);
    }
}

/// Each is as long as its shape says; their sum passes the largest address.
#[test]
fn offsets_whose_sum_overflows() {
    let part = (1_u64 << 61) - 1;
    let entry =
        |index: u64| json!({"dtype": "U8", "shape": [part], "data_offsets": [index * part, (index + 1) * part]});
    let mut entries: serde_json::Map<_, _> = (0..8).map(|index| (format!("t{index}"), entry(index))).collect();
    let end = 8 * part;
    entries.insert("last".to_owned(), json!({"dtype": "U8", "shape": [7], "data_offsets": [end, end + 7]}));
    refusal(&file_of(&Value::Object(entries).to_string(), 64));
}

#[test]
fn an_offset_that_is_not_aligned_works() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let header = json!({
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    });
    let mut file = file_of(&header.to_string(), 9);
    let length = file.len();
    file[length - 8..].copy_from_slice(&[1.5_f32, -0.25].map(f32::to_le_bytes).concat());
    fs::write(&path, file).unwrap();
    assert_eq!(Weights::open(&path).unwrap().tensor("b", &[2]).unwrap().to_f32(), [1.5, -0.25]);
}

#[test]
fn a_tensor_of_a_type_that_is_not_understood() {
    for dtype in ["I64", "F8_E4M3", "F8_E5M2", "U8", "BOOL", "F64", "I32"] {
        let size = usize::from(dtype.ends_with("64")) * 4 + usize::from(dtype.ends_with("32")) * 4;
        let bytes = if size == 0 {
            4
        } else if dtype.ends_with("64") {
            32
        } else {
            16
        };
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("model.safetensors");
        let header = json!({"a": {"dtype": dtype, "shape": [4], "data_offsets": [0, bytes]}});
        fs::write(&path, file_of(&header.to_string(), bytes)).unwrap();
        let message = Weights::open(&path).unwrap().tensor("a", &[4]).unwrap_err().to_string();
        assert_says(&message, &["model.safetensors: a = ", dtype, "F32", "F16", "BF16"]);
    }
}

#[test]
fn a_tensor_of_another_shape() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, whole(&[("a", 6)])).unwrap();
    let weights = Weights::open(&path).unwrap();
    // Far beyond any memory: compared, never multiplied.
    for shape in [&[2, 3][..], &[7], &[], &[1 << 24, 1 << 20], &[usize::MAX, usize::MAX]] {
        let message = weights.tensor("a", shape).unwrap_err().to_string();
        assert_says(&message, &["a = shape [6]", &format!("{shape:?}")]);
    }
}

#[test]
fn a_folder_in_place_of_the_file() {
    let folder = TempDir::new().unwrap();
    assert_says(&refused(folder.path(), folder.path()), &["not a regular file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_in_place_of_the_file() {
    for device in ["/dev/zero", "/dev/null"] {
        assert_says(&refused(Path::new(device), Path::new(device)), &["not a regular file"]);
    }
}

/// Every number of sixteen bits, and every single that is one of them, against `half`.
#[test]
fn conversions() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let halves: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let singles = |from: fn(u16) -> f32| bits.iter().map(|bits| from(*bits)).collect::<Vec<f32>>();
    let types = [
        (StoredType::Float16, singles(|bits| half::f16::from_bits(bits).to_f32())),
        (StoredType::BFloat16, singles(|bits| half::bf16::from_bits(bits).to_f32())),
    ];
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    for (dtype, truth) in types {
        let mut wide = vec![0; 2 * halves.len()];
        dtype.convert(&halves, StoredType::Float32, &mut wide);
        let found = wide.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes));
        assert!(found.zip(&truth).all(|(found, truth)| same(found, *truth)), "{dtype:?}");

        let mut copied = vec![0; halves.len()];
        dtype.convert(&halves, dtype, &mut copied);
        assert!(copied.as_chunks().0.iter().zip(&bits).all(|(bytes, bits)| u16::from_ne_bytes(*bytes) == *bits));

        let stored: Vec<u8> = truth.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut back = vec![0; halves.len()];
        StoredType::Float32.convert(&stored, dtype, &mut back);
        let mut again = vec![0; stored.len()];
        dtype.convert(&back, StoredType::Float32, &mut again);
        let found = again.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes));
        assert!(found.zip(&truth).all(|(found, truth)| same(found, *truth)), "{dtype:?}");
    }
}
