//! The pool with an engine that adds numbers, so that nothing but the pool is tested.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Engine, Pool, StopSignal};
use crate::error::{EmbeddingError, Result};

/// A batch of numbers. `13` fails, `17` panics, `99` runs until it is stopped.
type Numbers = Vec<u64>;

#[derive(Default)]
struct Adder {
    log: Mutex<Vec<Vec<Numbers>>>,
    made: AtomicUsize,
    slow: bool,
}

impl Engine for Adder {
    type Worker = usize;
    type Work = Numbers;
    type Output = u64;

    fn worker(&self) -> Result<usize> {
        Ok(self.made.fetch_add(1, Ordering::SeqCst))
    }

    fn run(&self, _: &mut usize, works: &[&Numbers], stop: &StopSignal) -> Result<Vec<u64>> {
        self.log.lock().unwrap().push(works.iter().map(|work| (*work).clone()).collect());
        if self.slow {
            thread::sleep(Duration::from_millis(5));
        }
        if works.iter().any(|work| work.contains(&99)) {
            let (sender, receiver) = std::sync::mpsc::channel();
            stop.on_stop(move || sender.send(()).unwrap());
            receiver.recv_timeout(Duration::from_secs(20)).unwrap();
            return Err(EmbeddingError::Cancelled);
        }
        assert!(!works.iter().any(|work| work.contains(&17)), "as asked");
        if works.iter().any(|work| work.contains(&13)) {
            return Err(EmbeddingError::inference_failed("thirteen"));
        }
        Ok(works.iter().map(|work| work.iter().sum()).collect())
    }

    fn company(&self, work: &Numbers, others: &[&Numbers]) -> Vec<usize> {
        let mut together = work.len();
        let fits = |(place, other): (usize, &&Numbers)| {
            let joins = together + other.len() <= 3;
            together += if joins { other.len() } else { 0 };
            joins.then_some(place)
        };
        others.iter().enumerate().filter_map(fits).collect()
    }
}

fn call(pool: &Pool<Adder>, works: Vec<Numbers>) -> Result<Vec<u64>> {
    let mut sums = vec![0; works.len()];
    pool.run(works, &mut |arrived| {
        if let Some((number, sum)) = arrived {
            sums[number] = sum;
        }
        ControlFlow::Continue(())
    })?;
    Ok(sums)
}

#[test]
fn outputs_come_back_under_their_numbers() {
    let pool = Pool::new(Arc::new(Adder::default()), 3);
    let works: Vec<Numbers> = (200..400).map(|number| vec![number, 1000, 1, 1]).collect();
    assert_eq!(call(&pool, works).unwrap(), (200..400).map(|number| number + 1002).collect::<Vec<_>>());
    assert!(pool.is_idle());
}

#[test]
fn a_call_without_batches_returns() {
    assert_eq!(call(&Pool::new(Arc::new(Adder::default()), 1), Vec::new()).unwrap(), Vec::<u64>::new());
}

#[test]
fn an_error_fails_its_call_and_no_other() {
    let pool = Pool::new(Arc::new(Adder { slow: true, ..Adder::default() }), 2);
    thread::scope(|scope| {
        let bad = scope.spawn(|| call(&pool, vec![vec![1, 1, 1], vec![13, 1, 1], vec![2, 2, 2]]));
        let good = scope.spawn(|| call(&pool, (100..120).map(|number| vec![number, 0, 0]).collect()));
        assert!(bad.join().unwrap().unwrap_err().to_string().contains("thirteen"));
        assert_eq!(good.join().unwrap().unwrap(), (100..120).collect::<Vec<_>>());
    });
    assert_eq!(call(&pool, vec![vec![4, 5]]).unwrap(), [9]);
}

#[test]
fn a_panic_is_an_error_and_the_pool_goes_on() {
    let pool = Pool::new(Arc::new(Adder::default()), 1);
    assert!(matches!(call(&pool, vec![vec![17]]), Err(EmbeddingError::Internal { .. })));
    assert_eq!(call(&pool, vec![vec![1, 2]]).unwrap(), [3]);
}

