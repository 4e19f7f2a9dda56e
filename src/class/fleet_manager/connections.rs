//! Which workers are connected, what they handle, and who of them has room.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

type Name = Box<str>;

/// What is stored of a connected worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Worker {
    pub(super) connected: bool,
    pub(super) capacity: u64,
    /// The types that it handles; `None` is any.
    pub(super) types: Option<BTreeSet<Box<str>>>,
    pub(super) sessions: u64,
    /// When it was last ready, and last gone.
    pub(super) ready_at: u64,
    pub(super) gone_at: Option<u64>,
    /// JSON of its last heartbeat that had some.
    pub(super) metrics: Option<Box<str>>,
    pub(super) metrics_at: Option<u64>,
}

/// The connected workers of a manager, as they are in memory.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_name: BTreeMap<Name, Connection>,
    /// Those with room, the least loaded first.
    free: BTreeSet<(usize, Name)>,
    /// When each must have been heard of.
    leases: BTreeSet<(u64, Name)>,
    /// How many handle a type by name, and how many any.
    handlers: BTreeMap<Box<str>, usize>,
    universal: usize,
}

#[derive(Debug)]
struct Connection {
    capacity: u64,
    types: Option<BTreeSet<Box<str>>>,
    tokens: BTreeSet<Box<str>>,
    lease: u64,
    /// Whether it gets nothing until it is heard of again: it did not take what it was given.
    paused: bool,
}

impl Connection {
    fn handles(&self, kind: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(kind))
    }

    fn has_room(&self) -> bool {
        !self.paused && (self.tokens.len() as u64) < self.capacity
    }
}

impl Connections {
    /// A worker is ready; what it has been given before stays with it.
    pub(super) fn ready(&mut self, name: &str, capacity: u64, types: Option<BTreeSet<Box<str>>>, lease: u64) {
        let tokens = self.remove(name);
        match &types {
            Some(types) => types.iter().for_each(|kind| *self.handlers.entry(kind.clone()).or_default() += 1),
            None => self.universal += 1,
        }
        self.leases.insert((lease, name.into()));
        self.by_name.insert(name.into(), Connection { capacity, types, tokens, lease, paused: false });
        self.place(name);
    }

    /// A worker is gone; answers what it had.
    pub(super) fn remove(&mut self, name: &str) -> BTreeSet<Box<str>> {
        self.displace(name);
        let Some(connection) = self.by_name.remove(name) else { return BTreeSet::new() };
        self.leases.remove(&(connection.lease, name.into()));
        match &connection.types {
            Some(types) => types.iter().for_each(|kind| self.forget_handler(kind)),
            None => self.universal -= 1,
        }
        connection.tokens
    }

    fn forget_handler(&mut self, kind: &str) {
        if let Some(count) = self.handlers.get_mut(kind) {
            *count -= 1;
            if *count == 0 {
                self.handlers.remove(kind);
            }
        }
    }

    /// It was heard of; answers whether it is known.
    pub(super) fn renew(&mut self, name: &str, lease: u64) -> bool {
        self.displace(name);
        let Some(connection) = self.by_name.get_mut(name) else { return false };
        self.leases.remove(&(connection.lease, name.into()));
        (connection.lease, connection.paused) = (lease, false);
        self.leases.insert((lease, name.into()));
        self.place(name);
        true
    }

    /// It did not take what it was given.
    pub(super) fn pause(&mut self, name: &str) {
        self.displace(name);
        if let Some(connection) = self.by_name.get_mut(name) {
            connection.paused = true;
        }
    }

    /// It is given an attempt.
    pub(super) fn give(&mut self, name: &str, token: &str) {
        self.displace(name);
        if let Some(connection) = self.by_name.get_mut(name) {
            connection.tokens.insert(token.into());
        }
        self.place(name);
    }

    /// An attempt of it is over.
    pub(super) fn take(&mut self, name: &str, token: &str) {
        self.displace(name);
        if let Some(connection) = self.by_name.get_mut(name) {
            connection.tokens.remove(token);
        }
        self.place(name);
    }

