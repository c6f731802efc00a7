//! One node: what it computes, and what goes wrong when it does.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ort_sys::{OrtGraph, OrtKernelContext, OrtNode, OrtStatusPtr};

use crate::abi::{API_VERSION, OrtNodeComputeContext, OrtNodeComputeInfo};
use crate::counters::{self, count};
use crate::failure::Result;
use crate::memory::Memory;
use crate::options::{Options, mix};
use crate::product::{self, Addend, Stored};
use crate::runtime::{Runtime, Tensor};

/// What all nodes of a session share.
pub struct Session {
    options: Options,
    /// Names the random numbers: those of sessions with the same seed differ, by the order in which they were made.
    stream: u64,
    calls: AtomicU64,
    run_has_nan: AtomicBool,
}

impl Session {
    /// A session with these options, which lives until it is dropped.
    pub fn new(options: Options) -> Self {
        let number = counters::SESSIONS.fetch_add(1, Ordering::Relaxed);
        counters::LIVE_SESSIONS.fetch_add(1, Ordering::Relaxed);
        let stream = mix(options.seed) ^ number;
        Self { options, stream, calls: AtomicU64::new(0), run_has_nan: AtomicBool::new(false) }
    }

    /// What was asked of it.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Another run begins.
    pub fn begin_run(&self) {
        count(&counters::RUNS);
        self.run_has_nan.store(false, Ordering::Relaxed);
    }

    /// Another node is computed; its number in this session.
    fn begin_call(&self) -> Result<u64> {
        count(&counters::CALLS);
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        thread::sleep(self.options.slow);
        if counters::DEVICE_LOST.load(Ordering::Relaxed) || self.options.fail.holds(call, self.stream) {
            count(&counters::FAILURES);
            if self.run_has_nan.swap(false, Ordering::Relaxed) {
                counters::NAN_RUNS.fetch_sub(1, Ordering::Relaxed);
            }
            return Err("device lost (test)".into());
        }
        Ok(call)
    }

    fn spoil(&self, call: u64, output: &mut [f32], columns: usize) {
        if self.options.wrong > 0.0 && output.len() / columns >= self.options.wrong_rows {
            product::spoil(output, columns, self.options.wrong);
        }
        if self.options.nan.holds(call, !self.stream) {
            output.fill(f32::NAN);
            if !self.run_has_nan.swap(true, Ordering::Relaxed) {
                count(&counters::NAN_RUNS);
            }
        }
    }
}

/// A MatMul or Gemm: where its operands stand among the inputs of the fused node, and its attributes.
#[derive(Debug, Clone, Copy)]
struct Operation {
    left: usize,
    right: usize,
    addend: Option<usize>,
    alpha: f32,
    beta: f32,
    left_transposed: bool,
    right_stored: Stored,
    /// Whether the first operand is all that varies from run to run.
    is_of_constants: bool,
}

/// Whether a node can be computed here: a Gemm, or a MatMul with a matrix on the right, of float32.
pub fn is_supported(runtime: Runtime, node: &OrtNode) -> Result<bool> {
    let (domain, operator) = runtime.operator(node)?;
    if !matches!(domain, "" | "ai.onnx") || !matches!(operator, "MatMul" | "Gemm") {
        return Ok(false);
    }
    let mut axes = Vec::new();
    for input in runtime.inputs(node)?.into_iter().flatten() {
        let Some(count) = runtime.float_axes(input)? else { return Ok(false) };
        axes.push(count);
    }
    Ok(operator == "Gemm" || axes.get(1) == Some(&2))
}

impl Operation {
    /// Reads a node that is fused by itself.
    fn read(runtime: Runtime, graph: &OrtGraph, fused: &OrtNode) -> Result<Self> {
        let [node] = runtime.nodes(graph)?[..] else { return Err("every node is claimed by itself".into()) };
        let mut names = Vec::new();
        for value in runtime.inputs(fused)? {
            names.push(value.map(|value| runtime.value_name(value)).transpose()?);
        }
        // The fused node names each value once, in an order of its own. What is constant only the graph inside knows.
        let mut operands = Vec::new();
        let mut is_of_constants = true;
        for (number, value) in runtime.inputs(node)?.into_iter().enumerate() {
            operands.push(match value {
                Some(value) => {
                    is_of_constants &= number == 0 || runtime.is_constant(value)?;
                    let name = runtime.value_name(value)?;
                    let place = names.iter().position(|known| *known == Some(name));
                    Some(place.ok_or_else(|| format!("input {name:?} is not one of the fused node"))?)
                }
                None => None,
            });
        }
        let (Some(Some(left)), Some(Some(right))) = (operands.first(), operands.get(1)) else {
            return Err("a product needs two matrices".into());
        };
        let flag = |name| runtime.integer(node, name).map(|flag| flag.is_some_and(|flag| flag != 0));
        Ok(Self {
            left: *left,
            right: *right,
            addend: operands.get(2).copied().flatten(),
            alpha: runtime.float(node, "alpha")?.unwrap_or(1.0),
            beta: runtime.float(node, "beta")?.unwrap_or(1.0),
            left_transposed: flag("transA")?,
            right_stored: if flag("transB")? { Stored::Transposed } else { Stored::AsIs },
            is_of_constants,
        })
    }

