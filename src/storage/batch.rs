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
use super::{Child, Position, Record, Send, Seq, Space, Value, WriteSet, wakes};
use crate::path::ObjectPath;

/// What happens to a row of `objects`.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    /// It becomes this.
    Record {
        record: Record,
        /// Whether it is certain that there is no such row.
        new: bool,
    },
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
    /// By [`Space::place`] and key.
    rows: BTreeMap<(ObjectPath, Box<str>), (u64, Option<Value>)>,
    wakes: BTreeMap<ObjectPath, (u64, Option<u64>)>,
    /// With position and sender; in the order of targets once all are there.
    sends: Vec<(Position, ObjectPath, Send)>,
    handled: Vec<(ObjectPath, Position)>,
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
            batch.add(numbered.seq, numbered.set, numbered.new);
        }
        batch.sort_messages();
        batch
    }

    fn add(&mut self, seq: u64, set: WriteSet, new: bool) {
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
            self.objects.insert(set.path.clone(), (seq, Put::Record { record, new }));
        }
        if set.clear {
            self.delete(seq, Space::User.place(&set.path));
        }
        // Rows of the class and of the runtime lie at two places, each made once: what is the same text is told apart faster.
        let mut place: Option<(Space, ObjectPath)> = None;
        for ((space, key), value) in set.rows {
            let (_, place) = match place.take().filter(|(of, _)| *of == space) {
                Some(same) => place.insert(same),
                None => place.insert((space, space.place(&set.path))),
            };
            self.rows.insert((place.clone(), key), (seq, value));
        }
        if let Some(wake) = set.wake {
            self.wakes.insert(set.path.clone(), (seq, wake));
        }
        for (number, send) in (0..).zip(set.sends) {
            self.sends.push((Position { seq: Seq(seq), number }, set.path.clone(), send));
        }
        self.handled.extend(set.handled.into_iter().map(|position| (set.path.clone(), position)));
    }

    /// What earlier write sets of this batch did below the prefix need not be written at all.
    fn delete(&mut self, seq: u64, prefix: ObjectPath) {
        forget(&mut self.objects, &prefix, prefix.clone(), |path| path);
        forget(&mut self.agents, &prefix, (prefix.clone(), 0), |(parent, _)| parent);
        forget(&mut self.rows, &prefix, (prefix.clone(), "".into()), |(place, _)| place);
        forget(&mut self.wakes, &prefix, prefix.clone(), |path| path);
        forget(&mut self.tombstones, &prefix, prefix.clone(), |path| path);
        self.tombstones.insert(prefix, seq);
    }

    fn sort_messages(&mut self) {
        if !self.tombstones.is_empty() {
            let mut sends = std::mem::take(&mut self.sends);
            sends.retain(|(Position { seq, .. }, sender, send)| {
                seq.0 >= self.floor(sender) && seq.0 >= self.floor(&send.target)
            });
            self.sends = sends;
        }
        // Those to one target stay in the order of their positions.
        self.sends.sort_by(|(.., one), (.., other)| one.target.cmp(&other.target));
        self.handled.sort();
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
        self.apply_rows(connection)?;
        self.apply_wakes(connection)?;
        self.apply_messages(connection)?;
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

    fn apply_rows(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut put = connection.prepare_cached(sql::ROW_PUT)?;
        let mut delete = connection.prepare_cached(sql::ROW_DELETE)?;
        for ((place, key), (seq, value)) in &self.rows {
            match value {
                Some(value) => put.execute(params![place.key(), key, &**value, seq.cast_signed()])?,
                None => delete.execute(params![place.key(), key])?,
            };
        }
        Ok(())
    }

    fn apply_wakes(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.wakes.is_empty() {
            return Ok(());
        }
        let mut put = connection.prepare_cached(sql::WAKE_PUT)?;
        let mut delete = connection.prepare_cached(sql::WAKE_DELETE)?;
        for (path, (seq, at)) in &self.wakes {
            match at {
                Some(at) => put.execute(params![path.key(), wakes::stored(*at), seq.cast_signed()])?,
                None => delete.execute(params![path.key()])?,
            };
        }
        Ok(())
    }

    fn apply_messages(&self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.handled.is_empty() {
            let mut delete = connection.prepare_cached(sql::SEND_DELETE)?;
            // What was sent together is handled together, mostly: it goes with one statement.
            for run in self.handled.chunk_by(|(target, one), (other, next)| target == other && one.is_before(*next)) {
                let [(target, first), ..] = run else { continue };
                let last = first.number + (run.len() as u64 - 1);
                let (seq, number) = (first.seq.0.cast_signed(), first.number.cast_signed());
                delete.execute(params![target.key(), seq, number, last.cast_signed()])?;
            }
        }
        if !self.sends.is_empty() {
            let mut put = connection.prepare_cached(sql::SEND_PUT)?;
            for (Position { seq, number }, sender, Send { target, message }) in &self.sends {
                let (seq, number) = (seq.0.cast_signed(), number.cast_signed());
                put.execute(params![target.key(), seq, number, sender.key(), &**message])?;
            }
        }
        Ok(())
    }

    fn apply_objects(&self, connection: &Connection, tombstones: &Tombstones) -> rusqlite::Result<u64> {
        if self.objects.is_empty() {
            return Ok(0);
        }
        let mut update = connection.prepare_cached(sql::OBJECT_UPDATE)?;
        let mut insert = connection.prepare_cached(sql::OBJECT_INSERT)?;
        let mut gained = 0;
        for (path, (seq, put)) in &self.objects {
            gained += match put {
                // Which of the two comes first is only a matter of time.
                Put::Record { record, new: true } => match execute(&mut insert, path, record, *seq)? {
                    0 => execute(&mut update, path, record, *seq).map(|_| 0)?,
                    inserted => inserted,
                },
                Put::Record { record, new: false } => match execute(&mut update, path, record, *seq)? {
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

/// Takes out of a map what lies at or below a prefix; `first` is the lowest key that does.
fn forget<K: Ord + Clone, V>(
    map: &mut BTreeMap<K, V>,
    prefix: &ObjectPath,
    first: K,
    path: impl Fn(&K) -> &ObjectPath,
) {
    let below = map.range(first..).map(|(key, _)| key);
    let dead: Vec<_> = below.take_while(|key| prefix.contains(path(key))).cloned().collect();
    for key in dead {
        map.remove(&key);
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
        record.rows.cast_signed(),
        seq.cast_signed(),
    ])
}

/// Makes a dead row that was not reaped yet a fresh one; `false` if there is none.
fn revive(connection: &Connection, path: &ObjectPath, class: &str, seq: u64, floor: u64) -> rusqlite::Result<bool> {
    let mut revive = connection.prepare_cached(sql::OBJECT_REVIVE)?;
    let changed = revive.execute(params![path.key(), class, seq.cast_signed(), floor.cast_signed()])?;
    Ok(changed > 0)
}
