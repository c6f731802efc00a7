//! Whether a mapped file is still the one that was mapped.
//!
//! A file that is replaced by renaming goes on living for who mapped it. One that is written to in place changes under
//! the model: its vectors would be wrong, and reading behind a new end would end the process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::identity::Identity;

/// Asking takes a round trip where the file is on another machine, so it is done once a second at most.
const INTERVAL_MS: u64 = 1000;
/// Pieces of a file that are compared, spread over it, and their bytes.
const PIECES: usize = 64;
const PIECE_BYTES: usize = 64;

/// What a file was when it was mapped.
#[derive(Debug)]
pub struct FileState {
    identity: Option<Identity>,
    sample: blake3::Hash,
    start: Instant,
    /// Milliseconds from the start to when it is asked next.
    next: AtomicU64,
    /// Once it has: what was mapped stays spoiled, whatever takes its name.
    has_changed: AtomicBool,
}

impl FileState {
    /// The state of the file `path`, whose bytes are `bytes`.
    pub fn of(path: &Path, bytes: &[u8]) -> Self {
        let (start, next) = (Instant::now(), AtomicU64::new(INTERVAL_MS));
        Self { identity: Identity::of(path), sample: sample(bytes), start, next, has_changed: AtomicBool::new(false) }
    }

    /// True once a second, for one of the threads that ask.
    fn is_due(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(INTERVAL_MS);
        now >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// True where the file at `path` is the one of then and holds something else; asked once a second at most.
    ///
    /// Of a file that is as long as it was, pieces are compared: its time alone may change without it.
    pub fn has_changed(&self, path: &Path, bytes: &[u8]) -> bool {
        if self.has_changed.load(Ordering::Relaxed) {
            return true;
        }
        let Some(then) = self.identity.filter(|_| self.is_due()) else { return false };
        let Some(now) = Identity::of(path).filter(|now| now.file == then.file && *now != then) else { return false };
        let changed = now.length != then.length || sample(bytes) != self.sample;
        self.has_changed.store(changed, Ordering::Relaxed);
        changed
    }
}

fn sample(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let step = (bytes.len() / PIECES).max(PIECE_BYTES);
    for piece in bytes.chunks(step) {
        hasher.update(piece.get(..PIECE_BYTES).unwrap_or(piece));
    }
    hasher.finalize()
}
