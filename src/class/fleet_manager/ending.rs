//! How attempts end, and what becomes of their tasks.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::FleetManager;
use super::batch::Step;
use super::dispatch::child;
use super::keys;
use super::memory::Running;
use super::task::{Attempt, Ending, Executor, Next, Task, TaskResult};
use crate::class::task::ResultView;
use crate::limits::{ASSIGN_MS, NO_ROOM_MS, TASK_BYTES, TASK_ERROR_BYTES};
use crate::object::{Ask, Error, Replied, Turn, read};
use crate::path::ObjectPath;

/// What a question of a manager was about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Note {
    /// The attempt under this token, in this process.
    Run(Box<str>),
    /// Which of these a connected worker takes.
    Assign(Vec<Box<str>>),
    /// Nothing that an answer would change.
    Nothing,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// What a coordinator is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    submit_result: Reported<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reported<'a> {
    worker_id: &'a str,
    task_type: &'a str,
    result: ResultView<'a>,
}

impl FleetManager {
    /// The answer to a question of this manager.
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        match read(reply.note)? {
            Note::Run(token) => self.ran(turn, &token, &reply.result),
            Note::Assign(tokens) => self.assigned(turn, &tokens, &reply.result),
            Note::Nothing => Ok(()),
        }
    }

    /// A worker in this process has answered.
    fn ran(&mut self, turn: &mut Turn<'_>, token: &str, result: &Result<&RawValue, Error>) -> Result<(), Error> {
        let Some(running) = self.memory.attempts.get(token) else { return Ok(()) };
        let timeout = running.deadline - running.started;
        let ending = match result {
            Ok(answer) => match serde_json::from_str::<Answer<'_>>(answer.get()) {
                Ok(Answer { result }) => Ending::Done(result.map_or("null", RawValue::get).into()),
                Err(error) => Ending::Failed(format!("the worker's answer cannot be read: {error}").into()),
            },
            Err(error) if error.never_began() => Ending::NoRoom,
            // The next start ends it as interrupted; a retry now would be cut off as well.
            Err(error) if error.is_stopping() => return Ok(()),
            Err(error) if error.is_timeout() => {
                self.stop(turn, token)?;
                Ending::Failed(timed_out(timeout))
            }
            Err(error) => Ending::Failed(error.clone().redacted().message().into()),
        };
        self.end(turn, token, ending)
    }

    /// An attempt is over: its token is worth nothing from here on.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>, token: &str, ending: Ending) -> Result<(), Error> {
        let Some(running) = self.release(token) else { return Ok(()) };
        let key = keys::run(token);
        let Some(attempt) = turn.get::<Attempt>(&key)? else { return Ok(()) };
        turn.delete(&key)?;
        if !self.is_open(turn, &running.batch)? {
            return Ok(());
        }
        let Attempt { mut task, started, executor, .. } = attempt;
        let took = turn.now().saturating_sub(started);
        let ending = ending.bounded();
        let retries = self.books.config.retries(task.retries);
        let next = ending.next(task.attempts, retries);
        if matches!(next, Next::Complete | Next::Retry | Next::Fail) {
            self.record_latency(turn, &task.kind, took)?;
        }
        match (next, ending) {
            (Next::Complete, Ending::Done(result)) => {
                self.conclude(turn, &task, Step::Complete, Some(result), &executor.worker(token), took)
            }
            (Next::Retry, Ending::Failed(error)) => {
                task.error = Some(error);
                self.books.retries += 1;
                turn.count("fleet_task_retries_total", &[], 1);
                let wait = self.books.config.retry_backoff.wait(task.attempts, turn.random());
                self.wait(turn, &task, wait)
            }
            (Next::Fail, Ending::Failed(error)) => {
                task.error = Some(error);
                self.conclude(turn, &task, Step::Fail, None, &executor.worker(token), took)
            }
            (Next::Later, _) => {
                task.attempts -= 1;
                let wait = NO_ROOM_MS + turn.random() % NO_ROOM_MS;
                self.wait(turn, &task, wait)
            }
            _ => {
                task.attempts -= 1;
                let rank = task.rank();
                turn.put(&keys::queued(&task.kind, &rank), &task)?;
                self.count(turn, &task.batch, &task.kind, Step::Return)?;
                self.queue_grew(&task.kind, &rank);
                Ok(())
            }
        }
    }

    /// Takes an attempt from the books in memory.
    pub(super) fn release(&mut self, token: &str) -> Option<Running> {
        let running = self.memory.attempts.remove(token)?;
        self.memory.changed = true;
        if let Executor::Connection(name) = &running.executor {
            self.memory.connections.take(name, token);
        }
        Some(running)
    }

    /// A task waits for its next attempt.
    fn wait(&mut self, turn: &mut Turn<'_>, task: &Task, wait: u64) -> Result<(), Error> {
        let due = turn.now().saturating_add(wait);
        turn.put(&keys::retry(due, &task.batch, task.n), task)?;
        self.memory.next_retry = Some(self.memory.next_retry.map_or(due, |next| next.min(due)));
        self.count(turn, &task.batch, &task.kind, Step::Wait)
    }

    /// A task has ended for good: with a result, or with the error that it carries.
    pub(super) fn conclude(
        &mut self,
        turn: &mut Turn<'_>,
        task: &Task,
        step: Step,
        result: Option<Box<str>>,
        worker: &str,
        duration: u64,
    ) -> Result<(), Error> {
        let Some(held) = self.held(turn, &task.batch)? else { return Ok(()) };
        let k = held.value.ended();
        let success = step == Step::Complete;
        let ended = TaskResult {
            id: task.id.clone(),
            success,
            result,
            error: task.error.clone().filter(|_| !success),
            duration,
            timestamp: turn.now(),
            attempts: task.attempts,
            worker: worker.into(),
        };
        turn.put(&keys::result(&task.batch, k), &ended)?;
        if !success {
            turn.put(&keys::failed(&task.batch, k), task)?;
        }
        self.report(turn, &task.kind, &ended);
        self.count(turn, &task.batch, &task.kind, step)
    }

    /// Tells the coordinator, effectively once. One that cannot be told now is only counted: the result stays with the
    /// batch.
    fn report(&mut self, turn: &mut Turn<'_>, kind: &str, ended: &TaskResult) {
        let Some(coordinator) = &self.books.config.coordinator else { return };
        let told =
            ObjectPath::parse(coordinator).map_err(|error| Error::internal(error.to_string())).and_then(|path| {
                let result = super::reads::result_view(ended)?;
                let reported = Reported { worker_id: &ended.worker, task_type: kind, result };
                turn.send(&path, &Report { submit_result: reported })
            });
        if let Err(error) = told {
            tracing::warn!(path = %turn.path(), %error, "a result was not reported to the coordinator");
            self.books.unreported += 1;
        }
    }

    fn record_latency(&mut self, turn: &mut Turn<'_>, kind: &str, ms: u64) -> Result<(), Error> {
        if !self.memory.latencies.contains_key(kind) {
            let value = turn.get(&keys::latency(kind))?.unwrap_or_default();
            self.memory.latencies.insert(kind.into(), super::memory::Held { value, changed: false });
        }
        if let Some(held) = self.memory.latencies.get_mut(kind) {
            held.value.record(ms);
            held.changed = true;
        }
        Ok(())
    }

    /// Has the worker of an attempt drop it. It need not hear of it: its token is worth nothing any more.
    pub(super) fn stop(&mut self, turn: &mut Turn<'_>, token: &str) -> Result<(), Error> {
        let Some(running) = self.memory.attempts.get(token) else { return Ok(()) };
        let worker = child(turn, &running.executor.worker(token))?;
        let told = match &running.executor {
            Executor::Process(asked) => {
                turn.cancel(*asked);
                turn.tell(&worker, &Cancel { cancel: token })
            }
            Executor::Connection(_) => cancel_tokens(turn, &worker, &[token]),
        };
        if let Err(error) = told {
            tracing::warn!(path = %turn.path(), %error, "a worker was not told to stop");
        }
        Ok(())
    }

    /// A task was queued.
    pub(super) fn queue_grew(&mut self, kind: &str, rank: &str) {
        if let Some(window) = self.memory.windows.get_mut(kind) {
            window.insert(rank);
        }
    }
}

#[derive(Serialize)]
struct Cancel<'a> {
    cancel: &'a str,
}

#[derive(Serialize)]
struct CancelTasks<'a> {
    tokens: &'a [&'a str],
}

/// Tells a connected worker to drop attempts.
pub(super) fn cancel_tokens(turn: &mut Turn<'_>, worker: &ObjectPath, tokens: &[&str]) -> Result<(), Error> {
    let ask = Ask::new().in_memory().timeout(ASSIGN_MS).note(&Note::Nothing);
    turn.call(worker, "cancelTasks", &CancelTasks { tokens }, ask).map(drop)
}

pub(super) fn timed_out(timeout: u64) -> Box<str> {
    format!("timed out after {timeout} ms").into()
}

impl Ending {
    /// As much of it as is kept.
    fn bounded(self) -> Self {
        match self {
            Self::Done(result) if result.len() > TASK_BYTES => {
                Self::Failed(format!("the result is {} bytes; the limit is {TASK_BYTES}", result.len()).into())
            }
            Self::Failed(error) if error.len() > TASK_ERROR_BYTES => {
                Self::Failed(error[..error.floor_char_boundary(TASK_ERROR_BYTES)].into())
            }
            other => other,
        }
    }
}
