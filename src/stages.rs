//! What the time of an embedder goes into: counted always, for whoever runs a service and for `oxembed bench`.
//!
//! A batch, which takes milliseconds, costs eight reads of the clock and eight relaxed additions: a quarter of a microsecond
//! together, as the test `what_counting_a_batch_costs` measures. A call costs about as much again. There is no lock, and
//! nothing for each text.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What became of an embedder's time, and what it did in it, since it was loaded. Failed runs count with their time.
///
/// Times are those of threads: two workers that run for a second each are two seconds of `run`. They are of the threads that
/// drive the work; a session with several threads counts once.
///
/// ```
/// use oxembed::{Embedder, EncodeOptions};
///
/// # fn main() -> oxembed::Result<()> {
/// let embedder = Embedder::load("models/all-MiniLM-L6-v2")?;
/// let before = embedder.stages();
/// embedder.encode(&["a cat", "a dog in the rain"], &EncodeOptions::default())?;
/// let spent = embedder.stages() - before;
/// assert_eq!((spent.calls, spent.texts, spent.tokens), (1, 2, 4 + 7));
/// assert!(spent.padded_tokens >= spent.tokens && !spent.run.is_zero());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    /// Calls that gave their rows.
    pub calls: u64,
    /// Texts of these calls, equal ones each counted.
    pub texts: u64,
    /// Those of them that were cut to the model's limit.
    pub truncated_texts: u64,
    /// Batches that were computed.
    pub batches: u64,
    /// Tokens of the texts in them, special tokens included: equal texts of a call are computed, and counted, once.
    pub tokens: u64,
    /// The same with the padding.
    pub padded_tokens: u64,
    /// Making tokens of texts.
    pub tokenize: Duration,
    /// Finding equal texts and cutting a call into batches.
    pub plan: Duration,
    /// Making the arrays that a batch is fed as.
    pub copy: Duration,
    /// ONNX Runtime's.
    pub run: Duration,
    /// Making rows of what it gave: pooling, dense layers, normalization, and placing them in the call's array.
    pub pool: Duration,
    /// What calls waited for a worker: time in which none of a call's batches was being worked on.
    pub wait: Duration,
}

impl Sub for Stages {
    type Output = Self;

    /// What came in between two moments, of which `earlier` is the first.
    fn sub(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            texts: self.texts.saturating_sub(earlier.texts),
            truncated_texts: self.truncated_texts.saturating_sub(earlier.truncated_texts),
            batches: self.batches.saturating_sub(earlier.batches),
            tokens: self.tokens.saturating_sub(earlier.tokens),
            padded_tokens: self.padded_tokens.saturating_sub(earlier.padded_tokens),
            tokenize: self.tokenize.saturating_sub(earlier.tokenize),
            plan: self.plan.saturating_sub(earlier.plan),
            copy: self.copy.saturating_sub(earlier.copy),
            run: self.run.saturating_sub(earlier.run),
            pool: self.pool.saturating_sub(earlier.pool),
            wait: self.wait.saturating_sub(earlier.wait),
        }
    }
}

/// A part of the way from texts to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making tokens of texts.
    Tokenize,
    /// Finding equal texts and cutting a call into batches.
    Plan,
    /// Making the arrays that a batch is fed as.
    Copy,
    /// ONNX Runtime's.
    Run,
    /// Making rows of what it gave.
    Pool,
    /// Standing in the queue.
    Wait,
}

/// What [`Stages`] is read from. Every thread adds; times are in nanoseconds, of which there is room for 584 years.
#[derive(Debug, Default)]
pub struct StageCounters {
    calls: AtomicU64,
    texts: AtomicU64,
    truncated_texts: AtomicU64,
    batches: AtomicU64,
    tokens: AtomicU64,
    padded_tokens: AtomicU64,
    tokenize: AtomicU64,
    plan: AtomicU64,
    copy: AtomicU64,
    run: AtomicU64,
    pool: AtomicU64,
    wait: AtomicU64,
}

impl StageCounters {
    /// The counts at this moment. While calls run, each is right by itself, and one may be a batch ahead of another.
    pub fn snapshot(&self) -> Stages {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let time = |stage| Duration::from_nanos(count(self.time(stage)));
        Stages {
            calls: count(&self.calls),
            texts: count(&self.texts),
            truncated_texts: count(&self.truncated_texts),
            batches: count(&self.batches),
            tokens: count(&self.tokens),
            padded_tokens: count(&self.padded_tokens),
            tokenize: time(Stage::Tokenize),
            plan: time(Stage::Plan),
            copy: time(Stage::Copy),
            run: time(Stage::Run),
            pool: time(Stage::Pool),
            wait: time(Stage::Wait),
        }
    }

