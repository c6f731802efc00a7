//! Both planners, compared with what their rules say, tried out one by one.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use oxembed::graph::StaticShape;
use oxembed::ladder::Ladder;
use oxembed::schedule::{BATCH_COST, Limits, plan};

/// Every text is in one batch, no batch is above its budget, and a long call is cut as cheaply as it can be.
pub fn check(input: &[u8]) {
    let Ok(call) = Call::of(&mut Unstructured::new(input)) else { return };
    call.schedule();
    call.ladder();
}

#[derive(Debug)]
struct Call {
    lengths: Vec<usize>,
    budget: usize,
    workers: usize,
    max_tokens: usize,
    most_shapes: usize,
}

impl Call {
    fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        let budget = *input.choose(&[0, 1, 64, 512, 513, 4096, usize::MAX])?;
        let workers = *input.choose(&[0, 1, 2, 3, 8, 100, usize::MAX])?;
        let max_tokens = *input.choose(&[1, 3, 7, 64, 100, 512, 2048, 5000])?;
        let most_shapes = input.int_in_range(0..=20)?;
        let count = input.int_in_range(0..=300)?;
        let lengths = (0..count).map(|_| input.int_in_range(0..=max_tokens)).collect::<Result<_>>()?;
        Ok(Self { lengths, budget, workers, max_tokens, most_shapes })
    }

    fn schedule(&self) {
        let plan = plan(&self.lengths, Limits { token_budget: self.budget, workers: self.workers });
        let (budget, workers) = (self.budget.max(1), self.workers.max(1));
        let mut seen = Vec::new();
        let mut before = usize::MAX;
        for batch in plan.batches() {
            assert!(!batch.is_empty());
            let length = |text: &usize| self.lengths[*text].max(1);
            let longest = batch.iter().map(length).max().expect("a batch is not empty");
            assert!(batch.len() == 1 || batch.len() * longest <= budget, "{self:?}");
            assert!(longest <= before, "long batches come first: {self:?}");
            before = longest;
            seen.extend_from_slice(batch);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..self.lengths.len()), "{self:?}");
        let mut sorted: Vec<usize> = self.lengths.iter().map(|length| *length.max(&1)).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let share = sorted.iter().sum::<usize>().div_ceil(workers);
        if workers == 1 || share >= budget {
            let cost = |batch: &[usize]| {
                BATCH_COST + batch.len() * batch.iter().map(|text| self.lengths[*text].max(1)).max().unwrap_or(0)
            };
            let found: usize = plan.batches().map(cost).sum();
            assert_eq!(found, least_cost(&sorted, budget), "{self:?}");
        }
    }

    fn ladder(&self) {
        let budget = self.budget.min(1 << 20);
        let ladder = Ladder::new(self.max_tokens, budget);
        let all = ladder.shapes(self.max_tokens, None);
        let lengths: Vec<usize> = self.lengths.iter().map(|length| (*length).min(ladder.longest())).collect();
        let batches = ladder.plan(&lengths, self.most_shapes);
        let mut seen = Vec::new();
        let mut shapes = BTreeSet::new();
        for batch in &batches {
            let longest = batch.texts.iter().map(|text| lengths[*text]).max().expect("a batch is not empty");
            let shape = ladder.shape(batch.texts.len(), batch.sequence).expect("a batch has a shape of the ladder");
            assert_eq!(Some(shape), smallest_shape(&all, batch.texts.len(), batch.sequence), "{self:?}");
            assert!(longest <= shape.sequence && shape.sequence == batch.sequence, "{self:?}");
            assert!(shape.batch == 1 || shape.batch * shape.sequence <= budget, "{self:?}");
            shapes.insert((shape.batch, shape.sequence));
            seen.extend_from_slice(&batch.texts);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..lengths.len()), "{self:?}");
        // A plan of the coarsest lengths has one length, and the sizes that its rest needs.
        let of_one_length: BTreeSet<usize> = shapes.iter().map(|(_, sequence)| *sequence).collect();
        assert!(shapes.len() <= self.most_shapes || of_one_length.len() <= 1, "{shapes:?} {self:?}");
    }
}

/// What the cheapest way costs to cut lengths, from long to short: found from the longest on, where the planner begins with
/// the shortest.
fn least_cost(lengths: &[usize], budget: usize) -> usize {
    let mut least = vec![0];
    for end in 1..=lengths.len() {
        let fits = |start: &usize| end - start == 1 || (end - start) * lengths[*start] <= budget;
        let cost = |start: usize| least[start] + BATCH_COST + (end - start) * lengths[start];
        least.push((0..end).filter(fits).map(cost).min().expect("one text is a batch"));
    }
    least[lengths.len()]
}

/// The smallest of all shapes for so many texts of so many tokens, length first.
fn smallest_shape(all: &[StaticShape], rows: usize, tokens: usize) -> Option<StaticShape> {
    let fitting = all.iter().filter(|shape| shape.batch >= rows && shape.sequence >= tokens);
    fitting.min_by_key(|shape| (shape.sequence, shape.batch)).copied()
}
