//! Ranges of keys of which it is known that storage has nothing between them.
//!
//! # Why
//! Whoever adds a row must know whether there was one, and keys that grow are common: one question about what lies behind
//! a new key saves one about each that follows it, also where they do not lie behind all others.

use crate::limits::KEY_GAPS;

/// Between these keys, without themselves, no row is stored; `None` is the end of all keys.
#[derive(Debug)]
struct Gap {
    after: Box<str>,
    before: Option<Box<str>>,
}

/// Those found lately, the last used one last.
#[derive(Debug, Default)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Whether a key lies in one of them.
    pub(super) fn holds(&mut self, key: &str) -> bool {
        let Some(found) = self.0.iter().rposition(|gap| gap.holds(key)) else { return false };
        self.0[found..].rotate_left(1);
        true
    }

    /// Nothing is stored between these keys.
    pub(super) fn add(&mut self, after: &str, before: Option<Box<str>>) {
        // What ends at the same place was found earlier, and has become smaller since.
        self.0.retain(|gap| gap.before != before);
        if self.0.len() == KEY_GAPS {
            self.0.remove(0);
        }
        self.0.push(Gap { after: after.into(), before });
    }

    /// A row will be stored under this key: what was a gap is one from there on.
    pub(super) fn fill(&mut self, key: &str) {
        for gap in self.0.iter_mut().filter(|gap| gap.holds(key)) {
            gap.after = key.into();
        }
    }
}

impl Gap {
    fn holds(&self, key: &str) -> bool {
        *self.after < *key && self.before.as_deref().is_none_or(|before| key < before)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn st2_what_lies_in_a_gap_is_never_stored(steps in prop::collection::vec((any::<bool>(), 0..60_u8), 1..200)) {
            let mut stored: BTreeSet<String> = BTreeSet::new();
            let mut gaps = Gaps::default();
            for (write, key) in steps {
                let key = format!("{key:02}");
                if gaps.holds(&key) {
                    prop_assert!(!stored.contains(&key), "{key} is stored");
                } else if !stored.contains(&key) {
                    let before = stored.range(key.clone()..).next().map(|key| key.as_str().into());
                    gaps.add(&key, before);
                }
                prop_assert!(gaps.0.len() <= KEY_GAPS);
                if write {
                    gaps.fill(&key);
                    stored.insert(key);
                }
            }
        }
    }

    #[test]
    fn st2_growing_keys_are_looked_for_once() {
        let mut gaps = Gaps::default();
        gaps.add("b", Some("c".into()));
        for n in 0..10_000 {
            gaps.add("x", Some(format!("x{n}").into()));
            let key = format!("b{n:06}");
            assert!(gaps.holds(&key), "{key}");
            gaps.fill(&key);
            assert!(!gaps.holds(&key), "it is stored now");
        }
    }
}
