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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{ALIGNMENT, CHUNK, Converted};
    use crate::weights::{StoredType, Weights};

    /// A file with one `BF16` tensor of each length, whose numbers count up (their bits do).
    fn weights(folder: &TempDir, lengths: &[usize]) -> Weights {
        let mut entries = serde_json::Map::new();
        let mut bytes: Vec<u8> = Vec::new();
        for (index, length) in lengths.iter().enumerate() {
            let start = bytes.len();
            bytes.extend((0..*length).flat_map(|number| u16::to_le_bytes(pattern(number))));
            let entry = serde_json::json!({"dtype": "BF16", "shape": [length], "data_offsets": [start, bytes.len()]});
            entries.insert(index.to_string(), entry);
        }
        let header = serde_json::Value::Object(entries).to_string();
        let path = folder.path().join("model.safetensors");
        let length = (header.len() as u64).to_le_bytes();
        fs::write(&path, [&length[..], header.as_bytes(), &bytes].concat()).unwrap();
        Weights::open(&path).unwrap()
    }

    fn pattern(number: usize) -> u16 {
        u16::try_from(number % 65_521).unwrap()
    }

    #[test]
    fn every_number_arrives_however_many_threads_there_are() {
        let lengths = [1, 0, 33, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7, 5];
        let folder = TempDir::new().unwrap();
        let weights = weights(&folder, &lengths);
        let tensors: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(index, length)| (weights.tensor(&index.to_string(), &[*length]).unwrap(), StoredType::Float32))
            .collect();
        for threads in [0, 1, 2, 5, 64] {
            let converted = Converted::new(&tensors, threads).unwrap();
            assert_eq!(converted.copies().count(), lengths.len());
            for (copy, length) in converted.copies().zip(lengths) {
                assert_eq!(copy.as_ptr().align_offset(ALIGNMENT), 0);
                let numbers = copy.as_chunks().0.iter().map(|bytes| u32::from_ne_bytes(*bytes));
                assert!(numbers.eq((0..length).map(|number| u32::from(pattern(number)) << 16)), "{length}");
            }
        }
    }

    #[test]
    fn nothing_to_convert_takes_nothing() {
        let converted = Converted::new(&[], 3).unwrap();
        assert_eq!((converted.copies().count(), converted.size()), (0, 0));
    }
}
