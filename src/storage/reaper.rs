//! Removing the rows of deleted subtrees, a bounded chunk at a time.
//!
//! A tombstone is worked off table by table; when all are done, the tombstone goes too. Where the work stands is only
//! in memory: after a restart it begins again, and what is gone is not found again.
//!
//! # Why
//! No row older than a durable tombstone can still arrive, since write sets are committed in the order of their numbers.
//! A chunk is bounded by the rows it *visits*, so that a subtree that was filled again costs no long commit either.

use rusqlite::{Connection, OptionalExtension, params};

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
    Objects(String),
    Agents(String, i64),
    Tombstones(String),
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
        Self { end: prefix.range_end(), stage: Stage::Objects(prefix.key().to_owned()), prefix, seq }
    }

    /// Works on one table; answers how many rows were visited.
    fn step(&mut self, connection: &Connection, budget: usize, reaped: &mut Reaped) -> rusqlite::Result<usize> {
        let (visited, stage) = match &self.stage {
            Stage::Objects(from) => self.reap_objects(connection, from, budget, reaped)?,
            Stage::Agents(from, ordinal) => self.reap_agents(connection, (from, *ordinal), budget)?,
            Stage::Tombstones(from) => self.reap_tombstones(connection, from, budget, reaped)?,
        };
        self.stage = stage;
        Ok(visited)
    }

    fn reap_objects(
        &self,
        connection: &Connection,
        from: &str,
        budget: usize,
        reaped: &mut Reaped,
    ) -> rusqlite::Result<(usize, Stage)> {
        let mut statement = connection.prepare_cached(sql::OBJECT_CHUNK)?;
        let mut rows = statement.query(params![from, self.end, limit(budget) + 1])?;
        let (mut visited, mut bytes, mut next) = (0, 0, None);
        while let Some(row) = rows.next()? {
            if visited == budget || bytes >= REAP_BYTES {
                next = Some(row.get(0)?);
                break;
            }
            visited += 1;
            bytes += row.get::<_, i64>(1)?.cast_unsigned();
        }
        drop(rows);
        let end = next.as_ref().unwrap_or(&self.end);
        let mut reap = connection.prepare_cached(sql::OBJECT_REAP)?;
        reaped.objects += reap.execute(params![from, end, self.seq.cast_signed()])? as u64;
        let first = self.prefix.key().to_owned();
        Ok((visited, next.map_or(Stage::Agents(first, i64::MIN), Stage::Objects)))
    }

    fn reap_agents(
        &self,
        connection: &Connection,
        from: (&str, i64),
        budget: usize,
    ) -> rusqlite::Result<(usize, Stage)> {
        let mut statement = connection.prepare_cached(sql::AGENT_CHUNK)?;
        let next: Option<(String, i64)> = statement
            .query_row(params![from.0, from.1, self.end, limit(budget)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let end = next.as_ref().map_or((&self.end, i64::MIN), |next| (&next.0, next.1));
        let mut reap = connection.prepare_cached(sql::AGENT_REAP)?;
        let removed = reap.execute(params![from.0, from.1, end.0, end.1, self.seq.cast_signed()])?;
        Ok(match next {
            Some((parent, ordinal)) => (budget, Stage::Agents(parent, ordinal)),
            None => (removed, Stage::Tombstones(self.prefix.key().to_owned())),
        })
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

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