    /// The least loaded one with room that handles a type.
    pub(super) fn pick(&self, kind: &str) -> Option<&str> {
        if !self.handles(kind) {
            return None;
        }
        let able = |name: &&Name| self.by_name.get(&**name).is_some_and(|connection| connection.handles(kind));
        self.free.iter().map(|(_, name)| name).find(able).map(|name| &**name)
    }

    /// Whether any of them handles a type, with or without room.
    pub(super) fn handles(&self, kind: &str) -> bool {
        self.universal > 0 || self.handlers.contains_key(kind)
    }

    pub(super) fn next_lease(&self) -> Option<u64> {
        self.leases.first().map(|(lease, _)| *lease)
    }

    /// One that was not heard of in time.
    pub(super) fn expired(&self, now: u64) -> Option<Name> {
        self.leases.first().filter(|(lease, _)| *lease <= now).map(|(_, name)| name.clone())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// What one of them has been given.
    pub(super) fn tokens(&self, name: &str) -> impl Iterator<Item = &Box<str>> {
        self.by_name.get(name).into_iter().flat_map(|connection| &connection.tokens)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_name.iter().map(|(name, connection)| (&**name, connection.capacity))
    }

    /// Takes it from the order of those with room, before a change.
    fn displace(&mut self, name: &str) {
        if let Some(connection) = self.by_name.get(name) {
            self.free.remove(&(connection.tokens.len(), name.into()));
        }
    }

    /// Puts it back, if it has room.
    fn place(&mut self, name: &str) {
        if let Some(connection) = self.by_name.get(name).filter(|connection| connection.has_room()) {
            self.free.insert((connection.tokens.len(), name.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn types(of: u8) -> Option<BTreeSet<Box<str>>> {
        match of {
            0 => None,
            1 => Some(["x".into()].into()),
            _ => Some(["x".into(), "y".into()].into()),
        }
    }

    proptest! {
        #[test]
        fn wc5_a_worker_gets_no_more_than_its_capacity(
            steps in prop::collection::vec((0..7_u8, 0..3_usize, 0..3_u8, 1..4_u64), 0..80),
        ) {
            let mut connections = Connections::default();
            let mut given: BTreeMap<String, String> = BTreeMap::new();
            for (index, (step, name, of, capacity)) in steps.into_iter().enumerate() {
                let name = NAMES[name];
                match step {
                    0 => connections.ready(name, capacity, types(of), index as u64),
                    1 => {
                        let had = connections.remove(name);
                        let count = given.values().filter(|worker| *worker == name).count();
                        prop_assert_eq!(had.len(), count);
                        given.retain(|_, worker| worker != name);
                    }
                    2 => drop(connections.renew(name, index as u64)),
                    3 => connections.pause(name),
                    4 => {
                        if let Some(token) = given.iter().find(|(_, worker)| *worker == name).map(|(token, _)| token.clone()) {
                            connections.take(name, &token);
                            given.remove(&token);
                        }
                    }
                    _ => {
                        let kind = ["x", "y"][usize::from(of % 2)];
                        if let Some(name) = connections.pick(kind).map(str::to_owned) {
                            let connection = &connections.by_name[&*name];
                            prop_assert!(connection.has_room() && connection.handles(kind));
                            let others = connections.by_name.values().filter(|other| other.has_room() && other.handles(kind));
                            prop_assert!(others.map(|other| other.tokens.len()).min() >= Some(connection.tokens.len()));
                            connections.give(&name, &index.to_string());
                            given.insert(index.to_string(), name);
                        }
                    }
                }
                let free: usize = connections.by_name.values().filter(|connection| connection.has_room()).count();
                prop_assert_eq!(connections.free.len(), free);
                prop_assert_eq!(connections.leases.len(), connections.by_name.len());
                let any_y = connections.by_name.values().any(|connection| connection.handles("y"));
                prop_assert_eq!(connections.handles("y"), any_y);
            }
        }
    }
}
