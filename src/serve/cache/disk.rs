//! Rows in a file, which outlive the process: an embedded store, bounded, of which the oldest rows go.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableHandle,
};

use super::key::Key;
use super::row::CachedRow;
use crate::cache::make_folder;
use crate::tokenization::quiet::quietly;

/// Rows by key.
const ROWS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("rows");
/// Keys in the order in which their rows came.
const ORDER: TableDefinition<'static, u64, &[u8; 32]> = TableDefinition::new("order");
/// What is to be known of the file.
const FACTS: TableDefinition<'static, &str, u64> = TableDefinition::new("facts");

/// Of what lies in the tables; another number is another program's file.
const FORMAT: u64 = 1;
const FORMAT_FACT: &str = "oxembed cache format";
/// Number of the next row.
const NEXT_FACT: &str = "next";
/// Room that all rows take, as [`room`] counts it.
const TAKEN_FACT: &str = "taken";

/// The least that a file can be bounded to; the store has pages of its own.
pub(crate) const LEAST_BYTES: u64 = 16 << 20;
/// Pages of the file that the store keeps in memory. Rows that are asked for often are in the cache in front of it.
const PAGE_CACHE: usize = 8 << 20;
const PAGE: usize = 4096;
/// Bytes of a row in the file beside what it is stored as: its key, twice, and its place in both tables.
const BESIDE: usize = 128;

/// A row and what it is found by.
pub(super) type Entry = (Key, Arc<CachedRow>);

/// Rows in a file.
#[derive(Debug)]
pub(crate) struct DiskStore {
    database: Database,
    /// Most room that rows may take.
    budget: u64,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Rows.
    pub rows: u64,
    /// Room that they take, as it is counted against the limit.
    pub bytes: u64,
    /// Rows that had to go, since the store was opened.
    pub evicted: u64,
}

/// What went wrong with the file, in the words of the store.
type Result<T> = std::result::Result<T, String>;

