//! Which provider does the work: the one that was asked for, the first of a list that can, or the fastest that is right.

mod parity;
mod verdict;

use std::sync::Arc;

use crate::backend::{Backend, Blueprint, LaterBackend, SHORT_TEXT};
use crate::error::{EmbeddingError, Result};
use crate::failover::NotUsed;
use crate::forward::BatchWork;
use crate::runtime::execution::{Execution, Surroundings, bundled};
use crate::runtime::providers::{AUTO, CPU, PLUG_IN, PROVIDERS, Provider, ProviderRequest};
use crate::runtime::session::LoadedSession;

use parity::Measured;
pub use parity::Probe;
#[cfg(feature = "serve")]
pub(crate) use verdict::machine;
use verdict::{Trial, Verdict, VerdictFile};

/// What was chosen.
pub struct Selection {
    /// The providers, the first of which was tried; the others take over where it fails.
    pub backends: Vec<LaterBackend>,
    /// The first session, where the first provider is the CPU.
    pub session: Option<LoadedSession>,
    /// Providers of the user's list that cannot be used.
    pub stepped_over: Vec<NotUsed>,
    /// Providers that lost a trial.
    pub lost: Vec<NotUsed>,
}

/// The start of a choice: all that can be done without the tokenizer.
pub struct Opening {
    first: Backend,
    session: Option<LoadedSession>,
    stepped_over: Vec<NotUsed>,
    lost: Vec<NotUsed>,
    /// What comes after the first in the user's list.
    rest: Vec<ProviderRequest>,
    /// A choice that has to be made by trying.
    contest: Option<Contest>,
    /// Whether the first was chosen by `auto`.
    is_automatic: bool,
}

struct Contest {
    candidates: Vec<ProviderRequest>,
    file: Option<VerdictFile>,
}

/// Whether no other provider comes into question than the CPU. Where that cannot be found out, it is said later why.
pub fn is_left_to_the_cpu(surroundings: &Surroundings, requests: &[ProviderRequest]) -> bool {
    requests.first().is_some_and(|request| match request.name() {
        AUTO => providers_there(surroundings).is_ok_and(|there| there.is_empty()),
        _ => request.is_cpu(),
    })
}

/// Takes the first of `requests` that can do the work, or the CPU, where a trial is needed to choose.
///
/// # Errors
/// `ProviderUnavailable` where none can; what a single one says against it.
pub fn open(blueprint: &Blueprint, requests: &[ProviderRequest]) -> Result<Opening> {
    let (mut stepped_over, mut lost) = (Vec::new(), Vec::new());
    for (index, request) in requests.iter().enumerate() {
        let rest = requests.get(index + 1..).unwrap_or_default().to_vec();
        let opened = if request.name() == AUTO {
            automatic(blueprint, &mut lost)
        } else {
            named(blueprint, request, requests.len() > 1)
        };
        match opened {
            Ok((first, session, contest)) => {
                let is_automatic = request.name() == AUTO;
                return Ok(Opening { first, session, stepped_over, lost, rest, contest, is_automatic });
            }
            // Only the provider's own refusal is a step down: a broken model is broken everywhere.
            Err(EmbeddingError::ProviderUnavailable { provider, message }) => {
                stepped_over.push(NotUsed { provider, reason: message });
            }
            Err(error) => return Err(error),
        }
    }
    Err(none_works(requests, &stepped_over))
}

fn none_works(requests: &[ProviderRequest], refused: &[NotUsed]) -> EmbeddingError {
    let (provider, message) = match refused {
        [] => (String::new(), "no provider was named".to_owned()),
        [only] => (only.provider.clone(), only.reason.clone()),
        several => {
            let each = several.iter().map(|not| format!("{}: {}", not.provider, not.reason)).collect::<Vec<_>>();
            let names = requests.iter().map(ProviderRequest::name).collect::<Vec<_>>();
            (names.join(", "), format!("none of the list can be used. {}", each.join(". ")))
        }
    };
    let message = format!("{message}. \"cpu\" and \"auto\" work everywhere, and so do lists that end in one of them");
    EmbeddingError::ProviderUnavailable { provider, message }
}

fn named(blueprint: &Blueprint, request: &ProviderRequest, is_one_of_several: bool) -> Result<Opened> {
    let surroundings = &blueprint.surroundings;
    if is_one_of_several
        && let Err(error) = Provider::named(request.name()).unwrap_or(PLUG_IN).dtype(&surroundings.dtype)
    {
        let (provider, message) = (request.name().to_owned(), error.to_string());
        return Err(EmbeddingError::ProviderUnavailable { provider, message });
    }
    let (backend, session) = blueprint.backend(blueprint.execution(request)?, SHORT_TEXT)?;
    Ok((backend, session, None))
}

