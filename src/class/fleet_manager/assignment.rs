//! Attempts that connected workers are given, and told to drop: those of one turn go in as few calls as they fit into.
//!
//! # Why
//! Each call is an event in the mailbox of the worker's connection, and its answer is one in that of the manager, where
//! everybody else's calls wait.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::FleetManager;
use super::dispatch::{child, raw};
use super::ending::{Note, cancel_tokens};
use super::task::{Ending, Executor, Task};
use crate::limits::{ASSIGN_BYTES, ASSIGN_MS, ASSIGN_TASKS};
use crate::object::{Ask, Error, Turn};

/// What a connected worker is told.
#[derive(Serialize)]
struct Tasks<'a> {
    tasks: &'a [Box<RawValue>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Assignment<'a> {
    task_id: &'a str,
    attempt: u32,
    token: &'a str,
    r#type: &'a str,
    data: &'a RawValue,
    deadline: u64,
}

/// Its answer.
#[derive(Deserialize)]
struct Accepted {
    accepted: BTreeSet<Box<str>>,
}

/// Attempts that begin in this turn, of which their workers are yet to be told.
#[derive(Default)]
pub(super) struct Assignments {
    /// By worker; the last one of each has room.
    calls: BTreeMap<Box<str>, Vec<Call>>,
}

/// What one call tells a worker.
#[derive(Default)]
struct Call {
    tokens: Vec<Box<str>>,
    tasks: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Assignments {
    /// # Errors
    /// The task's data is no JSON.
    pub(super) fn add(&mut self, worker: &str, token: &str, task: &Task, deadline: u64) -> Result<(), Error> {
        let assignment = Assignment {
            task_id: &task.id,
            attempt: task.attempts,
            token,
            r#type: &task.kind,
            data: raw(&task.data)?,
            deadline,
        };
        let encoded =
            to_raw_value(&assignment).map_err(|error| Error::internal(format!("a task cannot be encoded: {error}")))?;
        let calls = self.calls.entry(worker.into()).or_default();
        let bytes = encoded.get().len();
        let call = match calls.last_mut() {
            Some(last) if last.tasks.len() < ASSIGN_TASKS && last.bytes + bytes <= ASSIGN_BYTES => last,
            _ => calls.push_mut(Call::default()),
        };
        call.bytes += bytes;
        call.tokens.push(token.into());
        call.tasks.push(encoded);
        Ok(())
    }
}

impl FleetManager {
    /// Tells the workers. What one cannot be told of goes back to the queue: nobody would ever run it.
    pub(super) fn assign(&mut self, turn: &mut Turn<'_>, assignments: Assignments) -> Result<(), Error> {
        for (name, calls) in assignments.calls {
            let worker = child(turn, &name)?;
            for Call { tokens, tasks, .. } in calls {
                let ask = Ask::new().in_memory().timeout(ASSIGN_MS).note(&Note::Assign(tokens.clone()));
                let Err(error) = turn.call(&worker, "assign", &Tasks { tasks: &tasks }, ask) else { continue };
                // Too many questions, or too deep below others: a turn of the alarm's has neither above it.
                tracing::warn!(path = %turn.path(), %error, "tasks wait: they cannot be handed out in this turn");
                for token in &tokens {
                    self.end(turn, token, Ending::NotBegun)?;
                }
            }
        }
        Ok(())
    }

    /// A connected worker has said which attempts it takes.
    pub(super) fn assigned(
        &mut self,
        turn: &mut Turn<'_>,
        tokens: &[Box<str>],
        result: &Result<&RawValue, Error>,
    ) -> Result<(), Error> {
        let answer = result.as_ref().ok().and_then(|answer| serde_json::from_str::<Accepted>(answer.get()).ok());
        let accepted = answer.map_or_else(BTreeSet::new, |answer| answer.accepted);
        let mut refused = Vec::new();
        for token in tokens {
            // One that is over already may have been taken or not.
            let Some(running) = self.memory.attempts.get_mut(token) else { continue };
            if accepted.contains(token) {
                running.accepted = true;
            } else {
                self.memory.connections.pause(&running.executor.worker(token));
                refused.push(token.clone());
            }
        }
        // If nobody answered it may have them nevertheless.
        if result.is_err() {
            self.stop_all(turn, &refused)?;
        }
        refused.iter().try_for_each(|token| self.end(turn, token, Ending::NotBegun))
    }

    /// Has the workers of attempts drop them; a connected one is told of all that it has in one call.
    pub(super) fn stop_all(&mut self, turn: &mut Turn<'_>, tokens: &[Box<str>]) -> Result<(), Error> {
        let mut connected: BTreeMap<Box<str>, Vec<&str>> = BTreeMap::new();
        for token in tokens {
            match self.memory.attempts.get(token).map(|running| &running.executor) {
                Some(Executor::Connection(name)) => connected.entry(name.clone()).or_default().push(token),
                _ => self.stop(turn, token)?,
            }
        }
        for (name, tokens) in connected {
            let worker = child(turn, &name)?;
            if let Err(error) = cancel_tokens(turn, &worker, &tokens) {
                tracing::warn!(path = %turn.path(), %error, "a worker was not told to stop");
            }
        }
        Ok(())
    }
}
