//! What happened in this process, for tests to compare with what oxembed says of it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Sessions that were made, whether or not they still live.
pub static SESSIONS: AtomicU64 = AtomicU64::new(0);
/// Sessions made and not yet released.
pub static LIVE_SESSIONS: AtomicI64 = AtomicI64::new(0);
/// Kernels compiled and not yet released.
pub static LIVE_KERNELS: AtomicI64 = AtomicI64::new(0);
/// Runs of sessions that began.
pub static RUNS: AtomicU64 = AtomicU64::new(0);
/// Runs in which at least one node gave NaN and none failed afterwards.
pub static NAN_RUNS: AtomicU64 = AtomicU64::new(0);
/// Calls of a node's computation.
pub static CALLS: AtomicU64 = AtomicU64::new(0);
/// Calls that failed because they were asked to. A run ends at the first, so this is also the number of failed runs.
pub static FAILURES: AtomicU64 = AtomicU64::new(0);
/// Whether the device is gone: every call fails, and no session is made.
pub static DEVICE_LOST: AtomicBool = AtomicBool::new(false);

/// One more of what a counter counts.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Sessions of this process that were made and not yet released.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_live_sessions() -> i64 {
    LIVE_SESSIONS.load(Ordering::Relaxed)
}

/// Compiled nodes of this process that were not yet released.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_live_kernels() -> i64 {
    LIVE_KERNELS.load(Ordering::Relaxed)
}

/// Sessions that this process made with the provider.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_sessions() -> u64 {
    SESSIONS.load(Ordering::Relaxed)
}

/// Runs of sessions with the provider that began.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_runs() -> u64 {
    RUNS.load(Ordering::Relaxed)
}

/// Runs in which at least one node gave NaN and none failed afterwards.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_nan_runs() -> u64 {
    NAN_RUNS.load(Ordering::Relaxed)
}

/// Calls of the computation of a node, failed ones included.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

/// Calls that failed because an option or the lost device had them fail; each failed one run.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// Takes the device away from every session of this process, or gives it back.
#[unsafe(no_mangle)]
pub extern "C" fn oxembed_test_provider_lose_device(lost: bool) {
    DEVICE_LOST.store(lost, Ordering::Relaxed);
}
