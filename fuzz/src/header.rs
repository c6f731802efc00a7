//! A safetensors file out of an input: as it stands, or with a header whose length and tensors fit, so that most inputs get
//! past the first comparison.

use serde_json::Value;

/// More bytes than this are not added, whatever a header says.
const MOST_ADDED: u64 = 1 << 16;

/// The file that an input stands for. Its first byte says how: `r`, the rest is the file; `h`, a header up to a zero byte
/// and the bytes of the tensors; else the same, with as many bytes as the header asks for.
pub fn file(input: &[u8]) -> Vec<u8> {
    let Some((kind, rest)) = input.split_first() else { return Vec::new() };
    if *kind == b'r' {
        return rest.to_vec();
    }
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (header, tensors) = rest.split_at(end);
    let mut tensors = tensors.get(1..).unwrap_or_default().to_vec();
    if *kind != b'h'
        && let Some(length) = end_of_tensors(header)
    {
        tensors.resize(length, 7);
    }
    let length = header.len() as u64;
    [&length.to_le_bytes(), header, &tensors].concat()
}

fn end_of_tensors(header: &[u8]) -> Option<usize> {
    let header: Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    let end = ends.max().unwrap_or(0);
    usize::try_from(end.min(MOST_ADDED)).ok()
}
