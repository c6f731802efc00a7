//! Files are written whole or not at all, weights inside or beside them.

use std::cell::Cell;

use tempfile::TempDir;

use super::*;

const MODEL: &str = "tests/fixtures/bert-mean-prompts";

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn export_with(largest_inside: usize, output: &Path, watch: &mut ExportWatch<'_>) -> Result<Exported> {
    export_within(largest_inside, MODEL.as_ref(), output, &ExportOptions::default(), watch)
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn tensors(path: &Path) -> Vec<TensorProto> {
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap().graph.unwrap().initializer
}

fn entry(tensor: &TensorProto, key: &str) -> String {
    tensor.external_data.iter().find(|entry| entry.key == key).unwrap().value.clone()
}

#[test]
fn weights_outside_are_the_same_bytes_at_aligned_places() {
    let folder = TempDir::new().unwrap();
    let (inside, outside) = (folder.path().join("inside.onnx"), folder.path().join("outside.onnx"));
    let whole = export_with(usize::MAX, &inside, &mut go_on).unwrap();
    let limit = whole.weight_bytes;
    assert_eq!(export_with(limit, &inside, &mut go_on).unwrap().data_path, None);
    let apart = export_with(limit - 1, &outside, &mut go_on).unwrap();
    let data_path = folder.path().join("outside.onnx.data");
    assert_eq!(apart, Exported { path: outside.clone(), data_path: Some(data_path.clone()), ..whole });
    assert_eq!(files(folder.path()), ["inside.onnx", "outside.onnx", "outside.onnx.data"]);

    let data = std::fs::read(&data_path).unwrap();
    let (mut end, mut bytes) = (0, 0);
    for (inner, outer) in tensors(&inside).iter().zip(&tensors(&outside)) {
        assert_eq!((&inner.name, &inner.dims, inner.data_type), (&outer.name, &outer.dims, outer.data_type));
        if outer.data_location != DATA_LOCATION_EXTERNAL {
            assert_eq!(inner.raw_data, outer.raw_data);
            continue;
        }
        let number = |key| entry(outer, key).parse::<usize>().unwrap();
        let (offset, length) = (number("offset"), number("length"));
        assert_eq!(entry(outer, "location"), "outside.onnx.data");
        assert!(offset.is_multiple_of(ALIGNMENT) && offset >= end, "{offset} {end}");
        assert!(data[offset..offset + length] == inner.raw_data, "{}", inner.name);
        assert!(outer.raw_data.is_empty());
        (end, bytes) = (offset + length, bytes + length);
    }
    assert_eq!((bytes, end), (whole.weight_bytes, data.len()));
}

/// ONNX Runtime reads weights that are outside, and the vectors are those of the model's own folder.
#[test]
fn weights_outside_are_found() {
    let folder = TempDir::new().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"] {
        std::fs::copy(Path::new(MODEL).join(name), folder.path().join(name)).unwrap();
    }
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    std::fs::copy(Path::new(MODEL).join("1_Pooling/config.json"), folder.path().join("1_Pooling/config.json")).unwrap();
    std::fs::create_dir(folder.path().join("onnx")).unwrap();
    export_with(0, &folder.path().join("onnx/model.onnx"), &mut go_on).unwrap();
    assert_eq!(files(&folder.path().join("onnx")), ["model.onnx", "model.onnx.data"]);
    let [ours, theirs] = [folder.path(), MODEL.as_ref()].map(|model| {
        let embedder = crate::Embedder::load(model).unwrap();
        embedder.encode(&["one text", "and a longer one beside it"], &crate::EncodeOptions::default()).unwrap().vectors
    });
    assert_eq!(ours.dim(), theirs.dim());
    assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| (ours - theirs).abs() < 1e-6));
}

#[test]
fn a_file_that_cannot_be_whole_leaves_what_was_there() {
    for largest_inside in [0, usize::MAX] {
        let folder = TempDir::new().unwrap();
        let output = folder.path().join("model.onnx");
        std::fs::write(&output, "old").unwrap();
        // The data file is whole when the model's own fails: neither may appear.
        std::fs::create_dir(folder.path().join("model.onnx.partial")).unwrap();
        let error = export_with(largest_inside, &output, &mut go_on).unwrap_err();
        assert!(matches!(error, EmbeddingError::InvalidInput { .. }), "{error:?}");
        assert!(error.to_string().contains("model.onnx cannot be written: "), "{error}");
        assert_eq!(files(folder.path()), ["model.onnx", "model.onnx.partial"]);
        assert_eq!(std::fs::read(&output).unwrap(), b"old");
    }
}

#[test]
fn who_gives_up_gets_no_file() {
    for largest_inside in [0, usize::MAX] {
        let asked = Cell::new(0);
        let folder = TempDir::new().unwrap();
        let output = folder.path().join("model.onnx");
        export_with(largest_inside, &output, &mut || {
            asked.set(asked.get() + 1);
            ControlFlow::Continue(())
        })
        .unwrap();
        let old = std::fs::read(&output).unwrap();
        let before = files(folder.path());
        for last in 0..asked.get() {
            let left = Cell::new(last);
            let outcome = export_with(largest_inside, &output, &mut || match left.get() {
                0 => ControlFlow::Break(()),
                more => {
                    left.set(more - 1);
                    ControlFlow::Continue(())
                }
            });
            assert!(matches!(outcome, Err(EmbeddingError::Cancelled)), "{last}: {outcome:?}");
            assert_eq!(files(folder.path()), before);
            assert!(std::fs::read(&output).unwrap() == old);
        }
    }
}

#[test]
fn the_name_says_that_it_is_onnx() {
    let folder = TempDir::new().unwrap();
    for name in ["model", "model.safetensors", "config.json", ".onnx", "onnx", "model.onnx.data"] {
        let error = export_with(0, &folder.path().join(name), &mut go_on).unwrap_err().to_string();
        assert!(error.contains("the name has to end in .onnx"), "{error}");
    }
    std::fs::create_dir(folder.path().join("folder.onnx")).unwrap();
    let error = export_with(0, &folder.path().join("folder.onnx"), &mut go_on).unwrap_err().to_string();
    assert!(error.contains("it is a folder"), "{error}");
    assert_eq!(files(folder.path()), ["folder.onnx"]);
    assert_eq!(export_with(0, &folder.path().join("MODEL.ONNX"), &mut go_on).unwrap().inputs.len(), 4);
}
