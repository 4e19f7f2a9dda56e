//! Tasks to the worker.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::WorkerConnection;
use super::frames::{self, Cancel};
use super::session::{OPEN, READY, ready_session, what_is_taken};
use crate::limits::CONNECTION_LOOK_MS;
use crate::object::{Error, Turn, json};

/// What the worker has been given.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    by_token: BTreeMap<Box<str>, Task>,
    /// The last one whose progress was told: the others come first.
    told: Box<str>,
}

/// A task that the worker runs.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// Its id, where this object knows it.
    id: Option<Box<str>>,
    /// The newest word of how far it is, if the manager does not have it.
    pub(super) progress: Option<Box<RawValue>>,
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
        self.by_token.iter().map(|(token, task)| task.id.as_deref().unwrap_or(token))
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.by_token.keys().map(|token| &**token)
    }

    pub(super) fn clear(&mut self) {
        self.by_token.clear();
    }

    pub(super) fn get_mut(&mut self, token: &str) -> Option<&mut Task> {
        self.by_token.get_mut(token)
    }

    /// A task is over.
    pub(super) fn end(&mut self, token: &str) {
        self.by_token.remove(token);
    }

    /// The worker runs these and no others.
    pub(super) fn are(&mut self, running: Vec<Box<str>>) {
        let mut before = std::mem::take(&mut self.by_token);
        self.by_token =
            running.into_iter().map(|token| (before.remove(&token).unwrap_or_default(), token)).map(swap).collect();
    }

    /// Takes out how far tasks are, where the manager does not know it: as much as fits, and the other tasks are the first the
    /// next time.
    pub(super) fn take_progress(&mut self, most: usize) -> Vec<Box<RawValue>> {
        let told = std::mem::take(&mut self.told);
        let behind = self.by_token.range::<str, _>((Bound::Excluded(&*told), Bound::Unbounded));
        let before = self.by_token.range::<str, _>((Bound::Unbounded, Bound::Included(&*told)));
        let mut bytes = 0;
        let tokens: Vec<Box<str>> = behind
            .chain(before)
            .filter_map(|(token, task)| Some((token, task.progress.as_ref()?.get().len())))
            .take_while(|(_, length)| {
                bytes += length;
                bytes == *length || bytes <= most
            })
            .map(|(token, _)| token.clone())
            .collect();
        self.told = tokens.last().cloned().unwrap_or(told);
        tokens.iter().filter_map(|token| self.by_token.get_mut(token)?.progress.take()).collect()
    }

    /// When to look again while the worker runs something: an object that waits does not sleep, and this one would forget
    /// what it is.
    pub(super) fn keep_awake(&self, now: u64) -> Option<u64> {
        (!self.by_token.is_empty()).then(|| now + CONNECTION_LOOK_MS)
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
                if self.tasks.by_token.len() >= room && !self.tasks.by_token.contains_key(&*head.token) {
                    continue;
                }
                let given = Task { id: Some((&*head.task_id).into()), progress: None };
                self.tasks.by_token.insert((&*head.token).into(), given);
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
        let task = self.tasks.by_token.remove(token);
        let task_id = task.as_ref().and_then(|task| task.id.as_deref());
        let to = if turn.sockets_tagged(READY).is_empty() { OPEN } else { READY };
        turn.send_tagged(to, frames::frame("cancel", &Cancel { task_id, token }));
    }
}
