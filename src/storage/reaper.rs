//! Removing the rows of deleted subtrees, a bounded chunk at a time.
//!
//! A tombstone is worked off table by table; when all are done, the tombstone goes too. Where the work stands is only
//! in memory: after a restart it begins again, and what is gone is not found again.
//!
//! # Why
//! No row older than a durable tombstone can still arrive, since write sets are committed in the order of their numbers.
//! A chunk is bounded by the rows it *visits*, so that a subtree that was filled again costs no long commit either.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::sql;
use super::tombstones::Tombstones;
use crate::limits::{REAP_BYTES, REAP_ROWS};
use crate::path::ObjectPath;

#[derive(Debug, Default)]
pub(super) struct Reaper {
    job: Option<Job>,
    /// The last tombstone begun: the next one comes after it, so that none waits for ever.
    last: Option<ObjectPath>,
}

/// What a chunk did, to be told to the others once it is durable.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// Rows removed from `objects`.
    pub(super) objects: u64,
    /// Tombstones that are gone, with their numbers.
    pub(super) finished: Vec<(ObjectPath, u64)>,
}

#[derive(Debug)]
struct Job {
    prefix: ObjectPath,
    seq: u64,
    end: String,
    stage: Stage,
}

/// The table being worked on, and the first key not visited yet.
#[derive(Debug)]
enum Stage {
    Table(usize, Vec<Value>),
    Tombstones(String),
}

/// A table, or an index of one, in the order of a key that begins with a path.
struct Table {
    chunk: &'static str,
    reap: &'static str,
    /// The least that can follow the path in a key.
    rest: &'static [Value],
}

const LEAST: Value = Value::Integer(i64::MIN);
const EMPTY: Value = Value::Text(String::new());

/// In this order. The rows removed from the first are counted.
static TABLES: [Table; 6] = [
    Table { chunk: sql::OBJECT_CHUNK, reap: sql::OBJECT_REAP, rest: &[] },
    Table { chunk: sql::AGENT_CHUNK, reap: sql::AGENT_REAP, rest: &[LEAST] },
    Table { chunk: sql::ROW_CHUNK, reap: sql::ROW_REAP, rest: &[EMPTY] },
    Table { chunk: sql::WAKE_CHUNK, reap: sql::WAKE_REAP, rest: &[] },
    Table { chunk: sql::INBOX_CHUNK, reap: sql::INBOX_REAP, rest: &[LEAST, LEAST] },
    Table { chunk: sql::OUTBOX_CHUNK, reap: sql::OUTBOX_REAP, rest: &[LEAST, EMPTY, LEAST] },
];

impl Table {
    /// The least key of a path.
    fn first(&self, path: &str) -> Vec<Value> {
        let rest = self.rest.iter().cloned();
        std::iter::once(Value::Text(path.to_owned())).chain(rest).collect()
    }
}

impl Reaper {
    /// Whether there is anything to do.
    pub(super) fn has_work(&self, tombstones: &Tombstones) -> bool {
        self.job.is_some() || tombstones.next_durable(None).is_some()
    }

    /// Forgets where the work stands: the transaction was rolled back.
    pub(super) fn reset(&mut self) {
        self.job = None;
    }

    /// One chunk, within the open transaction.
    pub(super) fn step(&mut self, connection: &Connection, tombstones: &Tombstones) -> rusqlite::Result<Reaped> {
        let mut reaped = Reaped::default();
        let mut budget = REAP_ROWS;
        let mut begin = tombstones.len();
        while budget > 0 {
            if self.job.is_none() {
                let next = tombstones.next_durable(self.last.as_ref());
                let Some((prefix, seq)) = next.filter(|_| begin > 0) else {
                    break;
                };
                begin -= 1;
                budget -= 1;
                self.last = Some(prefix.clone());
                self.job = Some(Job::new(prefix, seq));
            }
            let Some(job) = &mut self.job else { break };
            let visited = job.step(connection, budget, &mut reaped)?;
            budget = budget.saturating_sub(visited.max(1));
            if reaped.finished.last().is_some_and(|(prefix, seq)| *prefix == job.prefix && *seq == job.seq) {
                self.job = None;
            }
        }
        Ok(reaped)
    }
}

