//! Rows that were computed before: in memory, and behind it in a file. Off unless asked for.
//!
//! A row is kept under a hash of everything that it depends on (`key`), so a model that is swapped for another version finds
//! none of the old ones. It is kept bit for bit, with what its text took, so that an answer does not tell whether its rows
//! were kept. Two requests that miss the same text at the same time both compute it: one would have to wait for the
//! other's whole batch.

mod counters;
mod disk;
mod key;
mod request;
mod row;
mod writer;

use std::path::Path;
use std::sync::Arc;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

pub(crate) use disk::LEAST_BYTES;
pub(crate) use key::{CommonKey, Key};
pub(crate) use request::{Computed, PartlyKnown};
pub(crate) use row::CachedRow;

use counters::Counters;
use disk::{Contents, DiskStore};
use writer::DiskCache;

use super::failure::ServeError;
use super::settings::Settings;

/// Rows that were computed before.
#[derive(Debug)]
pub(crate) struct EmbeddingCache {
    memory: Option<Cache<Key, Arc<CachedRow>>>,
    disk: Option<Arc<DiskCache>>,
    counters: Arc<Counters>,
}

impl EmbeddingCache {
    /// As the settings want it; none where they want none.
    ///
    /// # Errors
    /// [`ServeError::Cache`] that names the file where it cannot be used.
    pub fn open(settings: &Settings) -> Result<Option<Arc<Self>>, ServeError> {
        if settings.cache_bytes == 0 && settings.cache_path.is_none() {
            return Ok(None);
        }
        let counters = Arc::<Counters>::default();
        let disk = match &settings.cache_path {
            None => None,
            Some(path) => Some(Arc::new(open_disk(path, settings.cache_disk_bytes, &counters)?)),
        };
        let memory = (settings.cache_bytes > 0).then(|| in_memory(settings.cache_bytes, &counters));
        Ok(Some(Arc::new(Self { memory, disk, counters })))
    }

    /// What is kept under each of `keys`. Where texts over the limit are refused, a row of one that was cut is none.
    pub async fn find(&self, keys: &[Key], refuse_truncated: bool) -> Vec<Option<Arc<CachedRow>>> {
        let is_right = |row: &Arc<CachedRow>| !(refuse_truncated && row.is_truncated);
        let kept = |key: &Key| self.memory.as_ref()?.get(key).filter(is_right);
        let mut rows: Vec<_> = keys.iter().map(kept).collect();
        let mut misses = rows.iter().filter(|row| row.is_none()).count();
        self.counters.memory_hits.inc_by((keys.len() - misses) as u64);
        if let Some(disk) = self.disk.as_ref().filter(|_| misses > 0) {
            let missing: Vec<Key> =
                keys.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(key, _)| *key).collect();
            let mut found = read(disk, missing).await.into_iter();
            for (key, place) in keys.iter().zip(&mut rows).filter(|(_, row)| row.is_none()) {
                if let Some(row) = found.next().flatten() {
                    if let Some(memory) = &self.memory {
                        memory.insert(*key, Arc::clone(&row));
                    }
                    *place = Some(row).filter(is_right);
                }
            }
            let still = rows.iter().filter(|row| row.is_none()).count();
            self.counters.disk_hits.inc_by((misses - still) as u64);
            misses = still;
        }
        self.counters.misses.inc_by(misses as u64);
        rows
    }

    /// Keeps a row.
    pub fn keep(&self, key: Key, row: CachedRow) {
        let row = Arc::new(row);
        if let Some(disk) = &self.disk {
            disk.write(key, Arc::clone(&row));
        }
        if let Some(memory) = &self.memory {
            memory.insert(key, row);
        }
    }

    /// Writes to the file what waits for it. It blocks.
    pub fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }

    fn in_memory(&self) -> Contents {
        self.memory.as_ref().map_or_else(Contents::default, |memory| {
            memory.run_pending_tasks();
            let evicted = self.counters.memory_evictions.get();
            Contents { rows: memory.entry_count(), bytes: memory.weighted_size(), evicted }
        })
    }
}

