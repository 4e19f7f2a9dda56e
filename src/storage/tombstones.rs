//! Deleted subtrees whose rows may still be there: which rows are dead.
//!
//! The *floor* of a path is the highest number of a deletion of it or of anything above it; a row with a lower number is
//! dead. A deletion counts from the moment its write set is queued, and not any more if that write set fails.
//!
//! # Why
//! Deleting a subtree is one small row however large the subtree is, and readers need no lock against the reaping: they
//! take the floor *before* they read. A tombstone leaves this table only after the rows below it are gone, so whoever
//! finds it gone reads a database without those rows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use parking_lot::RwLock;

use crate::path::ObjectPath;

#[derive(Debug, Default)]
pub(super) struct Tombstones(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<ObjectPath, Entry>,
    /// Queued deletions that are not decided yet, in the order of their numbers.
    pending: VecDeque<(u64, ObjectPath)>,
}

/// Deletions of one prefix.
#[derive(Debug, Default)]
struct Entry {
    /// The last durable one, or 0.
    durable: u64,
    /// Those not decided yet, ascending.
    pending: VecDeque<u64>,
}

impl Entry {
    fn floor(&self) -> u64 {
        self.pending.back().copied().unwrap_or(self.durable)
    }
}

impl Tombstones {
    /// Replaces what is durable by what the database says; queued deletions stay.
    pub(super) fn restore(&self, stored: Vec<(ObjectPath, u64)>) {
        let mut state = self.0.write();
        for entry in state.entries.values_mut() {
            entry.durable = 0;
        }
        for (prefix, seq) in stored {
            state.entries.entry(prefix).or_default().durable = seq;
        }
        state.entries.retain(|_, entry| entry.floor() > 0);
    }

    /// A write set that deletes these prefixes has been queued.
    pub(super) fn publish(&self, seq: u64, prefixes: &[ObjectPath]) {
        if prefixes.is_empty() {
            return;
        }
        let mut state = self.0.write();
        for prefix in prefixes {
            state.entries.entry(prefix.clone()).or_default().pending.push_back(seq);
            state.pending.push_back((seq, prefix.clone()));
        }
    }

    /// Every queued deletion up to this number is durable.
    pub(super) fn settle(&self, seq: u64) {
        let mut state = self.0.write();
        while let Some((number, prefix)) = state.pending.pop_front_if(|(number, _)| *number <= seq) {
            if let Some(entry) = state.entries.get_mut(&prefix) {
                entry.pending.pop_front();
                entry.durable = number;
            }
        }
    }

    /// Every deletion that is not durable has failed: what it hid is there again.
    pub(super) fn withdraw(&self) {
        let mut state = self.0.write();
        for (_, prefix) in std::mem::take(&mut state.pending) {
            let Some(entry) = state.entries.get_mut(&prefix) else {
                continue;
            };
            entry.pending.clear();
            if entry.durable == 0 {
                state.entries.remove(&prefix);
            }
        }
    }

    /// The rows that a durable deletion killed are gone.
    pub(super) fn reaped(&self, prefix: &ObjectPath, seq: u64) {
        let mut state = self.0.write();
        let Some(entry) = state.entries.get_mut(prefix) else {
            return;
        };
        if entry.durable == seq {
            entry.durable = 0;
            if entry.pending.is_empty() {
                state.entries.remove(prefix);
            }
        }
    }

    /// How many prefixes there are.
    pub(super) fn len(&self) -> usize {
        self.0.read().entries.len()
    }

    /// The next durable deletion in the order of paths, round and round.
    pub(super) fn next_durable(&self, after: Option<&ObjectPath>) -> Option<(ObjectPath, u64)> {
        let state = self.0.read();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = state.entries.range::<ObjectPath, _>((start, Bound::Unbounded));
        later
            .chain(&state.entries)
            .find(|(_, entry)| entry.durable > 0)
            .map(|(prefix, entry)| (prefix.clone(), entry.durable))
    }

    /// Rows of this path with a lower number are dead.
    pub(super) fn floor(&self, path: &ObjectPath) -> u64 {
        let state = self.0.read();
        state.highest(path, Entry::floor)
    }

    /// The same, for what is durable only: what the writer goes by.
    pub(super) fn durable_floor(&self, path: &ObjectPath) -> u64 {
        let state = self.0.read();
        state.highest(path, |entry| entry.durable)
    }

    /// The floors of a whole subtree, as they are now.
    pub(super) fn floors(&self, prefix: &ObjectPath) -> Floors {
        let state = self.0.read();
        let base = state.highest(prefix, Entry::floor);
        let start = Bound::Excluded(prefix.clone());
        let below = state.entries.range::<ObjectPath, _>((start, Bound::Unbounded));
        Floors {
            base,
            below: below
                .take_while(|(path, _)| prefix.contains(path))
                .map(|(path, entry)| (path.clone(), entry.floor()))
                .filter(|(_, floor)| *floor > base)
                .collect(),
        }
    }
}

impl State {
    fn highest(&self, path: &ObjectPath, number: impl Fn(&Entry) -> u64) -> u64 {
        if self.entries.is_empty() {
            return 0;
        }
        let entries = path.lineage().filter_map(|key| self.entries.get(key));
        entries.map(number).max().unwrap_or(0)
    }
}

/// The floors of a subtree at one moment.
#[derive(Debug)]
pub(super) struct Floors {
    /// The floor of its topmost path, and the least of every other.
    pub(super) base: u64,
    below: BTreeMap<ObjectPath, u64>,
}

impl Floors {
    /// Whether a row of this path with this number is not dead.
    pub(super) fn alive(&self, path: &ObjectPath, seq: u64) -> bool {
        let killed = |key| self.below.get(key).is_some_and(|floor| seq < *floor);
        seq >= self.base && (self.below.is_empty() || !path.lineage().any(killed))
    }
}
