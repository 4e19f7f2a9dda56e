//! Tasks to the worker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::WorkerConnection;
use super::frames::{self, Cancel};
use super::session::{OPEN, READY, ready_session, what_is_taken};
use crate::limits::CONNECTION_LOOK_MS;
use crate::object::{Error, Turn, json};

/// What the worker has been given, by token.
#[derive(Debug, Default)]
pub(super) struct Tasks(BTreeMap<Box<str>, Task>);

/// A task that the worker runs.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// Its id, where this object knows it.
    id: Option<Box<str>>,
    pub(super) progress: Progress,
}

/// What the manager is told of how far a task is: one word at a time, and then the newest.
#[derive(Debug, Default)]
pub(super) enum Progress {
    #[default]
    Told,
    BeingTold,
    Newer(Box<RawValue>),
}

#[derive(Deserialize)]
struct Assign<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(borrow)]
    token: Cow<'a, str>,
}

#[derive(Serialize)]
struct Accepted<'a> {
    accepted: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Tokens<'a> {
    #[serde(borrow)]
    tokens: Vec<Cow<'a, str>>,
}

impl Tasks {
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(token, task)| task.id.as_deref().unwrap_or(token))
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|token| &**token)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn get_mut(&mut self, token: &str) -> Option<&mut Task> {
        self.0.get_mut(token)
    }

    /// A task is over.
    pub(super) fn end(&mut self, token: &str) {
        self.0.remove(token);
    }

    /// The worker runs these and no others.
    pub(super) fn are(&mut self, running: Vec<Box<str>>) {
        let mut before = std::mem::take(&mut self.0);
        self.0 =
            running.into_iter().map(|token| (before.remove(&token).unwrap_or_default(), token)).map(swap).collect();
    }

    /// When to look again while the worker runs something: an object that waits does not sleep, and this one would forget
    /// what it is.
    pub(super) fn keep_awake(&self, now: u64) -> Option<u64> {
        (!self.0.is_empty()).then(|| now + CONNECTION_LOOK_MS)
    }
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

impl WorkerConnection {
    /// Hands tasks to the worker; what it has no room for is not accepted.
    pub(super) fn assign(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let Assign { tasks } = frames::parse(payload)?;
        let heads = tasks.iter().map(|task| frames::parse::<Head<'_>>(task)).collect::<Result<Vec<_>, _>>()?;
        let room = what_is_taken(turn).map_or(0, |ready| usize::try_from(ready.capacity).unwrap_or(usize::MAX));
        let mut accepted = Vec::with_capacity(heads.len());
        if let Some(socket) = ready_session(turn) {
            for (task, head) in tasks.iter().zip(&heads) {
                if self.tasks.0.len() >= room && !self.tasks.0.contains_key(&*head.token) {
                    continue;
                }
                let given = Task { id: Some((&*head.task_id).into()), progress: Progress::Told };
                self.tasks.0.insert((&*head.token).into(), given);
                turn.send_frame(socket, frames::frame("task", *task));
                accepted.push(&*head.token);
            }
        }
        if let Some(next) = self.tasks.keep_awake(turn.now()) {
            self.wake_at(turn, next);
        }
        json(&Accepted { accepted })
    }

    /// The manager does not want these any more.
    pub(super) fn cancel_tasks(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let Tokens { tokens } = frames::parse(payload)?;
        for token in tokens {
            self.cancel(turn, &token);
        }
        json(&())
    }

    /// Tells the worker that nobody wants this any more.
    pub(super) fn cancel(&mut self, turn: &mut Turn<'_>, token: &str) {
        let task = self.tasks.0.remove(token);
        let task_id = task.as_ref().and_then(|task| task.id.as_deref());
        let to = if turn.sockets_tagged(READY).is_empty() { OPEN } else { READY };
        turn.send_tagged(to, frames::frame("cancel", &Cancel { task_id, token }));
    }
}