    /// Computes the node and spoils the result as the session asks.
    ///
    /// # Safety
    /// `context` is what ONNX Runtime passes for one computation of this node.
    unsafe fn compute(&self, kernel: &Kernel, context: *mut OrtKernelContext, call: u64) -> Result<()> {
        let runtime = kernel.runtime;
        // SAFETY: it lives as long as the computation. Inputs are read by it alone, the output by `runtime.output`.
        let inputs = unsafe { &*context };
        let (left, right) = (runtime.input(inputs, self.left)?, runtime.input(inputs, self.right)?);
        let (&[stored_rows, stored_columns], Some((&last, outer))) = (&right.shape[..], left.shape.split_last()) else {
            return Err(format!("shapes {:?} and {:?} cannot be multiplied here", left.shape, right.shape).into());
        };
        let (expected, columns) = match self.right_stored {
            Stored::AsIs => (stored_rows, stored_columns),
            Stored::Transposed => (stored_columns, stored_rows),
        };
        let (inner, turned, mut shape) = match (self.left_transposed, outer) {
            (true, &[inner]) => (inner, Some(product::transposed(left.values, last)), vec![last]),
            (true, _) => return Err(format!("a matrix with the shape {:?} cannot be transposed", left.shape).into()),
            (false, outer) => (last, None, outer.to_vec()),
        };
        if inner != expected {
            return Err(format!("{:?} and {:?} do not fit each other", left.shape, right.shape).into());
        }
        shape.push(columns);
        // SAFETY: the only output, asked for once in this call.
        let output = unsafe { runtime.output(context, &shape) }?;
        if output.is_empty() {
            return Ok(());
        }
        let memory = (self.is_of_constants && kernel.session.options.memo).then_some(&kernel.memory);
        if memory.is_some_and(|memory| memory.recall(left.values, output)) {
            kernel.session.spoil(call, output, columns);
            return Ok(());
        }
        if inner == 0 {
            output.fill(0.0);
        } else {
            product::multiply(
                turned.as_deref().unwrap_or(left.values),
                right.values,
                self.right_stored,
                inner,
                columns,
                output,
            );
        }
        let addend = self.addend.map(|index| runtime.input(inputs, index)).transpose()?;
        let addend = addend.as_ref().map(|Tensor { shape, values }| Addend { values, shape, beta: self.beta });
        product::add_scaled(output, columns, self.alpha, addend)?;
        if let Some(memory) = memory {
            memory.keep(left.values, output);
        }
        kernel.session.spoil(call, output, columns);
        Ok(())
    }
}

/// The table that ONNX Runtime calls, and what its functions need.
#[repr(C)]
pub struct Kernel {
    table: OrtNodeComputeInfo,
    runtime: Runtime,
    session: Arc<Session>,
    operation: Operation,
    memory: Memory,
}

impl Kernel {
    /// Compiles a node; `release` takes what this returns.
    pub fn compile(
        runtime: Runtime,
        session: &Arc<Session>,
        graph: &OrtGraph,
        fused: &OrtNode,
    ) -> Result<*mut OrtNodeComputeInfo> {
        let operation = Operation::read(runtime, graph, fused)?;
        let table = OrtNodeComputeInfo {
            ort_version_supported: API_VERSION,
            CreateState: create_state,
            Compute: compute,
            ReleaseState: release_state,
        };
        counters::LIVE_KERNELS.fetch_add(1, Ordering::Relaxed);
        let (session, memory) = (Arc::clone(session), Memory::default());
        Ok(Box::into_raw(Box::new(Self { table, runtime, session, operation, memory })).cast())
    }

    /// Frees a node.
    ///
    /// # Safety
    /// `table` comes from `compile`, and is not used again.
    pub unsafe fn release(table: *mut OrtNodeComputeInfo) {
        // SAFETY: the table is the first field of the kernel in the box that `compile` made.
        drop(unsafe { Box::from_raw(table.cast::<Self>()) });
        counters::LIVE_KERNELS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A node needs no state for one session's runs: all there is stands in the kernel.
unsafe extern "system" fn create_state(
    this: *mut OrtNodeComputeInfo,
    _context: *mut OrtNodeComputeContext,
    state: *mut *mut c_void,
) -> OrtStatusPtr {
    // SAFETY: a valid out-pointer.
    unsafe { state.write(this.cast()) };
    OrtStatusPtr(ptr::null_mut())
}

unsafe extern "system" fn release_state(_this: *mut OrtNodeComputeInfo, _state: *mut c_void) {}

unsafe extern "system" fn compute(
    this: *mut OrtNodeComputeInfo,
    _state: *mut c_void,
    context: *mut OrtKernelContext,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime passes a kernel that `compile` made. Threads may compute with it at the same time; none changes
    // it.
    let kernel = unsafe { &*this.cast::<Kernel>() };
    kernel.runtime.answer(|| {
        let call = kernel.session.begin_call()?;
        // SAFETY: the context of this call.
        unsafe { kernel.operation.compute(kernel, context, call) }
    })
}
