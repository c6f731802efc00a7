//! What a model is, in a few letters: a hash of its weights, computed once.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::cache::write_whole;
use crate::source::Origin;

/// The hash of the weights or of the ONNX file. With a `cache` that can be written to, the hash of a file that did not change
/// since (by size and time) is read from there: hashing takes a second for some gigabytes.
///
/// `None` where the file cannot be read.
pub fn fingerprint(origin: &Origin, cache: Option<&Path>) -> Option<String> {
    let files = match origin {
        Origin::Weights(_, weights) => weights.files(),
        Origin::File(path) => vec![path.clone()],
    };
    let mut whole = blake3::Hasher::new();
    for file in files {
        whole.update(hash_of(&file, cache.map(|cache| cache.join("fingerprints")).as_deref())?.as_bytes());
    }
    Some(whole.finalize().to_hex().to_string())
}

/// The hash of one file; read from `folder` where it is known there. `None` where the file cannot be read.
pub(crate) fn hash_of(file: &Path, folder: Option<&Path>) -> Option<String> {
    let metadata = fs::metadata(file).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let state = format!("{} {modified}", metadata.len());
    let name = file.canonicalize().ok()?;
    let name = blake3::hash(name.as_os_str().as_encoded_bytes()).to_hex();
    let known = folder.map(|folder| folder.join(name.as_str()));
    let text = known.as_ref().and_then(|known| fs::read_to_string(known).ok());
    if let Some((hash, then)) = text.as_ref().and_then(|text| text.split_once('\n'))
        && then == state
    {
        return Some(hash.to_owned());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(file).ok()?;
    let hash = hasher.finalize().to_hex().to_string();
    if let Some(known) = known {
        write_whole(&known, &format!("{hash}\n{state}"));
    }
    Some(hash)
}
