//! How long a call stood in the queue.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Adds up the time in which none of a call's batches is being worked on. Workers change it under the lock of the pool, and
/// the caller reads it when they are done with it.
#[derive(Debug)]
pub struct Waiting {
    start: Instant,
    /// Runs that work on a batch of the call.
    runs: AtomicUsize,
    /// When there was none any more, in nanoseconds from the start.
    since: AtomicU64,
    /// Before that.
    waited: AtomicU64,
}

impl Waiting {
    /// Of a call that enters the queue now.
    pub fn new() -> Self {
        Self { start: Instant::now(), runs: AtomicUsize::new(0), since: AtomicU64::new(0), waited: AtomicU64::new(0) }
    }

    /// A worker takes one of its batches.
    pub fn taken(&self) {
        if self.runs.fetch_add(1, Ordering::Relaxed) == 0 {
            let idle = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
            self.waited.fetch_add(idle, Ordering::Relaxed);
        }
    }

    /// A worker is done with one of them.
    pub fn left(&self) {
        if self.runs.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The time up to now, of a call that no worker works on.
    pub fn total(&self) -> Duration {
        let idle = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        Duration::from_nanos(self.waited.load(Ordering::Relaxed) + idle)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::Waiting;

    #[test]
    fn only_time_without_a_worker_is_waiting() {
        const STEP: Duration = Duration::from_millis(4);
        let start = Instant::now();
        let call = Waiting::new();
        sleep(STEP);
        call.taken();
        let working = Instant::now();
        sleep(STEP);
        call.taken();
        call.left();
        sleep(STEP);
        let worked = working.elapsed();
        call.left();
        sleep(STEP);
        call.taken();
        call.left();
        sleep(STEP);
        let total = call.total();
        assert!(total >= 3 * STEP, "{total:?}");
        assert!(total + worked <= start.elapsed(), "{total:?} beside {worked:?} of work");
    }
}
