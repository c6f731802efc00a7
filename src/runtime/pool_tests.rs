//! The pool with an engine that adds numbers, so that nothing but the pool is tested.
//!
//! Any thread may be stopped for seconds at any time, so nothing here is about how fast something is: where it matters what
//! is in the queue, a gate keeps the worker in its first run until it is there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Engine, Pool, StopSignal, lock};
use crate::error::{EmbeddingError, Result};

/// How long something may take that has to happen.
const LIMIT: Duration = Duration::from_mins(1);

/// A batch of numbers. `13` fails, `17` panics, `99` runs until it is stopped.
type Numbers = Vec<u64>;

#[derive(Default)]
struct Adder {
    /// What was run, as it began.
    log: Mutex<Vec<Vec<Numbers>>>,
    /// The first number of what was run, and from when to when.
    times: Mutex<Vec<(u64, Instant, Instant)>>,
    made: AtomicUsize,
    /// A worker is there when so many are.
    together: usize,
    stopped: AtomicUsize,
    slow: bool,
    gate: Gate,
}

/// What every run has to pass; open if nobody closed it.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn closed() -> Self {
        Self { is_closed: Mutex::new(true), ..Self::default() }
    }

    fn open(&self) {
        *lock(&self.is_closed) = false;
        self.opened.notify_all();
    }

    /// Gives up at last, so that a test that fails ends.
    fn pass(&self) {
        drop(self.opened.wait_timeout_while(lock(&self.is_closed), LIMIT, |is_closed| *is_closed).unwrap());
    }
}

impl Engine for Adder {
    type Worker = usize;
    type Work = Numbers;
    type Output = u64;

