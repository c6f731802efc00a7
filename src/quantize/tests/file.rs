//! The file is read as it was written, and nothing that was done to it is believed.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use indexmap::IndexMap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

use crate::error::EmbeddingError;
use crate::int8::{QuantizedLinear, QuantizedSite};
use crate::quantize::{KindQuality, Quality, QuantizedModel, RECIPE};

fn linear(key: &str, outputs: usize, inputs: usize, groups: usize) -> QuantizedLinear {
    let weight =
        (0..outputs * inputs).map(|place| i8::try_from(place * 37 % 255).map_or(-127, |weight| weight)).collect();
    QuantizedLinear {
        key: key.to_owned(),
        outputs,
        weight,
        weight_scales: (0..groups * outputs).map(|place| 0.01 + place as f32).collect(),
        bias: (0..outputs).map(|place| -0.5 * place as f32).collect(),
    }
}

fn model() -> QuantizedModel {
    let kind = |texts| KindQuality { mean: 0.9998, first_percentile: 0.9991, minimum: 0.999, texts };
    QuantizedModel {
        sites: vec![
            QuantizedSite {
                inputs: 6,
                order: vec![3, 0, 1, 2, 4, 5],
                groups: vec![1, 5],
                linears: vec![linear("layer.0.query", 4, 6, 2), linear("layer.0.fused[4:7]", 3, 6, 2)],
            },
            QuantizedSite {
                inputs: 4,
                order: vec![0, 1, 2, 3],
                groups: vec![4],
                linears: vec![linear("layer.0.dense", 5, 4, 1)],
            },
        ],
        recipe: RECIPE.to_owned(),
        source_sha256: "0123456789abcdef".repeat(4),
        quality: Quality {
            mean: 0.9997,
            minimum: 0.99,
            first_percentile: 0.9991,
            texts: 7,
            tokens: 90,
            by_kind: IndexMap::from([("words".to_owned(), kind(3)), ("code".to_owned(), kind(4))]),
            passed: true,
        },
    }
}

type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;
type Metadata = HashMap<String, String>;

struct Written {
    folder: TempDir,
    path: PathBuf,
}

fn written() -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = model().write(&folder.path().join("int8.safetensors")).unwrap();
    Written { folder, path }
}

