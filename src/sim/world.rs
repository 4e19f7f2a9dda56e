//! What the check of a simulation looks at.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::client::Client;
use super::life::Life;
use super::{Outcome, Step};
use crate::path::ObjectPath;
use crate::protocol::Closed;

/// What a check looks at: the server after everything has come to rest, and what was said on the way.
pub struct World<'a> {
    pub(super) life: &'a Life,
    pub(super) steps: &'a [Step],
    pub(super) outcomes: &'a BTreeMap<usize, Outcome>,
    pub(super) clients: &'a Mutex<BTreeMap<u32, Client>>,
}

impl World<'_> {
    /// Calls a method now.
    ///
    /// # Errors
    /// What the object answers, as text.
    pub fn call<T: Serialize>(&self, path: &str, method: &str, payload: T) -> Result<Value, String> {
        let payload = to_raw_value(&payload).map_err(|error| error.to_string())?;
        let path = ObjectPath::parse(path).map_err(|error| error.to_string())?;
        let answer = self.life.finish(self.life.namespace.call(&path, method, payload))?;
        let answer = answer.map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }

    /// The paths that exist at and below one, in order.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn objects(&self, prefix: &str) -> Result<Vec<String>, String> {
        let prefix = ObjectPath::parse(prefix).map_err(|error| error.to_string())?;
        let listed = self.life.namespace.list(&prefix, None, usize::MAX).map_err(|error| error.to_string())?;
        Ok(listed.into_iter().map(|object| object.path).collect())
    }

    /// Every call and deletion that was made, with what came of it.
    pub fn history(&self) -> impl Iterator<Item = (&Step, &Outcome)> {
        self.outcomes.iter().map(|(index, outcome)| (&self.steps[*index], outcome))
    }

    /// Every step in order, and of a call or a deletion what came of it. Behind [`Step::Settle`] and [`Step::Crash`] whatever
    /// was asked before has ended.
    pub fn timeline(&self) -> impl Iterator<Item = (&Step, Option<&Outcome>)> {
        self.steps.iter().enumerate().map(|(index, step)| (step, self.outcomes.get(&index)))
    }

    /// How many calls and deletions were made.
    pub fn asked(&self) -> usize {
        self.outcomes.len()
    }

    /// The answers to those that were acknowledged.
    pub fn answers(&self) -> impl Iterator<Item = (&Step, &Value)> {
        self.history().filter_map(|(step, outcome)| match outcome {
            Outcome::Answered(answer) => Some((step, answer)),
            Outcome::Refused(_) | Outcome::Unknown => None,
        })
    }

    /// The frames that a client has read of the socket it opened last, and the code it was closed with.
    pub fn frames(&self, client: u32) -> (Vec<String>, Option<u16>) {
        let read = |client: &Client| (client.frames.clone(), client.closed.as_ref().map(|closed| closed.code));
        self.client(client, read).unwrap_or_default()
    }

    /// How the socket ended that a client opened last, by whichever side; `None` while it is open, and after it vanished.
    pub fn closed(&self, client: u32) -> Option<Closed> {
        self.client(client, |client| client.closed.clone()).flatten()
    }

    fn client<T>(&self, client: u32, look: impl FnOnce(&Client) -> T) -> Option<T> {
        let mut clients = self.clients.lock();
        let client = clients.get_mut(&client)?;
        let _context = self.life.runtime.enter();
        client.read();
        Some(look(client))
    }
}
