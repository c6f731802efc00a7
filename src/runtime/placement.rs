//! Where ONNX Runtime placed the nodes of a session: read from its own assignment record, not believed.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::ptr;

use ort::AsPointer;
use ort::session::Session;

use super::status::check;
use super::work::{PlacedNode, Work};
use crate::error::{EmbeddingError, Result};

const WHAT: &str = "the placement of nodes cannot be read";

/// The nodes of one session by execution provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// What the session is for.
    pub session: String,
    /// The provider it was made for, by the name for `provider=`.
    pub provider: String,
    /// The device, where the provider tells it.
    pub device: String,
    /// The type it computes in.
    pub dtype: String,
    /// Threads it computes with.
    pub threads: usize,
    /// Execution provider, by ONNX Runtime's name, and the number of nodes it runs, after fusion.
    pub providers: BTreeMap<String, usize>,
    /// The same with the share of multiply-adds, from 0 to 1; all zeros where none could be counted.
    pub work: BTreeMap<String, f64>,
}

impl Placement {
    /// Number of nodes on all providers.
    pub fn nodes(&self) -> usize {
        self.providers.values().sum()
    }

    /// The share of the work that the provider `runtime_name` does: of multiply-adds, or of nodes where those cannot be
    /// counted.
    pub fn share(&self, runtime_name: &str) -> f64 {
        if self.work.values().any(|share| *share > 0.0) {
            return self.work.get(runtime_name).copied().unwrap_or(0.0);
        }
        let nodes = self.providers.get(runtime_name).copied().unwrap_or(0);
        nodes as f64 / self.nodes().max(1) as f64
    }
}

/// What ONNX Runtime recorded of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    nodes: BTreeMap<String, Vec<PlacedNode>>,
}

impl Record {
    /// Number of nodes by provider.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.nodes.iter().map(|(provider, nodes)| (provider.clone(), nodes.len())).collect()
    }

    /// Share of `work` by provider.
    pub fn shares(&self, work: &Work) -> BTreeMap<String, f64> {
        work.shares(&self.nodes)
    }
}

/// Number of nodes by provider, of a session made with `session.record_ep_graph_assignment_info`.
///
/// # Errors
/// `InferenceFailed` where it has no record.
pub fn nodes_by_provider(session: &Session) -> Result<BTreeMap<String, usize>> {
    Ok(record(session)?.counts())
}

/// Reads the record of a session made with `session.record_ep_graph_assignment_info`.
///
/// # Errors
/// `InferenceFailed` where it has no record.
pub fn record(session: &Session) -> Result<Record> {
    let api = ort::api();
    let inner = session.inner();
    let (mut subgraphs, mut count) = (ptr::null(), 0);
    // SAFETY: the session lives as long as `inner`; both out-pointers are valid for writing.
    unsafe { check((api.Session_GetEpGraphAssignmentInfo)(inner.ptr(), &raw mut subgraphs, &raw mut count), WHAT) }?;
    let mut providers: BTreeMap<String, Vec<PlacedNode>> = BTreeMap::new();
    for index in 0..count {
        // SAFETY: the array has `count` valid entries, owned by the session.
        let subgraph = unsafe { *subgraphs.add(index) };
        let mut name = ptr::null();
        // SAFETY: a valid subgraph and a valid out-pointer.
        unsafe { check((api.EpAssignedSubgraph_GetEpName)(subgraph, &raw mut name), WHAT) }?;
        let (mut nodes, mut node_count) = (ptr::null(), 0);
        // SAFETY: as above.
        unsafe { check((api.EpAssignedSubgraph_GetNodes)(subgraph, &raw mut nodes, &raw mut node_count), WHAT) }?;
        // SAFETY: the name of a subgraph belongs to the session.
        let placed = providers.entry(unsafe { text(name) }?).or_default();
        for index in 0..node_count {
            // SAFETY: the array has `node_count` valid entries, owned by the session.
            let node = unsafe { *nodes.add(index) };
            let (mut name, mut operator) = (ptr::null(), ptr::null());
            // SAFETY: a valid node and a valid out-pointer.
            unsafe { check((api.EpAssignedNode_GetName)(node, &raw mut name), WHAT) }?;
            // SAFETY: as above.
            unsafe { check((api.EpAssignedNode_GetOperatorType)(node, &raw mut operator), WHAT) }?;
            // SAFETY: both strings of a node belong to the session.
            let (name, operator) = unsafe { (text(name)?, text(operator)?) };
            placed.push(PlacedNode { name, operator });
        }
    }
    Ok(Record { nodes: providers })
}

/// A string that belongs to a session.
///
/// # Safety
///
/// The pointer is null, or that of a NUL-terminated string that is there until this returns.
unsafe fn text(pointer: *const c_char) -> Result<String> {
    if pointer.is_null() {
        return Err(EmbeddingError::internal("ONNX Runtime recorded a provider or a node without a name"));
    }
    // SAFETY: not null, and NUL-terminated, as the caller says.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}
