//! What changed of a state, for `fleet.v2`: changes that were not sent yet merge into one.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Frame, encode, frame};

/// The difference between two states: fields that have a new value, and names that left or joined a list.
///
/// A client applies `removed` before `added`; added names go to the end, in the order given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    fields: Vec<(Cow<'static, str>, Value)>,
    removed: Vec<String>,
    added: Vec<String>,
}

impl Change {
    /// A change of nothing: sockets of `fleet.v1` get a `state` frame all the same, those of `fleet.v2` nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// A field that has a new value.
    pub fn field(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        Self { fields: vec![(name.into(), value.into())], ..Self::default() }
    }

    /// A name that joined the list.
    pub fn added(name: &str) -> Self {
        Self { added: vec![name.to_owned()], ..Self::default() }
    }

    /// A name that left the list.
    pub fn removed(name: &str) -> Self {
        Self { removed: vec![name.to_owned()], ..Self::default() }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.removed.is_empty() && self.added.is_empty()
    }

    /// Adds a later change: the newest value of a field wins, and a name that came and went leaves no trace.
    pub fn merge(&mut self, later: &Self) {
        for (name, value) in &later.fields {
            match self.fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.clone_from(value),
                None => self.fields.push((name.clone(), value.clone())),
            }
        }
        for name in &later.removed {
            match self.added.iter().position(|added| added == name) {
                Some(index) => drop(self.added.remove(index)),
                None if self.removed.contains(name) => {}
                None => self.removed.push(name.clone()),
            }
        }
        self.added.extend(later.added.iter().cloned());
    }

    /// Bytes that it will take on the wire, roughly.
    pub fn len(&self) -> usize {
        let names = |names: &[String]| names.iter().map(|name| name.len() + 3).sum::<usize>();
        48 + 32 * self.fields.len() + names(&self.removed) + names(&self.added)
    }

    /// `{"type":"change","payload":{…}}`
    pub fn frame(&self) -> Frame {
        let fields = self.fields.iter().map(|(name, value)| (name.clone().into_owned(), value.clone()));
        let mut payload: Map<String, Value> = fields.collect();
        for (key, names) in [("removed", &self.removed), ("added", &self.added)] {
            if !names.is_empty() {
                payload.insert(key.to_owned(), names.as_slice().into());
            }
        }
        frame([br#"{"type":"change","payload":"#, &encode(&payload), b"}"])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client does with a change.
    fn apply(names: &mut Vec<String>, change: &Change) {
        names.retain(|name| !change.removed.contains(name));
        names.extend(change.added.iter().cloned());
    }

    #[test]
    fn fx8_frames() {
        let text = |change: &Change| format!("{:?}", change.frame());
        assert!(text(&Change::field("count", 3)).contains(r#"{\"type\":\"change\",\"payload\":{\"count\":3}}"#));
        assert!(text(&Change::added("a")).contains(r#"{\"added\":[\"a\"]}"#));
        assert!(text(&Change::removed("a")).contains(r#"{\"removed\":[\"a\"]}"#));
        assert!(Change::none().is_empty());
    }

    proptest! {
        #[test]
        fn fx8_merged_changes_mean_the_same_as_one_by_one(
            start in prop::collection::btree_set("[a-e]", 0..5),
            steps in prop::collection::vec("[a-e]", 0..20),
        ) {
            let mut one_by_one: Vec<String> = start.into_iter().collect();
            let mut merged_names = one_by_one.clone();
            let mut merged = Change::none();
            for name in steps {
                let listed = one_by_one.contains(&name);
                let step = if listed { Change::removed(&name) } else { Change::added(&name) };
                apply(&mut one_by_one, &step);
                merged.merge(&step);
            }
            apply(&mut merged_names, &merged);
            prop_assert_eq!(one_by_one, merged_names);
        }
    }
}
