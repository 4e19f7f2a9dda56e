//! What connected workers say, through the objects that hold their sockets: children of the manager, and nobody else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::FleetManager;
use super::config::{fields, number};
use super::connections::Worker;
use super::keys;
use super::memory::Room;
use super::task::{Ending, Executor};
use crate::limits::{
    LIST_ROWS, TASK_PROGRESS_BYTES, TASK_TYPE_CHARS, WORKER_CAPACITY, WORKER_METRICS_BYTES, WORKER_TYPES, WORKERS_KNOWN,
};
use crate::object::{Caller, Error, List, Turn, json, read};
use crate::protocol::Code;

#[derive(Deserialize)]
struct Ready {
    #[serde(default)]
    running: Vec<Box<str>>,
    #[serde(default)]
    sessions: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Welcome {
    heartbeat_interval: u64,
    lease_timeout: u64,
    lost: Vec<Box<str>>,
}

#[derive(Deserialize)]
struct Heartbeat<'a> {
    #[serde(borrow, default)]
    metrics: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Progress<'a> {
    #[serde(borrow)]
    progress: Vec<HowFar<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HowFar<'a> {
    task_id: String,
    token: String,
    #[serde(borrow, rename = "progress")]
    said: &'a RawValue,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<WorkerResult<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerResult<'a> {
    task_id: String,
    token: String,
    success: bool,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Verdicts {
    verdicts: Vec<Verdict>,
}

#[derive(Serialize)]
struct Verdict {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl FleetManager {
    pub(super) fn worker_ready(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let name = connected_child(turn)?;
        let given = fields("ready", payload)?;
        let none = Value::Null;
        let capacity = number("capacity", given.get("capacity").unwrap_or(&none), 1..=WORKER_CAPACITY)?;
        let types = types_of(given.get("types").unwrap_or(&none))?;
        let Ready { running, sessions } = read(payload)?;
        self.check_known(turn, &name)?;
        let now = turn.now();
        let row = keys::worker(&name);
        let mut worker: Worker = turn.get(&row)?.unwrap_or_default();
        worker = Worker { connected: true, capacity, types: types.clone(), sessions, ready_at: now, ..worker };
        turn.put(&row, &worker)?;
        self.memory.changed = true;
        let lease = now.saturating_add(self.books.config.lease_timeout);
        self.memory.connections.ready(&name, capacity, types, lease);
        let lost = self.reconcile(turn, &name, running)?;
        self.settle(turn)?;
        let config = &self.books.config;
        json(&Welcome { heartbeat_interval: config.heartbeat_interval, lease_timeout: config.lease_timeout, lost })
    }

    /// What a worker runs, and what it is believed to run, become the same. Answers what it is to drop.
    fn reconcile(&mut self, turn: &mut Turn<'_>, name: &str, running: Vec<Box<str>>) -> Result<Vec<Box<str>>, Error> {
        let believed: BTreeSet<Box<str>> = self.memory.connections.tokens(name).cloned().collect();
        let running: BTreeSet<Box<str>> = running.into_iter().collect();
        let mut lost: Vec<Box<str>> = running.difference(&believed).cloned().collect();
        for token in believed.difference(&running) {
            // One that it has not said to have taken may still be on its way.
            if self.memory.attempts.get(token).is_some_and(|attempt| attempt.accepted) {
                let why = format!("worker {name} came back without the task");
                self.memory.doomed.push((token.clone(), Ending::Failed(why.into())));
                lost.push(token.clone());
            }
        }
        for token in running.intersection(&believed) {
            if let Some(attempt) = self.memory.attempts.get_mut(token) {
                attempt.accepted = true;
            }
        }
        self.end_doomed(turn, &mut Room::default())?;
        Ok(lost)
    }

    pub(super) fn worker_heartbeat(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let name = connected_child(turn)?;
        let Heartbeat { metrics } = borrowed(payload)?;
        if let Some(metrics) = metrics.filter(|metrics| metrics.get().len() > WORKER_METRICS_BYTES) {
            let text = format!("metrics are {} bytes; the limit is {WORKER_METRICS_BYTES}", metrics.get().len());
            return Err(Error::new(Code::TooLarge, text));
        }
        let now = turn.now();
        if !self.memory.connections.contains(&name) {
            return Err(Error::conflict("the worker is not ready: say `ready` first"));
        }
        self.memory.changed = true;
        self.memory.connections.renew(&name, now.saturating_add(self.books.config.lease_timeout));
        if let Some(metrics) = metrics {
            let row = keys::worker(&name);
            let mut worker: Worker = turn.get(&row)?.unwrap_or_default();
            (worker.metrics, worker.metrics_at) = (Some(metrics.get().into()), Some(now));
            turn.put(&row, &worker)?;
        }
        self.settle(turn)?;
        Ok(b"{}".to_vec())
    }

    pub(super) fn worker_progress(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let name = connected_child(turn)?;
        let Progress { progress } = borrowed(payload)?;
        if let Some(length) = progress.iter().map(|one| one.said.get().len()).find(|bytes| *bytes > TASK_PROGRESS_BYTES)
        {
            let text = format!("progress is {length} bytes; the limit is {TASK_PROGRESS_BYTES}");
            return Err(Error::new(Code::TooLarge, text));
        }
        for HowFar { task_id, token, said } in progress {
            if self.refuses(&name, &task_id, &token).is_none()
                && let Some(attempt) = self.memory.attempts.get_mut(&token)
            {
                attempt.progress = Some(said.to_owned());
            }
        }
        Ok(b"{}".to_vec())
    }

    /// Judges results in their order, as many as one turn has room for: of the others the worker's connection asks again.
    pub(super) fn worker_results(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let name = connected_child(turn)?;
        let Results { results } = borrowed(payload)?;
        let mut room = Room::default();
        let mut verdicts = Vec::with_capacity(results.len());
        for result in &results {
            if room.is_spent() {
                break;
            }
            verdicts.push(self.judge(turn, &name, result, &mut room)?);
        }
        if verdicts.iter().any(|verdict| verdict.accepted) {
            self.settle(turn)?;
        }
        json(&Verdicts { verdicts })
    }

    fn judge(
        &mut self,
        turn: &mut Turn<'_>,
        name: &str,
        said: &WorkerResult<'_>,
        room: &mut Room,
    ) -> Result<Verdict, Error> {
        let WorkerResult { task_id, token, success, result, error } = said;
        if let Some(reason) = self.refuses(name, task_id, token) {
            return Ok(Verdict { accepted: false, reason: Some(reason) });
        }
        if *success {
            let result = result.map_or("null", RawValue::get);
            room.take(4, 2 * result.len());
            self.end(turn, token, Ending::Done(result.into()))?;
        } else {
            self.memory.doomed.push((token.as_str().into(), Ending::Failed(error_text(*error))));
            self.end_doomed(turn, room)?;
        }
        Ok(Verdict { accepted: true, reason: None })
    }

    /// Why what a worker says of an attempt does not count.
    fn refuses(&self, name: &str, task: &str, token: &str) -> Option<&'static str> {
        let Some(attempt) = self.memory.attempts.get(token) else {
            return Some(
                "stale token: the attempt is over, by its time-out, its lease, a cancellation or an earlier result",
            );
        };
        match &attempt.executor {
            Executor::Connection(owner) if **owner == *name => {}
            _ => return Some("the token is that of another worker"),
        }
        (*attempt.task != *task).then_some("the token is that of another task")
    }

    pub(super) fn worker_gone(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        let name = connected_child(turn)?;
        self.lose(turn, &name, &format!("worker {name} disconnected"), &mut Room::default())?;
        self.settle(turn)?;
        Ok(b"{}".to_vec())
    }

    /// A worker is gone, and with it what it had; that uses up an attempt of each.
    pub(super) fn lose(&mut self, turn: &mut Turn<'_>, name: &str, why: &str, room: &mut Room) -> Result<(), Error> {
        self.memory.changed = true;
        for token in self.memory.connections.remove(name) {
            let is_taken = self.memory.attempts.get(&token).is_some_and(|attempt| attempt.accepted);
            self.memory.doomed.push((token, if is_taken { Ending::Failed(why.into()) } else { Ending::NotBegun }));
        }
        self.end_doomed(turn, room)?;
        let row = keys::worker(name);
        if let Some(mut worker) = turn.get::<Worker>(&row)? {
            worker = Worker { connected: false, sessions: 0, gone_at: Some(turn.now()), ..worker };
            turn.put(&row, &worker)?;
        }
        Ok(())
    }

    /// The workers of a manager are bounded in number; those that are gone make room for new ones.
    fn check_known(&mut self, turn: &mut Turn<'_>, name: &str) -> Result<(), Error> {
        if self.memory.connections.contains(name) || turn.get::<Worker>(&keys::worker(name))?.is_some() {
            return Ok(());
        }
        if self.memory.connections.iter().count() >= WORKERS_KNOWN {
            let text = format!("{WORKERS_KNOWN} workers are connected to this manager; the limit is that");
            return Err(Error::new(Code::Overloaded, text));
        }
        if self.memory.known < WORKERS_KNOWN {
            self.memory.known += 1;
            return Ok(());
        }
        let mut list = List::new().prefix(keys::WORKER).limit(LIST_ROWS);
        loop {
            let page = turn.list::<Worker>(list)?;
            if let Some((key, _)) = page.items.iter().find(|(_, worker)| !worker.connected) {
                turn.delete(key)?;
                return Ok(());
            }
            let Some(cursor) = page.cursor else { return Ok(()) };
            list = List::new().prefix(keys::WORKER).limit(LIST_ROWS).after(cursor);
        }
    }
}

/// The name of the child that calls.
fn connected_child(turn: &Turn<'_>) -> Result<String, Error> {
    let forbidden =
        || Error::new(Code::Forbidden, "only a worker's connection, a child of this manager, may call this");
    let Caller::Object(path) = turn.caller() else { return Err(forbidden()) };
    if path.parent().as_ref() != Some(turn.path()) {
        return Err(forbidden());
    }
    path.name().map(str::to_owned).ok_or_else(forbidden)
}

/// Reads a payload, parts of which stay where they are.
fn borrowed<'a, T: Deserialize<'a>>(payload: &'a RawValue) -> Result<T, Error> {
    serde_json::from_str(payload.get()).map_err(|error| Error::bad_request(format!("invalid payload: {error}")))
}

/// The types that a worker says it handles; none named is any.
fn types_of(value: &Value) -> Result<Option<BTreeSet<Box<str>>>, Error> {
    let wrong = || {
        let bounds = format!("1 to {WORKER_TYPES} texts of 1 to {TASK_TYPE_CHARS} characters");
        Error::bad_request(format!("types must be {bounds}, or absent for any"))
    };
    if value.is_null() {
        return Ok(None);
    }
    let given = value.as_array().filter(|given| (1..=WORKER_TYPES).contains(&given.len())).ok_or_else(wrong)?;
    let fits = |kind: &&str| (1..=TASK_TYPE_CHARS).contains(&kind.chars().count());
    given
        .iter()
        .map(|kind| kind.as_str().filter(fits).map(Into::into).ok_or_else(wrong))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// The text of an error that a worker reports.
fn error_text(error: Option<&RawValue>) -> Box<str> {
    let Some(error) = error else { return "the worker gave no error".into() };
    serde_json::from_str::<String>(error.get()).map_or_else(|_| error.get().into(), Into::into)
}
