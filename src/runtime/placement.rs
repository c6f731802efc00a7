//! Where ONNX Runtime placed the nodes of a session: read from its own assignment record, not believed.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ptr;

use ort::AsPointer;
use ort::session::Session;

use super::status::check;
use crate::error::{EmbeddingError, Result};

const WHAT: &str = "the placement of nodes cannot be read";

/// The nodes of one session by execution provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// What the session is for.
    pub session: String,
    /// Threads it computes with.
    pub threads: usize,
    /// Execution provider, by ONNX Runtime's name, and the number of nodes it runs, after fusion.
    pub providers: BTreeMap<String, usize>,
}

impl Placement {
    /// Number of nodes on all providers.
    pub fn nodes(&self) -> usize {
        self.providers.values().sum()
    }
}

/// Reads the record of a session made with `session.record_ep_graph_assignment_info`.
///
/// # Errors
/// `InferenceFailed` where it has no record.
pub fn nodes_by_provider(session: &Session) -> Result<BTreeMap<String, usize>> {
    let api = ort::api();
    let inner = session.inner();
    let (mut subgraphs, mut count) = (ptr::null(), 0);
    // SAFETY: the session lives as long as `inner`; both out-pointers are valid for writing.
    check(unsafe { (api.Session_GetEpGraphAssignmentInfo)(inner.ptr(), &raw mut subgraphs, &raw mut count) }, WHAT)?;
    let mut providers = BTreeMap::new();
    for index in 0..count {
        // SAFETY: the array has `count` valid entries, owned by the session.
        let subgraph = unsafe { *subgraphs.add(index) };
        let mut name = ptr::null();
        // SAFETY: a valid subgraph and a valid out-pointer.
        check(unsafe { (api.EpAssignedSubgraph_GetEpName)(subgraph, &raw mut name) }, WHAT)?;
        let (mut nodes, mut node_count) = (ptr::null(), 0);
        // SAFETY: as above.
        check(unsafe { (api.EpAssignedSubgraph_GetNodes)(subgraph, &raw mut nodes, &raw mut node_count) }, WHAT)?;
        if name.is_null() {
            return Err(EmbeddingError::internal("ONNX Runtime recorded a provider without a name"));
        }
        // SAFETY: not null, NUL-terminated, owned by the session.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        *providers.entry(name).or_insert(0) += node_count;
    }
    Ok(providers)
}
