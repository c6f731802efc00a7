//! Files that are not what their name says, and weights that other programs keep: recognized, never opened as such.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A file's first bytes and what a file that starts with them is.
const STARTS: &[(&[u8], &str)] = &[
    (
        b"version https://git-lfs.github.com/spec/",
        "this is a Git LFS pointer, not the file itself: run `git lfs install` and `git lfs pull` in the folder",
    ),
    (b"<!DOCTYPE html", "this is a web page, such as an error or a login, not the file: download it again"),
    (b"<html", "this is a web page, such as an error or a login, not the file: download it again"),
    (b"<?xml", "this is an XML document, such as a server's error, not the file: download it again"),
    (
        b"PK\x03\x04",
        "this is a ZIP archive, as torch.save writes it: it can run code when it is read and is never opened",
    ),
    (b"\x80\x02", "this is a Python pickle: it runs code when it is read and is never opened"),
    (b"\x80\x04", "this is a Python pickle: it runs code when it is read and is never opened"),
    (b"GGUF", "this is a GGUF file, as llama.cpp reads it; safetensors is understood"),
    (b"\x89HDF\r\n\x1a\n", "this is an HDF5 file, as TensorFlow writes it; safetensors is understood"),
];

/// Bytes at the start of a file that are looked at.
pub const START_BYTES: usize = 512;

/// What a file that starts with `bytes` is, where it is something that often stands under a wrong name.
pub fn recognize(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.get(..START_BYTES).unwrap_or(bytes).trim_ascii_start();
    let starts_with = |start: &[u8]| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
    STARTS.iter().find(|(start, _)| starts_with(start)).map(|(_, meaning)| *meaning)
}

/// As [`recognize`], for a file that another program will read.
pub fn recognize_file(path: &Path) -> Option<&'static str> {
    let mut start = Vec::new();
    // What cannot be read here is told by the program that reads it.
    File::open(path).ok()?.take(START_BYTES as u64).read_to_end(&mut start).ok()?;
    recognize(&start)
}

/// Ends of file names and what to do about weights of that kind; the first that a folder has counts.
const FORMATS: &[(&str, &str)] = &[
    ("pytorch_model.bin", PICKLE),
    ("pytorch_model.bin.index.json", PICKLE),
    (".bin", PICKLE),
    (".pt", PICKLE),
    (".pth", PICKLE),
    (".ckpt", PICKLE),
    (".pkl", PICKLE),
    (
        ".h5",
        "is TensorFlow's and not read; convert it once in Python with transformers 4: \
         AutoModel.from_pretrained(folder, from_tf=True).save_pretrained(folder)",
    ),
    (
        ".msgpack",
        "is Flax's and not read; convert it once in Python with transformers 4: \
         AutoModel.from_pretrained(folder, from_flax=True).save_pretrained(folder)",
    ),
    (
        ".gguf",
        "is llama.cpp's, quantized, and not read; take the original model, which the file was made of: its \
         repository has model.safetensors",
    ),
    (
        ".safetensors",
        "has another name than the ones that are read, model.safetensors and, for several files, \
         model.safetensors.index.json; if it holds the whole model, rename it",
    ),
];

const PICKLE: &str = "runs code when it is read and is therefore never opened; convert it once in Python, where you trust \
                      the model: SentenceTransformer(folder).save_pretrained(folder) writes model.safetensors";

/// Files of a model folder that end as weights do and hold something else.
const OTHER_FILES: &[&str] = &["training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"];

/// What to do about a folder whose weights are of another kind: a sentence that names the file.
pub fn other_weights(folder: &Path) -> Option<String> {
    // A folder that cannot be listed has told so already, or will when its files are read.
    let entries = folder.read_dir().ok()?;
    let names: Vec<String> =
        entries.flatten().take(MAX_ENTRIES).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.retain(|name| !OTHER_FILES.contains(name));
    names.sort_unstable();
    FORMATS.iter().find_map(|(end, help)| {
        let name = names.iter().find(|name| name.ends_with(end))?;
        Some(format!("{name} {help}"))
    })
}

/// Repositories have a few dozen files; of a folder with a million, some are enough for a hint.
const MAX_ENTRIES: usize = 10_000;
