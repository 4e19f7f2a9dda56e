//! A batch is stored before it is there: its tasks go under their keys over as many turns as they need, and one row
//! publishes them all. Nothing of a batch without that row ever runs; what a crash leaves of one is swept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::FleetManager;
use super::batch::Batch;
use super::keys;
use super::memory::{Held, Room};
use super::reads::fields;
use super::submission::Submission;
use super::sweep::Sweep;
use super::task::Task;
use crate::limits::{
    LIST_ROWS, RESUBMIT_IDS, STAGING_BYTES, STAGINGS, STEP_BYTES, TASK_TYPES, WHOLE_BATCH_TASKS, WINDOW_RANKS,
};
use crate::object::{Caller, Deferred, Error, List, Turn, json};
use crate::protocol::Code;

/// A batch whose tasks are being stored.
#[derive(Debug)]
pub(super) struct Staging {
    source: Source,
    /// Its idempotency key.
    key: Option<Box<str>>,
    stored: usize,
    counts: BTreeMap<Box<str>, u64>,
    /// The ranks of a small batch.
    ranks: Vec<(Box<str>, String)>,
    bytes: usize,
    waiting: Vec<Deferred>,
}

/// Where its tasks come from.
#[derive(Debug)]
enum Source {
    /// A payload.
    Submitted { text: Box<str>, submission: Submission },
    /// The failed tasks of a batch: those that are named, or all.
    Failed { batch: Box<str>, after: Option<String>, named: Option<BTreeSet<String>> },
}

/// What is stored of it meanwhile.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Staged {
    kinds: Vec<Box<str>>,
    waiting: Vec<Deferred>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Submitted<'a> {
    batch_id: &'a str,
    tasks: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Resubmission {
    batch_id: String,
    #[serde(default)]
    task_ids: Option<BTreeSet<String>>,
}

impl Staging {
    fn new(source: Source, key: Option<Box<str>>) -> Self {
        let bytes = match &source {
            Source::Submitted { text, submission } => submission.bytes(text),
            Source::Failed { .. } => 0,
        };
        Self { source, key, stored: 0, counts: BTreeMap::new(), ranks: Vec::new(), bytes, waiting: Vec::new() }
    }

    /// The types that its rows may be of.
    fn kinds(&self) -> Vec<Box<str>> {
        match &self.source {
            Source::Submitted { submission, .. } => submission.kinds().to_vec(),
            Source::Failed { .. } => self.counts.keys().cloned().collect(),
        }
    }

    fn staged(&self) -> Staged {
        Staged { kinds: self.kinds(), waiting: self.waiting.clone() }
    }

    /// Stores as much as there is room for; answers whether that was the rest.
    fn advance(&mut self, turn: &mut Turn<'_>, id: &str, room: &mut Room) -> Result<bool, Error> {
        while !room.is_spent() {
            let tasks = self.next(turn, id, room.rows())?;
            if tasks.is_empty() {
                return Ok(true);
            }
            for task in tasks {
                room.take(1, task.bytes());
                self.store(turn, &task)?;
            }
        }
        Ok(match &self.source {
            Source::Submitted { submission, .. } => self.stored == submission.len(),
            Source::Failed { .. } => false,
        })
    }

    fn store(&mut self, turn: &mut Turn<'_>, task: &Task) -> Result<(), Error> {
        let rank = task.rank();
        turn.put(&keys::queued(&task.kind, &rank), task)?;
        *self.counts.entry(task.kind.clone()).or_default() += 1;
        self.stored += 1;
        if self.ranks.len() <= WINDOW_RANKS {
            self.ranks.push((task.kind.clone(), rank));
        }
        Ok(())
    }

