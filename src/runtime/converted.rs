//! Weights that cannot be used as they lie in their file: converted once, by several threads, into one piece of memory.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use memmap2::{Mmap, MmapMut};

use crate::error::{EmbeddingError, Result};
use crate::weights::{StoredTensor, StoredType};

/// Where a copy begins: a cache line and the widest vector register.
const ALIGNMENT: usize = 64;
/// Numbers converted at a time, after which the file's pages are given back.
const CHUNK: usize = 1 << 20;

/// Copies of tensors.
#[derive(Debug)]
pub struct Converted {
    map: Mmap,
    places: Vec<Range<usize>>,
}

/// A part of a tensor and where its copy goes.
struct Job<'a> {
    tensor: &'a StoredTensor,
    dtype: StoredType,
    stored: Range<usize>,
    copy: &'a mut [u8],
}

impl Converted {
    /// Converts `tensors`, each to a type of its own, with `threads` threads.
    ///
    /// Of the file, no more than a few pages for each thread are in memory at a time.
    ///
    /// # Errors
    /// `InferenceFailed` where there is not enough memory.
    pub fn new(tensors: &[(&StoredTensor, StoredType)], threads: usize) -> Result<Self> {
        let mut places = Vec::with_capacity(tensors.len());
        let mut end = 0_usize;
        for (tensor, dtype) in tensors {
            let start = end.next_multiple_of(ALIGNMENT);
            end = start.saturating_add(tensor.len().saturating_mul(dtype.size()));
            places.push(start..end);
        }
        let failed = |error: std::io::Error| {
            EmbeddingError::inference_failed(format!("there is no memory for {end} bytes of converted weights"))
                .caused_by(error)
        };
        let mut map = MmapMut::map_anon(end).map_err(failed)?;
        // 512 times fewer page faults, where the system has large pages.
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "the weights are in small pages");
        }
        run(jobs(tensors, &places, &mut map), threads);
        Ok(Self { map: map.make_read_only().map_err(failed)?, places })
    }

    /// The copies, in the order of the tensors.
    pub fn copies(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| self.map.get(place.clone()).unwrap_or(&[]))
    }

    /// Bytes of all of them.
    pub fn size(&self) -> usize {
        self.places.last().map_or(0, |place| place.end)
    }
}

fn jobs<'a>(tensors: &[(&'a StoredTensor, StoredType)], places: &[Range<usize>], memory: &'a mut [u8]) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    let (mut rest, mut offset) = (memory, 0);
    for ((tensor, dtype), place) in tensors.iter().zip(places) {
        let (_, behind) = std::mem::take(&mut rest).split_at_mut(place.start - offset);
        let (copy, behind) = behind.split_at_mut(place.len());
        (rest, offset) = (behind, place.end);
        let size = tensor.dtype.size();
        for (index, copy) in copy.chunks_mut(CHUNK * dtype.size()).enumerate() {
            let start = index * CHUNK * size;
            let stored = start..start + copy.len() / dtype.size() * size;
            jobs.push(Job { tensor, dtype: *dtype, stored, copy });
        }
    }
    jobs
}

/// Does the jobs in order, `threads` at a time.
fn run(jobs: Vec<Job<'_>>, threads: usize) {
    let threads = threads.min(jobs.len());
    let jobs = Mutex::new(jobs.into_iter());
    // The guard of a lock in a `while let` would live through the body.
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(job) = next() {
            job.run();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With a thread less the others do its part.
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work) {
                tracing::debug!(%error, "a thread for converting weights could not be started");
            }
        }
        work();
    });
}

impl Job<'_> {
    fn run(self) {
        let stored = self.tensor.bytes().get(self.stored.clone()).unwrap_or(&[]);
        self.tensor.dtype.convert(stored, self.dtype, self.copy);
        self.tensor.release(self.stored);
    }
}
