//! What has to be at rest while the process forks.
//!
//! A forked child has every lock of its parent, held by threads that it does not have. ONNX Runtime holds locks of the whole
//! process while it makes a session, and so do we while a library is loaded: a child that was forked in such a moment would
//! wait for ever in its own first session. So a fork waits for them. Sessions that run hold locks of their own alone, which
//! a child, having sessions of its own, never asks for.

#[cfg(any(feature = "python", test))]
use std::cell::RefCell;
#[cfg(any(feature = "python", test))]
use std::sync::MutexGuard;
use std::sync::{Condvar, Mutex, PoisonError};

/// How many things are under way. Whoever forks holds it from before the fork until after it, in both processes.
static UNDER_WAY: Mutex<usize> = Mutex::new(0);
static AT_REST: Condvar = Condvar::new();

/// Something is under way, until it is dropped, that a fork has to wait for.
///
/// Whoever has one may wait for threads that take one too: while there is any, no fork has begun, and more are given.
#[derive(Debug)]
pub struct UnderWay(());

impl UnderWay {
    /// From now on; where somebody is forking, from the moment after that.
    pub fn begin() -> Self {
        *UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut count = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        *count -= 1;
        if *count == 0 {
            AT_REST.notify_all();
        }
    }
}

#[cfg(any(feature = "python", test))]
thread_local! {
    /// Of the thread that forks, which is the only one of the child.
    static HELD: RefCell<Option<MutexGuard<'static, usize>>> = const { RefCell::new(None) };
}

/// Before a fork: waits until nothing is under way, and lets nothing begin.
#[cfg(any(feature = "python", test))]
pub fn hold() {
    let count = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    let count = AT_REST.wait_while(count, |count| *count > 0).unwrap_or_else(PoisonError::into_inner);
    HELD.with_borrow_mut(|held| *held = Some(count));
}

/// After it, in the same thread: of the parent, and of the child.
#[cfg(any(feature = "python", test))]
pub fn release() {
    HELD.with_borrow_mut(Option::take);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::thread;

    use super::*;

    #[test]
    fn a_fork_waits_for_what_is_under_way_and_what_begins_waits_for_the_fork() {
        let first = UnderWay::begin();
        let (said, heard) = channel();
        thread::scope(|scope| {
            let (forking, beginning) = (said.clone(), said);
            let (go, may_go) = channel();
            scope.spawn(move || {
                hold();
                forking.send("held").unwrap();
                may_go.recv().unwrap();
                forking.send("released").unwrap();
                release();
            });
            // It is given while the fork waits.
            drop(UnderWay::begin());
            assert_eq!(heard.try_recv(), Err(TryRecvError::Empty));
            drop(first);
            assert_eq!(heard.recv(), Ok("held"));
            scope.spawn(move || {
                drop(UnderWay::begin());
                beginning.send("began").unwrap();
            });
            go.send(()).unwrap();
            assert_eq!([heard.recv(), heard.recv()], [Ok("released"), Ok("began")]);
        });
    }
}
