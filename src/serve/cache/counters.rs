//! What the cache did, for the metrics.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;

use super::disk::Contents;
use crate::serve::family::{family, single};

const MEMORY: [(&str, &str); 1] = [("store", "memory")];
const DISK: [(&str, &str); 1] = [("store", "disk")];

/// Counted since the service started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub memory_hits: Counter,
    pub disk_hits: Counter,
    pub misses: Counter,
    pub memory_evictions: Counter,
    /// Rows that were not written because too many waited.
    pub dropped_writes: Counter,
    /// Failures of the file.
    pub errors: Counter,
    disk_evictions: Counter,
    disk_rows: AtomicU64,
    disk_bytes: AtomicU64,
}

impl Counters {
    /// The store holds this now.
    pub fn on_disk(&self, contents: &Contents) {
        self.disk_evictions.inc_by(contents.evicted);
        self.disk_rows.store(contents.rows, Ordering::Relaxed);
        self.disk_bytes.store(contents.bytes, Ordering::Relaxed);
    }

    /// All of them, with what the memory holds.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>, memory: &Contents, has_disk: bool) -> Result<(), Error> {
        let disk = Contents {
            rows: self.disk_rows.load(Ordering::Relaxed),
            bytes: self.disk_bytes.load(Ordering::Relaxed),
            evicted: self.disk_evictions.get(),
        };
        let count = if has_disk { 2 } else { 1 };
        let stores = |of: fn(&Contents) -> u64| [(MEMORY, of(memory)), (DISK, of(&disk))].into_iter().take(count);
        let counters = |of| stores(of).map(|(store, value)| (store, ConstCounter::new(value)));
        let gauges = |of| stores(of).map(|(store, value)| (store, ConstGauge::new(value)));
        let hits = [(MEMORY, self.memory_hits.clone()), (DISK, self.disk_hits.clone())].into_iter().take(count);
        family(encoder, "cache_hits", "Inputs whose rows were kept", hits)?;
        family(encoder, "cache_evictions", "Rows that had to go for others", counters(|contents| contents.evicted))?;
        family(encoder, "cache_bytes", "Room that rows take", gauges(|contents| contents.bytes))?;
        family(encoder, "cache_rows", "Rows that are kept", gauges(|contents| contents.rows))?;
        single(encoder, "cache_misses", "Inputs whose rows were not kept", &self.misses)?;
        if has_disk {
            let help = "Rows that were not written because too many waited";
            single(encoder, "cache_dropped_writes", help, &self.dropped_writes)?;
            single(encoder, "cache_errors", "Failures of the file", &self.errors)?;
        }
        Ok(())
    }
}
