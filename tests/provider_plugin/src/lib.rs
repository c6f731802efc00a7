//! An ONNX Runtime plug-in execution provider for oxembed's tests: `TestExecutionProvider`, on the CPU.
//!
//! It computes MatMul and Gemm of float32, each node by itself, and is right unless it is asked not to be. So tests on
//! any machine can see what oxembed does with a provider that fails, lies, takes nothing or finds no device.
//!
//! Options, as strings, come with the session. "Call" is the computation of one node, counted over one session:
//!
//! | option | what happens |
//! | --- | --- |
//! | `fail_every=N`, `fail_after=N`, `fail_rate=P` | every Nth call fails; every call after the first N; each with probability P |
//! | `nan_every=N`, `nan_after=N`, `nan_rate=P` | the same calls give NaN alone |
//! | `seed=S` | the random numbers of the rates; they differ by session, in the order in which the sessions are made |
//! | `wrong=P` | a share, from 0 to 1, of each result is that of the next column |
//! | `wrong_rows=N` | only results of at least N rows are wrong: for text models, batches of as many tokens |
//! | `refuse=1` or `compile`, `refuse=create` | the graph is refused once nodes are claimed; no provider is made |
//! | `claim=all`, `none` or N | how many of the nodes that it can compute it takes, the first ones |
//! | `slow_ms=M` | every call waits so long |
//! | `compile_ms=M` | every session waits so long before its nodes are compiled |
//! | `memo=1` | a result is remembered and given again for the same input: a fast device, for who repeats themselves |
//!
//! `OXEMBED_TEST_PROVIDER_OPTIONS=wrong=1,fail_every=3` in the environment has options for every session, for those who
//! cannot give a session its own. `OXEMBED_TEST_PROVIDER_DEVICES=0` in the environment has it find no device. The functions in `counters` say what
//! happened in the process, and take the device away while sessions run.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod abi;
mod counters;
mod factory;
mod failure;
mod kernel;
mod memory;
mod options;
mod product;
mod provider;
mod runtime;

use std::ffi::c_char;
use std::ptr;

use abi::OrtEpFactory;
use factory::Factory;
use ort_sys::{OrtApiBase, OrtLogger, OrtStatusPtr};
use runtime::Runtime;

/// What ONNX Runtime calls when the library is registered, by whatever name.
///
/// # Safety
/// For ONNX Runtime alone, with the arguments that its C API describes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn CreateEpFactories(
    _registration: *const c_char,
    base: *const OrtApiBase,
    _logger: *const OrtLogger,
    factories: *mut *mut OrtEpFactory,
    most_factories: usize,
    count: *mut usize,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes its own tables.
    let runtime = match unsafe { Runtime::new(base) } {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    runtime.answer(|| {
        if most_factories == 0 {
            return Err("ONNX Runtime leaves no place for a provider".into());
        }
        // SAFETY: an array with a place at least, and a valid out-pointer.
        unsafe {
            factories.write(Factory::create(runtime));
            count.write(1);
        }
        Ok(())
    })
}

/// What ONNX Runtime calls when the library is unregistered.
///
/// # Safety
/// For ONNX Runtime alone, with what `CreateEpFactories` made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ReleaseEpFactory(factory: *mut OrtEpFactory) -> OrtStatusPtr {
    // SAFETY: promised by the caller.
    unsafe { Factory::release(factory) };
    OrtStatusPtr(ptr::null_mut())
}
