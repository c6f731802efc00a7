//! Files of a folder that hold a model and are not read.

use std::ffi::OsStr;
use std::path::Path;

/// Endings of files with weights or graphs, ours and others'.
const ENDINGS: [&str; 9] = ["bin", "ckpt", "gguf", "h5", "msgpack", "onnx", "pt", "pth", "safetensors"];
/// Entries that are looked at: a folder of a million files is no model.
const MAX_ENTRIES: usize = 10_000;
/// Folders inside folders.
const MAX_DEPTH: usize = 3;

/// The name of `path` relative to `folder`.
pub fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// Model files in `folder` other than `used`; where a safetensors file is used, so may be others of its kind.
pub fn unused(folder: &Path, used: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = MAX_ENTRIES;
    collect(folder, folder, MAX_DEPTH, &mut left, &mut found);
    let uses_safetensors = used.is_some_and(|used| used.ends_with(".safetensors"));
    found.retain(|name| Some(name.as_str()) != used && !(uses_safetensors && name.ends_with(".safetensors")));
    found.sort_unstable();
    found
}

fn collect(root: &Path, folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<String>) {
    // A folder that may not be read holds nothing that would be.
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.filter_map(std::result::Result::ok) {
        let Some(less) = left.checked_sub(1) else { return };
        *left = less;
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 1 {
            collect(root, &path, depth - 1, left, found);
        } else if is_model(&path) {
            found.push(relative(root, &path));
        }
    }
}

fn is_model(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    // Other files end in .bin too: settings for training, tokenizers.
    ENDINGS.contains(&ending) && (ending != "bin" || name.contains("model")) && path.is_file()
}
