//! Providers that fail at random lose no work, and every failure is recorded.

use std::cell::Cell;

use proptest::prelude::*;

use super::{Failover, PATIENCE, REMEMBERED};
use crate::error::{EmbeddingError, Result};

fn failover(providers: usize) -> Failover {
    Failover::new((0..providers).map(|number| format!("provider {number}")).collect())
}

fn lost() -> EmbeddingError {
    EmbeddingError::inference_failed("device lost")
}

#[test]
#[cfg_attr(miri, ignore = "one thread, ten thousand times what other tests do")]
fn ten_thousand_calls_with_random_failures_are_all_answered_and_recorded() {
    let failover = failover(3);
    let mut state: u64 = 42;
    let mut chance = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 100
    };
    let mut failures = 0;
    for call in 0..10_000_u64 {
        let outcome = failover.attempt(
            1,
            |_| true,
            |provider| {
                // The last one never fails, as the CPU.
                if provider < 2 && chance() < 2 {
                    failures += 1;
                    return Err(lost());
                }
                Ok(call * 7)
            },
        );
        assert_eq!(outcome.unwrap(), call * 7);
    }
    let (events, count) = failover.events();
    assert_eq!(count, failures);
    assert!(failures > 100);
    assert_eq!(events.len(), REMEMBERED.min(usize::try_from(failures).unwrap()));
    assert!(events.iter().all(|event| event.next.is_some() && event.message.contains("device lost")));
    assert_eq!(events.last().unwrap().number, failures);
}

#[test]
fn one_that_keeps_failing_is_left_alone_and_one_success_forgives() {
    let failover = failover(2);
    let asked = Cell::new(0);
    let call = |fails: bool| {
        failover
            .attempt(
                1,
                |_| true,
                |provider| {
                    if provider == 0 {
                        asked.set(asked.get() + 1);
                        return if fails { Err(lost()) } else { Ok(0) };
                    }
                    Ok(1)
                },
            )
            .unwrap()
    };
    for _ in 1..PATIENCE {
        assert_eq!(call(true), 1);
    }
    assert_eq!(call(false), 0);
    for _ in 0..PATIENCE {
        assert_eq!(call(true), 1);
    }
    let before = asked.get();
    assert_eq!(call(false), 1, "it was asked again");
    assert_eq!(asked.get(), before);
    assert_eq!(failover.current(|_| true), Some(1));
}

#[test]
fn one_that_was_left_alone_is_asked_again_after_a_while() {
    let failover = Failover { pause: std::time::Duration::ZERO, ..failover(2) };
    let asked = Cell::new(0);
    for _ in 0..10 {
        let outcome = failover.attempt(
            1,
            |_| true,
            |provider| {
                if provider == 1 {
                    return Ok(());
                }
                asked.set(asked.get() + 1);
                Err(lost())
            },
        );
        outcome.unwrap();
    }
    assert_eq!(asked.get(), 10);
}

#[test]
fn a_fault_of_the_call_is_not_the_providers() {
    for error in [EmbeddingError::Cancelled, EmbeddingError::invalid_input("wrong")] {
        let failover = failover(2);
        let outcome: Result<()> = failover.attempt(1, |_| true, |_| Err(error.clone()));
        assert_eq!(outcome.unwrap_err().to_string(), error.to_string());
        assert_eq!(failover.events(), (Vec::new(), 0));
    }
}

#[test]
fn where_all_fail_the_call_gets_the_last_error_and_the_next_call_is_tried() {
    let failover = failover(2);
    for _ in 0..10 {
        let outcome: Result<()> = failover.attempt(
            4,
            |_| true,
            |provider| Err(EmbeddingError::inference_failed(format!("fault of {provider}"))),
        );
        assert!(outcome.unwrap_err().to_string().contains("fault of 1"));
    }
    assert_eq!(failover.attempt(1, |_| true, Ok).unwrap(), 1);
    let (events, _) = failover.events();
    assert_eq!((events[0].next.as_deref(), events[1].next.as_deref()), (Some("provider 1"), None));
    assert_eq!(events[0].texts, 4);
}

#[test]
fn news_are_told_once() {
    let failover = failover(2);
    assert!(failover.news().is_empty());
    for _ in 0..2 {
        failover.attempt(1, |_| true, |provider| if provider == 0 { Err(lost()) } else { Ok(()) }).unwrap();
    }
    assert_eq!(failover.news().iter().map(|event| event.number).collect::<Vec<_>>(), [1, 2]);
    assert!(failover.news().is_empty());
    assert_eq!(failover.events().1, 2);
}

proptest! {
    #[test]
    fn only_those_that_take_the_work_are_asked(takes in prop::collection::vec(any::<bool>(), 2..6)) {
        let failover = failover(takes.len());
        let asked = std::cell::RefCell::new(Vec::new());
        let outcome: Result<()> = failover.attempt(1, |provider| takes[provider], |provider| {
            asked.borrow_mut().push(provider);
            Err(lost())
        });
        let expected: Vec<usize> = (0..takes.len()).filter(|provider| takes[*provider]).collect();
        prop_assert_eq!(asked.into_inner(), expected);
        prop_assert!(outcome.is_err());
    }
}
