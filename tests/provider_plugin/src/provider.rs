//! The provider of one session: claims nodes and compiles them.

use std::ffi::c_char;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use ort_sys::{OrtGraph, OrtNode, OrtRunOptions, OrtStatusPtr};

use crate::abi::{API_VERSION, OrtEp, OrtEpGraphSupportInfo, OrtNodeComputeInfo};
use crate::counters;
use crate::factory::NAME;
use crate::failure::Result;
use crate::kernel::{self, Kernel, Session};
use crate::options::{Options, Refusal};
use crate::runtime::Runtime;

/// The table that ONNX Runtime calls, and what its functions need.
#[repr(C)]
pub struct Provider {
    table: OrtEp,
    runtime: Runtime,
    session: Arc<Session>,
}

impl Provider {
    /// Makes a provider; `release` takes what this returns.
    pub fn create(runtime: Runtime, options: Options) -> Result<*mut OrtEp> {
        if counters::DEVICE_LOST.load(Ordering::Relaxed) {
            return Err("no session can be made: device lost (test)".into());
        }
        if options.refuse == Refusal::AtCreation {
            return Err("no session can be made: refused (test)".into());
        }
        let table = OrtEp {
            ort_version_supported: API_VERSION,
            GetName: name,
            GetCapability: capability,
            Compile: compile,
            ReleaseNodeComputeInfos: release_kernels,
            GetPreferredDataLayout: None,
            ShouldConvertDataLayoutForOp: None,
            SetDynamicOptions: None,
            OnRunStart: Some(run_starts),
            OnRunEnd: None,
            CreateAllocator: None,
            CreateSyncStreamForDevice: None,
            GetCompiledModelCompatibilityInfo: None,
        };
        let session = Arc::new(Session::new(options));
        Ok(Box::into_raw(Box::new(Self { table, runtime, session })).cast())
    }

    /// Frees a provider.
    ///
    /// # Safety
    /// `table` comes from `create`, and is not used again.
    pub unsafe fn release(table: *mut OrtEp) {
        // SAFETY: the table is the first field of the provider in the box that `create` made.
        drop(unsafe { Box::from_raw(table.cast::<Self>()) });
        counters::LIVE_SESSIONS.fetch_sub(1, Ordering::Relaxed);
    }

    fn claim(&self, graph: &OrtGraph, support: *mut OrtEpGraphSupportInfo) -> Result<()> {
        let mut claimed = 0;
        for node in self.runtime.nodes(graph)? {
            if claimed == self.session.options().claim {
                break;
            }
            if kernel::is_supported(self.runtime, node)? {
                self.runtime.claim(support, node)?;
                claimed += 1;
            }
        }
        Ok(())
    }
}

/// The provider behind a table.
///
/// # Safety
/// `this` comes from `Provider::create`, and is not released while the reference is used.
unsafe fn behind<'call>(this: *const OrtEp) -> &'call Provider {
    // SAFETY: the table is the first field of the provider. ONNX Runtime may call from several threads, and no one
    // changes a provider.
    unsafe { &*this.cast() }
}

unsafe extern "system" fn name(_this: *const OrtEp) -> *const c_char {
    NAME.as_ptr()
}

unsafe extern "system" fn capability(
    this: *mut OrtEp,
    graph: *const OrtGraph,
    support: *mut OrtEpGraphSupportInfo,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made and a graph that lives during this call.
    let (provider, graph) = unsafe { (behind(this), &*graph) };
    provider.runtime.answer(|| provider.claim(graph, support))
}

unsafe extern "system" fn compile(
    this: *mut OrtEp,
    graphs: *const *const OrtGraph,
    fused_nodes: *const *const OrtNode,
    count: usize,
    kernels: *mut *mut OrtNodeComputeInfo,
    _context_nodes: *mut *mut OrtNode,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made.
    let provider = unsafe { behind(this) };
    provider.runtime.answer(|| {
        if provider.session.options().refuse == Refusal::AtCompilation {
            return Err("the graph cannot be compiled: refused (test)".into());
        }
        thread::sleep(provider.session.options().slow_compilation);
        for index in 0..count {
            // SAFETY: `count` valid graphs, each with its fused node, which live during this call.
            let (graph, fused) = unsafe { (&**graphs.add(index), &**fused_nodes.add(index)) };
            let kernel = Kernel::compile(provider.runtime, &provider.session, graph, fused)?;
            // SAFETY: an array of `count` places; where a later node fails, ONNX Runtime releases what stands here.
            unsafe { kernels.add(index).write(kernel) };
        }
        Ok(())
    })
}

unsafe extern "system" fn release_kernels(_this: *mut OrtEp, kernels: *mut *mut OrtNodeComputeInfo, count: usize) {
    // SAFETY: an array of `count` places; not made, so not read, where there are none.
    let kernels = if count == 0 { &[][..] } else { unsafe { slice::from_raw_parts(kernels, count) } };
    for kernel in kernels.iter().filter(|kernel| !kernel.is_null()) {
        // SAFETY: what `compile` made, released once.
        unsafe { Kernel::release(*kernel) };
    }
}

unsafe extern "system" fn run_starts(this: *mut OrtEp, _options: *const OrtRunOptions) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes what `create` made.
    let provider = unsafe { behind(this) };
    provider.runtime.answer(|| {
        provider.session.begin_run();
        Ok(())
    })
}