/// The parts of the file, by a reader that is not ours.
fn parts(bytes: &[u8]) -> (Tensors, Metadata) {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let tensor =
        |(name, view): (String, TensorView<'_>)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    (tensors.tensors().into_iter().map(tensor).collect(), header.metadata().clone().unwrap())
}

/// What reading says after a change to the file, written by a writer that is not ours.
fn message_after(change: impl FnOnce(&mut Tensors, &mut Metadata)) -> String {
    let Written { folder: _folder, path } = written();
    let (mut tensors, mut metadata) = parts(&fs::read(&path).unwrap());
    change(&mut tensors, &mut metadata);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let metadata = (!metadata.is_empty()).then_some(metadata);
    fs::write(&path, safetensors::serialize(views, metadata).unwrap()).unwrap();
    let error = QuantizedModel::read(&path).unwrap_err();
    let EmbeddingError::InvalidModel { file, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*file, path);
    error.to_string()
}

#[track_caller]
fn refused(words: &[&str], change: impl FnOnce(&mut Tensors, &mut Metadata)) {
    let message = message_after(change);
    assert!(message.contains("run `oxembed quantize MODEL` again"), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
}

fn little_endian(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn what_was_written_is_read() {
    let Written { folder, path } = written();
    assert_eq!(QuantizedModel::read(&path).unwrap(), model());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the file is left");
}

#[test]
fn equal_models_are_equal_bytes() {
    let (one, other) = (written(), written());
    assert_eq!(fs::read(one.path).unwrap(), fs::read(other.path).unwrap());
}

#[test]
fn the_crate_for_safetensors_finds_the_parts_where_the_format_says() {
    let (tensors, metadata) = parts(&fs::read(written().path).unwrap());
    let expected = model();
    let (dtype, shape, bytes) = &tensors["layer.0.fused[4:7].weight"];
    assert_eq!((*dtype, &**shape), (Dtype::I8, &[3, 6][..]));
    assert_eq!(bytes.iter().map(|byte| byte.cast_signed()).collect::<Vec<_>>(), expected.sites[0].linears[1].weight);
    let (dtype, shape, bytes) = &tensors["layer.0.query.order"];
    assert_eq!((*dtype, &**shape), (Dtype::I32, &[6][..]));
    assert_eq!(*bytes, little_endian(&[3, 0, 1, 2, 4, 5]));
    assert_eq!(tensors["layer.0.dense.groups"], (Dtype::I32, vec![1], little_endian(&[4])));
    assert_eq!(tensors["layer.0.query.weight_scale"].1, [2, 4]);
    assert_eq!(tensors["layer.0.query.bias"].0, Dtype::F32);
    assert_eq!(tensors.len(), 3 * 3 + 2 * 2);
    assert_eq!(metadata["format"], "oxembed-int8");
    assert_eq!(metadata["sites"], r#"[["layer.0.query","layer.0.fused[4:7]"],["layer.0.dense"]]"#);
    let quality: serde_json::Value = serde_json::from_str(&metadata["quality"]).unwrap();
    assert_eq!(quality["by_kind"]["code"]["texts"], 4);
}

#[test]
fn a_missing_tensor_is_refused() {
    for name in ["layer.0.query.order", "layer.0.query.groups", "layer.0.dense.weight", "layer.0.dense.weight_scale"] {
        refused(&[name, "missing"], |tensors, _| drop(tensors.remove(name)));
    }
}

#[test]
fn a_tensor_of_another_type_is_refused() {
    refused(&["layer.0.dense.weight = stored as U8", "I8"], |tensors, _| {
        tensors.get_mut("layer.0.dense.weight").unwrap().0 = Dtype::U8;
    });
    refused(&["layer.0.dense.order = stored as F32", "I32"], |tensors, _| {
        tensors.get_mut("layer.0.dense.order").unwrap().0 = Dtype::F32;
    });
}

#[test]
fn a_tensor_of_another_shape_is_refused() {
    refused(&["layer.0.dense.weight = shape [4, 5]", "[5, 4]"], |tensors, _| {
        tensors.get_mut("layer.0.dense.weight").unwrap().1 = vec![4, 5];
    });
    refused(&["layer.0.query.weight_scale = shape [4, 2]", "[2, 4]"], |tensors, _| {
        tensors.get_mut("layer.0.query.weight_scale").unwrap().1 = vec![4, 2];
    });
    refused(&["layer.0.query.order = shape [2, 3]", "[any]"], |tensors, _| {
        tensors.get_mut("layer.0.query.order").unwrap().1 = vec![2, 3];
    });
    refused(&["layer.0.dense.weight", "no outputs"], |tensors, _| {
        tensors.insert("layer.0.dense.weight".to_owned(), (Dtype::I8, vec![0, 4], vec![]));
        tensors.insert("layer.0.dense.weight_scale".to_owned(), (Dtype::F32, vec![1, 0], vec![]));
        tensors.insert("layer.0.dense.bias".to_owned(), (Dtype::F32, vec![0], vec![]));
    });
}

#[test]
fn an_order_that_is_no_permutation_is_refused() {
    let with = |order: [i32; 6]| {
        move |tensors: &mut Tensors, _: &mut Metadata| {
            tensors.get_mut("layer.0.query.order").unwrap().2 = little_endian(&order);
        }
    };
    refused(&["layer.0.query.order = 3", "twice"], with([3, 0, 1, 2, 3, 5]));
    refused(&["layer.0.query.order = 6", "beyond the 6"], with([3, 0, 1, 2, 4, 6]));
    refused(&["layer.0.query.order = -1", "negative"], with([3, 0, 1, 2, 4, -1]));
}

#[test]
fn groups_that_do_not_sum_up_are_refused() {
    let with = |groups: [i32; 2]| {
        move |tensors: &mut Tensors, _: &mut Metadata| {
            tensors.get_mut("layer.0.query.groups").unwrap().2 = little_endian(&groups);
        }
    };
    refused(&["layer.0.query.groups = [1, 4]", "sum up to the 6"], with([1, 4]));
    refused(&["layer.0.query.groups = [0, 6]", "1 to 65536"], with([0, 6]));
    refused(&["layer.0.query.groups = -2147483648", "negative"], with([6, i32::MIN]));
}

#[test]
fn an_unknown_recipe_or_format_is_refused() {
    refused(&["recipe = \"2\"", "\"1\""], |_, metadata| drop(metadata.insert("recipe".to_owned(), "2".to_owned())));
    refused(&["format = \"pt\"", "\"oxembed-int8\""], |_, metadata| {
        metadata.insert("format".to_owned(), "pt".to_owned());
    });
}

#[test]
fn missing_metadata_are_refused() {
    refused(&["__metadata__.format", "missing"], |_, metadata| metadata.clear());
    for key in ["recipe", "source_sha256", "quality", "sites"] {
        refused(&[&format!("__metadata__.{key}"), "missing"], |_, metadata| drop(metadata.remove(key)));
    }
}

#[test]
fn metadata_that_are_not_json_are_refused() {
    for key in ["quality", "sites"] {
        refused(&[&format!("__metadata__.{key} = {{oops"), "cannot be read"], |_, metadata| {
            metadata.insert(key.to_owned(), "{oops".to_owned());
        });
    }
    refused(&["__metadata__.sites = [1]"], |_, metadata| drop(metadata.insert("sites".to_owned(), "[1]".to_owned())));
    refused(&["source_sha256 = 12", "SHA-256"], |_, metadata| {
        metadata.insert("source_sha256".to_owned(), "12".to_owned());
    });
}

#[test]
fn sites_that_do_not_list_what_is_there_are_refused() {
    let with = |sites: &'static str| {
        move |_: &mut Tensors, metadata: &mut Metadata| drop(metadata.insert("sites".to_owned(), sites.to_owned()))
    };
    refused(&["layer.9.dense.order", "missing"], with(r#"[["layer.9.dense"]]"#));
    refused(&["layer.0.query[0:2].bias", "missing"], with(r#"[["layer.0.query","layer.0.query[0:2]"]]"#));
    refused(&["layer.0.dense", "belongs to no layer"], with(r#"[["layer.0.query","layer.0.fused[4:7]"]]"#));
    refused(&["sites = layer.0.dense", "two layers"], with(r#"[["layer.0.dense"],["layer.0.dense"]]"#));
    refused(&["sites = []", "no layers"], with("[[]]"));
}

#[test]
fn numbers_that_no_kernel_can_use_are_refused() {
    for (name, value) in [("layer.0.dense.weight_scale", f32::NAN), ("layer.0.dense.bias", f32::INFINITY)] {
        refused(&[&format!("{name} = {value}"), "finite"], |tensors, _| {
            tensors.get_mut(name).unwrap().2[4..8].copy_from_slice(&value.to_le_bytes());
        });
    }
    refused(&["layer.0.query.weight = -128"], |tensors, _| {
        tensors.get_mut("layer.0.query.weight").unwrap().2[5] = 0x80;
    });
}

#[test]
fn a_truncated_file_is_refused() {
    let Written { folder: _folder, path } = written();
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let message = QuantizedModel::read(&path).unwrap_err().to_string();
        assert!(message.contains("run `oxembed quantize MODEL` again"), "{message}");
    }
}

#[test]
fn a_missing_file_says_how_to_make_it() {
    let folder = tempfile::tempdir().unwrap();
    let message = QuantizedModel::read(&folder.path().join("int8.safetensors")).unwrap_err().to_string();
    assert!(message.contains("missing") && message.contains("run `oxembed quantize MODEL` again"), "{message}");
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.safetensors");
    let refused = |change: fn(&mut QuantizedModel), words: &str| {
        let mut model = model();
        change(&mut model);
        let message = model.write(&path).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(|model| model.recipe = "2".to_owned(), "recipe is \"2\"");
    refused(|model| model.source_sha256.make_ascii_uppercase(), "source_sha256");
    refused(|model| model.quality.minimum = f64::NAN, "quality");
    refused(|model| model.sites[1].linears[0].key = "layer.0.query".to_owned(), "two layers have the key");
    refused(|model| model.sites[1].linears[0].bias[0] = f32::NAN, "layer.0.dense.bias = NaN");
    assert!(!path.exists());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error() {
    let message = model().write(&written().folder.path().join("no/such/int8.safetensors")).unwrap_err().to_string();
    assert!(message.contains("cannot be written"), "{message}");
}
