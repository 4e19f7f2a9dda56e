//! Many write sets as one: the final value of every row they touch, in the order of keys.
//!
//! # Why
//! A batch holds every turn that ended during the last fsync, and those are mostly turns of few objects: a thousand
//! increments of one counter are one row. Rows in the order of keys touch each page of the database once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params};

use super::queue::Numbered;
use super::sql;
use super::tombstones::Tombstones;
use super::{Child, Record, WriteSet};
use crate::path::ObjectPath;

/// What happens to a row of `objects`.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    /// It becomes this.
    Record(Record),
    /// It is created with this class if nothing lives there.
    Ensure(Arc<str>),
}

/// Coalesced write sets; each row with the number of the write set that it is from.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many write sets went in.
    pub(super) sets: usize,
    objects: BTreeMap<ObjectPath, (u64, Put)>,
    agents: BTreeMap<(ObjectPath, u64), (u64, Option<Child>)>,
    tombstones: BTreeMap<ObjectPath, u64>,
}

impl Batch {
    /// Coalesces write sets in the order of their numbers.
    pub(super) fn coalesce(sets: VecDeque<Numbered>) -> Self {
        let mut batch = Self {
            first: sets.front().map_or(0, |set| set.seq),
            last: sets.back().map_or(0, |set| set.seq),
            sets: sets.len(),
            ..Self::default()
        };
        for numbered in sets {
            batch.add(numbered.seq, numbered.set);
        }
        batch
    }

    fn add(&mut self, seq: u64, set: WriteSet) {
        for prefix in set.deleted {
            self.delete(seq, prefix);
        }
        for (ordinal, child) in set.children {
            if let Some(child) = &child {
                let ensure = || (seq, Put::Ensure(child.class.clone()));
                // What an earlier write set of this batch put there lives, or it would be gone from the map.
                self.objects.entry(set.path.child(&child.name)).or_insert_with(ensure);
            }
            self.agents.insert((set.path.clone(), ordinal), (seq, child));
        }
        if let Some(record) = set.record {
            self.objects.insert(set.path, (seq, Put::Record(record)));
        }
    }

    /// What earlier write sets of this batch did below the prefix need not be written at all.
    fn delete(&mut self, seq: u64, prefix: ObjectPath) {
        let below = self.objects.range(prefix.clone()..).map(|(path, _)| path);
        let dead: Vec<_> = below.take_while(|path| prefix.contains(path)).cloned().collect();
        for path in dead {
            self.objects.remove(&path);
        }
        let below = self.agents.range((prefix.clone(), 0)..).map(|(key, _)| key);
        let dead: Vec<_> = below.take_while(|key| prefix.contains(&key.0)).cloned().collect();
        for key in dead {
            self.agents.remove(&key);
        }
        let below = self.tombstones.range(prefix.clone()..).map(|(path, _)| path);
        let covered: Vec<_> = below.take_while(|path| prefix.contains(path)).cloned().collect();
        for path in covered {
            self.tombstones.remove(&path);
        }
        self.tombstones.insert(prefix, seq);
    }

    /// Writes every row within the open transaction; answers how many rows `objects` has gained.
    pub(super) fn apply(&self, connection: &Connection, tombstones: &Tombstones) -> rusqlite::Result<u64> {
        if !self.tombstones.is_empty() {
            let mut put = connection.prepare_cached(sql::TOMBSTONE_PUT)?;
            for (prefix, seq) in &self.tombstones {
                put.execute(params![prefix.key(), seq.cast_signed()])?;
            }
        }
        self.apply_agents(connection)?;
        self.apply_objects(connection, tombstones)
    }

    fn apply_agents(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.agents.is_empty() {
            return Ok(());
        }
        let mut put = connection.prepare_cached(sql::AGENT_PUT)?;
        let mut delete = connection.prepare_cached(sql::AGENT_DELETE)?;
        for ((parent, ordinal), (seq, child)) in &self.agents {
            let ordinal = ordinal.cast_signed();
            match child {
                Some(Child { name, class }) => {
                    put.execute(params![parent.key(), ordinal, name.as_str(), &**class, seq.cast_signed()])?
                }
                None => delete.execute(params![parent.key(), ordinal])?,
            };
        }
        Ok(())
    }

    fn apply_objects(&self, connection: &Connection, tombstones: &Tombstones) -> rusqlite::Result<u64> {
        let mut update = connection.prepare_cached(sql::OBJECT_UPDATE)?;
        let mut insert = connection.prepare_cached(sql::OBJECT_INSERT)?;
        let mut gained = 0;
        for (path, (seq, put)) in &self.objects {
            gained += match put {
                Put::Record(record) => match execute(&mut update, path, record, *seq)? {
                    0 => execute(&mut insert, path, record, *seq)?,
                    _ => 0,
                },
                Put::Ensure(class) => {
                    let floor = self.floor(path).max(tombstones.durable_floor(path));
                    if floor > 0 && revive(connection, path, class, *seq, floor)? {
                        continue;
                    }
                    execute(&mut insert, path, &Record::new(class.clone()), *seq)?
                }
            };
        }
        Ok(gained as u64)
    }

    /// The floor that this batch itself sets.
    fn floor(&self, path: &ObjectPath) -> u64 {
        if self.tombstones.is_empty() {
            return 0;
        }
        let numbers = path.lineage().filter_map(|key| self.tombstones.get(key));
        numbers.copied().max().unwrap_or(0)
    }
}

fn execute(
    statement: &mut CachedStatement<'_>,
    path: &ObjectPath,
    record: &Record,
    seq: u64,
) -> rusqlite::Result<usize> {
    statement.execute(params![
        path.key(),
        &*record.class,
        record.state.as_deref(),
        record.children.cast_signed(),
        record.next_ordinal.cast_signed(),
        record.bytes.cast_signed(),
        seq.cast_signed(),
    ])
}

/// Makes a dead row that was not reaped yet a fresh one; `false` if there is none.
fn revive(connection: &Connection, path: &ObjectPath, class: &str, seq: u64, floor: u64) -> rusqlite::Result<bool> {
    let mut revive = connection.prepare_cached(sql::OBJECT_REVIVE)?;
    let changed = revive.execute(params![path.key(), class, seq.cast_signed(), floor.cast_signed()])?;
    Ok(changed > 0)
}
