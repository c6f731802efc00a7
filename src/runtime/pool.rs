//! A pool of one-thread workers that all calls share, fairly.
//!
//! Every call brings its batches; workers take one batch of one call, then one of the next, so that a call of one text
//! is not behind a call of a million. Small batches of different calls run as one where that pads little. A call that
//! fails or is cancelled leaves nothing behind; the calls beside it do not notice.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::waiting::Waiting;
use crate::error::{EmbeddingError, Result};

/// How often a waiting call looks up.
pub const LOOK_UP: Duration = Duration::from_millis(50);
/// How long a cancelled call waits for a run that was told to stop; ONNX Runtime looks up after every node.
const STOPPING: Duration = Duration::from_millis(500);

/// How many waiting calls are looked at for what may run with a batch; those that wait longest.
const LOOKED_AT: usize = 256;

/// Told of each batch of a call as it is done, on the worker's thread: its number and what became of it.
pub type Report<O> = Box<dyn Fn(usize, Result<O>) + Send + Sync>;

/// What a waiting call does with an output, or with the passing of time.
pub type Look<'a, O> = dyn FnMut(Option<(usize, O)>) -> ControlFlow<()> + 'a;

/// What the pool's workers do.
pub trait Engine: Send + Sync + 'static {
    /// What a worker thread owns: a session.
    type Worker;
    /// One batch of one call.
    type Work: Send + 'static;
    /// What becomes of it.
    type Output: Send + 'static;

    /// Makes a worker, on its own thread, when it is first needed.
    ///
    /// # Errors
    /// Whatever keeps it from being made; the batch that needed it fails with it.
    fn worker(&self) -> Result<Self::Worker>;

    /// Runs batches of different calls as one; one output each, in order.
    ///
    /// # Errors
    /// Whatever makes them fail; every one of the calls is told.
    fn run(&self, worker: &mut Self::Worker, works: &[&Self::Work], stop: &StopSignal) -> Result<Vec<Self::Output>>;

    /// Which of `others`, batches of other calls, are to run with `work` as one: their places, in order.
    fn company(&self, work: &Self::Work, others: &[&Self::Work]) -> Vec<usize>;
}

/// Tells a run that nobody waits for it any more.
#[derive(Default)]
pub struct StopSignal {
    stopped: AtomicBool,
    action: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

impl StopSignal {
    /// Stops the run.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(action) = lock(&self.action).as_ref() {
            action();
        }
    }

    /// Whether it was asked for.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// What stopping means from here on; done at once if it has already been asked for.
    pub fn on_stop(&self, action: impl Fn() + Send + Sync + 'static) {
        let mut slot = lock(&self.action);
        if self.stopped.load(Ordering::SeqCst) {
            action();
        }
        *slot = Some(Box::new(action));
    }
}

/// A call that is in the pool.
struct Call<O> {
    report: Report<O>,
    cancelled: AtomicBool,
    waiting: Waiting,
}

/// A batch on its way to a worker: whose it is and which of its batches.
struct Item<E: Engine> {
    call: Arc<Call<E::Output>>,
    number: usize,
    work: E::Work,
}

/// The batches of one call that no worker has taken yet.
type Pending<E> = VecDeque<Item<E>>;

/// A run under way: the calls it works for and how to stop it.
struct Running<O> {
    number: u64,
    calls: Vec<Arc<Call<O>>>,
    stop: Arc<StopSignal>,
}

impl<O> Running<O> {
    /// True where it works for `call`, and for others only if they have been given up as well.
    fn is_only_for(&self, call: &Arc<Call<O>>) -> bool {
        self.calls.iter().any(|other| Arc::ptr_eq(other, call))
            && self.calls.iter().all(|other| other.cancelled.load(Ordering::SeqCst))
    }
}

struct State<E: Engine> {
    calls: VecDeque<Pending<E>>,
    running: Vec<Running<E::Output>>,
    next_run: u64,
    closed: bool,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<E: Engine> {
    engine: Arc<E>,
    state: Mutex<State<E>>,
    available: Condvar,
}

/// The pool; its threads start with the first call and end with the pool.
pub struct Pool<E: Engine> {
    shared: Arc<Shared<E>>,
    workers: usize,
}

impl<E: Engine> Pool<E> {
    /// A pool of `workers` threads, none of them started.
    pub fn new(engine: Arc<E>, workers: usize) -> Self {
        let state =
            State { calls: VecDeque::new(), running: Vec::new(), next_run: 0, closed: false, threads: Vec::new() };
        Self { shared: Arc::new(Shared { engine, state: Mutex::new(state), available: Condvar::new() }), workers }
    }

