//! Which texts run together: a pure function of their lengths.
//!
//! Texts are sorted by length, so that a batch pads little, and cut into batches of at most a budget of padded tokens,
//! where that costs least: every batch costs its padded tokens, and what it takes to stream the model's weights through
//! the cache once. A call with little work is cut so that its last batch ends soonest. Long batches come first, so that
//! no worker is left with a long one at the end.

use std::ops::Range;

/// Most padded tokens in a batch: the fastest on a CPU core, see `docs/performance.md`. A longer text is alone.
pub const TOKEN_BUDGET: usize = 512;

/// What a batch costs beside its padded tokens, in tokens: its weights' way through the cache, and ONNX Runtime's nodes.
pub const BATCH_COST: usize = 8;

/// How much another thread makes one batch faster, in tenths, and how many of them do.
const SPEED_UP: usize = 6;
const TOGETHER: usize = 4;

/// Parts of a worker's share of the call that are tried as the budget of its batches.
const SHARES: [(usize, usize); 6] = [(1, 1), (3, 4), (2, 3), (1, 2), (1, 3), (1, 4)];

/// Limits of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most padded tokens (rows times the longest) in a batch; a single longer text is a batch of its own.
    pub token_budget: usize,
    /// Batches that can run at the same time.
    pub workers: usize,
}

/// Texts that stay together: one of a call that is planned, or all of a batch that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// How many.
    pub rows: usize,
    /// Tokens of the longest, at least one.
    pub longest: usize,
}

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
    if lengths.len() < 2 {
        return Plan { order: (0..lengths.len()).collect(), batches: lengths.iter().map(|_| 0..1).collect() };
    }
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    let length = |text: usize| lengths.get(text).copied().unwrap_or(0).max(1);
    // Stable, so that equal calls give equal plans.
    order.sort_by_key(|text| std::cmp::Reverse(length(*text)));
    let sorted: Vec<Piece> = order.iter().map(|text| Piece { rows: 1, longest: length(*text) }).collect();
    let (budget, workers) = (limits.token_budget.max(1), limits.workers.max(1));
    let share = sorted.iter().map(|text| text.longest).sum::<usize>().div_ceil(workers);
    let cut = |budget| cut(&sorted, |rows, longest| rows * longest <= budget);
    let mut plans = Vec::new();
    if workers == 1 || share >= budget {
        // There is much to do: the workers are done at about the same time however it is cut.
        plans.push(cut(budget));
    } else {
        let part = |(part, of): &(usize, usize)| budget.min((share * part / of).max(1));
        plans.extend(SHARES.iter().map(|share| cut(part(share))));
        // A batch that is alone has all the workers' threads, and the budget that was asked for.
        if sorted.first().is_some_and(|first| first.longest * sorted.len() <= budget) {
            plans.push(std::iter::once(0..sorted.len()).collect());
        }
    }
    let best = plans.into_iter().min_by_key(|batches| end(&sorted, batches, workers));
    Plan { order, batches: best.unwrap_or_default() }
}

/// Which of `others` to run with `first` as one batch: their places, in order. What waits is cut as a call would be, into
/// batches that `fits` says of (rows, longest) that they can be; the rest waits on for its own turn.
pub fn company(first: Piece, others: &[Piece], fits: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    // The first comes before those of its length, so that equal queues give equal batches.
    let mut order: Vec<(Option<usize>, Piece)> = vec![(None, first)];
    order.extend(others.iter().enumerate().map(|(place, piece)| (Some(place), *piece)));
    order.sort_by_key(|(_, piece)| std::cmp::Reverse(piece.longest));
    let pieces: Vec<Piece> = order.iter().map(|(_, piece)| *piece).collect();
    let batches = cut(&pieces, fits).into_iter().filter_map(|batch| order.get(batch));
    let mine = batches.into_iter().find(|batch| batch.iter().any(|(place, _)| place.is_none()));
    let mut company: Vec<usize> = mine.unwrap_or(&[]).iter().filter_map(|(place, _)| *place).collect();
    company.sort_unstable();
    company
}

