//! What happens when a provider fails in use: the next one does the work, and nobody is left in the dark.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::{EmbeddingError, Result};

/// After so many failures without a success between them a provider is left alone for a while.
const PATIENCE: u32 = 3;
/// That while. A device may come back; asking it costs one failing batch.
const PAUSE: Duration = Duration::from_mins(1);
/// Events that are remembered; all are counted.
const REMEMBERED: usize = 100;

/// A provider failed, and what was done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureEvent {
    /// Counted from 1.
    pub number: u64,
    /// The provider that failed.
    pub provider: String,
    /// The one that was tried next; `None` where there was no other, and the call failed.
    pub next: Option<String>,
    /// What it said.
    pub message: String,
    /// Texts of the batch.
    pub texts: usize,
    /// Seconds since 1970.
    pub unix_time: f64,
}

/// A provider that was asked for and is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUsed {
    /// The name it was asked for by.
    pub provider: String,
    /// Why.
    pub reason: String,
}

impl NotUsed {
    /// For people.
    pub fn sentence(&self) -> String {
        format!("execution provider {:?} is not used: {}", self.provider, self.reason)
    }
}

/// Several providers in order of preference, and how they have been doing.
#[derive(Debug)]
pub struct Failover {
    names: Vec<String>,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures of each since its last success, and when the last was.
    failing: Vec<(u32, Option<Instant>)>,
    events: VecDeque<FailureEvent>,
    failures: u64,
    /// Events up to this number were handed out by [`Failover::news`].
    told: u64,
}

impl Failover {
    /// Providers of these names, the preferred first.
    pub fn new(names: Vec<String>) -> Self {
        let state = State { failing: vec![(0, None); names.len()], ..State::default() };
        Self { names, pause: PAUSE, state: Mutex::new(state) }
    }

    /// Calls `run` with one provider after the other, of those that `takes` the work, until one does it.
    ///
    /// # Errors
    /// What the last of them said; at once where the fault is not the provider's.
    pub fn attempt<T>(
        &self,
        texts: usize,
        takes: impl Fn(usize) -> bool,
        mut run: impl FnMut(usize) -> Result<T>,
    ) -> Result<T> {
        let order = self.order(takes);
        let mut order = order.iter().copied().peekable();
        while let Some(provider) = order.next() {
            let error = match run(provider) {
                Ok(value) => {
                    self.succeeded(provider);
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !is_the_providers_fault(&error) {
                return Err(error);
            }
            self.failed(provider, order.peek().copied(), texts, &error);
            if order.peek().is_none() {
                return Err(error);
            }
        }
        Err(EmbeddingError::internal("no provider takes a batch"))
    }

    /// The first provider that does the work at present.
    pub fn current(&self, takes: impl Fn(usize) -> bool) -> Option<usize> {
        self.order(takes).first().copied()
    }

    /// Those that take the work, without those that keep failing; where all do, the last.
    fn order(&self, takes: impl Fn(usize) -> bool) -> Vec<usize> {
        if self.names.len() == 1 {
            return vec![0];
        }
        let state = self.lock();
        let able: Vec<usize> = (0..self.names.len()).filter(|provider| takes(*provider)).collect();
        let is_well = |provider: &usize| {
            let (failing, last) = state.failing.get(*provider).copied().unwrap_or_default();
            failing < PATIENCE || last.is_none_or(|last| last.elapsed() >= self.pause)
        };
        let well: Vec<usize> = able.iter().copied().filter(is_well).collect();
        if well.is_empty() { able.last().copied().into_iter().collect() } else { well }
    }

    fn succeeded(&self, provider: usize) {
        if self.names.len() == 1 {
            return;
        }
        if let Some(failing) = self.lock().failing.get_mut(provider) {
            *failing = (0, None);
        }
    }

    fn failed(&self, provider: usize, next: Option<usize>, texts: usize, error: &EmbeddingError) {
        let name = |provider: usize| self.names.get(provider).cloned().unwrap_or_default();
        let (message, next) = (error.to_string(), next.map(name));
        let mut state = self.lock();
        state.failures += 1;
        let event = FailureEvent {
            number: state.failures,
            provider: name(provider),
            next,
            message,
            texts,
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        };
        if let Some((failing, last)) = state.failing.get_mut(provider) {
            *failing = failing.saturating_add(1);
            *last = Some(Instant::now());
        }
        tracing::warn!(provider = event.provider, next = event.next, "{}", event.message);
        if state.events.len() == REMEMBERED {
            state.events.pop_front();
        }
        state.events.push_back(event);
    }

    /// The last events, the oldest first, and the number of all there were.
    pub fn events(&self) -> (Vec<FailureEvent>, u64) {
        let state = self.lock();
        (state.events.iter().cloned().collect(), state.failures)
    }

    /// The number of all failures there were.
    #[cfg(feature = "serve")]
    pub fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// Events that were not handed out yet.
    pub fn news(&self) -> Vec<FailureEvent> {
        let mut state = self.lock();
        let (told, failures) = (state.told, state.failures);
        state.told = failures;
        if told == failures {
            return Vec::new();
        }
        state.events.iter().filter(|event| event.number > told).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters and events are whole at every moment, so a panic elsewhere does not spoil them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wrong text or a cancelled call would be the same with any provider.
fn is_the_providers_fault(error: &EmbeddingError) -> bool {
    matches!(
        error,
        EmbeddingError::InferenceFailed { .. }
            | EmbeddingError::ProviderUnavailable { .. }
            | EmbeddingError::Internal { .. }
    )
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
