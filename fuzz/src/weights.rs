//! The safetensors reader, compared with the `safetensors` crate.

use std::collections::BTreeSet;
use std::fmt::{Formatter, Result as FormatResult};

use oxembed::weights::{StoredType, Weights};
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::folder::with_file;
use super::header;
use super::outcome::typed;

/// What is accepted is what the crate accepts, with the same tensors of the same bytes. Beyond that only names are refused
/// that stand there twice or are longer than anybody's.
pub fn check(input: &[u8]) {
    let file = header::file(input);
    let ours = with_file("model.safetensors", &file, |path| typed(Weights::open(path)));
    let theirs = SafeTensors::deserialize(&file).ok();
    let (ours, theirs) = match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (Some(_), None) => panic!("a file is read that the safetensors crate refuses"),
        (None, Some(_)) => return assert!(has_bad_names(&file), "a file is refused that the safetensors crate reads"),
        (None, None) => return,
    };
    let floats: Vec<_> = theirs.iter().filter(|(_, tensor)| stored_type(tensor.dtype()).is_some()).collect();
    assert_eq!(ours.tensors().count(), floats.len(), "tensors of floating-point types");
    for (name, expected) in floats {
        let found = ours.tensors().find(|tensor| tensor.name == name).expect("the tensor is there");
        assert_eq!(Some(found.dtype), stored_type(expected.dtype()));
        assert_eq!(found.shape, expected.shape());
        assert_eq!(found.bytes(), expected.data());
        assert_eq!(found.to_f32().len(), found.len());
    }
}

fn stored_type(dtype: Dtype) -> Option<StoredType> {
    match dtype {
        Dtype::F32 => Some(StoredType::Float32),
        Dtype::F16 => Some(StoredType::Float16),
        Dtype::BF16 => Some(StoredType::BFloat16),
        _ => None,
    }
}

/// Whether the header has a name twice, or one of more than a kilobyte.
fn has_bad_names(file: &[u8]) -> bool {
    let length = u64::from_le_bytes(*file.first_chunk().expect("the crate has read it"));
    let end = 8 + usize::try_from(length).expect("the crate has read it");
    let mut header = serde_json::Deserializer::from_slice(&file[8..end]);
    let names = header.deserialize_map(Names).expect("the crate has read it");
    let unique: BTreeSet<&String> = names.iter().collect();
    unique.len() != names.len() || names.iter().any(|name| name.len() > 1024)
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = object.next_entry()? {
            names.push(name);
        }
        Ok(names)
    }
}
