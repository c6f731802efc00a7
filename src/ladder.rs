//! A few sizes for batches of providers that compile a graph for each: a pure function of the lengths.
//!
//! Lengths are powers of two and their halves between: 8, 12, 16, 24, 32, 48, … So a text of at least 8 tokens is padded
//! by less than half of its length. Batches have 1, 4, 8, 16 or 32 rows, and a batch that is not full has at most a
//! quarter of its texts' number in rows of padding; else it is cut into smaller ones.

use crate::graph::StaticShape;

/// The shortest sequence that is compiled.
const SHORTEST: usize = 8;
/// Longer texts go to the CPU, whose memory does not grow with the square of a text.
const LONGEST: usize = 2048;
/// Rows of a batch.
const ROWS: [usize; 5] = [1, 4, 8, 16, 32];

/// The shapes that batches may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    lengths: Vec<usize>,
    token_budget: usize,
}

impl Ladder {
    /// For texts of at most `max_tokens` tokens, in batches of at most `token_budget` tokens, padding included; a single
    /// text may have more.
    pub fn new(max_tokens: usize, token_budget: usize) -> Self {
        let top = max_tokens.clamp(1, LONGEST);
        let mut lengths: Vec<usize> = (0..)
            .map(|step| if step % 2 == 0 { SHORTEST << (step / 2) } else { (SHORTEST << (step / 2)) * 3 / 2 })
            .take_while(|length| *length < top)
            .collect();
        lengths.push(top);
        Self { lengths, token_budget }
    }

    /// The longest text that fits, in tokens.
    pub fn longest(&self) -> usize {
        self.lengths.last().copied().unwrap_or(1)
    }

    /// Tokens of a row for a text of `tokens`; `None` where it is too long.
    pub fn length(&self, tokens: usize) -> Option<usize> {
        self.lengths.iter().copied().find(|length| *length >= tokens)
    }

    /// The shape for `rows` texts, the longest of `tokens`; `None` for no texts, too many, or too long ones.
    pub fn shape(&self, rows: usize, tokens: usize) -> Option<StaticShape> {
        let sequence = self.length(tokens)?;
        let batch = ROWS.iter().copied().find(|batch| *batch >= rows.max(1))?;
        (rows > 0 && batch <= self.most_rows(sequence)).then_some(StaticShape { batch, sequence })
    }

    /// Every shape for texts of up to `tokens` tokens, those for short texts first.
    pub fn shapes(&self, tokens: usize) -> Vec<StaticShape> {
        let lengths = self.lengths.iter().copied().take_while(|length| Some(*length) <= self.length(tokens));
        lengths.flat_map(|sequence| self.shapes_of(sequence)).collect()
    }

    fn shapes_of(&self, sequence: usize) -> impl Iterator<Item = StaticShape> {
        let most = self.most_rows(sequence);
        ROWS.into_iter().filter(move |rows| *rows <= most).map(move |batch| StaticShape { batch, sequence })
    }

    fn most_rows(&self, sequence: usize) -> usize {
        ROWS.into_iter().rev().find(|rows| rows * sequence <= self.token_budget).unwrap_or(1)
    }

    /// Batches over the texts `0..lengths.len()`, none of which is longer than [`longest`](Self::longest): long ones
    /// first.
    pub fn plan(&self, lengths: &[usize]) -> Vec<Vec<usize>> {
        let length = |text: usize| self.length(lengths.get(text).copied().unwrap_or(0)).unwrap_or(self.longest());
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        // Stable, so that equal calls give equal plans.
        order.sort_by_key(|text| std::cmp::Reverse(length(*text)));
        let mut batches = Vec::new();
        for same in order.chunk_by(|a, b| length(*a) == length(*b)) {
            let most = same.first().map_or(1, |text| self.most_rows(length(*text)));
            let mut rest = same;
            while !rest.is_empty() {
                let (batch, others) = rest.split_at(texts_of_next(rest.len(), most));
                batches.push(batch.to_vec());
                rest = others;
            }
        }
        batches
    }
}

/// How many of `texts` go into the next batch, which has room for at most `most`.
fn texts_of_next(texts: usize, most: usize) -> usize {
    if texts >= most {
        return most;
    }
    let above = ROWS.into_iter().find(|rows| *rows >= texts).unwrap_or(most);
    if (above - texts) * 4 <= texts {
        return texts;
    }
    ROWS.into_iter().rev().find(|rows| *rows <= texts).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LONGEST, Ladder, ROWS};
    use crate::graph::StaticShape;

    #[test]
    fn lengths_are_powers_of_two_and_halves_between() {
        assert_eq!(Ladder::new(100, 4096).lengths, [8, 12, 16, 24, 32, 48, 64, 96, 100]);
        assert_eq!(Ladder::new(256, 4096).lengths, [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]);
        assert_eq!(Ladder::new(5, 4096).lengths, [5]);
        assert_eq!(Ladder::new(usize::MAX, 4096).longest(), LONGEST);
    }

    #[test]
    fn no_texts_and_texts_that_are_too_long_have_no_shape() {
        let ladder = Ladder::new(256, 4096);
        assert_eq!(ladder.shape(0, 5), None);
        assert_eq!(ladder.shape(1, 257), None);
        assert_eq!(ladder.shape(33, 5), None);
        assert_eq!(ladder.shape(32, 129), None, "more tokens than the budget");
        assert_eq!(ladder.shape(1, 256), Some(StaticShape { batch: 1, sequence: 256 }));
        assert_eq!(ladder.shape(5, 33), Some(StaticShape { batch: 8, sequence: 48 }));
        assert!(ladder.plan(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_of_a_shape_and_padding_is_bounded(
            lengths in prop::collection::vec(0usize..=512, 0..300), max_tokens in 512usize..600, budget in 1usize..5000,
        ) {
            let ladder = Ladder::new(max_tokens, budget);
            let mut seen = vec![0; lengths.len()];
            for batch in ladder.plan(&lengths) {
                let longest = batch.iter().map(|text| lengths[*text]).max().unwrap();
                let shape = ladder.shape(batch.len(), longest).expect("a shape of the ladder");
                prop_assert!(ladder.shapes(512).contains(&shape));
                prop_assert!(shape.batch == 1 || shape.batch * shape.sequence <= budget);
                prop_assert!(shape.batch * 4 <= batch.len() * 5, "rows of padding");
                for text in batch {
                    seen[text] += 1;
                    prop_assert!(shape.sequence <= (lengths[text] * 3 / 2).max(8), "{} in {}", lengths[text], shape.sequence);
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }

        #[test]
        fn all_shapes_are_few(max_tokens in 1usize..5000, budget in 1usize..9000) {
            let ladder = Ladder::new(max_tokens, budget);
            prop_assert!(ladder.shapes(max_tokens).len() <= 18 * ROWS.len());
        }
    }
}
