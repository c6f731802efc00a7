//! What came of a trial, kept on disk so that it costs once.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::parity::{Measured, WORTHWHILE};
use crate::backend::Blueprint;
use crate::cache::write_whole;
use crate::error::EmbeddingError;
use crate::failover::NotUsed;
use crate::runtime::execution::Execution;
use crate::runtime::providers::{CPU, ProviderRequest};

/// A trial that takes longer than this has not ended, but crashed.
const LONGEST_TRIAL: Duration = Duration::from_mins(2);

/// Where a candidate could not be tried, what was in its way may be gone after so long: a device that was not there, a
/// driver that was too old.
const GOOD_FOR: Duration = Duration::from_hours(24);

/// Who won, and how the others did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The provider.
    pub provider: String,
    /// Its device.
    pub device: String,
    /// Every candidate.
    trials: Vec<Trial>,
}

/// How a candidate did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    provider: String,
    /// The CPU's time by its own; `None` where it failed.
    faster: Option<f64>,
    /// The smallest cosine to the CPU's vectors.
    cosine: Option<f64>,
    /// Why it failed.
    problem: Option<String>,
}

impl Trial {
    /// One that gave the right vectors.
    pub fn measured(provider: &str, measured: &Measured, faster: f64) -> Self {
        Self { provider: provider.to_owned(), faster: Some(faster), cosine: Some(measured.cosine), problem: None }
    }

    /// One that did not.
    pub fn failed(provider: &str, error: &EmbeddingError) -> Self {
        let problem = match error {
            EmbeddingError::ProviderUnavailable { message, .. } => message.clone(),
            other => other.to_string(),
        };
        Self { provider: provider.to_owned(), faster: None, cosine: None, problem: Some(problem) }
    }

    fn reason(&self, winner: &str) -> String {
        match (&self.problem, self.faster) {
            (Some(problem), _) => problem.clone(),
            (None, Some(faster)) if faster < WORTHWHILE => {
                format!("in a trial it took {:.1} times the time of the CPU", 1.0 / faster)
            }
            _ => format!("in a trial {winner} was faster"),
        }
    }
}

impl Verdict {
    /// `winner` won, or the CPU.
    pub fn new(winner: Option<&Execution>, trials: Vec<Trial>) -> Self {
        let provider = winner.map_or(CPU.name, |winner| winner.name.as_str()).to_owned();
        Self { provider, device: winner.map(Execution::device).unwrap_or_default(), trials }
    }

    /// The candidates that did not win, and why.
    pub fn not_used(&self) -> Vec<NotUsed> {
        let lost = self.trials.iter().filter(|trial| trial.provider != self.provider);
        lost.map(|trial| NotUsed { provider: trial.provider.clone(), reason: trial.reason(&self.provider) }).collect()
    }
}

/// Where a verdict is kept.
#[derive(Debug, Clone)]
pub struct VerdictFile {
    path: PathBuf,
}