impl DiskStore {
    /// Opens the file, or makes a new one, that is to grow to `limit` bytes at most. All of an old one is read, to see
    /// that nobody has changed it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        make(path)?;
        let open = || Builder::new().set_cache_size(PAGE_CACHE).set_check_integrity_on_open(true).create(path);
        let database = opened(quietly(open).ok_or_else(|| "its content makes no sense".to_owned())?)?;
        let mut store = Self::new(database, limit)?;
        if std::fs::metadata(path).map_err(said)?.len() > limit {
            store.shrink()?;
        }
        Ok(store)
    }

    /// Makes a file smaller that was allowed more before.
    fn shrink(&mut self) -> Result<()> {
        self.write(&[])?;
        self.database.compact().map_err(said)?;
        Ok(())
    }

    /// Over a database that is open.
    fn new(database: Database, limit: u64) -> Result<Self> {
        // The store doubles its file when it is full, and has pages of its own: less than half of the limit is for rows.
        let store = Self { database, budget: limit / 8 * 3 };
        quietly(|| store.prepare()).ok_or_else(|| "its content makes no sense".to_owned())??;
        Ok(store)
    }

    /// Sees that the tables are ours, or makes them in an empty file.
    fn prepare(&self) -> Result<()> {
        let transaction = self.database.begin_write().map_err(said)?;
        let tables: Vec<String> =
            transaction.list_tables().map_err(said)?.map(|table| table.name().to_owned()).collect();
        let is_new = tables.is_empty();
        {
            if !is_new && !tables.iter().any(|name| name == FACTS.name()) {
                return Err(format!("it is the database of another program, with the tables {}", tables.join(", ")));
            }
            let mut facts = transaction.open_table(FACTS).map_err(said)?;
            if is_new {
                facts.insert(FORMAT_FACT, FORMAT).map_err(said)?;
            }
            let format = facts.get(FORMAT_FACT).map_err(said)?.map(|format| format.value());
            if format != Some(FORMAT) {
                return Err("it was written by another version of oxembed".to_owned());
            }
            transaction.open_table(ROWS).map_err(said)?;
            transaction.open_table(ORDER).map_err(said)?;
        }
        transaction.commit().map_err(said)
    }

    /// The rows under `keys`.
    ///
    /// # Errors
    /// Where the file cannot be read, or what lies there is not what was written.
    pub fn read(&self, keys: &[Key]) -> Result<Vec<Option<Arc<CachedRow>>>> {
        let read = || -> Result<Vec<Option<Arc<CachedRow>>>> {
            let transaction = self.database.begin_read().map_err(said)?;
            let rows = transaction.open_table(ROWS).map_err(said)?;
            let row = |key: &Key| -> Result<Option<Arc<CachedRow>>> {
                let Some(bytes) = rows.get(key).map_err(said)? else { return Ok(None) };
                let row = CachedRow::from_bytes(key, bytes.value());
                row.map(|row| Some(Arc::new(row))).ok_or_else(|| "a row is not as it was written".to_owned())
            };
            keys.iter().map(row).collect()
        };
        quietly(read).ok_or_else(|| "its content makes no sense any more".to_owned())?
    }

    /// Writes rows, and takes out the oldest where there is no room.
    ///
    /// # Errors
    /// Where the file cannot be written; then some of them may not be there.
    pub fn write(&self, batch: &[Entry]) -> Result<Contents> {
        let all = || {
            if batch.is_empty() {
                return self.write_together(batch);
            }
            let mut contents = Contents::default();
            for together in self.parts(batch) {
                let written = self.write_together(together)?;
                contents = Contents { evicted: contents.evicted + written.evicted, ..written };
            }
            Ok(contents)
        };
        quietly(all).ok_or_else(|| "its content makes no sense any more".to_owned())?
    }

    /// Rows that are written at once: until they are, the file holds the pages that they change twice, and one more time
    /// until the next are. So they may be a small part of the file only.
    fn parts<'batch>(&self, batch: &'batch [Entry]) -> impl Iterator<Item = &'batch [Entry]> {
        let most = self.budget / 16;
        let mut taken = 0;
        batch.chunk_by(move |_, (_, row)| {
            taken += room(row.stored_bytes());
            let fits = taken < most;
            if !fits {
                taken = 0;
            }
            fits
        })
    }

    fn write_together(&self, batch: &[Entry]) -> Result<Contents> {
        let transaction = self.database.begin_write().map_err(said)?;
        let mut contents = Contents::default();
        {
            let mut rows = transaction.open_table(ROWS).map_err(said)?;
            let mut order = transaction.open_table(ORDER).map_err(said)?;
            let mut facts = transaction.open_table(FACTS).map_err(said)?;
            let fact = |name: &str| Ok::<_, String>(facts.get(name).map_err(said)?.map_or(0, |fact| fact.value()));
            let (mut next, mut taken) = (fact(NEXT_FACT)?, fact(TAKEN_FACT)?);
            for (key, row) in batch {
                let bytes = row.to_bytes(key);
                let needed = room(bytes.len());
                // Two requests at the same time may have computed the same row.
                if needed > self.budget || rows.get(key).map_err(said)?.is_some() {
                    continue;
                }
                contents.evicted += make_room(&mut rows, &mut order, &mut taken, self.budget - needed)?;
                rows.insert(key, bytes.as_slice()).map_err(said)?;
                order.insert(next, key).map_err(said)?;
                next += 1;
                taken += needed;
            }
            contents.evicted += make_room(&mut rows, &mut order, &mut taken, self.budget)?;
            facts.insert(NEXT_FACT, next).map_err(said)?;
            facts.insert(TAKEN_FACT, taken).map_err(said)?;
            (contents.rows, contents.bytes) = (rows.len().map_err(said)?, taken);
        }
        transaction.commit().map_err(said)?;
        Ok(contents)
    }

    /// What it holds.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn contents(&self) -> Result<Contents> {
        let transaction = self.database.begin_read().map_err(said)?;
        let rows = transaction.open_table(ROWS).map_err(said)?.len().map_err(said)?;
        let facts = transaction.open_table(FACTS).map_err(said)?;
        let bytes = facts.get(TAKEN_FACT).map_err(said)?.map_or(0, |taken| taken.value());
        Ok(Contents { rows, bytes, evicted: 0 })
    }
}

/// Takes the oldest rows out until the others take no more than `most`; returns how many went.
fn make_room(
    rows: &mut Table<'_, &'static [u8; 32], &'static [u8]>,
    order: &mut Table<'_, u64, &'static [u8; 32]>,
    taken: &mut u64,
    most: u64,
) -> Result<u64> {
    let mut evicted = 0;
    while *taken > most {
        let Some(oldest) = order.pop_first().map_err(said)?.map(|(_, key)| *key.value()) else {
            return Err("its rows and their order do not fit together".to_owned());
        };
        let gone = rows.remove(&oldest).map_err(said)?;
        *taken = taken.saturating_sub(gone.map_or(0, |bytes| room(bytes.value().len())));
        evicted += 1;
    }
    Ok(evicted)
}

/// Room in the file for a row that is stored in so many bytes. Pages of small rows are about half full; a large row has
/// pages for itself, a power of two.
fn room(bytes: usize) -> u64 {
    let bytes = bytes + BESIDE;
    let room = if bytes <= PAGE / 2 { bytes * 2 } else { bytes.next_power_of_two().max(PAGE) };
    room as u64
}

/// An empty file that only this user may read, where there is none.
fn make(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder).map_err(said)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(said(error)),
    }
}

fn opened(outcome: std::result::Result<Database, redb::DatabaseError>) -> Result<Database> {
    outcome.map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => {
            "another process has it open; each service needs a file of its own".to_owned()
        }
        other => other.to_string(),
    })
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
#[path = "disk_tests.rs"]
pub(super) mod tests;
