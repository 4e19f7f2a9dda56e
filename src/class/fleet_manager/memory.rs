//! What a manager keeps in memory beside its rows: all of it can be read anew from them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::batch::Batch;
use super::connections::Connections;
use super::latency::Latency;
use super::progress::Pushes;
use super::staging::Staging;
use super::task::{AttemptHead, Ending, Executor};
use super::window::Window;
use crate::limits::{ATTEMPT_GRACE_MS, STEP_BYTES, STEP_ROWS};

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Whether the rows have been read.
    pub(super) ready: bool,
    pub(super) attempts: Attempts,
    /// Attempts that are over, but not in the books yet: of more than one turn may write.
    pub(super) doomed: Vec<(Box<str>, Ending)>,
    pub(super) connections: Connections,
    /// The front of the queue of each type.
    pub(super) windows: BTreeMap<Box<str>, Window>,
    /// Batches that were looked at lately; those that were changed are to be written.
    pub(super) batches: BTreeMap<Box<str>, Held<Batch>>,
    pub(super) latencies: BTreeMap<Box<str>, Held<Latency>>,
    pub(super) stagings: BTreeMap<Box<str>, Staging>,
    /// When the first task is to be tried again.
    pub(super) next_retry: Option<u64>,
    /// When the oldest batch that has ended is to be removed.
    pub(super) next_removal: Option<u64>,
    pub(super) next_scaling: u64,
    pub(super) pushes: Pushes,
    /// Workers of which there is a row.
    pub(super) known: usize,
    /// How far each type that nobody handles was looked through.
    pub(super) searches: BTreeMap<Box<str>, Search>,
    /// Whether this turn has changed anything of it that its rows are to follow.
    pub(super) changed: bool,
    /// Whether something is left to do at once.
    pub(super) more: bool,
    /// How many tasks had completed and failed when the metrics were told last.
    pub(super) told: (u64, u64),
}

/// Something that is read once, and written when it was changed.
#[derive(Debug, Default)]
pub(super) struct Held<T> {
    pub(super) value: T,
    pub(super) changed: bool,
}

/// How far a queue was looked through, and when to go on.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) after: Option<String>,
    pub(super) at: u64,
}

/// How much one turn may still write.
#[derive(Debug)]
pub(super) struct Room {
    rows: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(STEP_ROWS)
    }
}

impl Room {
    pub(super) fn of(rows: usize) -> Self {
        Self { rows, bytes: STEP_BYTES }
    }

    pub(super) fn take(&mut self, rows: usize, bytes: usize) {
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

/// An attempt that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) batch: Box<str>,
    pub(super) attempt: u32,
    pub(super) started: u64,
    pub(super) deadline: u64,
    pub(super) executor: Executor,
    /// Whether its worker is known to have it.
    pub(super) accepted: bool,
    /// JSON that its worker reported.
    pub(super) progress: Option<Box<RawValue>>,
}

impl Running {
    /// When it is to be ended. Of one in this process the runtime tells at its deadline, unless that was lost.
    fn overdue_at(&self) -> u64 {
        match self.executor {
            Executor::Process(_) => self.deadline.saturating_add(ATTEMPT_GRACE_MS),
            Executor::Connection(_) => self.deadline,
        }
    }
}

impl From<AttemptHead> for Running {
    fn from(head: AttemptHead) -> Self {
        let AttemptHead { task, started, deadline, executor } = head;
        Self {
            task: task.id,
            kind: task.kind,
            batch: task.batch,
            attempt: task.attempts,
            started,
            deadline,
            executor,
            accepted: true,
            progress: None,
        }
    }
}

/// Every attempt that is under way, by token.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_token: BTreeMap<Box<str>, Running>,
    deadlines: BTreeSet<(u64, Box<str>)>,
}

impl Attempts {
    pub(super) fn insert(&mut self, token: &str, running: Running) {
        self.deadlines.insert((running.overdue_at(), token.into()));
        self.by_token.insert(token.into(), running);
    }

    pub(super) fn remove(&mut self, token: &str) -> Option<Running> {
        let running = self.by_token.remove(token)?;
        self.deadlines.remove(&(running.overdue_at(), token.into()));
        Some(running)
    }

    pub(super) fn get(&self, token: &str) -> Option<&Running> {
        self.by_token.get(token)
    }

    pub(super) fn get_mut(&mut self, token: &str) -> Option<&mut Running> {
        self.by_token.get_mut(token)
    }

    pub(super) fn len(&self) -> u64 {
        self.by_token.len() as u64
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Running)> {
        self.by_token.iter().map(|(token, running)| (&**token, running))
    }

    /// Those after a token, in their order.
    pub(super) fn after(&self, token: &str) -> impl Iterator<Item = (&str, &Running)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_token.range::<str, _>((Excluded(token), Unbounded)).map(|(token, running)| (&**token, running))
    }

    pub(super) fn of_batch(&self, batch: &str) -> Vec<Box<str>> {
        self.by_token.iter().filter(|(_, running)| *running.batch == *batch).map(|(token, _)| token.clone()).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Those whose time is up.
    pub(super) fn overdue(&self, now: u64) -> Vec<Box<str>> {
        self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now).map(|(_, token)| token.clone()).collect()
    }
}
