//! Changed inputs, the same ones in each run: what libFuzzer does to its inputs, without its knowledge of what they reach.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Longer inputs are cut: what is found with them is found with shorter ones.
const LONGEST: usize = 1 << 16;

/// Numbers at which arithmetic breaks.
const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];

/// Makes inputs out of others.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// The mutator of the target `name`.
    pub fn new(name: &str) -> Self {
        // With the keys that it has by default, the hash is the same everywhere.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self { state: hasher.finish() }
    }

    /// One of `inputs`, with one to eight changes.
    pub fn mutate(&mut self, inputs: &[&[u8]]) -> Vec<u8> {
        let mut input = self.choose(inputs).to_vec();
        for _ in 0..=self.below(8) {
            let other = self.choose(inputs);
            self.change(&mut input, other);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let place = self.below(input.len() + 1);
        let end = (place + self.below(32)).min(input.len());
        match self.below(7) {
            0 if place < input.len() => input[place] ^= 1 << self.below(8),
            1 if place < input.len() => input[place] = self.next().to_le_bytes()[0],
            2 => drop(input.drain(place..end)),
            3 => {
                let copy = input[place..end].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, copy));
            }
            4 => {
                let start = self.below(other.len() + 1);
                let length = self.below(64).min(other.len() - start);
                drop(input.splice(place..end, other[start..start + length].iter().copied()));
            }
            5 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let size = 1 << self.below(4);
                drop(input.splice(place..(place + size).min(input.len()), number[..size].iter().copied()));
            }
            _ => input.truncate(place),
        }
    }

    fn choose<'a>(&mut self, inputs: &[&'a [u8]]) -> &'a [u8] {
        inputs[self.below(inputs.len())]
    }

    /// A number below `limit`, which is not 0; that small ones come a little more often does not matter.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap() % limit
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}
