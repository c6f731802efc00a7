//! Whether there is room for a request: a bounded queue that answers at once where it is full.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;

/// The longest that a client is told to stay away.
const LONGEST: Duration = Duration::from_mins(1);
/// Time with something to do over which the rate is counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Texts that wait or run, and how fast they go.
#[derive(Debug)]
pub(crate) struct Admission {
    inside: AtomicUsize,
    limit: usize,
    rate: Mutex<Rate>,
}

/// Texts a second, over the last window. Time in which there was nothing to do tells nothing of how fast they go.
#[derive(Debug)]
struct Rate {
    /// From when on time is not in `busy` yet.
    since: Instant,
    busy: Duration,
    done: usize,
    per_second: f64,
}

/// Room for some texts, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    texts: usize,
}

impl Admission {
    /// Room for `limit` texts.
    pub fn new(limit: usize) -> Self {
        let rate = Mutex::new(Rate { since: Instant::now(), busy: Duration::ZERO, done: 0, per_second: 0.0 });
        Self { inside: AtomicUsize::new(0), limit, rate }
    }

    /// Takes room for `texts`. A request that is larger than the queue is let in where it is alone: it would never be else.
    ///
    /// # Errors
    /// An overloaded [`Failure`], with when to come back.
    pub fn enter(self: &Arc<Self>, texts: usize) -> Result<Admitted, Failure> {
        let enter = |inside: usize| (inside == 0 || inside + texts <= self.limit).then_some(inside + texts);
        match self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter) {
            Ok(inside) => {
                if inside == 0 {
                    self.rate().since = Instant::now();
                }
                Ok(Admitted { admission: Arc::clone(self), texts })
            }
            Err(inside) => Err(Failure::overloaded(
                format!("{inside} texts are waiting already, and {} may; try again later", self.limit),
                self.expected(inside),
            )),
        }
    }

    /// Texts that wait or run.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire)
    }

    /// How long so many texts will take, by how fast the last ones went.
    fn expected(&self, texts: usize) -> Duration {
        let rate = self.rate().per_second;
        let seconds = if rate > 0.0 { texts as f64 / rate } else { 1.0 };
        Duration::from_secs_f64(seconds.clamp(1.0, LONGEST.as_secs_f64()))
    }

    fn leave(&self, texts: usize) {
        self.rate().add(texts, Instant::now());
        self.inside.fetch_sub(texts, Ordering::AcqRel);
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    /// So many were done by now.
    fn add(&mut self, texts: usize, now: Instant) {
        self.done += texts;
        self.busy += now.saturating_duration_since(self.since);
        self.since = now;
        if self.busy >= WINDOW {
            self.per_second = self.done as f64 / self.busy.as_secs_f64();
            (self.busy, self.done) = (Duration::ZERO, 0);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.leave(self.texts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_room_comes_back() {
        let queue = Arc::new(Admission::new(10));
        let first = queue.enter(6).unwrap();
        let failure = queue.enter(5).unwrap_err();
        assert_eq!(failure.status, 429);
        assert!(failure.retry_after.unwrap() >= Duration::from_secs(1));
        let second = queue.enter(4).unwrap();
        assert_eq!(queue.inside(), 10);
        drop(first);
        assert!(queue.enter(6).is_ok());
        drop(second);
        assert_eq!(queue.inside(), 0);
    }

    #[test]
    fn how_long_it_takes_is_told_by_time_with_something_to_do() {
        let queue = Arc::new(Admission::new(100));
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        drop(queue.enter(5).unwrap());
        // Nothing for a while, then two seconds for five texts more.
        queue.rate().since = ago(1000);
        let second = queue.enter(5).unwrap();
        queue.rate().since = ago(2);
        drop(second);
        let told = queue.expected(50).as_secs_f64();
        // At ten in two seconds; a little more where this thread was stopped.
        assert!((10.0..40.0).contains(&told), "{told} s");
    }

    #[test]
    fn a_request_larger_than_the_queue_gets_its_turn() {
        let queue = Arc::new(Admission::new(10));
        let large = queue.enter(50).unwrap();
        assert!(queue.enter(1).is_err());
        drop(large);
        let small = queue.enter(1).unwrap();
        assert!(queue.enter(50).is_err());
        drop(small);
    }
}