#[test]
fn a_small_call_is_not_behind_a_large_one() {
    let engine = Arc::new(Adder { slow: true, ..Adder::default() });
    let pool = Pool::new(Arc::clone(&engine), 1);
    thread::scope(|scope| {
        scope.spawn(|| call(&pool, (0..200).map(|_| vec![1, 1, 1]).collect()).unwrap());
        while pool.is_idle() {
            thread::yield_now();
        }
        call(&pool, vec![vec![5, 5, 5]]).unwrap();
        let before = engine.log.lock().unwrap().len();
        assert!(before < 100, "{before} of 200 batches of the large call ran first");
    });
}

#[test]
fn a_call_waits_while_the_worker_is_at_another() {
    let engine = Arc::new(Adder { slow: true, ..Adder::default() });
    let pool = &Pool::new(engine, 1);
    let start = Instant::now();
    let calls: Vec<(Duration, Duration)> = thread::scope(|scope| {
        let call = || {
            let start = Instant::now();
            // Too large to be joined.
            let waited = pool.run(vec![vec![1, 1, 1]; 6], &mut |_| ControlFlow::Continue(())).unwrap();
            (waited, start.elapsed())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let whole = start.elapsed();
    let worked: Duration = calls.iter().map(|(waited, elapsed)| elapsed.checked_sub(*waited).unwrap()).sum();
    // It was at one of the calls at any time, and slept in each of 24 batches.
    assert!(worked <= whole, "{worked:?} of {whole:?}");
    assert!(worked >= Duration::from_millis(24 * 5), "{worked:?}");
}

#[test]
fn batches_of_one_call_are_for_several_workers() {
    let engine = Arc::new(Adder { slow: true, ..Adder::default() });
    let pool = Pool::new(Arc::clone(&engine), 2);
    let works: Vec<Numbers> = (100..110).map(|number| vec![number]).collect();
    assert_eq!(call(&pool, works).unwrap(), (100..110).collect::<Vec<_>>());
    assert!(engine.log.lock().unwrap().iter().all(|works| works.len() == 1), "cut small, and put together again");
}

#[test]
fn small_batches_of_waiting_calls_run_together() {
    let engine = Arc::new(Adder { slow: true, ..Adder::default() });
    let pool = &Pool::new(Arc::clone(&engine), 1);
    thread::scope(|scope| {
        // Interpreted, each thread takes seconds.
        let numbers = 100..if cfg!(miri) { 110 } else { 160 };
        let calls: Vec<_> =
            numbers.map(|number| (number, scope.spawn(move || call(pool, vec![vec![number]])))).collect();
        for (number, call) in calls {
            assert_eq!(call.join().unwrap().unwrap(), [number]);
        }
    });
    let log = engine.log.lock().unwrap();
    let calls: usize = log.iter().map(Vec::len).sum();
    assert!(log.len() < calls, "{} runs for {calls} calls", log.len());
    assert!(log.iter().all(|works| works.iter().map(Vec::len).sum::<usize>() <= 3));
}

#[test]
fn cancelling_stops_the_run_and_empties_the_queue() {
    let pool = Pool::new(Arc::new(Adder::default()), 1);
    let start = Instant::now();
    let outcome = pool.run(vec![vec![99, 0, 0], vec![1, 1, 1], vec![1, 1, 1]], &mut |_| ControlFlow::Break(()));
    assert!(matches!(outcome, Err(EmbeddingError::Cancelled)));
    assert_eq!(call(&pool, vec![vec![1, 2]]).unwrap(), [3], "the next call works");
    assert!(start.elapsed() < Duration::from_secs(10), "the run was stopped, not waited for");
}

#[test]
fn a_thousand_callers_are_all_served() {
    let engine = Arc::new(Adder::default());
    let pool = &Pool::new(Arc::clone(&engine), 2);
    thread::scope(|scope| {
        // Interpreted, a thousand threads take an hour.
        let calls: Vec<_> = (1000..if cfg!(miri) { 1020 } else { 2000 })
            .map(|number| (number, scope.spawn(move || call(pool, vec![vec![number], vec![1, 1, 1, 1]]))))
            .collect();
        for (number, call) in calls {
            assert_eq!(call.join().unwrap().unwrap(), [number, 4]);
        }
    });
    assert_eq!(engine.made.load(Ordering::SeqCst), 2, "no more workers than asked for");
}
