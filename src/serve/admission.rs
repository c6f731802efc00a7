//! Whether there is room for a request: a bounded queue that answers at once where it is full.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;

/// The longest that a client is told to stay away.
const LONGEST: Duration = Duration::from_mins(1);
/// Over which the rate is counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Texts that wait or run, and how fast they go.
#[derive(Debug)]
pub(crate) struct Admission {
    inside: AtomicUsize,
    limit: usize,
    rate: Mutex<Rate>,
}

/// Texts a second, over the last window in which any were done.
#[derive(Debug)]
struct Rate {
    since: Instant,
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
        let rate = Mutex::new(Rate { since: Instant::now(), done: 0, per_second: 0.0 });
        Self { inside: AtomicUsize::new(0), limit, rate }
    }

    /// Takes room for `texts`. A request that is larger than the queue is let in where it is alone: it would never be else.
    ///
    /// # Errors
    /// An overloaded [`Failure`], with when to come back.
    pub fn enter(self: &Arc<Self>, texts: usize) -> Result<Admitted, Failure> {
        let enter = |inside: usize| (inside == 0 || inside + texts <= self.limit).then_some(inside + texts);
        match self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter) {
            Ok(_) => Ok(Admitted { admission: Arc::clone(self), texts }),
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
        let rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner).per_second;
        let seconds = if rate > 0.0 { texts as f64 / rate } else { 1.0 };
        Duration::from_secs_f64(seconds.clamp(1.0, LONGEST.as_secs_f64()))
    }

    fn leave(&self, texts: usize) {
        self.inside.fetch_sub(texts, Ordering::AcqRel);
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.done += texts;
        let elapsed = rate.since.elapsed();
        if elapsed >= WINDOW {
            rate.per_second = rate.done as f64 / elapsed.as_secs_f64();
            (rate.since, rate.done) = (Instant::now(), 0);
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