impl VerdictFile {
    /// For a model and its surroundings; `None` where there is no cache, or the model cannot be told from others.
    pub fn of(blueprint: &Blueprint, candidates: &[ProviderRequest]) -> Option<Self> {
        let surroundings = &blueprint.surroundings;
        let cache = surroundings.cache.as_deref()?;
        let mut key = blake3::Hasher::new();
        let mut add = |part: &str| {
            key.update(part.as_bytes());
            key.update(b"\0");
        };
        add(blueprint.fingerprint()?);
        add(env!("CARGO_PKG_VERSION"));
        add(&surroundings.library.version);
        add(&surroundings.library.path.display().to_string());
        add(&surroundings.dtype);
        add(&surroundings.threads.to_string());
        add(&blueprint.max_tokens.to_string());
        add(&machine());
        for candidate in candidates {
            add(candidate.name());
        }
        for plug_in in &surroundings.plug_ins {
            add(&plug_in.path.display().to_string());
            let metadata = fs::metadata(&plug_in.path).ok();
            let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
            add(&format!("{:?}", modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok())));
        }
        let name = key.finalize().to_hex();
        Some(Self { path: cache.join("verdicts").join(format!("{name}.json")) })
    }

    /// The verdict, if there is one that can be read and still holds.
    pub fn read(&self) -> Option<Verdict> {
        let text = fs::read_to_string(&self.path).ok()?;
        match serde_json::from_str::<Verdict>(&text) {
            Ok(verdict) if verdict.trials.iter().any(|trial| trial.problem.is_some()) && self.is_old() => {
                tracing::debug!(file = %self.path.display(), "a provider failed in its trial long ago; trying again");
                None
            }
            Ok(verdict) => Some(verdict),
            Err(error) => {
                tracing::debug!(%error, file = %self.path.display(), "a verdict cannot be read; trying again");
                None
            }
        }
    }

    fn is_old(&self) -> bool {
        let written = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        written.and_then(|written| written.elapsed().ok()).is_some_and(|age| age >= GOOD_FOR)
    }

    /// Keeps the verdict.
    pub fn write(&self, verdict: &Verdict) {
        match serde_json::to_string_pretty(verdict) {
            Ok(text) => write_whole(&self.path, &text),
            Err(error) => tracing::debug!(%error, "a verdict cannot be written"),
        }
    }

    /// Says that a trial is going on, until what comes back is dropped.
    pub fn start(&self) -> Trying {
        let path = self.path.with_extension("trying");
        write_whole(&path, "");
        Trying { path }
    }

    /// Why nothing should be tried now: a trial is going on in another process, or one took its process down.
    pub fn busy(&self) -> Option<String> {
        let path = self.path.with_extension("trying");
        let started = fs::metadata(&path).ok()?.modified().ok()?;
        let age = SystemTime::now().duration_since(started).unwrap_or_default();
        Some(if age < LONGEST_TRIAL {
            "another process is trying it just now; it may be chosen the next time".to_owned()
        } else {
            format!(
                "a trial did not come to its end, so it may have taken its process down; remove {} to have it tried again",
                path.display()
            )
        })
    }
}

/// A trial that is going on.
pub struct Trying {
    path: PathBuf,
}

impl Drop for Trying {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the mark of a trial is not there any more");
        }
    }
}

/// Something that tells this machine from others with the same cache folder.
pub(crate) fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find(|line| line.starts_with("model name")).unwrap_or_default().to_owned();
    format!("{} {} {} {processor}", std::env::consts::OS, std::env::consts::ARCH, id.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Trial, Verdict, VerdictFile};

    fn number() -> impl Strategy<Value = Option<f64>> {
        prop::option::of(prop_oneof![any::<f64>().prop_filter("JSON has it", |number| number.is_finite()), Just(-0.0)])
    }

    fn trial() -> impl Strategy<Value = Trial> {
        let parts = (any::<String>(), number(), number(), any::<Option<String>>());
        parts.prop_map(|(provider, faster, cosine, problem)| Trial { provider, faster, cosine, problem })
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        let parts = (any::<String>(), any::<String>(), prop::collection::vec(trial(), 0..4));
        parts.prop_map(|(provider, device, trials)| Verdict { provider, device, trials })
    }

    fn file(folder: &tempfile::TempDir) -> VerdictFile {
        VerdictFile { path: folder.path().join("verdict.json") }
    }

    proptest! {
        #[test]
        fn a_verdict_is_read_as_it_was_written_and_names_each_loser(verdict in verdict()) {
            let folder = tempfile::tempdir().unwrap();
            file(&folder).write(&verdict);
            prop_assert_eq!(file(&folder).read(), Some(verdict.clone()));
            let lost: Vec<String> = verdict.not_used().into_iter().map(|not| not.provider).collect();
            let others = verdict.trials.iter().map(|trial| &trial.provider).filter(|name| **name != verdict.provider);
            prop_assert_eq!(lost, others.cloned().collect::<Vec<_>>());
        }

        #[test]
        fn a_part_of_a_file_is_no_verdict(verdict in verdict(), end in any::<prop::sample::Index>()) {
            let folder = tempfile::tempdir().unwrap();
            let bytes = serde_json::to_vec(&verdict).unwrap();
            std::fs::write(&file(&folder).path, &bytes[..end.index(bytes.len())]).unwrap();
            prop_assert_eq!(file(&folder).read(), None);
        }

        #[test]
        fn other_bytes_are_a_verdict_whose_losers_can_be_told_or_none(
            verdict in verdict(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut bytes = serde_json::to_vec(&verdict).unwrap();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            std::fs::write(&file(&folder).path, &bytes).unwrap();
            if let Some(found) = file(&folder).read() {
                prop_assert!(found.not_used().len() <= found.trials.len());
            }
        }
    }
}