type Opened = (Backend, Option<LoadedSession>, Option<Contest>);

/// What is known to be the fastest; the CPU, where nothing else is there or it has to be tried.
fn automatic(blueprint: &Blueprint, lost: &mut Vec<NotUsed>) -> Result<Opened> {
    let surroundings = &blueprint.surroundings;
    let candidates = candidates(surroundings)?;
    let cpu = || blueprint.backend(Execution::cpu(&surroundings.dtype)?, SHORT_TEXT);
    if candidates.is_empty() {
        let (backend, session) = cpu()?;
        return Ok((backend, session, None));
    }
    let file = VerdictFile::of(blueprint, &candidates);
    if let Some(verdict) = file.as_ref().and_then(VerdictFile::read) {
        if verdict.provider == CPU.name {
            let (backend, session) = cpu()?;
            lost.extend(verdict.not_used());
            return Ok((backend, session, None));
        }
        let request = ProviderRequest::named(verdict.provider.as_str());
        let found = blueprint.execution(&request);
        let found = found.and_then(|execution| blueprint.backend(execution, SHORT_TEXT));
        match found {
            Ok((backend, session)) if backend.execution.device() == verdict.device => {
                lost.extend(verdict.not_used());
                return Ok((backend, session, None));
            }
            Ok(_) => tracing::info!("the device is another than when the providers were tried; trying them again"),
            Err(error) => tracing::info!(%error, "the provider that was the fastest is gone; trying them again"),
        }
    }
    // In single precision whatever was asked for: the others are compared with it.
    let (backend, session) = blueprint.backend(Execution::cpu_beside_others()?, SHORT_TEXT)?;
    Ok((backend, session, Some(Contest { candidates, file })))
}

/// Providers that seem to be there and compute in the type that is asked for, besides the CPU.
fn candidates(surroundings: &Surroundings) -> Result<Vec<ProviderRequest>> {
    let computes =
        |name: &String| Provider::named(name).is_none_or(|provider| provider.dtype(&surroundings.dtype).is_ok());
    Ok(providers_there(surroundings)?.into_iter().filter(computes).map(ProviderRequest::named).collect())
}

/// Names of providers that seem to be there, besides the CPU.
fn providers_there(surroundings: &Surroundings) -> Result<Vec<String>> {
    let built_in = surroundings.library.available_providers()?;
    let is_there = |provider: &Provider| {
        built_in.iter().any(|name| name == provider.runtime_name)
            || bundled(provider, &surroundings.library).is_some()
            || surroundings
                .plug_ins
                .iter()
                .any(|plug_in| !plug_in.providers.is_empty() && plug_in.may_bring(provider.runtime_name))
    };
    let automatic = PROVIDERS.iter().filter(|provider| provider.automatic && !provider.is_cpu());
    let known = automatic.filter(|provider| is_there(provider)).map(|provider| provider.name.to_owned());
    let brought = surroundings.plug_ins.iter().flat_map(|plug_in| &plug_in.providers);
    let others = brought.filter(|name| Provider::named(name).is_none()).cloned();
    Ok(known.chain(others).collect())
}

impl Opening {
    /// What the graph takes and gives, whichever provider runs it.
    pub fn interface(&self) -> &crate::backend::Interface {
        &self.first.interface
    }

    /// The choice, made by trying the candidates where that is needed.
    ///
    /// # Errors
    /// What fails on the CPU while it is compared with.
    pub fn close(self, blueprint: &Blueprint, probe: &Probe<'_>) -> Result<Selection> {
        let Self { mut first, mut session, stepped_over, mut lost, rest, contest, is_automatic } = self;
        let mut behind: Vec<LaterBackend> = Vec::new();
        if let Some(contest) = contest {
            let outcome = contest.hold(blueprint, probe, first, session)?;
            lost.extend(outcome.lost);
            (first, session) = (outcome.winner, outcome.session);
        }
        for step in &stepped_over {
            tracing::warn!(provider = step.provider, "not used: {}", step.reason);
        }
        for loser in &lost {
            tracing::info!(provider = loser.provider, "not used: {}", loser.reason);
        }
        // A list goes on to its end, `auto` to the CPU, and a single name goes on to nothing.
        let mut has_cpu = first.execution.is_cpu();
        let followers = is_automatic.then(|| ProviderRequest::named(AUTO)).into_iter().chain(rest);
        for request in followers {
            let request = if request.name() == AUTO { ProviderRequest::named(CPU.name) } else { request };
            let is_cpu = request.is_cpu();
            if !(is_cpu && has_cpu) {
                behind.push(later(blueprint, request, 0));
            }
            has_cpu |= is_cpu;
        }
        if !has_cpu && first.longest() < blueprint.max_tokens {
            // Only for texts that are too long for the provider that was asked for.
            behind.push(later(blueprint, ProviderRequest::named(CPU.name), first.longest() + 1));
        }
        let mut backends = vec![LaterBackend::ready(first)];
        backends.extend(behind);
        Ok(Selection { backends, session, stepped_over, lost })
    }
}

