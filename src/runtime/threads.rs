//! The threads of a session, all of them there before ONNX Runtime asks for the first.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use ort::environment::ThreadManager;

use crate::error::{EmbeddingError, Result};

/// As much as pthreads gives where nobody asks, which is what ONNX Runtime's own threads have; Rust's have a quarter.
const STACK_BYTES: usize = 8 << 20;

type Work = Box<dyn FnOnce() + Send>;

/// Threads that wait for ONNX Runtime's work.
///
/// Where the system refuses one of the threads that ONNX Runtime starts for a session, it waits for ever for those it
/// did start. To try before whether so many can be started is not enough: between the two others may take their places,
/// and one that has ended counts for a while.
#[derive(Debug, Clone)]
pub struct SessionThreads(Arc<Mutex<Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    work: Sender<Work>,
    thread: JoinHandle<()>,
}

impl SessionThreads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// `InferenceFailed` where the system refuses one; none is left behind.
    pub fn start(count: usize) -> Result<Self> {
        let threads = Self(Arc::default());
        for _ in 0..count {
            let waiting = Waiting::start().map_err(|error| {
                threads.dismiss();
                let problem = format!("a session needs {count} more threads, and the system refuses them");
                EmbeddingError::inference_failed(problem).caused_by(error)
            })?;
            threads.waiting(|all| all.push(waiting));
        }
        Ok(threads)
    }

    /// Ends the threads that got no work.
    pub fn dismiss(&self) {
        for Waiting { work, thread } in self.waiting(std::mem::take) {
            drop(work);
            if thread.join().is_err() {
                tracing::error!("a waiting thread of a session panicked");
            }
        }
    }

    fn waiting<T>(&self, change: impl FnOnce(&mut Vec<Waiting>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Waiting {
    fn start() -> std::io::Result<Self> {
        let (work, given) = channel::<Work>();
        let wait = move || {
            if let Ok(work) = given.recv() {
                work();
            }
        };
        let thread = Builder::new().name("oxembed-session".to_owned()).stack_size(STACK_BYTES).spawn(wait)?;
        Ok(Self { work, thread })
    }
}

impl ThreadManager for SessionThreads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<JoinHandle<()>> {
        let waiting = match self.waiting(Vec::pop) {
            Some(waiting) => waiting,
            None => Waiting::start().map_err(|error| ort::Error::new(error.to_string()))?,
        };
        waiting.work.send(Box::new(work)).map_err(|_| ort::Error::new("a waiting thread has ended"))?;
        Ok(waiting.thread)
    }

    fn join(thread: JoinHandle<()>) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("a thread of a session panicked"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Each piece of work runs once, on a thread of its own, more of them than were started, too.
    #[test]
    fn work_runs_on_threads_that_were_there_and_on_more() {
        let threads = SessionThreads::start(2).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handles: Vec<_> = (0..3)
            .map(|_| {
                let seen = Arc::clone(&seen);
                threads.create(move || seen.lock().unwrap().push(std::thread::current().id())).unwrap()
            })
            .collect();
        assert!(threads.waiting(|all| all.is_empty()), "ONNX Runtime's first two were there");
        for handle in handles {
            SessionThreads::join(handle).unwrap();
        }
        let mut seen = seen.lock().unwrap().clone();
        seen.dedup();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn threads_without_work_end() {
        let threads = SessionThreads::start(3).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let handle = threads.create(count).unwrap();
        threads.dismiss();
        SessionThreads::join(handle).unwrap();
        assert_eq!((ran.load(Ordering::Relaxed), threads.waiting(|all| all.len())), (1, 0));
    }
}