/// Cuts pieces, from long to short, into batches of (rows, longest) that fit and cost the least together. What does not fit
/// does not with more rows or longer ones either; a piece that does not fit alone is a batch all the same.
///
/// Of all batches that may begin with a piece, the one is kept from which on the rest costs least, for the last piece
/// first: so no way to cut is left out. Lawler 1976, "Combinatorial Optimization", chapter 3 (shortest paths without cycles).
fn cut(pieces: &[Piece], fits: impl Fn(usize, usize) -> bool) -> Vec<Range<usize>> {
    // For each place, and the end: rows before it, cost of the pieces from there on, and where its batch ends.
    let mut best = Vec::with_capacity(pieces.len() + 1);
    best.push((0, 0, pieces.len()));
    for (rows, piece) in pieces.iter().enumerate() {
        best.push((best.get(rows).map_or(0, |(rows, _, _)| rows + piece.rows), 0, pieces.len()));
    }
    let mut stop = pieces.len();
    for (start, Piece { longest, .. }) in pieces.iter().enumerate().rev() {
        let rows_before = |place: usize| best.get(place).map_or(0, |(rows, _, _)| *rows);
        let before = rows_before(start);
        // An earlier batch has longer rows, so that neither the last end that fits nor the best one is a later one.
        while stop > start + 1 && !fits(rows_before(stop) - before, *longest) {
            stop -= 1;
        }
        let (mut least, mut next) = (usize::MAX, 0);
        for (more, (rows, rest, _)) in best.get(start + 1..).unwrap_or(&[]).iter().take(stop - start).enumerate() {
            // What the rows before the batch would cost is in each of these, and taken out below.
            let cost = rows * longest + rest;
            // The largest of those that cost the same.
            if cost <= least {
                (least, next) = (cost, more);
            }
        }
        stop = start + 1 + next;
        if let Some((_, rest, end)) = best.get_mut(start) {
            (*rest, *end) = (BATCH_COST + least - before * longest, stop);
        }
    }
    let next = |start: usize| best.get(start).filter(|_| start < pieces.len()).map(|(_, _, end)| start..*end);
    std::iter::successors(next(0), |batch| next(batch.end)).collect()
}