impl Job {
    fn new(prefix: ObjectPath, seq: u64) -> Self {
        let stage = Stage::Table(0, TABLES[0].first(prefix.key()));
        Self { end: prefix.range_end(), stage, prefix, seq }
    }

    /// Works on one table; answers how many rows were visited.
    fn step(&mut self, connection: &Connection, budget: usize, reaped: &mut Reaped) -> rusqlite::Result<usize> {
        let (visited, stage) = match &self.stage {
            Stage::Table(index, from) => self.reap_table(connection, *index, from, budget, reaped)?,
            Stage::Tombstones(from) => self.reap_tombstones(connection, from, budget, reaped)?,
        };
        self.stage = stage;
        Ok(visited)
    }

    fn reap_table(
        &self,
        connection: &Connection,
        index: usize,
        from: &[Value],
        budget: usize,
        reaped: &mut Reaped,
    ) -> rusqlite::Result<(usize, Stage)> {
        let table = &TABLES[index];
        let bounds = [Value::Text(self.end.clone()), Value::Integer(limit(budget) + 1)];
        let mut statement = connection.prepare_cached(table.chunk)?;
        let mut rows = statement.query(params_from_iter(from.iter().chain(&bounds)))?;
        let (mut visited, mut bytes, mut next) = (0, 0, None);
        while let Some(row) = rows.next()? {
            if visited == budget || bytes >= REAP_BYTES {
                next = Some(key(row, from.len())?);
                break;
            }
            visited += 1;
            bytes += row.get::<_, i64>(from.len())?.cast_unsigned();
        }
        drop(rows);
        let end = next.clone().unwrap_or_else(|| table.first(&self.end));
        let seq = [Value::Integer(self.seq.cast_signed())];
        let mut reap = connection.prepare_cached(table.reap)?;
        let removed = reap.execute(params_from_iter(from.iter().chain(&end).chain(&seq)))?;
        if index == 0 {
            reaped.objects += removed as u64;
        }
        let first = self.prefix.key();
        let stage = match (next, TABLES.get(index + 1)) {
            (Some(next), _) => Stage::Table(index, next),
            (None, Some(table)) => Stage::Table(index + 1, table.first(first)),
            (None, None) => Stage::Tombstones(first.to_owned()),
        };
        Ok((visited, stage))
    }

    /// Older tombstones below this one have nothing left to hide; in the end it goes itself.
    fn reap_tombstones(
        &self,
        connection: &Connection,
        from: &str,
        budget: usize,
        reaped: &mut Reaped,
    ) -> rusqlite::Result<(usize, Stage)> {
        let mut statement = connection.prepare_cached(sql::TOMBSTONE_CHUNK)?;
        let rows = statement.query_map(params![from, self.end, limit(budget) + 1], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
        let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let next = if rows.len() > budget { rows.pop() } else { None };
        let mut delete = connection.prepare_cached(sql::TOMBSTONE_DELETE)?;
        for (prefix, seq) in &rows {
            if prefix != self.prefix.key() && seq.cast_unsigned() < self.seq {
                delete.execute(params![prefix, seq])?;
                reaped.finished.push((ObjectPath::from_key(prefix), seq.cast_unsigned()));
            }
        }
        if next.is_none() {
            delete.execute(params![self.prefix.key(), self.seq.cast_signed()])?;
            reaped.finished.push((self.prefix.clone(), self.seq));
        }
        let from = next.map_or_else(String::new, |(prefix, _)| prefix);
        Ok((rows.len(), Stage::Tombstones(from)))
    }
}

/// The first columns of a row.
fn key(row: &Row<'_>, columns: usize) -> rusqlite::Result<Vec<Value>> {
    (0..columns).map(|column| row.get(column)).collect()
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