    /// The next tasks; none when all are stored.
    fn next(&mut self, turn: &mut Turn<'_>, id: &str, most: usize) -> Result<Vec<Task>, Error> {
        match &mut self.source {
            Source::Submitted { text, submission } => Ok(submission.task(self.stored, text, id).into_iter().collect()),
            Source::Failed { batch, after, named } => {
                let mut tasks = Vec::new();
                while tasks.is_empty() {
                    let limit = most.clamp(1, LIST_ROWS / 4);
                    let mut list = List::new().prefix(keys::failures(batch)).limit(limit);
                    if let Some(after) = after.take() {
                        list = list.after(after);
                    }
                    let page = turn.list::<Task>(list)?;
                    let Some((key, _)) = page.items.last() else { break };
                    *after = Some(key.clone());
                    let wanted = |task: &Task| named.as_mut().is_none_or(|named| named.remove(&*task.id));
                    let found = page.items.into_iter().map(|(_, task)| task);
                    tasks.extend(found.filter({
                        let mut wanted = wanted;
                        move |task| wanted(task)
                    }));
                }
                let from = self.stored;
                Ok(tasks.into_iter().enumerate().map(|(index, task)| renewed(task, id, from + index)).collect())
            }
        }
    }
}

/// A failed task as one of another batch.
fn renewed(task: Task, batch: &str, n: usize) -> Task {
    Task { batch: batch.into(), n: u32::try_from(n).unwrap_or(u32::MAX), attempts: 0, error: None, ..task }
}

impl FleetManager {
    pub(super) fn submit(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let key: Option<Box<str>> = turn.idempotency_key().map(Into::into);
        if let Some(key) = &key {
            if let Some(batch) = turn.get::<Box<str>>(&keys::idempotency(key))? {
                let tasks = self.known(turn, &batch)?.value.total;
                return json(&Submitted { batch_id: &batch, tasks });
            }
            if self.memory.stagings.values().any(|staging| staging.key.as_deref() == Some(&**key)) {
                return self.join(turn, key);
            }
        }
        let submission = Submission::parse(payload, self.books.config.max_batch_tasks)?;
        self.check_kinds(submission.counts.keys())?;
        self.stage(turn, Staging::new(Source::Submitted { text: payload.get().into(), submission }, key))
    }

    pub(super) fn resubmit(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let Resubmission { batch_id, task_ids } = fields(payload)?;
        let failed = self.known(turn, &batch_id)?.value.failed;
        if failed == 0 {
            return Err(Error::conflict(format!("batch {batch_id} has no failed tasks")));
        }
        if task_ids.as_ref().is_some_and(|named| named.is_empty() || named.len() > RESUBMIT_IDS) {
            return Err(Error::bad_request(format!("taskIds must name 1 to {RESUBMIT_IDS} tasks")));
        }
        self.stage(turn, Staging::new(Source::Failed { batch: batch_id.into(), after: None, named: task_ids }, None))
    }

    /// The same batch is submitted again while it is being stored: both get the same answer.
    fn join(&mut self, turn: &mut Turn<'_>, key: &str) -> Result<Vec<u8>, Error> {
        let deferred = turn.defer()?;
        let joined = self.memory.stagings.iter_mut().find(|(_, staging)| staging.key.as_deref() == Some(key));
        if let Some((id, staging)) = joined {
            staging.waiting.push(deferred);
            turn.put(&keys::stage(id), &staging.staged())?;
        }
        json(&())
    }

