//! `fleet-manager`: batches of tasks that are really retried, in order of priority, cancelled when asked, and that survive
//! any crash.
//!
//! What grows is rows (`keys`); the value holds the settings and the totals. A task is in exactly one row at any time, and a
//! turn that moves it counts it: that is how each ends exactly once, and how the books equal a recount.
//!
//! | file | what |
//! |---|---|
//! | `config` | settings and their bounds |
//! | `submission`, `staging` | a batch is checked, stored in several turns, and published by one row |
//! | `batch`, `task` | the state machines of a batch and of an attempt |
//! | `window`, `dispatch` | who is next, and who runs it |
//! | `assignment` | what connected workers are given, in as few calls as it fits into |
//! | `ending` | how attempts end: done, retried, failed, returned |
//! | `connections`, `workforce` | workers that are connected, and what they say |
//! | `pulse` | the one alarm: retries, deadlines, leases, unhandled types, scaling |
//! | `sweep` | rows of batches that were cancelled or are kept no longer |
//! | `progress`, `reads`, `overview` | what is told and what can be asked |
//!
//! # Why
//! What is in memory is found anew in the rows whenever the value was restored (`recall`): a handler that fails, a panic
//! and a crash are all the same. To tell an answer that still comes from one that never will, attempts in this process carry
//! the numbers of their questions: what the object does not wait for will not come.

mod assignment;
mod batch;
mod config;
mod connections;
mod dispatch;
mod ending;
mod keys;
mod latency;
mod memory;
mod overview;
mod progress;
mod pulse;
mod reads;
mod staging;
mod submission;
mod sweep;
mod task;
mod window;
mod workforce;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::batch::{Batch, Step};
use self::config::Config;
use self::memory::{Held, Memory};
use crate::limits::{ANSWERS, BATCH_BODY_BYTES, BATCHES_HELD, MANAGER_BYTES};
use crate::object::{Class, Error, Look, Replied, SocketId, Turn, json, unknown_method};
use crate::protocol::{self, Change, Code, Frame, Message};

/// The state of a manager that is not rows.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetManager {
    books: Books,
    #[serde(skip)]
    memory: Memory,
}

/// Settings, and totals over all batches there ever were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Books {
    config: Config,
    batches: u64,
    tasks: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    retries: u64,
    /// Results that no coordinator could be told.
    unreported: u64,
    /// Tasks that wait, by type.
    queued: BTreeMap<Box<str>, u64>,
    retrying: u64,
    /// Batches that have not ended.
    open: u64,
    /// Batches that have, and are kept.
    kept: u64,
    /// Since when nobody handles a type of which tasks wait.
    unhandled: BTreeMap<Box<str>, u64>,
    /// Numbers of the next batch and the next attempt.
    next_batch: u64,
    next_attempt: u64,
}

impl Class for FleetManager {
    const NAME: &'static str = "fleet-manager";
    const CHILDREN: Option<&'static str> = Some("worker-connection");
    const STORAGE_BYTES: Option<u64> = Some(MANAGER_BYTES);
    const BODY_BYTES: Option<usize> = Some(BATCH_BODY_BYTES);
    const REPLIES: usize = ANSWERS;
    const LOOKS: &'static [&'static str] = &["getBatchStatus"];

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        self.renew(turn)
    }

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        self.recall(turn)?;
        self.overview(turn)
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match self.attempt(turn, method, payload)? {
            Ok(answer) => Ok(answer),
            // A handler that fails loses what is in memory, such as batches that are being stored. So a caller is refused
            // by an answer, where one can be given.
            Err(refusal) => match turn.defer() {
                Ok(deferred) => {
                    turn.answer_deferred(&deferred, Err(refusal));
                    json(&())
                }
                Err(_) => Err(refusal),
            },
        }
    }

    fn look(look: &Look<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "getBatchStatus" => reads::look_at_batch(look, payload),
            other => Err(unknown_method(other)),
        }
    }

    fn replied_all(&mut self, turn: &mut Turn<'_>, replies: &[Replied<'_>]) -> Result<(), Error> {
        self.recall(turn)?;
        replies.iter().try_for_each(|reply| self.answered(turn, reply))?;
        self.settle(turn)
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        self.pulse(turn, retry)
    }

    fn websocket_message(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) -> Result<(), Error> {
        let Frame::Text(text) = frame else {
            return Err(Error::bad_request("Invalid message: binary frames are not supported here"));
        };
        let message = Message::parse(text).map_err(|bad| {
            turn.expect_answer(bad.id);
            Error::bad_request(bad.reason)
        })?;
        turn.expect_answer(message.id.clone());
        match self.attempt(turn, &message.kind, message.payload)? {
            Ok(answer) => turn.answer(answer),
            Err(refusal) => {
                let frame = protocol::error(message.id.as_ref(), refusal.code(), refusal.message());
                turn.send_frame(socket, frame);
            }
        }
        Ok(())
    }
}

