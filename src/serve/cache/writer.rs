//! The file behind the memory: read where the memory has not what is asked for, written by a thread of its own, and left
//! alone once it fails.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::counters::Counters;
use super::disk::{DiskStore, Entry};
use super::key::Key;
use super::row::CachedRow;

/// Rows that wait to be written; more are dropped.
const QUEUE: usize = 8192;
/// Most rows that are taken from the queue at once.
const BATCH: usize = 512;

/// The file, and the thread that writes to it.
#[derive(Debug)]
pub(crate) struct DiskCache {
    path: PathBuf,
    store: Arc<DiskStore>,
    state: Arc<State>,
    /// None once it is closed.
    queue: Mutex<Option<SyncSender<Entry>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    counters: Arc<Counters>,
    has_failed: AtomicBool,
}

impl DiskCache {
    /// Over a store that is open; `path` is named where it fails.
    ///
    /// # Errors
    /// The system's, where no thread can be started.
    pub fn start(path: &Path, store: DiskStore, counters: Arc<Counters>) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let (store, state) = (Arc::new(store), Arc::new(State { counters, has_failed: AtomicBool::new(false) }));
        let (written, shared, name) = (Arc::clone(&store), Arc::clone(&state), path.to_owned());
        let write = move || write_all(&receiver, &written, &shared, &name);
        let thread = std::thread::Builder::new().name("oxembed-cache".to_owned()).spawn(write)?;
        Ok(Self {
            path: path.to_owned(),
            store,
            state,
            queue: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The rows under `keys`; none once the file has failed. It blocks.
    pub fn read(&self, keys: &[Key]) -> Vec<Option<Arc<CachedRow>>> {
        if !self.state.has_failed.load(Ordering::Acquire) {
            match self.store.read(keys) {
                Ok(rows) => return rows,
                Err(error) => self.state.fail(&self.path, &error),
            }
        }
        vec![None; keys.len()]
    }

    /// Has the row written some time; not at all where too many wait.
    pub fn write(&self, key: Key, row: Arc<CachedRow>) {
        if self.state.has_failed.load(Ordering::Acquire) {
            return;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.as_ref().is_some_and(|queue| queue.try_send((key, row)).is_err()) {
            self.state.counters.dropped_writes.inc();
        }
    }

    /// Writes what waits, and returns when it is there.
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(path = %self.path.display(), "the thread that writes the cache went away");
        }
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    /// The service goes on without the file: once said, always counted.
    fn fail(&self, path: &Path, error: &str) {
        self.counters.errors.inc();
        if !self.has_failed.swap(true, Ordering::AcqRel) {
            tracing::error!(
                path = %path.display(), error,
                "the cache on disk failed and is not used any more; without it the service is as right and slower"
            );
        }
    }
}

fn write_all(queue: &Receiver<Entry>, store: &DiskStore, state: &State, path: &Path) {
    // Ends when nobody can send any more.
    while let Ok(first) = queue.recv() {
        let batch: Vec<Entry> = std::iter::once(first).chain(queue.try_iter().take(BATCH - 1)).collect();
        if state.has_failed.load(Ordering::Acquire) {
            return;
        }
        match store.write(&batch) {
            Ok(contents) => state.counters.on_disk(&contents),
            Err(error) => return state.fail(path, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk;
    use super::*;

    fn row() -> Arc<CachedRow> {
        Arc::new(CachedRow { values: [1.0, 2.0].into(), tokens: 3, is_truncated: false })
    }

    #[test]
    fn what_was_sent_is_written_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let open = || {
            let store = DiskStore::open(&path, disk::LEAST_BYTES).unwrap();
            DiskCache::start(&path, store, Arc::default()).unwrap()
        };
        let cache = open();
        (0..200).for_each(|number| cache.write([number; 32], row()));
        cache.close();
        cache.write([255; 32], row());
        drop(cache);
        let cache = open();
        assert_eq!(cache.read(&[[0; 32], [199; 32], [255; 32]]), [Some(row()), Some(row()), None]);
    }

    #[test]
    fn a_file_that_fails_is_left_alone() {
        let (store, broken) = disk::tests::on_a_disk_that_breaks();
        let counters = Arc::<Counters>::default();
        let cache = DiskCache::start(Path::new("the file"), store, Arc::clone(&counters)).unwrap();
        broken.store(true, Ordering::Relaxed);
        assert_eq!(cache.read(&[[1; 32]]), [None]);
        // It would work again, and nobody asks.
        broken.store(false, Ordering::Relaxed);
        assert_eq!(cache.read(&[[1; 32]]), [None]);
        cache.write([1; 32], row());
        cache.close();
        assert_eq!((counters.errors.get(), counters.dropped_writes.get()), (1, 0));
    }
}