    /// True where no batch waits and none runs.
    pub fn is_idle(&self) -> bool {
        let state = lock(&self.shared.state);
        state.calls.is_empty() && state.running.is_empty()
    }

    /// Runs the batches of one call. `look` is called on this thread with every output as it arrives, in any order, with
    /// the number of its batch, and with nothing every 50 ms while none arrives; it says whether to go on. Returns how long
    /// the call waited while none of its batches was being worked on.
    ///
    /// # Errors
    /// The first error of any batch; `Cancelled` where `look` breaks. The call's other batches are given up.
    pub fn run(&self, works: Vec<E::Work>, look: &mut Look<'_, E::Output>) -> Result<Duration> {
        let mut waited = Duration::ZERO;
        if works.is_empty() {
            return Ok(waited);
        }
        let mut waiting = works.len();
        let (sender, results) = channel();
        // A call that does not wait any more has dropped its receiver: nobody to tell.
        let report = move |number, output| drop(sender.send((number, output)));
        let ticket = self.submit(works, Box::new(report))?.patient();
        while waiting > 0 {
            let arrived = match results.recv_timeout(LOOK_UP) {
                Ok((number, output)) => {
                    waiting -= 1;
                    if waiting == 0 {
                        waited = ticket.waited();
                    }
                    Some((number, output?))
                }
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(EmbeddingError::internal("the workers went away while a call was waiting"));
                }
            };
            if look(arrived).is_break() {
                return Err(EmbeddingError::Cancelled);
            }
        }
        Ok(waited)
    }

    /// Puts the batches of one call into the queue and returns; `report` is told of each as it is done.
    ///
    /// # Errors
    /// `InferenceFailed` where there is no worker and none can be started.
    pub fn submit(&self, works: Vec<E::Work>, report: Report<E::Output>) -> Result<Ticket<E>> {
        let call = Arc::new(Call { report, cancelled: AtomicBool::new(false), waiting: Waiting::new() });
        let count = works.len();
        let items: Pending<E> = works
            .into_iter()
            .enumerate()
            .map(|(number, work)| Item { call: Arc::clone(&call), number, work })
            .collect();
        let mut state = lock(&self.shared.state);
        self.start_threads(&mut state)?;
        if !items.is_empty() {
            state.calls.push_back(items);
        }
        drop(state);
        if count == 1 {
            self.shared.available.notify_one();
        } else {
            self.shared.available.notify_all();
        }
        Ok(Ticket { shared: Arc::clone(&self.shared), call, patience: Duration::ZERO })
    }

    fn start_threads(&self, state: &mut State<E>) -> Result<()> {
        while state.threads.len() < self.workers {
            let shared = Arc::clone(&self.shared);
            let name = format!("oxembed-{}", state.threads.len());
            match std::thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(thread) => state.threads.push(thread),
                // Fewer workers than asked for still do the work.
                Err(error) if !state.threads.is_empty() => {
                    tracing::warn!(%error, started = state.threads.len(), "a worker thread could not be started");
                    break;
                }
                Err(error) => {
                    return Err(EmbeddingError::inference_failed("no worker thread could be started").caused_by(error));
                }
            }
        }
        Ok(())
    }
}

impl<E: Engine> Drop for Pool<E> {
    fn drop(&mut self) {
        let threads = {
            let mut state = lock(&self.shared.state);
            state.closed = true;
            state.calls.clear();
            state.running.iter().for_each(|running| running.stop.stop());
            std::mem::take(&mut state.threads)
        };
        self.shared.available.notify_all();
        for thread in threads {
            // A worker that panicked has told its calls; there is nothing left to report.
            drop(thread.join());
        }
    }
}

/// A call that is in the pool. Dropped, it takes the call out: batches that wait are given up, and runs that nobody else
/// waits for are stopped.
pub struct Ticket<E: Engine> {
    shared: Arc<Shared<E>>,
    call: Arc<Call<E::Output>>,
    /// How long dropping waits for such runs to end.
    patience: Duration,
}