impl FleetManager {
    /// One method. What is refused has changed nothing; the outer error is a failure of ours.
    fn attempt(
        &mut self,
        turn: &mut Turn<'_>,
        method: &str,
        payload: &RawValue,
    ) -> Result<Result<Vec<u8>, Error>, Error> {
        self.recall(turn)?;
        let before = self.books.clone();
        self.memory.changed = false;
        match turn.transaction(|turn| self.method(turn, method, payload)) {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) if is_refusal(error.code()) && !self.memory.changed => {
                self.books = before;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    fn method(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "submitBatch" => self.submit(turn, payload),
            "resubmitFailed" => self.resubmit(turn, payload),
            "cancelBatch" => self.cancel(turn, payload),
            "scaleWorkers" => self.scale_workers(turn, payload),
            "updateConfig" => self.update_config(turn, payload),
            "getBatchStatus" => self.batch_status(turn, payload),
            "getBatchResults" => self.batch_results(turn, payload),
            "getStats" => self.stats(turn),
            "getActiveWorkers" => self.active_workers(turn),
            "status" => self.worker_status(turn, payload),
            "listBatches" => reads::list_batches(turn, payload),
            "listTasks" => self.list_tasks(turn, payload),
            "getFailedTasks" => self.failed_tasks(turn, payload),
            "workerReady" => self.worker_ready(turn, payload),
            "workerHeartbeat" => self.worker_heartbeat(turn, payload),
            "workerProgress" => self.worker_progress(turn, payload),
            "workerResults" => self.worker_results(turn, payload),
            "workerGone" => self.worker_gone(turn),
            other => Err(unknown_method(other)),
        }
    }

    fn scale_workers(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let fields = config::fields("scaleWorkers", payload)?;
        let count = fields.get("count").ok_or_else(|| Error::bad_request("scaleWorkers takes {\"count\": N}"))?;
        self.books.config.max_concurrent_workers = config::workers("count", count)?;
        self.reconfigured(turn)
    }

    fn update_config(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        self.books.config = self.books.config.update(payload)?;
        // What was to be removed when is to be found anew.
        self.memory.next_removal = Some(0);
        self.reconfigured(turn)
    }

    fn reconfigured(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        self.settle(turn)?;
        let config = &self.books.config;
        let told = serde_json::to_value(config).map_err(|error| Error::internal(error.to_string()))?;
        turn.publish(Change::field("config", told));
        json(config)
    }

    /// The end of every turn that may have changed something: hands out what there is room for, writes what was held, and
    /// sees to it that the alarm comes in time.
    fn settle(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        self.dispatch(turn)?;
        self.note_unhandled(turn);
        let Memory { batches, latencies, .. } = &mut self.memory;
        for (id, held) in batches.iter_mut().filter(|(_, held)| held.changed) {
            turn.put(&keys::batch(id), &held.value)?;
            held.changed = false;
        }
        for (kind, held) in latencies.iter_mut().filter(|(_, held)| held.changed) {
            turn.put(&keys::latency(kind), &held.value)?;
            held.changed = false;
        }
        if batches.len() > BATCHES_HELD {
            batches.clear();
        }
        let now = (self.books.completed, self.books.failed);
        let told = std::mem::replace(&mut self.memory.told, now);
        for (status, ended) in [("completed", now.0 - told.0), ("failed", now.1 - told.1)] {
            if ended > 0 {
                turn.count("fleet_tasks", &[("status", status)], ended);
            }
        }
        self.arm(turn)
    }

    /// The counters of a batch, if there is one of this id.
    fn held(&mut self, turn: &mut Turn<'_>, id: &str) -> Result<Option<&mut Held<Batch>>, Error> {
        if !self.memory.batches.contains_key(id) {
            let stored = if keys::is_batch_id(id) { turn.get(&keys::batch(id))? } else { None };
            let Some(value) = stored else { return Ok(None) };
            self.memory.batches.insert(id.into(), Held { value, changed: false });
        }
        Ok(self.memory.batches.get_mut(id))
    }

    /// A batch that is asked for by its id.
    fn known(&mut self, turn: &mut Turn<'_>, id: &str) -> Result<&mut Held<Batch>, Error> {
        self.held(turn, id)?.ok_or_else(|| reads::unknown_batch(id))
    }

    /// Whether tasks of a batch may still run.
    fn is_open(&mut self, turn: &mut Turn<'_>, id: &str) -> Result<bool, Error> {
        Ok(self.held(turn, id)?.is_some_and(|held| held.value.ended_at.is_none()))
    }

    /// Counts a step of a task, in its batch and in the totals.
    fn count(&mut self, turn: &mut Turn<'_>, id: &str, kind: &str, step: Step) -> Result<(), Error> {
        let now = turn.now();
        let Some(held) = self.held(turn, id)? else { return Ok(()) };
        if !held.value.step(step, kind, now) {
            return Err(Error::internal(format!("the books of batch {id} have no task of type `{kind}` for {step:?}")));
        }
        held.changed = true;
        let has_ended = held.value.ended_at.is_some();
        self.memory.changed = true;
        let books = &mut self.books;
        match step {
            Step::Begin => books.dequeue(kind, 1),
            Step::Return => books.enqueue(kind, 1),
            Step::Requeue => {
                books.retrying -= 1;
                books.enqueue(kind, 1);
            }
            Step::Wait => books.retrying += 1,
            Step::Complete => books.completed += 1,
            Step::Fail => books.failed += 1,
            Step::GiveUp => {
                books.dequeue(kind, 1);
                books.failed += 1;
            }
        }
        if has_ended {
            self.close(turn, id)?;
        }
        self.tell_progress(turn, id)
    }

    /// A batch has ended.
    fn close(&mut self, turn: &mut Turn<'_>, id: &str) -> Result<(), Error> {
        let now = turn.now();
        self.books.open -= 1;
        self.books.kept += 1;
        turn.put(&keys::ended(now, id), &())?;
        let retention = self.books.config.retention;
        self.memory.more |= self.books.kept > retention.batches;
        let removal = now.saturating_add(retention.ms);
        self.memory.next_removal = Some(self.memory.next_removal.map_or(removal, |next| next.min(removal)));
        turn.publish(Change::none());
        Ok(())
    }
}

impl Books {
    fn enqueue(&mut self, kind: &str, tasks: u64) {
        *self.queued.entry(kind.into()).or_default() += tasks;
    }

    fn dequeue(&mut self, kind: &str, tasks: u64) {
        if let Some(count) = self.queued.get_mut(kind) {
            *count = count.saturating_sub(tasks);
            if *count == 0 {
                self.queued.remove(kind);
                self.unhandled.remove(kind);
            }
        }
    }
}

/// Whether an error says what is wrong with a call, rather than that something of ours failed.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::BadRequest | Code::NotFound | Code::Conflict | Code::Forbidden | Code::TooLarge | Code::Overloaded
    )
}

#[cfg(test)]
mod tests;
