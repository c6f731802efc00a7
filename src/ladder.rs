//! A few sizes for batches of providers that compile a graph for each: a pure function of the lengths.
//!
//! Lengths are powers of two and their halves between: 4, 6, 8, 12, 16, 24, … So a text of at least 4 tokens is padded by
//! half of its length at most. Batches have 1, 4, 8, 16 or 32 rows. What is left of one length is filled up with
//! shorter texts where that pads little, else cut into smaller batches with at most a quarter of rows of padding.
//!
//! A call takes no more sizes than sessions are kept, where it can: else every call would compile what the one before
//! it gave up.

use std::collections::BTreeSet;

use crate::graph::StaticShape;

/// The shortest sequence that is compiled.
const SHORTEST: usize = 4;
/// Longer texts go to the CPU, whose memory does not grow with the square of a text.
pub const LONGEST: usize = 2048;
/// Rows of a batch.
const ROWS: [usize; 5] = [1, 4, 8, 16, 32];

/// Texts of a call that run together, and the tokens that each is padded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBatch {
    /// Numbers of the texts.
    pub texts: Vec<usize>,
    /// Tokens of a row at least; 0 where the longest text decides.
    pub sequence: usize,
}

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
        let steps = std::iter::successors(Some(SHORTEST), |length| Some(length * 2));
        let between = steps.flat_map(|length| [length, length / 2 * 3]);
        let mut lengths: Vec<usize> = between.take_while(|length| *length < top).collect();
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

    /// The shapes for texts of up to `tokens` tokens that fit, those for short texts first: every one, or those that calls
    /// of so many texts as `rows` says take, where their texts have one length.
    pub fn shapes(&self, tokens: usize, rows: Option<&[usize]>) -> Vec<StaticShape> {
        let longest = self.length(tokens).unwrap_or(self.longest());
        let lengths = self.lengths.iter().copied().take_while(move |length| *length <= longest);
        lengths.flat_map(|sequence| self.shapes_of(sequence, rows)).collect()
    }

    fn shapes_of(&self, sequence: usize, rows: Option<&[usize]>) -> impl Iterator<Item = StaticShape> {
        let most = self.most_rows(sequence);
        let takes = move |batch: usize| rows.is_none_or(|rows| rows.iter().any(|rows| takes_batch(*rows, batch, most)));
        let all = ROWS.into_iter().filter(move |rows| *rows <= most);
        all.filter(move |batch| takes(*batch)).map(move |batch| StaticShape { batch, sequence })
    }

    fn most_rows(&self, sequence: usize) -> usize {
        ROWS.into_iter().rev().find(|rows| rows * sequence <= self.token_budget).unwrap_or(1)
    }

    /// Batches over the texts `0..lengths.len()`, none of which is longer than [`longest`](Self::longest): long ones
    /// first. Of at most `most_shapes` shapes, where the coarsest lengths make that possible.
    pub fn plan(&self, lengths: &[usize], most_shapes: usize) -> Vec<PlannedBatch> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        // Stable, so that equal calls give equal plans.
        order.sort_by_key(|text| std::cmp::Reverse(lengths.get(*text).copied().unwrap_or(0)));
        let mut coarser = 1;
        loop {
            let (batches, shapes) = self.plan_in_steps(lengths, &order, coarser);
            if shapes <= most_shapes || coarser >= self.lengths.len() {
                return batches;
            }
            coarser *= 2;
        }
    }

    /// A plan with every `coarser`-th length, counted from the longest, and the number of its shapes.
    fn plan_in_steps(&self, lengths: &[usize], order: &[usize], coarser: usize) -> (Vec<PlannedBatch>, usize) {
        let used: Vec<usize> = self.lengths.iter().rev().step_by(coarser).copied().collect();
        let length = |text: &usize| {
            let tokens = lengths.get(*text).copied().unwrap_or(0);
            used.iter().rev().copied().find(|length| *length >= tokens).unwrap_or(self.longest())
        };
        let mut batches = Vec::new();
        let mut shapes = BTreeSet::new();
        let mut rest = order;
        while let Some(first) = rest.first() {
            let sequence = length(first);
            let most = self.most_rows(sequence);
            let same = rest.iter().take(most).take_while(|text| length(text) == sequence).count();
            let texts = match rest.get(..most) {
                Some(full) if pads_little(full, sequence, length) => most,
                _ => texts_of_next(same, most),
            };
            let (batch, others) = rest.split_at(texts);
            shapes.extend(ROWS.into_iter().find(|rows| *rows >= texts).map(|rows| (rows, sequence)));
            batches.push(PlannedBatch { texts: batch.to_vec(), sequence });
            rest = others;
        }
        (batches, shapes.len())
    }
}

