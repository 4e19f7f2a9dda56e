//! The list of an object's children, as its own turns see and change it.
//!
//! The list is read from storage when it is first needed and then kept until the object hibernates. Its encoded form is kept
//! too, because every `state` frame carries it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::path::ObjectName;
use crate::protocol::encode;
use crate::storage::Child;

/// Children in the order of their creation.
#[derive(Debug, Default)]
pub(crate) struct Children {
    by_ordinal: BTreeMap<u64, Child>,
    by_name: HashMap<ObjectName, u64>,
    /// `["a","b"]`, as long as it is right. A child that joins is appended, so that the 10,000th costs what the first did.
    encoded: Option<Vec<u8>>,
}

impl Children {
    pub(crate) fn from_rows(rows: Vec<(u64, Child)>) -> Self {
        let by_name = rows.iter().map(|(ordinal, child)| (child.name.clone(), *ordinal)).collect();
        Self { by_ordinal: rows.into_iter().collect(), by_name, encoded: None }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.by_ordinal.values().map(|child| &child.name)
    }

    /// The children that were created after one, or all of them; `None` when that one is not listed.
    pub(crate) fn after(&self, name: Option<&str>) -> Option<impl Iterator<Item = &Child>> {
        let start = match name {
            None => Bound::Unbounded,
            Some(name) => Bound::Excluded(*self.by_name.get(name)?),
        };
        Some(self.by_ordinal.range((start, Bound::Unbounded)).map(|(_, child)| child))
    }

    pub(crate) fn insert(&mut self, ordinal: u64, child: Child) {
        let last = self.by_ordinal.last_key_value().is_none_or(|(last, _)| *last < ordinal);
        match &mut self.encoded {
            Some(encoded) if last => {
                encoded.pop();
                if encoded.len() > 1 {
                    encoded.push(b',');
                }
                encoded.extend(encode(child.name.as_str()));
                encoded.push(b']');
            }
            other => *other = None,
        }
        self.by_name.insert(child.name.clone(), ordinal);
        self.by_ordinal.insert(ordinal, child);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<(u64, Child)> {
        let ordinal = self.by_name.remove(name)?;
        self.encoded = None;
        self.by_ordinal.remove(&ordinal).map(|child| (ordinal, child))
    }

    /// The names as a JSON array.
    pub(crate) fn encoded(&mut self) -> &[u8] {
        self.encoded.get_or_insert_with(|| {
            let names: Vec<&str> = self.by_ordinal.values().map(|child| child.name.as_str()).collect();
            encode(&names)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn child(name: &str) -> Child {
        Child { name: ObjectName::parse(name).unwrap(), class: "agent".into() }
    }

    proptest! {
        #[test]
        fn fp2_the_encoded_list_is_the_list_in_creation_order(steps in prop::collection::vec(("[a-e]", any::<bool>()), 0..40)) {
            let mut children = Children::default();
            let mut model: Vec<String> = Vec::new();
            for (ordinal, (name, peek)) in (0..).zip(steps) {
                if let Some(index) = model.iter().position(|other| *other == name) {
                    model.remove(index);
                    prop_assert!(children.remove(&name).is_some());
                } else {
                    model.push(name.clone());
                    children.insert(ordinal, child(&name));
                }
                if peek {
                    prop_assert_eq!(children.encoded(), serde_json::to_vec(&model).unwrap());
                }
            }
            prop_assert_eq!(children.encoded(), serde_json::to_vec(&model).unwrap());
            prop_assert_eq!(children.names().count(), model.len());
            prop_assert!(model.iter().all(|name| children.contains(name)));
        }
    }
}