/// When the last of the batches ends that `workers` take one after the other, in tokens.
fn end(texts: &[Piece], batches: &[Range<usize>], workers: usize) -> usize {
    let longest = |batch: &Range<usize>| texts.get(batch.start).map_or(0, |text| text.longest);
    let cost = |batch: &Range<usize>| BATCH_COST + batch.len() * longest(batch);
    if let [batch] = batches {
        // With the threads of all, which wait for each other after every node.
        return cost(batch) * 10 / (10 + SPEED_UP * (workers.min(TOGETHER) - 1));
    }
    let mut busy = vec![0; workers.min(batches.len())];
    for batch in batches {
        if let Some(first) = busy.iter_mut().min() {
            *first += cost(batch);
        }
    }
    busy.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BATCH_COST, Limits, Piece, company, plan};

    /// Texts of these lengths, cut at a budget of padded tokens.
    fn cut(lengths: &[usize], budget: usize) -> Vec<std::ops::Range<usize>> {
        let pieces: Vec<Piece> = lengths.iter().map(|length| Piece { rows: 1, longest: *length }).collect();
        super::cut(&pieces, |rows, longest| rows * longest <= budget)
    }

    fn cost(batch: &[Piece]) -> usize {
        BATCH_COST + batch.iter().map(|piece| piece.rows).sum::<usize>() * batch[0].longest
    }

    /// Every way to cut them, a bit for each gap, where all batches of several pieces are within the budget.
    fn all_cuts(pieces: &[Piece], budget: usize) -> impl Iterator<Item = Vec<Vec<Piece>>> {
        (0..1_u32 << (pieces.len() - 1)).filter_map(move |gaps| {
            let mut batches: Vec<Vec<Piece>> = vec![vec![pieces[0]]];
            for (gap, piece) in pieces[1..].iter().enumerate() {
                if gaps >> gap & 1 == 1 {
                    batches.push(Vec::new());
                }
                batches.last_mut().unwrap().push(*piece);
            }
            batches.iter().all(|batch| batch.len() == 1 || cost(batch) - BATCH_COST <= budget).then_some(batches)
        })
    }

    fn pieces(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Piece>> {
        prop::collection::vec((1_usize..4, 1_usize..60).prop_map(|(rows, longest)| Piece { rows, longest }), count)
    }

    /// When the last worker is done, in tokens: a batch is taken by whoever is free first; a single batch has all of
    /// them, of whom four make it 2.8 times as fast.
    fn makespan(batches: &[Vec<usize>], workers: usize) -> f64 {
        let cost = |batch: &Vec<usize>| (8 + batch.len() * batch.iter().max().unwrap()) as f64;
        if batches.len() == 1 {
            return cost(&batches[0]) / [1.0, 1.6, 2.2, 2.8][workers.min(4) - 1];
        }
        let mut free_at = vec![0.0; workers];
        for batch in batches {
            free_at.sort_unstable_by(f64::total_cmp);
            free_at[0] += cost(batch);
        }
        free_at.into_iter().fold(0.0, f64::max)
    }

    fn lengths_of(batches: impl Iterator<Item = Vec<usize>>, lengths: &[usize]) -> Vec<Vec<usize>> {
        batches.map(|batch| batch.iter().map(|text| lengths[*text]).collect()).collect()
    }

    proptest! {
        #[test]
        fn enough_work_is_cut_at_the_budget(
            mut lengths in prop::collection::vec(1usize..60, 1..60), workers in 1usize..6, budget in 1usize..300,
        ) {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            prop_assume!(workers == 1 || lengths.iter().sum::<usize>() >= workers * budget);
            let plan = plan(&lengths, Limits { token_budget: budget, workers });
            let expected: Vec<Vec<usize>> = cut(&lengths, budget).into_iter().map(Iterator::collect).collect();
            prop_assert_eq!(plan.batches().map(<[usize]>::to_vec).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn little_work_ends_no_later_than_in_any_of_the_plans_that_are_tried(
            mut lengths in prop::collection::vec(1usize..60, 1..24), workers in 2usize..7, budget in 1usize..900,
        ) {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            let total = lengths.iter().sum::<usize>();
            let share = total.div_ceil(workers);
            prop_assume!(share < budget);
            let plan = plan(&lengths, Limits { token_budget: budget, workers });
            let found = makespan(&lengths_of(plan.batches().map(<[usize]>::to_vec), &lengths), workers);
            let mut tried = [(1, 1), (3, 4), (2, 3), (1, 2), (1, 3), (1, 4)]
                .map(|(part, of)| cut(&lengths, (share * part / of).max(1)))
                .to_vec();
            if lengths[0] * lengths.len() <= budget {
                tried.push(std::iter::once(0..lengths.len()).collect());
            }
            let best = tried
                .into_iter()
                .map(|batches| makespan(&lengths_of(batches.into_iter().map(Iterator::collect), &lengths), workers))
                .fold(f64::INFINITY, f64::min);
            // A single batch's end is rounded down to a whole token.
            prop_assert!((found - best).abs() < 1.0, "{found} {best} {plan:?}");
        }

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
            prop_assume!(total >= workers * 128);
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
        fn no_other_cut_costs_less(mut pieces in pieces(1..12), budget in 1usize..300) {
            pieces.sort_unstable_by_key(|piece| std::cmp::Reverse(piece.longest));
            let found = super::cut(&pieces, |rows, longest| rows * longest <= budget);
            let found: usize = found.into_iter().map(|batch| cost(&pieces[batch])).sum();
            let costs = all_cuts(&pieces, budget).map(|batches| batches.iter().map(|batch| cost(batch)).sum::<usize>());
            prop_assert_eq!(Some(found), costs.min());
        }

        #[test]
        fn company_is_a_batch_of_the_best_cut(waiting in pieces(1..10), budget in 1usize..300) {
            let fits = |rows: usize, longest: usize| rows * longest <= budget;
            let places = company(waiting[0], &waiting[1..], fits);
            prop_assert!(places.is_sorted_by(|a, b| a < b));
            let (mut batch, mut rest) = (vec![waiting[0]], Vec::new());
            for (place, piece) in waiting[1..].iter().enumerate() {
                if places.contains(&place) { batch.push(*piece) } else { rest.push(*piece) }
            }
            let sorted = |mut pieces: Vec<Piece>| {
                pieces.sort_by_key(|piece| std::cmp::Reverse(piece.longest));
                pieces
            };
            let least = |pieces: &[Piece]| match pieces {
                [] => Some(0),
                _ => all_cuts(pieces, budget).map(|batches| batches.iter().map(|batch| cost(batch)).sum()).min(),
            };
            let batch = sorted(batch);
            prop_assert!(batch.len() == 1 || cost(&batch) - BATCH_COST <= budget);
            // Together with the best that can be made of the rest it costs no more than the best cut of all; it may cost less,
            // where pieces of several rows on both sides of it go together.
            prop_assert!(cost(&batch) + least(&sorted(rest)).unwrap() <= least(&sorted(waiting)).unwrap());
        }
    }

    #[test]
    fn company_is_as_long_as_the_first() {
        let text = |longest| Piece { rows: 1, longest };
        let waiting = [40, 9, 38, 10, 200, 9].map(text);
        assert_eq!(company(text(10), &waiting, |rows, longest| rows * longest <= 512), [1, 3, 5]);
        assert_eq!(company(text(39), &waiting, |rows, longest| rows * longest <= 512), [0, 2]);
        assert_eq!(company(text(10), &[], |_, _| true), [0; 0]);
        // Larger than anything that fits: alone.
        assert_eq!(company(text(600), &waiting, |rows, longest| rows * longest <= 512), [0; 0]);
    }

    #[test]
    fn a_small_call_is_cut_where_the_lengths_fall() {
        let lengths = [30, 8, 9, 31, 8, 30];
        let plan = plan(&lengths, Limits { token_budget: 512, workers: 2 });
        let is_long = |text: &usize| lengths[*text] > 20;
        // Not three and three, of which the second would be padded to 30.
        assert!(plan.batches().all(|batch| batch.iter().all(is_long) || !batch.iter().any(is_long)), "{plan:?}");
    }

    #[test]
    fn one_text_is_one_batch_and_many_alike_are_full_ones() {
        let limits = Limits { token_budget: 512, workers: 2 };
        assert_eq!(plan(&[20], limits).len(), 1);
        assert_eq!(plan(&[3, 2], Limits { workers: 1, ..limits }).len(), 1, "one padded token costs less than a batch");
        let full = plan(&[16; 320], limits);
        assert!(full.batches().all(|batch| batch.len() == 32));
    }

    #[test]
    fn few_texts_are_one_batch_for_all_threads_where_it_ends_sooner_than_two() {
        let batches = |lengths: &[usize], workers| plan(lengths, Limits { token_budget: 512, workers }).len();
        // One batch: (8 + 2 x 10) / 1.6 = 17 tokens; two: 8 + 10 = 18.
        assert_eq!(batches(&[10, 10], 2), 1);
        // (8 + 2 x 40) / 1.6 = 55; 8 + 40 = 48.
        assert_eq!(batches(&[40, 40], 2), 2);
        // More than four threads do not help one batch: (8 + 5 x 10) / 2.8 = 20, and 18.
        assert_eq!(batches(&[10; 5], 5), 5);
        assert_eq!(batches(&[10; 4], 4), 1, "(8 + 4 x 10) / 2.8 = 17, and 18");
    }

    #[test]
    fn no_texts_make_no_batches() {
        let limits = Limits { token_budget: 512, workers: 2 };
        assert_eq!((plan(&[], limits).len(), plan(&[], limits).is_empty()), (0, true));
        assert!(!plan(&[1], limits).is_empty());
    }
}
