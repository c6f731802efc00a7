//! Files beside a graph that hold the contents of its initializers: are they there, and is the graph right about them?

use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;

use crate::onnx::elements;
use crate::onnx::proto::{DATA_LOCATION_EXTERNAL, GraphProto, TensorProto};

use super::findings::{Code, Finding, listed};
use super::graph::{each_tensor, tensor_bytes};
use super::report::ExternalFacts;

const AGAIN: &str = "export or download the model again, with all of its files, and keep them together";

/// Where the contents of a tensor lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as the graph names it.
    pub location: String,
    /// Where it starts.
    pub offset: u64,
    /// Its bytes, where the graph says.
    pub length: Option<u64>,
}

/// The place of a tensor's external data; an error where its entries are no numbers, none where it has no external data.
pub fn place(tensor: &TensorProto) -> Result<Option<Place>, String> {
    if tensor.data_location != DATA_LOCATION_EXTERNAL {
        return Ok(None);
    }
    let mut place = Place { location: String::new(), offset: 0, length: None };
    for entry in &tensor.external_data {
        let number = || entry.value.parse::<u64>().map_err(|_| format!("{} = {:?}", entry.key, entry.value));
        match entry.key.as_str() {
            "location" => place.location.clone_from(&entry.value),
            "offset" => place.offset = number()?,
            "length" => place.length = Some(number()?),
            // A checksum, or something of the producer's own.
            _ => {}
        }
    }
    Ok(Some(place))
}

/// The path of `location` in `folder`; none where it is absolute or climbs out.
pub fn inside(folder: &Path, location: &str) -> Option<PathBuf> {
    let path = Path::new(location);
    let is_inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (is_inside && !location.is_empty() && !location.contains('\0')).then(|| folder.join(path))
}

#[derive(Default)]
struct Checked<'a> {
    tensors: usize,
    /// Tensors that do not lie in the file as the graph says.
    wrong: Vec<&'a str>,
}