impl<E: Engine> Ticket<E> {
    /// Waits for runs that it stops: when a cancelled call returns, nothing computes for it any more.
    fn patient(mut self) -> Self {
        self.patience = STOPPING;
        self
    }

    /// How long the call waited while none of its batches was being worked on, up to now.
    pub fn waited(&self) -> Duration {
        self.call.waiting.total()
    }
}

impl<E: Engine> Drop for Ticket<E> {
    fn drop(&mut self) {
        self.shared.give_up(&self.call, self.patience);
    }
}

impl<E: Engine> Shared<E> {
    /// A worker thread's life.
    fn work(&self) {
        let mut worker = None;
        while let Some((run, items, stop)) = self.take() {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run(&mut worker, &items, &stop)));
            let outcome = outcome.unwrap_or_else(|_| {
                // Its session may be in any state.
                worker = None;
                Err(EmbeddingError::internal("a worker panicked while it ran a batch"))
            });
            let mut state = lock(&self.state);
            state.running.retain(|running| running.number != run);
            for item in &items {
                item.call.waiting.left();
            }
            drop(state);
            report(items, outcome);
        }
    }

    /// Takes the call out of the queue, stops runs that nobody else waits for and lets them come to their end, for so long.
    fn give_up(&self, call: &Arc<Call<E::Output>>, patience: Duration) {
        call.cancelled.store(true, Ordering::SeqCst);
        let mut state = lock(&self.state);
        state.calls.retain(|pending| pending.front().is_some_and(|item| !Arc::ptr_eq(&item.call, call)));
        for running in state.running.iter().filter(|running| running.is_only_for(call)) {
            running.stop.stop();
        }
        let start = Instant::now();
        while state.running.iter().any(|running| running.is_only_for(call)) && start.elapsed() < patience {
            drop(state);
            std::thread::sleep(Duration::from_millis(1));
            state = lock(&self.state);
        }
    }

    fn run(&self, worker: &mut Option<E::Worker>, items: &[Item<E>], stop: &StopSignal) -> Result<Vec<E::Output>> {
        let worker = match worker {
            Some(worker) => worker,
            None => worker.insert(self.engine.worker()?),
        };
        let works: Vec<&E::Work> = items.iter().map(|item| &item.work).collect();
        self.engine.run(worker, &works, stop)
    }

    /// Waits for something to do; `None` when the pool is closed.
    fn take(&self) -> Option<(u64, Vec<Item<E>>, Arc<StopSignal>)> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(items) = state.next_items(&self.engine) {
                let number = state.next_run;
                state.next_run += 1;
                for item in &items {
                    item.call.waiting.taken();
                }
                let stop = Arc::new(StopSignal::default());
                let calls = items.iter().map(|item| Arc::clone(&item.call)).collect();
                state.running.push(Running { number, calls, stop: Arc::clone(&stop) });
                return Some((number, items, stop));
            }
            state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<E: Engine> State<E> {
    /// The next batch of the call whose turn it is, and batches of other calls that are to run with it.
    fn next_items(&mut self, engine: &E) -> Option<Vec<Item<E>>> {
        let mut pending = self.calls.pop_front()?;
        let first = pending.pop_front()?;
        let others = self.calls.iter().take(LOOKED_AT).filter_map(|pending| Some(&pending.front()?.work));
        let company = engine.company(&first.work, &others.collect::<Vec<_>>());
        let mut items = vec![first];
        items.extend(company.iter().filter_map(|place| self.calls.get_mut(*place)?.pop_front()));
        self.calls.retain(|pending| !pending.is_empty());
        // Not asked for company: the batches of one call are full, or few so that each worker has one.
        if !pending.is_empty() {
            self.calls.push_back(pending);
        }
        Some(items)
    }
}

fn report<E: Engine>(items: Vec<Item<E>>, outcome: Result<Vec<E::Output>>) {
    match outcome {
        Ok(outputs) if outputs.len() == items.len() => {
            for (item, output) in items.into_iter().zip(outputs) {
                (item.call.report)(item.number, Ok(output));
            }
        }
        Ok(_) => report(items, Err(EmbeddingError::internal("a batch gave another number of results than asked for"))),
        Err(error) => {
            for item in items {
                (item.call.report)(item.number, Err(error.clone()));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done under these locks, so a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