/// Whether shorter texts in a batch waste at most a quarter of it.
fn pads_little(texts: &[usize], sequence: usize, length: impl Fn(&usize) -> usize) -> bool {
    let wasted: usize = texts.iter().map(|text| sequence - length(text)).sum();
    wasted * 4 <= sequence * texts.len()
}

/// Whether `texts` of one length are cut into batches of which one has room for `batch`.
fn takes_batch(texts: usize, batch: usize, most: usize) -> bool {
    if texts >= most && batch == most {
        return true;
    }
    let mut rest = texts % most;
    while rest > 0 {
        let next = texts_of_next(rest, most);
        if ROWS.into_iter().find(|rows| *rows >= next) == Some(batch) {
            return true;
        }
        rest -= next;
    }
    false
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

    use super::{LONGEST, Ladder, PlannedBatch, ROWS};
    use crate::graph::StaticShape;
    use crate::tokenization::{Bounds, Tokenization};

    #[test]
    fn lengths_are_powers_of_two_and_halves_between() {
        assert_eq!(Ladder::new(100, 4096).lengths, [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 100]);
        assert_eq!(Ladder::new(256, 4096).lengths, [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]);
        assert_eq!(Ladder::new(3, 4096).lengths, [3]);
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
        assert!(ladder.plan(&[], 8).is_empty());
    }

    /// How many texts each batch of the plan has.
    fn sizes(ladder: &Ladder, lengths: &[usize], most_shapes: usize) -> Vec<usize> {
        ladder.plan(lengths, most_shapes).iter().map(|batch| batch.texts.len()).collect()
    }

    /// All of them where rows of padding are at most a quarter of the texts, else as many as the next smaller size.
    #[test]
    fn texts_of_one_length_are_cut_so_that_few_rows_are_padding() {
        let ladder = Ladder::new(512, 32 * 32);
        for (texts, expected) in [
            (1, vec![1]),
            (3, vec![1, 1, 1]),
            (5, vec![4, 1]),
            (6, vec![4, 1, 1]),
            (7, vec![7]),
            (12, vec![8, 4]),
            (13, vec![13]),
            (25, vec![16, 8, 1]),
            (26, vec![26]),
            (32, vec![32]),
            (39, vec![32, 7]),
        ] {
            assert_eq!(sizes(&ladder, &vec![32; texts], usize::MAX), expected, "{texts} texts");
        }
    }

    #[test]
    fn a_batch_takes_shorter_texts_where_they_waste_a_quarter_of_it_at_most() {
        // Full: 32 rows of 32 tokens, 1024 in all.
        let ladder = Ladder::new(512, 32 * 32);
        for (long, short, tokens, first) in [
            (31, 1, 24, 32),  // 8 tokens wasted
            (16, 16, 16, 32), // 256, a quarter
            (15, 17, 16, 15), // 272
            (1, 31, 4, 1),    // 868
            (16, 15, 24, 16), // not full
        ] {
            let lengths = [vec![32; long], vec![tokens; short]].concat();
            assert_eq!(sizes(&ladder, &lengths, usize::MAX).first(), Some(&first), "{long} long, {short} of {tokens}");
        }
    }

    #[test]
    fn of_too_many_shapes_every_second_length_is_left_out() {
        let ladder = Ladder::new(512, 4096);
        let lengths: Vec<usize> = ladder.lengths.iter().flat_map(|length| [*length; 32]).collect();
        let sequences = |most_shapes: usize| {
            let sequences: std::collections::BTreeSet<usize> =
                ladder.plan(&lengths, most_shapes).iter().map(|batch| batch.sequence).collect();
            sequences.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(sequences(15), ladder.lengths);
        assert_eq!(sequences(14), [4, 8, 16, 32, 64, 128, 256, 512]);
        // Where that is still too many, three of four.
        assert_eq!(sequences(7), [8, 32, 128, 512]);
    }

    /// The acceptance limit: a quarter of padding, on two thousand short texts as people write them.
    #[test]
    #[cfg_attr(miri, ignore = "reads files, and asks the system for its limits")]
    fn real_short_texts_are_padded_by_a_quarter_at_most() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = crate::config::ModelFolder::read(&root.join("models/all-MiniLM-L6-v2")).unwrap();
        let bounds = Bounds { vocabulary: None, token_types: None };
        let tokenization = Tokenization::load(&folder.tokenizer, 256, bounds).unwrap();
        let text = std::fs::read_to_string(root.join("data/short_texts.txt")).unwrap();
        let texts: Vec<&str> = text.lines().filter(|line| !line.is_empty()).take(2000).collect();
        assert_eq!(texts.len(), 2000);
        let mut never = || std::ops::ControlFlow::Continue(());
        let tokens = tokenization.encode_all(None, &texts, 1, &mut never).unwrap();
        let lengths: Vec<usize> = tokens.iter().map(|text| text.ids.len()).collect();
        let real: usize = lengths.iter().sum();
        for (budget, most_shapes) in [(512, 16), (4096, 16)] {
            let ladder = Ladder::new(256, budget);
            let padded = padded(&ladder, &ladder.plan(&lengths, most_shapes));
            let waste = (padded - real) as f64 / real as f64;
            assert!(waste <= 0.25, "{waste:.3} with batches of {budget} tokens");
        }
    }

    /// Tokens of all batches, padding included.
    fn padded(ladder: &Ladder, plan: &[PlannedBatch]) -> usize {
        let tokens = |batch: &PlannedBatch| {
            let shape = ladder.shape(batch.texts.len(), batch.sequence).expect("a shape of the ladder");
            shape.batch * shape.sequence
        };
        plan.iter().map(tokens).sum()
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_of_a_shape_and_rows_of_padding_are_few(
            lengths in prop::collection::vec(0usize..=512, 0..300), max_tokens in 512usize..600, budget in 1usize..5000,
            most_shapes in 1usize..20,
        ) {
            let ladder = Ladder::new(max_tokens, budget);
            let mut seen = vec![0; lengths.len()];
            for batch in ladder.plan(&lengths, most_shapes) {
                let longest = batch.texts.iter().map(|text| lengths[*text]).max().unwrap();
                let shape = ladder.shape(batch.texts.len(), batch.sequence).expect("a shape of the ladder");
                prop_assert_eq!(shape.sequence, batch.sequence);
                prop_assert!(longest <= shape.sequence);
                prop_assert!(ladder.shapes(max_tokens, None).contains(&shape));
                prop_assert!(shape.batch == 1 || shape.batch * shape.sequence <= budget);
                prop_assert!(shape.batch * 4 <= batch.texts.len() * 5, "rows of padding");
                for text in batch.texts {
                    seen[text] += 1;
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }

        #[test]
        fn padding_is_bounded(lengths in prop::collection::vec(4usize..=512, 1..300)) {
            let ladder = Ladder::new(512, 4096);
            let real: usize = lengths.iter().sum();
            let padded = padded(&ladder, &ladder.plan(&lengths, usize::MAX));
            // Each length by less than a half; batches by a quarter of rows, or a third for shorter texts.
            prop_assert!(padded * 2 <= real * 4, "{padded} for {real}");
        }

        #[test]
        fn a_call_does_not_need_more_sessions_than_are_kept(
            lengths in prop::collection::vec(1usize..=512, 1..2000), most_shapes in 12usize..20,
        ) {
            let ladder = Ladder::new(512, 4096);
            let plan = ladder.plan(&lengths, most_shapes);
            let shape = |batch: &PlannedBatch| ladder.shape(batch.texts.len(), batch.sequence).unwrap();
            let shapes: std::collections::BTreeSet<_> =
                plan.iter().map(shape).map(|shape| (shape.batch, shape.sequence)).collect();
            prop_assert!(shapes.len() <= most_shapes, "{shapes:?}");
        }

        #[test]
        fn all_shapes_are_few(max_tokens in 1usize..5000, budget in 1usize..9000) {
            let ladder = Ladder::new(max_tokens, budget);
            let shapes = ladder.shapes(max_tokens, None);
            prop_assert!(shapes.len() <= 18 * ROWS.len());
            prop_assert_eq!(shapes.last().map(|shape| shape.sequence), Some(max_tokens.min(LONGEST)));
        }

        #[test]
        fn the_shapes_of_a_number_of_texts_are_those_that_a_call_of_them_takes(
            length in 1usize..=512, texts in 0usize..200, budget in 1usize..5000,
        ) {
            let ladder = Ladder::new(512, budget);
            let planned: std::collections::BTreeSet<usize> = ladder
                .plan(&vec![length; texts], usize::MAX)
                .iter()
                .map(|batch| ladder.shape(batch.texts.len(), batch.sequence).unwrap().batch)
                .collect();
            let sequence = ladder.length(length);
            let shapes = ladder.shapes(length, Some(&[texts]));
            let rows = shapes.iter().filter(|shape| Some(shape.sequence) == sequence).map(|shape| shape.batch);
            prop_assert_eq!(rows.collect::<std::collections::BTreeSet<_>>(), planned);
        }
    }
}
