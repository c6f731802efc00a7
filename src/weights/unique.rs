//! A JSON object in which no name may stand twice: parsers differ in which of the two they take.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{Formatter, Result as FormatResult};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A third more than the most tensors that any published model has; a hostile file may list millions.
const MAX_NAMES: usize = 1 << 17;

/// Ten times the longest name of a tensor; every one of them may be part of a message.
const MAX_NAME_BYTES: usize = 1 << 10;

/// The members of an object, by name.
#[derive(Debug)]
pub(super) struct UniqueNames<V>(pub(super) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueNames<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
    type Value = UniqueNames<V>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> FormatResult {
        formatter.write_str("an object, {…}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = object.next_entry::<String, V>()? {
            if members.len() == MAX_NAMES {
                return Err(A::Error::custom(format_args!("there are more than {MAX_NAMES} names")));
            }
            if name.len() > MAX_NAME_BYTES {
                let start: String = name.chars().take(100).collect();
                return Err(A::Error::custom(format_args!("a name has more than {MAX_NAME_BYTES} bytes: {start:?}…")));
            }
            match members.entry(name) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(place) => {
                    return Err(A::Error::custom(format_args!("the name {:?} stands there twice", place.key())));
                }
            };
        }
        Ok(UniqueNames(members))
    }
}