impl Collector for EmbeddingCache {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.counters.encode(&mut encoder, &self.in_memory(), self.disk.is_some())
    }
}

fn in_memory(bytes: u64, counters: &Arc<Counters>) -> Cache<Key, Arc<CachedRow>> {
    let counters = Arc::clone(counters);
    // A row that takes the place of the same one is not evicted.
    let removed = move |_: Arc<Key>, _: Arc<CachedRow>, cause: RemovalCause| {
        if cause == RemovalCause::Size {
            counters.memory_evictions.inc();
        }
    };
    let weigh = |_: &Key, row: &Arc<CachedRow>| row.bytes();
    Cache::builder().max_capacity(bytes).weigher(weigh).eviction_listener(removed).build()
}

fn open_disk(path: &Path, limit: u64, counters: &Arc<Counters>) -> Result<DiskCache, ServeError> {
    let failed = |message: String| ServeError::Cache { path: path.to_owned(), message };
    let store = DiskStore::open(path, limit).map_err(failed)?;
    counters.on_disk(&store.contents().map_err(failed)?);
    DiskCache::start(path, store, Arc::clone(counters)).map_err(|error| failed(error.to_string()))
}

/// Where the disk may take its time.
async fn read(disk: &Arc<DiskCache>, keys: Vec<Key>) -> Vec<Option<Arc<CachedRow>>> {
    let (count, disk) = (keys.len(), Arc::clone(disk));
    tokio::task::spawn_blocking(move || disk.read(&keys)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "reading the cache was lost");
        vec![None; count]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: f32, is_truncated: bool) -> CachedRow {
        CachedRow { values: vec![number; 100].into(), tokens: 5, is_truncated }
    }

    fn settings(bytes: u64, path: Option<&Path>) -> Settings {
        Settings { cache_bytes: bytes, cache_path: path.map(Path::to_owned), ..Settings::default() }
    }

    fn opened(settings: &Settings) -> Arc<EmbeddingCache> {
        EmbeddingCache::open(settings).unwrap().unwrap()
    }

    #[test]
    fn none_unless_asked_for() {
        assert!(EmbeddingCache::open(&Settings::default()).unwrap().is_none());
    }

    #[tokio::test]
    async fn rows_of_cut_texts_are_for_those_who_let_them_be_cut() {
        let cache = opened(&settings(1 << 20, None));
        cache.keep([1; 32], row(1.0, true));
        cache.keep([2; 32], row(2.0, false));
        let keys = [[1; 32], [2; 32], [3; 32]];
        let found = |rows: Vec<Option<_>>| rows.iter().map(Option::is_some).collect::<Vec<_>>();
        assert_eq!(found(cache.find(&keys, false).await), [true, true, false]);
        assert_eq!(found(cache.find(&keys, true).await), [false, true, false]);
        assert_eq!((cache.counters.memory_hits.get(), cache.counters.misses.get()), (3, 3));
    }

    #[tokio::test]
    async fn the_memory_is_bounded() {
        let cache = opened(&settings(100_000, None));
        for number in 0..=255 {
            cache.keep([number; 32], row(f32::from(number), false));
        }
        let contents = cache.in_memory();
        // A row takes 656 bytes as it is counted.
        assert!(contents.bytes <= 100_000 && contents.rows >= 100, "{contents:?}");
        assert_eq!(contents.rows + contents.evicted, 256);
    }

    #[tokio::test]
    async fn what_the_memory_lost_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let cache = opened(&settings(0, Some(&path)));
        cache.keep([1; 32], row(1.0, false));
        cache.close();
        drop(cache);
        let cache = opened(&settings(1 << 20, Some(&path)));
        for _ in 0..2 {
            let found = cache.find(&[[1; 32]], false).await;
            assert_eq!(found, [Some(Arc::new(row(1.0, false)))]);
        }
        // The second time it was in memory again.
        assert_eq!((cache.counters.disk_hits.get(), cache.counters.memory_hits.get()), (1, 1));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        std::fs::write(&path, "something else").unwrap();
        let error = EmbeddingCache::open(&settings(0, Some(&path))).unwrap_err();
        assert!(error.to_string().contains("a file"), "{error}");
    }
}
