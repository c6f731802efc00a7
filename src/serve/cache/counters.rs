//! What the cache did, for the metrics.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;

use super::disk::Contents;

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
        let stores = |of: fn(&Contents) -> u64| [(MEMORY, of(memory)), (DISK, of(&disk))];
        let count = if has_disk { 2 } else { 1 };
        let hits = [(MEMORY, self.memory_hits.get()), (DISK, self.disk_hits.get())];
        counters(encoder, "cache_hits", "Inputs whose rows were kept", hits.into_iter().take(count))?;
        let evictions = stores(|contents| contents.evicted);
        counters(encoder, "cache_evictions", "Rows that had to go for others", evictions.into_iter().take(count))?;
        let bytes = stores(|contents| contents.bytes);
        gauges(encoder, "cache_bytes", "Room that rows take", bytes.into_iter().take(count))?;
        let rows = stores(|contents| contents.rows);
        gauges(encoder, "cache_rows", "Rows that are kept", rows.into_iter().take(count))?;
        counter(encoder, "cache_misses", "Inputs whose rows were not kept", self.misses.get())?;
        if has_disk {
            let help = "Rows that were not written because too many waited";
            counter(encoder, "cache_dropped_writes", help, self.dropped_writes.get())?;
            counter(encoder, "cache_errors", "Failures of the file", self.errors.get())?;
        }
        Ok(())
    }
}

type Labelled = ([(&'static str, &'static str); 1], u64);

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = Labelled>,
) -> Result<(), Error> {
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = Labelled>,
) -> Result<(), Error> {
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}
