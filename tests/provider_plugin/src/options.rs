//! What a session asks the provider to do wrong.

use std::str::FromStr;
use std::time::Duration;

use crate::failure::Result;

/// What every option of this provider begins with among the entries of a session's configuration.
pub const PREFIX: &str = "ep.testexecutionprovider.";

/// Options of every session, as `name=value,name=value`; those of the session itself win.
pub const ENVIRONMENT: &str = "OXEMBED_TEST_PROVIDER_OPTIONS";

const KNOWN: &str = "fail_every, fail_after, fail_rate, nan_every, nan_after, nan_rate, seed, wrong, wrong_rows, refuse, \
                     claim, slow_ms, compile_ms, memo";

/// Which calls of a session something happens to. Several conditions add up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct When {
    /// Every so many calls; 0 for never.
    pub every: u64,
    /// Every call after so many.
    pub after: Option<u64>,
    /// The probability that it happens to a call.
    pub rate: f64,
}

impl When {
    /// Whether it happens to a call, the first being 1, if `stream` names the random numbers.
    pub fn holds(self, call: u64, stream: u64) -> bool {
        (self.every != 0 && call.is_multiple_of(self.every))
            || self.after.is_some_and(|calls| call > calls)
            || (self.rate > 0.0 && uniform(stream, call) < self.rate)
    }
}

/// Where the provider refuses a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nowhere.
    Never,
    /// When it compiles the nodes that it claimed.
    AtCompilation,
    /// When the session asks for a provider.
    AtCreation,
}

/// The options of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Which calls fail.
    pub fail: When,
    /// Which calls give NaN alone.
    pub nan: When,
    /// Names the random numbers.
    pub seed: u64,
    /// How much of each result is another column's: 0 for right, 1 for all.
    pub wrong: f32,
    /// The fewest rows of a result that is made wrong.
    pub wrong_rows: usize,
    /// Where the graph is refused.
    pub refuse: Refusal,
    /// The most nodes that are claimed.
    pub claim: usize,
    /// How long each call waits.
    pub slow: Duration,
    /// How long nodes wait before they are compiled.
    pub slow_compilation: Duration,
    /// Whether results are remembered by what they were computed from.
    pub memo: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fail: When::default(),
            nan: When::default(),
            seed: 0,
            wrong: 0.0,
            wrong_rows: 0,
            refuse: Refusal::Never,
            claim: usize::MAX,
            slow: Duration::ZERO,
            slow_compilation: Duration::ZERO,
            memo: false,
        }
    }
}

impl Options {
    /// Reads the options of this provider: `usual` ones, then those among all entries of a session's configuration.
    pub fn read<'entries>(usual: &str, entries: impl Iterator<Item = (&'entries str, &'entries str)>) -> Result<Self> {
        let mut options = Self::default();
        for item in usual.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once('=').ok_or_else(|| format!("{ENVIRONMENT}: {item:?} has no value"))?;
            options.set(name, value)?;
        }
        for (key, value) in entries {
            if let Some(name) = key.strip_prefix(PREFIX) {
                options.set(name, value)?;
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "fail_every" => self.fail.every = positive(name, value)?,
            "fail_after" => self.fail.after = Some(number(name, value)?),
            "fail_rate" => self.fail.rate = share(name, value)?,
            "nan_every" => self.nan.every = positive(name, value)?,
            "nan_after" => self.nan.after = Some(number(name, value)?),
            "nan_rate" => self.nan.rate = share(name, value)?,
            "seed" => self.seed = number(name, value)?,
            "wrong" => self.wrong = share(name, value)?,
            "wrong_rows" => self.wrong_rows = number(name, value)?,
            "refuse" => {
                self.refuse = match value {
                    "0" => Refusal::Never,
                    "1" | "compile" => Refusal::AtCompilation,
                    "create" => Refusal::AtCreation,
                    _ => return Err(format!("option refuse is {value:?}; it can be 0, 1, compile or create").into()),
                }
            }
            "claim" => {
                self.claim = match value {
                    "all" => usize::MAX,
                    "none" => 0,
                    _ => number(name, value)?,
                }
            }
            "slow_ms" => self.slow = Duration::from_millis(number(name, value)?),
            "compile_ms" => self.slow_compilation = Duration::from_millis(number(name, value)?),
            "memo" => {
                self.memo = match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err(format!("option memo is {value:?}; it can be 0 or 1").into()),
                }
            }
            _ => return Err(format!("there is no option {name:?}; there are {KNOWN}").into()),
        }
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| format!("option {name} is {value:?}, which is not a number that it can be").into())
}

fn positive(name: &str, value: &str) -> Result<u64> {
    match number(name, value)? {
        0 => Err(format!("option {name} is 0; it is 1 or more").into()),
        every => Ok(every),
    }
}

fn share<T: FromStr + PartialOrd + From<u8>>(name: &str, value: &str) -> Result<T> {
    let share = number(name, value)?;
    if (T::from(0)..=T::from(1)).contains(&share) {
        return Ok(share);
    }
    Err(format!("option {name} is {value:?}; it is from 0 to 1").into())
}

/// A number of [0, 1) that depends on its position alone, by SplitMix64: whichever thread asks, it is the same.
fn uniform(stream: u64, position: u64) -> f64 {
    (mix(mix(stream).wrapping_add(position)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64, after one step.
pub fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<Options> {
        Options::read("", entries.iter().copied())
    }

    #[test]
    fn only_entries_with_the_prefix_are_options() {
        let entries = [("session.record_ep_graph_assignment_info", "1"), ("ep.testexecutionprovider.claim", "3")];
        assert_eq!(read(&entries), Ok(Options { claim: 3, ..Options::default() }));
    }

    #[test]
    fn what_no_option_can_be_is_an_error_that_names_it() {
        for (name, value) in
            [("fail_evry", "1"), ("fail_every", "0"), ("nan_every", "often"), ("fail_rate", "1.5"), ("wrong", "NaN")]
        {
            let error = read(&[(&format!("{PREFIX}{name}"), value)]).unwrap_err();
            assert!(error.0.contains(name), "{error:?}");
        }
    }

    #[test]
    fn usual_options_hold_where_the_session_has_none() {
        let own = [("ep.testexecutionprovider.claim", "3")];
        let read = |usual: &str| Options::read(usual, own.iter().copied());
        let expected = Options { claim: 3, wrong: 0.5, memo: true, ..Options::default() };
        assert_eq!(read("wrong=0.5, claim=7,memo=1,"), Ok(expected));
        assert_eq!(read(""), Ok(Options { claim: 3, ..Options::default() }));
        for broken in ["wrong", "wrnog=1", "memo=yes"] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn conditions_hold_for_the_calls_that_they_name() {
        let calls = |when: When| (1..=7).filter(|call| when.holds(*call, 0)).collect::<Vec<_>>();
        assert_eq!(calls(When { every: 3, ..When::default() }), [3, 6]);
        assert_eq!(calls(When { after: Some(5), ..When::default() }), [6, 7]);
        assert_eq!(calls(When::default()), [0_u64; 0]);
    }

    #[test]
    fn a_rate_is_the_share_of_calls() {
        let when = When { rate: 0.01, ..When::default() };
        let hits = (1..=100_000).filter(|call| when.holds(*call, 7)).count();
        assert!((900..1100).contains(&hits), "{hits} of 100,000");
    }
}