    /// Adds the time of a stage that was taken elsewhere.
    pub fn add(&self, stage: Stage, time: Duration) {
        add(self.time(stage), u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A batch was computed.
    pub fn batch(&self, tokens: usize, padded_tokens: usize) {
        add(&self.batches, 1);
        add(&self.tokens, tokens as u64);
        add(&self.padded_tokens, padded_tokens as u64);
    }

    /// A call gave its rows.
    pub fn call(&self, texts: usize, truncated_texts: usize) {
        add(&self.calls, 1);
        add(&self.texts, texts as u64);
        add(&self.truncated_texts, truncated_texts as u64);
    }

    fn time(&self, stage: Stage) -> &AtomicU64 {
        match stage {
            Stage::Tokenize => &self.tokenize,
            Stage::Plan => &self.plan,
            Stage::Copy => &self.copy,
            Stage::Run => &self.run,
            Stage::Pool => &self.pool,
            Stage::Wait => &self.wait,
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    // Nobody concludes from one count on another, so no order is asked for.
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Cuts the time of a thread into stages: where one ends, the next begins, so that each costs one read of the clock.
#[derive(Debug)]
pub struct Stopwatch<'a> {
    counters: &'a StageCounters,
    since: Instant,
}

impl<'a> Stopwatch<'a> {
    /// The first stage begins now.
    pub fn start(counters: &'a StageCounters) -> Self {
        Self { counters, since: Instant::now() }
    }

    /// What was done since the last look was `stage`.
    pub fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        self.counters.add(stage, now.saturating_duration_since(self.since));
        self.since = now;
    }

    /// What was done since the last look is no stage, or was counted elsewhere.
    pub fn skip(&mut self) {
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Stage, StageCounters, Stages, Stopwatch};

    #[test]
    fn a_stopwatch_gives_every_moment_to_one_stage() {
        let counters = StageCounters::default();
        let start = Instant::now();
        let mut clock = Stopwatch::start(&counters);
        for stage in [Stage::Plan, Stage::Copy, Stage::Run, Stage::Plan] {
            thread::sleep(Duration::from_millis(3));
            clock.lap(stage);
        }
        thread::sleep(Duration::from_millis(3));
        clock.skip();
        clock.lap(Stage::Pool);
        let elapsed = start.elapsed();
        let Stages { plan, copy, run, pool, tokenize, wait, .. } = counters.snapshot();
        let slept = Duration::from_millis(3);
        assert!(plan >= 2 * slept && copy >= slept && run >= slept, "{plan:?} {copy:?} {run:?}");
        assert!(plan + copy + run + pool + slept <= elapsed, "what was skipped is nobody's");
        assert_eq!((tokenize, wait), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn counts_of_many_threads_add_up() {
        let counters = StageCounters::default();
        counters.call(5, 2);
        let before = counters.snapshot();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counters.batch(30, 32);
                        counters.add(Stage::Run, Duration::from_nanos(7));
                        counters.call(3, 1);
                    }
                });
            }
        });
        let expected = Stages {
            calls: 8000,
            texts: 24_000,
            truncated_texts: 8000,
            batches: 8000,
            tokens: 240_000,
            padded_tokens: 256_000,
            run: Duration::from_micros(56),
            ..Stages::default()
        };
        assert_eq!(counters.snapshot() - before, expected);
    }

    /// `cargo test --release stages -- --ignored --nocapture` shows what the comment at the top says.
    #[test]
    #[ignore = "it measures"]
    #[allow(clippy::print_stdout)]
    fn what_counting_a_batch_costs() {
        const BATCHES: u32 = 1_000_000;
        let counters = StageCounters::default();
        let start = Instant::now();
        for _ in 0..BATCHES {
            let mut clock = Stopwatch::start(&counters);
            clock.lap(Stage::Copy);
            clock.skip();
            clock.lap(Stage::Copy);
            clock.skip();
            clock.lap(Stage::Run);
            clock.lap(Stage::Pool);
            clock.lap(Stage::Pool);
            counters.batch(500, 512);
        }
        println!("{:?} a batch", start.elapsed() / BATCHES);
    }
}
