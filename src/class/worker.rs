//! `worker`, one attempt at one task: spawned for it by its parent, in memory only, gone when it is over.
//!
//! `idle ─run─► processing ─► completed | failed`. Its answer to `run` is the attempt's result. Whoever spawned it keeps the
//! books; a worker that vanishes with a crash leaves nothing behind, and its parent's question finds that out.
//!
//! # Why
//! It is an object and not a mere job, so that a task that runs has an address: one can look at it (`getStatus`, `GET`) and
//! watch it, and deleting its parent ends it. Written to disk it would cost a commit for what the parent's row says already.

mod request;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::task::{Task, job};
use crate::limits::{LONGEST_WAIT, WORKER_MARGIN_MS};
use crate::object::{Ask, Caller, Class, Deferred, Error, Replied, Turn, json, read, unknown_method};
use crate::protocol::{Change, Code};

/// One attempt, or none yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Worker(Option<Attempt>);

#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    status: Status,
    task: String,
    kind: String,
    /// What the parent knows the attempt by.
    token: String,
    started_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed_at: Option<u64>,
    /// How long it stays when it has ended, in milliseconds.
    stays: u64,
    /// The answer that the parent waits for.
    owed: Deferred,
    /// The job or request that does the task.
    work: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Processing,
    Completed,
    Failed,
}

/// What a worker is told to do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    task_id: String,
    #[serde(default = "first")]
    attempt: u32,
    token: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// In milliseconds.
    timeout: u64,
    #[serde(default)]
    self_destruct_delay_ms: u64,
}

fn first() -> u32 {
    1
}

impl Class for Worker {
    const NAME: &'static str = "worker";

    const IN_MEMORY: bool = true;

    fn state(&mut self, _: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        self.status()
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "run" => self.run(turn, payload),
            "getStatus" => self.status(),
            "stay" => stay(turn, payload),
            other => Err(unknown_method(other)),
        }
    }

    /// Its parent may cancel it; what others say is for its sockets.
    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Cancel {
            cancel: String,
        }
        match read::<Cancel>(message) {
            Ok(Cancel { cancel }) if is_parent(turn) => self.cancel(turn, &cancel),
            _ => turn.forward(message),
        }
        Ok(())
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let Some(attempt) = &mut self.0 else { return Ok(()) };
        if reply.id != attempt.work {
            // It has stayed long enough.
            turn.hibernate();
            return Ok(());
        }
        let result = reply.result.clone().and_then(|answer| match attempt.kind.as_str() {
            request::KIND => request::result(answer),
            _ => Ok(answer.to_owned()),
        });
        attempt.end(turn, result)
    }
}

impl Worker {
    fn run(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        if !is_parent(turn) {
            return Err(Error::new(Code::Forbidden, "only the object above a worker gives it a task"));
        }
        if self.0.is_some() {
            return Err(Error::conflict("this worker has a task already; each is for one"));
        }
        let Order { task_id, attempt, token, kind, data, timeout, self_destruct_delay_ms } =
            serde_json::from_str(payload.get())
                .map_err(|error| Error::bad_request(format!("invalid payload: {error}")))?;
        let data = data.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned);
        let task = Task { id: task_id, kind, attempt, data, timeout };
        // Whoever waits for the answer is to get the handler's time-out and not this one.
        let owed = turn.defer_for(beyond(timeout))?;
        let work = begin(turn, &task)?;
        self.0 = Some(Attempt {
            status: Status::Processing,
            task: task.id,
            kind: task.kind,
            token,
            started_at: turn.now(),
            completed_at: None,
            stays: self_destruct_delay_ms,
            owed,
            work,
        });
        turn.publish(Change::field("status", "processing"));
        json(&())
    }

    /// Drops the work of an attempt that nobody wants any more.
    fn cancel(&mut self, turn: &mut Turn<'_>, token: &str) {
        let wanted = |attempt: &&mut Attempt| attempt.token == token && attempt.status == Status::Processing;
        let Some(attempt) = self.0.as_mut().filter(wanted) else { return };
        turn.cancel(attempt.work);
        turn.answer_deferred(&attempt.owed, Err(Error::conflict("cancelled: the task is not wanted any more")));
        attempt.status = Status::Failed;
        turn.hibernate();
    }

    fn status(&self) -> Result<Vec<u8>, Error> {
        #[derive(Default, Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Seen<'a> {
            class: &'static str,
            status: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            task_id: Option<&'a str>,
            #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
            kind: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            started_at: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            completed_at: Option<u64>,
        }
        let class = Self::NAME;
        let Some(attempt) = &self.0 else { return json(&Seen { class, status: "idle", ..Seen::default() }) };
        json(&Seen {
            class,
            status: attempt.status.name(),
            task_id: Some(&attempt.task),
            kind: Some(&attempt.kind),
            started_at: Some(attempt.started_at),
            completed_at: attempt.completed_at,
        })
    }
}

impl Attempt {
    /// Answers the parent, and goes or stays as it was told to.
    fn end(&mut self, turn: &mut Turn<'_>, result: Result<Box<RawValue>, Error>) -> Result<(), Error> {
        self.status = if result.is_ok() { Status::Completed } else { Status::Failed };
        self.completed_at = Some(turn.now());
        let answer = result.map_err(Error::redacted).and_then(|result| {
            #[derive(Serialize)]
            struct Done<'a> {
                result: &'a RawValue,
            }
            json(&Done { result: &result })
        });
        turn.answer_deferred(&self.owed, answer);
        turn.publish(Change::field("status", self.status.name()));
        if self.stays == 0 {
            turn.hibernate();
            return Ok(());
        }
        // An object that waits for an answer stays, be it its own.
        let path = turn.path().clone();
        let ask = Ask::new().timeout(beyond(self.stays));
        turn.call(&path, "stay", &self.stays, ask).map(drop)
    }
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// Starts what does the task.
fn begin(turn: &mut Turn<'_>, task: &Task) -> Result<u64, Error> {
    let ask = Ask::new().timeout(task.timeout);
    if task.kind == request::KIND {
        let request = request::of(task)?;
        return turn.http(request, ask);
    }
    let job = job(&task.kind);
    if !turn.has_job(&job) {
        return Err(Error::not_found(format!("no handler is registered for tasks of type `{}`", task.kind)));
    }
    turn.run(&job, task, ask)
}

/// An answer that never comes keeps it in memory for so many milliseconds.
fn stay(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    if !matches!(turn.caller(), Caller::Object(caller) if caller == turn.path()) {
        return Err(unknown_method("stay"));
    }
    let _ = turn.defer_for(read(payload)?)?;
    json(&())
}

/// A little longer than so many milliseconds, if anybody may wait for that.
fn beyond(milliseconds: u64) -> u64 {
    let longest = u64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(u64::MAX);
    milliseconds.saturating_add(WORKER_MARGIN_MS).min(longest.max(milliseconds))
}

fn is_parent(turn: &Turn<'_>) -> bool {
    matches!(turn.caller(), Caller::Object(caller) if turn.path().parent().as_ref() == Some(caller))
}
