//! A JSON object in which no name may stand twice: parsers differ in which of the two they take.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{Formatter, Result as FormatResult};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A third more than the most tensors that any published model has; a hostile file may list millions.
const MAX_NAMES: usize = 1 << 17;

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
            match members.entry(name) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(place) => {
                    let name: String = place.key().chars().take(200).collect();
                    return Err(A::Error::custom(format_args!("the name {name:?} stands there twice")));
                }
            };
        }
        Ok(UniqueNames(members))
    }
}