/// A provider that is prepared when the one before it fails.
fn later(blueprint: &Blueprint, request: ProviderRequest, least_tokens: usize) -> LaterBackend {
    let blueprint = blueprint.clone();
    let name = request.name().to_owned();
    let prepare = move || {
        let execution =
            if request.is_cpu() { Execution::cpu_beside_others()? } else { blueprint.execution(&request)? };
        Ok(blueprint.backend(execution, SHORT_TEXT)?.0)
    };
    LaterBackend::new(name, least_tokens, Box::new(prepare))
}

struct Outcome {
    winner: Backend,
    session: Option<LoadedSession>,
    lost: Vec<NotUsed>,
}

impl Contest {
    /// Tries every candidate against the CPU.
    fn hold(
        self,
        blueprint: &Blueprint,
        probe: &Probe<'_>,
        cpu: Backend,
        session: Option<LoadedSession>,
    ) -> Result<Outcome> {
        let busy = self.file.as_ref().and_then(VerdictFile::busy);
        if let Some(reason) = busy {
            let lost = self.candidates.iter();
            let lost = lost.map(|each| NotUsed { provider: each.name().to_owned(), reason: reason.clone() });
            Execution::cpu(&blueprint.surroundings.dtype)?;
            return Ok(Outcome { winner: cpu, session, lost: lost.collect() });
        }
        let trying = self.file.as_ref().map(VerdictFile::start);
        let mut reference = Reference { cpu: Arc::new(LaterBackend::ready(cpu)), session, measured: None };
        let work = probe.work()?;
        let mut trials = Vec::new();
        let mut best: Option<(Backend, f64)> = None;
        for request in &self.candidates {
            let prepared = blueprint.execution(request).and_then(|found| blueprint.backend(found, work.shape()));
            let tried = match prepared {
                Ok((backend, _)) => {
                    let reference = reference.measured(probe, &work)?;
                    probe.candidate(backend, &work, reference).map(|tried| (tried, reference.seconds))
                }
                Err(error) => Err(error),
            };
            let (trial, won) = match tried {
                Ok(((backend, measured), cpu_seconds)) => {
                    let faster = cpu_seconds / measured.seconds;
                    let is_best = faster >= parity::WORTHWHILE
                        && best.as_ref().is_none_or(|(_, seconds)| measured.seconds < *seconds);
                    let trial = Trial::measured(request.name(), &measured, faster);
                    (trial, is_best.then_some((backend, measured.seconds)))
                }
                Err(error) => (Trial::failed(request.name(), &error), None),
            };
            trials.push(trial);
            best = won.or(best);
        }
        drop(trying);
        let verdict = Verdict::new(best.as_ref().map(|(backend, _)| &backend.execution), trials);
        if let Some(file) = &self.file {
            file.write(&verdict);
        }
        let lost = verdict.not_used();
        if let Some((winner, _)) = best {
            // The CPU's weights go; they come back where the winner fails.
            return Ok(Outcome { winner, session: None, lost });
        }
        // Where nothing else is right, a type that the CPU does not compute in cannot be had.
        Execution::cpu(&blueprint.surroundings.dtype)?;
        let Reference { cpu, session, .. } = reference;
        let cpu = Arc::into_inner(cpu).ok_or_else(|| EmbeddingError::internal("the CPU is still in use"))?;
        Ok(Outcome { winner: cpu.into_ready()?, session, lost })
    }
}

/// The CPU, measured when there is something to compare with it.
struct Reference {
    cpu: Arc<LaterBackend>,
    session: Option<LoadedSession>,
    measured: Option<Measured>,
}

impl Reference {
    fn measured(&mut self, probe: &Probe<'_>, work: &BatchWork) -> Result<&Measured> {
        if let Some(measured) = self.measured.take() {
            return Ok(self.measured.insert(measured));
        }
        let (measured, session) = probe.reference(&self.cpu, self.session.take(), work)?;
        self.session = session;
        Ok(self.measured.insert(measured))
    }
}
