//! A row that is kept.

use super::key::Key;

/// Bytes of a row in memory beside its numbers: its key, and what the cache keeps of an entry.
const OVERHEAD: usize = 256;
/// Bytes of the checksum.
const CHECKSUM: usize = 8;

/// A row, bit for bit as the model gave it, with what its text took.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CachedRow {
    /// The numbers.
    pub values: Box<[f32]>,
    /// Tokens of the text after truncation.
    pub tokens: u32,
    /// Whether the text was cut.
    pub is_truncated: bool,
}

impl CachedRow {
    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> u32 {
        u32::try_from(size_of_val(&*self.values) + OVERHEAD).unwrap_or(u32::MAX)
    }

    /// Bytes of [`to_bytes`](Self::to_bytes).
    pub fn stored_bytes(&self) -> usize {
        CHECKSUM + 8 + size_of_val(&*self.values)
    }

    /// As it is stored under `key`.
    pub fn to_bytes(&self, key: &Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.stored_bytes());
        bytes.extend_from_slice(&[0; CHECKSUM]);
        bytes.extend_from_slice(&self.tokens.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.is_truncated).to_le_bytes());
        self.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        let checksum = checksum(key, bytes.get(CHECKSUM..).unwrap_or_default());
        if let Some(place) = bytes.first_chunk_mut() {
            *place = checksum;
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made for the same key; none for anything else.
    pub fn from_bytes(key: &Key, bytes: &[u8]) -> Option<Self> {
        let (checksum_there, rest) = bytes.split_first_chunk::<CHECKSUM>()?;
        if *checksum_there != checksum(key, rest) {
            return None;
        }
        let (tokens, rest) = rest.split_first_chunk::<4>()?;
        let (is_truncated, numbers) = rest.split_first_chunk::<4>()?;
        let (numbers, left) = numbers.as_chunks::<4>();
        left.is_empty().then(|| Self {
            values: numbers.iter().map(|number| f32::from_le_bytes(*number)).collect(),
            tokens: u32::from_le_bytes(*tokens),
            is_truncated: u32::from_le_bytes(*is_truncated) != 0,
        })
    }
}

/// Of the key too: a row that has come under another one's is no row.
fn checksum(key: &Key, rest: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = blake3::Hasher::new();
    hash.update(key).update(rest);
    let mut checksum = [0; CHECKSUM];
    hash.finalize_xof().fill(&mut checksum);
    checksum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(bits in prop::collection::vec(any::<u32>(), 0..40), tokens: u32, cut: bool, key: Key) {
            let values = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let row = CachedRow { values, tokens, is_truncated: cut };
            let bytes = row.to_bytes(&key);
            // A checksum, the tokens, whether the text was cut, the numbers.
            prop_assert_eq!(bytes.len(), 8 + 4 + 4 + 4 * bits.len());
            let read = CachedRow::from_bytes(&key, &bytes).unwrap();
            let read_bits: Vec<u32> = read.values.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!((read_bits, read.tokens, read.is_truncated), (bits, tokens, cut));
        }

        #[test]
        fn anything_else_is_no_row(place: prop::sample::Index, change in 1..=255_u8, cut: prop::sample::Index) {
            let key = [7; 32];
            let bytes = CachedRow { values: [0.5, -1.5].into(), tokens: 3, is_truncated: false }.to_bytes(&key);
            let mut changed = bytes.clone();
            let place = place.index(changed.len());
            changed[place] ^= change;
            prop_assert_eq!(CachedRow::from_bytes(&key, &changed), None);
            prop_assert_eq!(CachedRow::from_bytes(&key, &bytes[..cut.index(bytes.len())]), None);
            prop_assert_eq!(CachedRow::from_bytes(&[8; 32], &bytes), None);
        }
    }
}
