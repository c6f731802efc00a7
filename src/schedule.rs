//! Which texts run together: a pure function of their lengths.
//!
//! Texts are sorted by length, so that a batch pads little, and cut into batches of at most a budget of padded tokens.
//! 256 to 512 tokens is where a CPU core is fastest: fewer stream the weights through the cache too often, more push
//! the activations out of it. Long batches come first, so that no worker is left with a long one at the end.

use std::ops::Range;

/// Most padded tokens in a batch: the fastest on a CPU core, see `docs/performance.md`. A longer text is alone.
pub const TOKEN_BUDGET: usize = 512;

/// Limits of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most padded tokens (rows times the longest) in a batch; a single longer text is a batch of its own.
    pub token_budget: usize,
    /// Batches that can run at the same time: a small call is cut into as many, if they do not become tiny.
    pub workers: usize,
}

/// Below this many padded tokens a batch costs about as much as a larger one.
const SMALLEST_SHARE: usize = 128;

/// Batches over texts `0..lengths.len()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The texts, longest first.
    order: Vec<usize>,
    batches: Vec<Range<usize>>,
}

impl Plan {
    /// True for no texts.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// The texts of each batch.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = &[usize]> {
        self.batches.iter().map(|range| self.order.get(range.clone()).unwrap_or(&[]))
    }
}

/// Plans batches for texts of these lengths, in tokens.
pub fn plan(lengths: &[usize], limits: Limits) -> Plan {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    let length = |text: usize| lengths.get(text).copied().unwrap_or(0).max(1);
    // Stable, so that equal calls give equal plans.
    order.sort_by_key(|text| std::cmp::Reverse(length(*text)));
    let budget = budget(lengths, limits);
    let mut batches = Vec::new();
    let mut start = 0;
    while let Some(first) = order.get(start) {
        let rows = (budget / length(*first)).max(1);
        let end = (start + rows).min(order.len());
        batches.push(start..end);
        start = end;
    }
    Plan { order, batches }
}

/// The budget, lowered where otherwise some workers would have nothing to do.
fn budget(lengths: &[usize], limits: Limits) -> usize {
    let total: usize = lengths.iter().sum();
    let share = total.div_ceil(limits.workers.max(1));
    limits.token_budget.min(share.max(SMALLEST_SHARE)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Limits, SMALLEST_SHARE, plan};

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_and_no_batch_is_over_the_budget(
            lengths in prop::collection::vec(0usize..600, 0..300),
            token_budget in 1usize..2000,
            workers in 0usize..20,
        ) {
            let plan = plan(&lengths, Limits { token_budget, workers });
            let mut seen = vec![0; lengths.len()];
            for batch in plan.batches() {
                prop_assert!(!batch.is_empty());
                let longest = batch.iter().map(|text| lengths[*text].max(1)).max().unwrap();
                prop_assert!(batch.len() == 1 || longest * batch.len() <= token_budget);
                for text in batch {
                    seen[*text] += 1;
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
            prop_assert_eq!(plan.batches().len(), plan.len());
        }

        #[test]
        fn batches_go_from_long_to_short(lengths in prop::collection::vec(1usize..600, 1..300)) {
            let plan = plan(&lengths, Limits { token_budget: 512, workers: 2 });
            let order: Vec<usize> = plan.batches().flatten().map(|text| lengths[*text]).collect();
            prop_assert!(order.is_sorted_by(|a, b| a >= b));
        }

        #[test]
        fn a_call_with_enough_work_keeps_every_worker_busy(
            lengths in prop::collection::vec(1usize..40, 200..300), workers in 1usize..8,
        ) {
            let total: usize = lengths.iter().sum();
            prop_assume!(total >= workers * SMALLEST_SHARE);
            let plan = plan(&lengths, Limits { token_budget: 512, workers });
            prop_assert!(plan.len() >= workers);
        }

        #[test]
        fn padding_is_bounded_by_how_the_lengths_spread(lengths in prop::collection::vec(8usize..40, 500..800)) {
            let plan = plan(&lengths, Limits { token_budget: 512, workers: 2 });
            let padded: usize = plan
                .batches()
                .map(|batch| batch.len() * batch.iter().map(|text| lengths[*text]).max().unwrap())
                .sum();
            // Sorted batches of at least 12 texts: one batch's padding is at most the fall of length within it, and
            // the falls of all batches add up to the spread, 32.
            let total: usize = lengths.iter().sum();
            prop_assert!(padded - total <= 32 * 512 / 8);
        }

        #[test]
        fn no_batch_has_room_for_the_next_text(
            lengths in prop::collection::vec(1usize..600, 1..300), token_budget in SMALLEST_SHARE..2000,
        ) {
            // Enough for one worker: then the budget is the one that was asked for.
            prop_assume!(lengths.iter().sum::<usize>() >= token_budget);
            let plan = plan(&lengths, Limits { token_budget, workers: 1 });
            for batch in plan.batches().take(plan.len() - 1) {
                let longest = batch.iter().map(|text| lengths[*text]).max().unwrap();
                prop_assert!(longest * (batch.len() + 1) > token_budget);
            }
        }
    }

    #[test]
    fn what_is_less_than_a_share_is_not_cut_for_more_workers() {
        let limits = Limits { token_budget: 512, workers: 8 };
        assert_eq!(plan(&[8; SMALLEST_SHARE / 8], limits).len(), 1);
        assert_eq!(plan(&[8; SMALLEST_SHARE / 8 + 1], limits).len(), 2);
    }

    #[test]
    fn no_texts_make_no_batches() {
        let limits = Limits { token_budget: 512, workers: 2 };
        assert_eq!((plan(&[], limits).len(), plan(&[], limits).is_empty()), (0, true));
        assert!(!plan(&[1], limits).is_empty());
    }
}