    fn worker(&self) -> Result<usize> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        until("all workers are made", || self.made.load(Ordering::SeqCst) >= self.together);
        Ok(number)
    }

    fn run(&self, _: &mut usize, works: &[&Numbers], stop: &StopSignal) -> Result<Vec<u64>> {
        let began = Instant::now();
        self.log.lock().unwrap().push(works.iter().map(|work| (*work).clone()).collect());
        self.gate.pass();
        if self.slow {
            thread::sleep(Duration::from_millis(5));
        }
        self.times.lock().unwrap().push((works[0][0], began, Instant::now()));
        if works.iter().any(|work| work.contains(&99)) {
            let (sender, receiver) = std::sync::mpsc::channel();
            // Told twice, the second time in vain, where it is stopped just now.
            stop.on_stop(move || {
                let _ = sender.send(());
            });
            receiver.recv_timeout(LIMIT).unwrap();
            self.stopped.fetch_add(1, Ordering::SeqCst);
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

/// Waits for what other threads do, however slow they are.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}: it did not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a worker is in a run, held by the gate.
fn until_held(engine: &Adder) {
    until("a worker is in a run", || !lock(&engine.log).is_empty());
}

/// Waits until so many calls have batches that no worker took.
fn until_queued(pool: &Pool<Adder>, calls: usize) {
    until("the calls are in the queue", || lock(&pool.shared.state).calls.len() == calls);
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
    let engine = Arc::new(Adder { gate: Gate::closed(), ..Adder::default() });
    let pool = Pool::new(Arc::clone(&engine), 1);
    thread::scope(|scope| {
        scope.spawn(|| call(&pool, (0..200).map(|_| vec![1, 1, 1]).collect()).unwrap());
        until_held(&engine);
        scope.spawn(|| call(&pool, vec![vec![5, 5, 5]]).unwrap());
        until_queued(&pool, 2);
        engine.gate.open();
    });
    let log = engine.log.lock().unwrap();
    let before = log.iter().position(|works| works[0] == [5, 5, 5]).unwrap();
    // The one that ran already, and one because the large call was there first.
    assert_eq!((before, log.len()), (2, 201), "batches of the large call before the small one, and all");
}

#[test]
fn a_call_waits_while_the_worker_is_at_another() {
    let engine = &Arc::new(Adder { slow: true, gate: Gate::closed(), ..Adder::default() });
    let pool = &Pool::new(Arc::clone(engine), 1);
    let (opened, calls): (Instant, Vec<(u64, Duration, Duration)>) = thread::scope(|scope| {
        let call = move |number: u64| {
            let start = Instant::now();
            // Too large to be joined.
            let waited = pool.run(vec![vec![number, 1, 1]; 6], &mut |_| ControlFlow::Continue(())).unwrap();
            (number, waited, start.elapsed())
        };
        let mut threads = vec![scope.spawn(move || call(0))];
        until_held(engine);
        threads.extend((1..4).map(|number| scope.spawn(move || call(number))));
        until_queued(pool, 4);
        let opened = Instant::now();
        engine.gate.open();
        (opened, threads.into_iter().map(|thread| thread.join().unwrap()).collect())
    });
    let times = engine.times.lock().unwrap();
    for (number, waited, elapsed) in calls {
        let (own, others): (Vec<_>, Vec<_>) = times.iter().partition(|(of, ..)| *of == number);
        assert_eq!((own.len(), others.len()), (6, 18));
        let worked: Duration = own.iter().map(|(_, began, ended)| *ended - *began).sum();
        assert!(waited + worked <= elapsed, "{waited:?} beside {worked:?} of work in {elapsed:?}");
        // All this time it was in the pool, with the worker at others whenever it was not at this one.
        let (first, last) = (own[0].1.min(opened), own[5].2);
        let beside: Duration =
            others.iter().map(|(_, began, ended)| last.min(*ended).saturating_duration_since(first.max(*began))).sum();
        assert!(waited >= beside, "{waited:?} while others took {beside:?}");
        assert!(beside >= Duration::from_millis(4 * 3 * 5), "they take turns: {beside:?}");
    }
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
    // Interpreted, each thread takes seconds.
    const CALLS: usize = if cfg!(miri) { 10 } else { 60 };
    let engine = Arc::new(Adder { gate: Gate::closed(), ..Adder::default() });
    let pool = &Pool::new(Arc::clone(&engine), 1);
    thread::scope(|scope| {
        let mut calls = Vec::new();
        for number in (100..).take(CALLS) {
            calls.push((number, scope.spawn(move || call(pool, vec![vec![number]]))));
            until_held(&engine);
        }
        until_queued(pool, CALLS - 1);
        engine.gate.open();
        for (number, call) in calls {
            assert_eq!(call.join().unwrap().unwrap(), [number]);
        }
    });
    let log = engine.log.lock().unwrap();
    assert_eq!(log.iter().map(Vec::len).sum::<usize>(), CALLS);
    assert!(log.iter().all(|works| works.iter().map(Vec::len).sum::<usize>() <= 3));
    assert_eq!(log.len(), 1 + (CALLS - 1).div_ceil(3), "one that found nobody, the others by three");
}

#[test]
fn cancelling_stops_the_run_and_empties_the_queue() {
    let engine = Arc::new(Adder::default());
    let pool = Pool::new(Arc::clone(&engine), 1);
    let outcome = pool.run(vec![vec![99, 0, 0], vec![1, 1, 1], vec![1, 1, 1]], &mut |_| {
        if lock(&engine.log).is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(outcome, Err(EmbeddingError::Cancelled)));
    assert_eq!(call(&pool, vec![vec![1, 2]]).unwrap(), [3], "the next call works");
    assert_eq!(engine.stopped.load(Ordering::SeqCst), 1, "the run was stopped, not waited for");
    assert_eq!(*lock(&engine.log), [vec![vec![99, 0, 0]], vec![vec![1, 2]]], "what waited was given up");
}

#[test]
fn a_thousand_callers_are_all_served() {
    // One worker may be done with everything before the other has woken up: the first waits for the second.
    let engine = Arc::new(Adder { together: 2, ..Adder::default() });
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
