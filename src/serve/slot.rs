//! A name that requests use, and the model behind it: one that is loaded, or one that will be when it is asked for.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use tokio::sync::watch;

use super::served::Served;
use super::settings::ModelSetting;
use crate::error::Result;

/// What comes of a load that goes on, for all who wait for it.
pub(super) type Outcome = Option<Result<Arc<Served>>>;

/// A name and its model.
#[derive(Debug)]
pub(super) struct Slot {
    pub name: String,
    /// Requests to it, whichever version answered.
    pub requests: Arc<AtomicU64>,
    /// The time of the last one, on the clock of the set.
    last_asked: AtomicU64,
    state: RwLock<State>,
    loading: Mutex<Option<watch::Receiver<Outcome>>>,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    aliases: Vec<String>,
    served: Option<Arc<Served>>,
    since: u64,
    /// What it takes: measured when it was loaded last, before that the least it can be.
    bytes: u64,
    hash: Option<String>,
}

/// What is to be told of a model.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub name: String,
    pub aliases: Vec<String>,
    pub path: PathBuf,
    /// Whether it can answer at once.
    pub is_loaded: bool,
    /// What it takes, or took when it was loaded.
    pub bytes: u64,
    pub requests: u64,
    /// When it was loaded last, in seconds since 1970; where it never was, when its name was given.
    pub since: u64,
    pub hash: Option<String>,
}

impl Slot {
    /// A name without a loaded model.
    pub fn new(model: &ModelSetting, bytes: u64) -> Self {
        let (path, aliases) = (model.path.clone(), model.aliases.clone());
        let state = State { path, aliases, served: None, since: now(), bytes, hash: None };
        Self {
            name: model.name.clone(),
            requests: Arc::default(),
            last_asked: AtomicU64::new(0),
            state: RwLock::new(state),
            loading: Mutex::new(None),
        }
    }

    /// The model, if it is loaded.
    pub fn served(&self) -> Option<Arc<Served>> {
        self.read(|state| state.served.clone())
    }

    pub fn path(&self) -> PathBuf {
        self.read(|state| state.path.clone())
    }

    /// What the model takes, as far as it is known.
    pub fn bytes(&self) -> u64 {
        self.read(|state| state.bytes)
    }

    pub fn describe(&self) -> Description {
        let requests = self.requests.load(Ordering::Relaxed);
        self.read(|state| Description {
            name: self.name.clone(),
            aliases: state.aliases.clone(),
            path: state.path.clone(),
            is_loaded: state.served.is_some(),
            bytes: state.bytes,
            requests,
            since: state.since,
            hash: state.hash.clone(),
        })
    }

    /// Puts a loaded model into the place of what was there, which is returned.
    pub fn put(&self, served: Arc<Served>, path: PathBuf) -> Option<Arc<Served>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        (state.path, state.since, state.bytes) = (path, served.since, served.share.bytes);
        state.hash.clone_from(&served.hash);
        state.served.replace(served)
    }

    pub fn set_aliases(&self, aliases: Vec<String>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).aliases = aliases;
    }

    /// Takes the model out; the name stays.
    pub fn take(&self) -> Option<Arc<Served>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner).served.take()
    }

    /// It is asked for at this time.
    pub fn ask(&self, time: u64) {
        self.last_asked.fetch_max(time, Ordering::Relaxed);
    }

    pub fn last_asked(&self) -> u64 {
        self.last_asked.load(Ordering::Relaxed)
    }

    /// The load that goes on, which is started by `start` where there is none. What `start` is given gets the outcome.
    pub fn loading(&self, start: impl FnOnce(watch::Sender<Outcome>)) -> watch::Receiver<Outcome> {
        let mut loading = self.lock_loading();
        // One whose sender went away without a word would be waited for in vain.
        if let Some(going_on) = loading.as_ref().filter(|receiver| receiver.has_changed().is_ok()) {
            return going_on.clone();
        }
        let (sender, receiver) = watch::channel(None);
        *loading = Some(receiver.clone());
        start(sender);
        receiver
    }

    /// The load is over: who comes now starts another, or finds the model.
    pub fn loaded(&self) {
        *self.lock_loading() = None;
    }

    fn lock_loading(&self) -> MutexGuard<'_, Option<watch::Receiver<Outcome>>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs())
}
