use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;

fn key(number: u64) -> Key {
    // As the real ones are: in no order.
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn row(number: u64, width: usize) -> Arc<CachedRow> {
    let values = (0..width).map(|place| number as f32 + place as f32 / 1000.0).collect();
    Arc::new(CachedRow { values, tokens: u32::try_from(number).unwrap(), is_truncated: number.is_multiple_of(2) })
}

fn batch(numbers: std::ops::Range<u64>, width: usize) -> Vec<(Key, Arc<CachedRow>)> {
    numbers.map(|number| (key(number), row(number, width))).collect()
}

#[test]
fn rows_outlive_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/rows");
    let store = DiskStore::open(&path, LEAST_BYTES).unwrap();
    assert_eq!(store.contents().unwrap(), Contents::default());
    assert_eq!(store.write(&batch(0..5, 384)).unwrap().rows, 5);
    // What is there already stays as it is.
    assert_eq!(store.write(&batch(3..7, 384)).unwrap().rows, 7);
    drop(store);
    let store = DiskStore::open(&path, LEAST_BYTES).unwrap();
    let found = store.read(&[key(6), key(7), key(0)]).unwrap();
    assert_eq!(found, [Some(row(6, 384)), None, Some(row(0, 384))]);
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
}

#[test]
fn the_file_is_bounded_and_the_oldest_rows_go() {
    for width in [32, 384, 768, 1024, 4096] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let store = DiskStore::open(&path, LEAST_BYTES).unwrap();
        // Twice of what there is room for.
        let count = LEAST_BYTES / room(16 + 4 * width);
        let mut evicted = 0;
        for start in (0..count).step_by(512) {
            evicted += store.write(&batch(start..(start + 512).min(count), width)).unwrap().evicted;
            let length = fs::metadata(&path).unwrap().len();
            assert!(length <= LEAST_BYTES, "{width}: {length} bytes");
        }
        let contents = store.contents().unwrap();
        assert_eq!(contents.rows + evicted, count);
        let keys: Vec<Key> = (0..count).map(key).collect();
        let found: Vec<bool> = store.read(&keys).unwrap().iter().map(Option::is_some).collect();
        // The last ones, all of them, and none before.
        let first = usize::try_from(evicted).unwrap();
        assert!(evicted > 0 && found.iter().enumerate().all(|(place, found)| *found == (place >= first)), "{width}");
    }
}

#[test]
fn a_file_that_is_allowed_less_than_before_becomes_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let store = DiskStore::open(&path, 8 * LEAST_BYTES).unwrap();
    for start in (0..8192).step_by(512) {
        store.write(&batch(start..start + 512, 768)).unwrap();
    }
    drop(store);
    assert!(fs::metadata(&path).unwrap().len() > LEAST_BYTES);
    let store = DiskStore::open(&path, LEAST_BYTES).unwrap();
    assert!(fs::metadata(&path).unwrap().len() <= LEAST_BYTES);
    let rows = store.contents().unwrap().rows;
    assert!(rows > 0);
    let found = store.read(&[key(8191), key(8191 - rows)]).unwrap();
    assert_eq!(found, [Some(row(8191, 768)), None]);
}

#[test]
fn what_is_no_store_of_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    fs::write(&path, "a diary, which nobody may overwrite").unwrap();
    DiskStore::open(&path, LEAST_BYTES).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a diary, which nobody may overwrite");

    let other = folder.path().join("other");
    let database = Database::create(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("accounts")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    let error = DiskStore::open(&other, LEAST_BYTES).unwrap_err();
    assert!(error.contains("another process"), "{error}");
    drop(database);
    let error = DiskStore::open(&other, LEAST_BYTES).unwrap_err();
    assert!(error.contains("another program") && error.contains("accounts"), "{error}");
    assert!(DiskStore::open(folder.path(), LEAST_BYTES).is_err(), "a folder");
}

#[test]
fn a_changed_byte_is_found_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    DiskStore::open(&path, LEAST_BYTES).unwrap().write(&batch(0..40, 384)).unwrap();
    let whole = fs::read(&path).unwrap();
    let keys: Vec<Key> = (0..40).map(key).collect();
    let mut found = 0;
    for place in (0..whole.len()).step_by(whole.len() / 97) {
        let mut changed = whole.clone();
        changed[place] ^= 0x5a;
        fs::write(&path, &changed).unwrap();
        match DiskStore::open(&path, LEAST_BYTES).and_then(|store| store.read(&keys)) {
            Err(_) => found += 1,
            Ok(rows) => {
                for (number, read) in (0..).zip(rows) {
                    assert!(read.is_none_or(|read| read == row(number, 384)), "byte {place}");
                }
            }
        }
    }
    assert!(found > 0);
    for part in [1, 100, whole.len() / 2] {
        fs::write(&path, &whole[..part]).unwrap();
        assert!(DiskStore::open(&path, LEAST_BYTES).is_err(), "{part} bytes of {}", whole.len());
    }
}

/// A disk that can be broken.
#[derive(Debug)]
struct Disk(InMemoryBackend, Arc<AtomicBool>);

impl Disk {
    fn works(&self) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.works().and_then(|()| self.0.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.works().and_then(|()| self.0.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.works().and_then(|()| self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.works()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.works().and_then(|()| self.0.write(offset, data))
    }
}

/// A store, and what breaks its disk.
pub(in crate::serve::cache) fn on_a_disk_that_breaks() -> (DiskStore, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let disk = Disk(InMemoryBackend::new(), Arc::clone(&broken));
    let database = Builder::new().set_cache_size(0).create_with_backend(disk).unwrap();
    (DiskStore::new(database, LEAST_BYTES).unwrap(), broken)
}

#[test]
fn a_disk_that_breaks_is_an_error() {
    let (store, broken) = on_a_disk_that_breaks();
    store.write(&batch(0..3, 8)).unwrap();
    broken.store(true, Ordering::Relaxed);
    assert!(store.write(&batch(3..6, 8)).unwrap_err().contains("the disk is gone"));
    assert!(store.read(&[key(0)]).is_err());
}