    /// The types that may be queued at once are bounded.
    fn check_kinds<'a>(&'a self, more: impl Iterator<Item = &'a Box<str>>) -> Result<(), Error> {
        let staged = self.memory.stagings.values().flat_map(|staging| staging.counts.keys());
        let kinds: BTreeSet<&Box<str>> = self.books.queued.keys().chain(staged).chain(more).collect();
        if kinds.len() > TASK_TYPES {
            let text = format!("tasks of {} types would be queued; the limit is {TASK_TYPES}", kinds.len());
            return Err(Error::conflict(text));
        }
        Ok(())
    }

    /// Begins to store a batch. A small one is there at once.
    fn stage(&mut self, turn: &mut Turn<'_>, mut staging: Staging) -> Result<Vec<u8>, Error> {
        let id = keys::batch_id(self.books.next_batch, turn.random());
        self.books.next_batch += 1;
        let is_socket = matches!(turn.caller(), Caller::Socket(_));
        let mut room = if is_socket { Room::of(WHOLE_BATCH_TASKS) } else { Room::default() };
        if staging.advance(turn, &id, &mut room)? {
            let answer = self.publish(turn, &id, staging)?;
            self.settle(turn)?;
            return answer;
        }
        if is_socket {
            let text = format!(
                "a batch over a WebSocket may have {WHOLE_BATCH_TASKS} tasks and {STEP_BYTES} bytes; submit it with POST"
            );
            return Err(Error::new(Code::TooLarge, text));
        }
        let held: usize = self.memory.stagings.values().map(|staging| staging.bytes).sum();
        if self.memory.stagings.len() >= STAGINGS || held + staging.bytes > STAGING_BYTES {
            let text = format!("{STAGINGS} batches or {STAGING_BYTES} bytes are being stored at once; try again");
            return Err(Error::new(Code::Overloaded, text));
        }
        staging.waiting.push(turn.defer()?);
        turn.put(&keys::stage(&id), &staging.staged())?;
        self.memory.stagings.insert(id.into(), staging);
        self.memory.more = true;
        self.settle(turn)?;
        json(&())
    }

    /// Goes on with a batch that is being stored.
    pub(super) fn advance_staging(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        let Some((id, mut staging)) = self.memory.stagings.pop_first() else { return Ok(()) };
        if staging.advance(turn, &id, room)? {
            turn.delete(&keys::stage(&id))?;
            let waiting = std::mem::take(&mut staging.waiting);
            let answer = self.publish(turn, &id, staging)?;
            for deferred in &waiting {
                turn.answer_deferred(deferred, answer.clone());
            }
        } else {
            turn.put(&keys::stage(&id), &staging.staged())?;
            self.memory.stagings.insert(id, staging);
        }
        self.memory.more |= !self.memory.stagings.is_empty();
        Ok(())
    }

    /// The batch is there from now on. The inner error is what is wrong with it; then it is not.
    fn publish(&mut self, turn: &mut Turn<'_>, id: &str, staging: Staging) -> Result<Result<Vec<u8>, Error>, Error> {
        if let Some(error) = staging.fault() {
            let sweep = Sweep::of_queue(staging.kinds());
            turn.put(&keys::sweep(id), &sweep)?;
            self.memory.more = true;
            return Ok(Err(error));
        }
        let Staging { key, counts, ranks, stored, .. } = staging;
        if let Some(key) = &key {
            turn.put(&keys::idempotency(key), id)?;
        }
        self.memory.changed = true;
        self.books.batches += 1;
        self.books.open += 1;
        self.books.tasks += stored as u64;
        for (kind, count) in &counts {
            self.books.enqueue(kind, *count);
        }
        // A few ranks are put where they belong; for many the front is read anew.
        if stored <= WINDOW_RANKS {
            for (kind, rank) in &ranks {
                self.queue_grew(kind, rank);
            }
        } else {
            self.memory.windows.retain(|kind, _| !counts.contains_key(kind));
        }
        turn.count("fleet_tasks", &[("status", "submitted")], stored as u64);
        let batch = Batch::new(counts, turn.now(), key);
        let total = batch.total;
        self.memory.batches.insert(id.into(), Held { value: batch, changed: true });
        self.tell_progress(turn, id)?;
        turn.publish(crate::protocol::Change::none());
        Ok(json(&Submitted { batch_id: id, tasks: total }))
    }

    /// Batches whose storing was cut off by a crash or a failure are removed, and whoever waits for them is told.
    pub(super) fn drop_cut_off(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let page = turn.list::<Staged>(List::new().prefix(keys::STAGE))?;
        for (key, Staged { kinds, waiting }) in page.items {
            let id = &key[keys::STAGE.len()..];
            turn.delete(&key)?;
            turn.put(&keys::sweep(id), &Sweep::of_queue(kinds))?;
            for deferred in &waiting {
                let text = "the batch could not be stored as a whole; nothing of it will run: submit it again";
                turn.answer_deferred(deferred, Err(Error::new(Code::Unavailable, text)));
            }
            self.memory.more = true;
        }
        Ok(())
    }
}

impl Staging {
    /// What is wrong with it, now that all is stored that was found.
    fn fault(&self) -> Option<Error> {
        let Source::Failed { batch, named, .. } = &self.source else { return None };
        if let Some(missing) = named.as_ref().and_then(BTreeSet::first) {
            let missing: String = missing.chars().take(128).collect();
            return Some(Error::not_found(format!("task `{missing}` is not among the failed tasks of batch {batch}")));
        }
        (self.stored == 0).then(|| Error::conflict(format!("the failed tasks of batch {batch} are kept no longer")))
    }
}
