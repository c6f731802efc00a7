//! Which file a path names, and how long and how new it is: what tells that a file is another, or was written to.

use std::path::Path;
use std::time::SystemTime;

/// A file as the system knows it, without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Device and number of the file; the same for all where the system has none.
    pub file: (u64, u64),
    /// Bytes.
    pub length: u64,
    modified: Option<SystemTime>,
}

impl Identity {
    /// The file at `path`, behind links; `None` where there is none, or it cannot be asked.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { file: number(&metadata), length: metadata.len(), modified: metadata.modified().ok() })
    }
}

#[cfg(unix)]
fn number(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn number(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}
