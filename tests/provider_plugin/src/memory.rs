//! Results by what they were computed from: a stand-in for a fast device, right by construction.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Results that are kept; the oldest goes.
const KEPT: usize = 16;

/// The last results of one node, each with the numbers that were multiplied and that vary from run to run.
#[derive(Debug, Default)]
pub struct Memory {
    results: Mutex<VecDeque<(Vec<f32>, Vec<f32>)>>,
}

impl Memory {
    /// Fills `output` with the result for `input`, if that is remembered.
    pub fn recall(&self, input: &[f32], output: &mut [f32]) -> bool {
        let results = self.lock();
        let known = results.iter().find(|(known, result)| is_same(known, input) && result.len() == output.len());
        if let Some((_, result)) = known {
            output.copy_from_slice(result);
        }
        known.is_some()
    }

    /// Remembers the result for `input`.
    pub fn keep(&self, input: &[f32], output: &[f32]) {
        let mut results = self.lock();
        if results.len() == KEPT {
            results.pop_front();
        }
        results.push_back((input.to_vec(), output.to_vec()));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Vec<f32>, Vec<f32>)>> {
        // A result is kept as a whole or not at all.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether both are the same bits: NaN is not equal to itself, and zeros have signs.
fn is_same(known: &[f32], input: &[f32]) -> bool {
    known.len() == input.len() && known.iter().zip(input).all(|(known, input)| known.to_bits() == input.to_bits())
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Memory};

    #[test]
    fn the_last_results_are_remembered_by_their_bits() {
        let memory = Memory::default();
        let mut output = [0.0; 2];
        assert!(!memory.recall(&[0.0], &mut output));
        memory.keep(&[0.0], &[1.0, 2.0]);
        assert!(!memory.recall(&[-0.0], &mut output) && !memory.recall(&[0.0, 0.0], &mut output));
        assert!(!memory.recall(&[0.0], &mut [0.0]), "another shape");
        assert!(memory.recall(&[0.0], &mut output));
        assert_eq!(output.map(f32::to_bits), [1.0_f32, 2.0].map(f32::to_bits));
        for number in 1..=KEPT {
            memory.keep(&[number as f32], &[3.0, 4.0]);
        }
        assert!(!memory.recall(&[0.0], &mut output));
    }
}