/// Checks every initializer of `graph`, whose file lies in `folder`: what is in other files, and what is wrong.
pub fn check(graph: &GraphProto, folder: &Path) -> (Vec<ExternalFacts>, Vec<Finding>) {
    let mut files: IndexMap<String, (Option<u64>, Checked<'_>)> = IndexMap::new();
    let mut malformed: Vec<&str> = Vec::new();
    each_tensor(graph, &mut |tensor| match place(tensor) {
        Ok(None) => {
            let expected = tensor_bytes(tensor);
            let is_wrong = match expected {
                // Numbers may also stand in fields of their own, which ONNX Runtime counts.
                Some(bytes) => !tensor.raw_data.is_empty() && tensor.raw_data.len() as u64 != bytes,
                None => elements(tensor).is_none(),
            };
            if is_wrong {
                malformed.push(&tensor.name);
            }
        }
        Ok(Some(place)) => {
            let size = || inside(folder, &place.location).and_then(|path| path.metadata().ok()).map(|data| data.len());
            let (size, checked) = files.entry(place.location.clone()).or_insert_with(|| (size(), Checked::default()));
            checked.tensors += 1;
            if !lies_in(tensor, &place, size.unwrap_or(0)) {
                checked.wrong.push(&tensor.name);
            }
        }
        Err(_) => malformed.push(&tensor.name),
    });
    let mut findings = Vec::new();
    if !malformed.is_empty() {
        let message = format!(
            "{} initializers have impossible dimensions, or contents of another size: {}",
            malformed.len(),
            listed(&malformed)
        );
        findings.push(Finding::new(Code::MalformedTensor, message, AGAIN));
    }
    for (location, (size, checked)) in &files {
        findings.extend(problem(folder, location, *size, checked));
    }
    let facts = files.into_iter().map(|(location, (bytes, checked))| ExternalFacts {
        location,
        exists: bytes.is_some(),
        bytes,
        tensors: checked.tensors,
        complete: bytes.is_some() && checked.wrong.is_empty(),
    });
    (facts.collect(), findings)
}

fn lies_in(tensor: &TensorProto, place: &Place, size: u64) -> bool {
    let Some(expected) = tensor_bytes(tensor) else { return false };
    let length = place.length.unwrap_or(expected);
    let end = place.offset.checked_add(length);
    length == expected && end.is_some_and(|end| end <= size)
}

fn problem(folder: &Path, location: &str, size: Option<u64>, checked: &Checked<'_>) -> Option<Finding> {
    let tensors = checked.tensors;
    let Some(path) = inside(folder, location) else {
        let message = format!("{tensors} initializers are in {location:?}, which is not inside the graph's folder");
        return Some(Finding::new(Code::ExternalDataOutside, message, "ONNX Runtime does not read it; export again"));
    };
    let finding = match size {
        None => {
            let message = format!("{location} is missing; {tensors} initializers are in it");
            Finding::new(Code::ExternalDataMissing, message, AGAIN)
        }
        Some(size) if !checked.wrong.is_empty() => {
            let message = format!(
                "{location} has {size} bytes, in which {} of {tensors} initializers do not lie as the graph says: {}",
                checked.wrong.len(),
                listed(&checked.wrong)
            );
            Finding::new(Code::ExternalDataIncomplete, message, AGAIN)
        }
        Some(_) => return None,
    };
    Some(finding.in_file(&path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{check, inside};
    use crate::inspect::findings::Code;
    use crate::onnx::proto::{DATA_LOCATION_EXTERNAL, GraphProto, StringStringEntryProto, TensorProto};

    fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
        TensorProto {
            dims: dims.to_vec(),
            data_type: 1,
            name: name.to_owned(),
            external_data: entries.iter().map(entry).collect(),
            data_location: DATA_LOCATION_EXTERNAL,
            ..TensorProto::default()
        }
    }

    fn codes(tensors: Vec<TensorProto>) -> Vec<Code> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.bin"), [0; 64]).unwrap();
        let graph = GraphProto { initializer: tensors, ..GraphProto::default() };
        check(&graph, folder.path()).1.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn contents_as_the_graph_says_are_no_finding() {
        let places = [("location", "w.bin"), ("offset", "32"), ("length", "32")];
        assert_eq!(codes(vec![external("w", &[2, 4], &places), external("v", &[16], &places[..1])]), []);
    }

    #[test]
    fn offsets_and_lengths_that_lie_are_found() {
        let most = u64::MAX.to_string();
        for (dims, offset, length) in
            [(&[8_i64][..], "33", "32"), (&[8], most.as_str(), "32"), (&[8], "0", most.as_str()), (&[9], "0", "32")]
        {
            let tensor = external("w", dims, &[("location", "w.bin"), ("offset", offset), ("length", length)]);
            assert_eq!(codes(vec![tensor]), [Code::ExternalDataIncomplete], "{dims:?} {offset} {length}");
        }
    }

    #[test]
    fn numbers_that_are_none_and_impossible_dimensions_are_found() {
        for value in ["-1", "0x10", "1e3", ""] {
            let tensor = external("w", &[8], &[("location", "w.bin"), ("offset", value)]);
            assert_eq!(codes(vec![tensor]), [Code::MalformedTensor], "{value:?}");
        }
        let place = [("location", "w.bin")];
        assert_eq!(codes(vec![external("w", &[-1], &place)]), [Code::ExternalDataIncomplete]);
        assert_eq!(codes(vec![external("w", &[i64::MAX, i64::MAX], &place)]), [Code::ExternalDataIncomplete]);
        let inline = |dims: &[i64], bytes: usize| TensorProto {
            dims: dims.to_vec(),
            data_type: 1,
            raw_data: vec![0; bytes].into(),
            ..TensorProto::default()
        };
        assert_eq!(codes(vec![inline(&[-2], 8)]), [Code::MalformedTensor]);
        assert_eq!(codes(vec![inline(&[1 << 40], 8)]), [Code::MalformedTensor]);
        assert_eq!(codes(vec![inline(&[2], 8)]), []);
    }

    #[test]
    fn locations_outside_the_folder_are_not_looked_at() {
        for location in ["/etc/passwd", "../w.bin", "a/../../w.bin", "", "w\0.bin"] {
            assert_eq!(inside(Path::new("folder"), location), None);
            assert_eq!(codes(vec![external("w", &[1], &[("location", location)])]), [Code::ExternalDataOutside]);
        }
        assert_eq!(codes(vec![external("w", &[1], &[("location", "absent.bin")])]), [Code::ExternalDataMissing]);
    }
}
