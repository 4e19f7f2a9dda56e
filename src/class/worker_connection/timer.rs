//! What is due in memory: a socket that does not say who it is, a report that was refused.
//!
//! # Why
//! It is a question to itself that nobody answers, until its time is over. The object's alarm would be written, and an
//! object that has an alarm exists: then every stranger who opens a socket and says nothing would leave an object behind.

use serde_json::value::RawValue;

use super::WorkerConnection;
use super::reports::Note;
use crate::object::{Ask, Error, Turn, json, read};

/// What this object asks itself.
pub(super) const METHOD: &str = "wait";

/// When this object looks next at what is due.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<u64>);

impl WorkerConnection {
    /// Sees to it that it is looked then at what is due, or before.
    pub(super) fn wake_at(&mut self, turn: &mut Turn<'_>, at: u64) {
        if self.timer.0.is_some_and(|due| due <= at) {
            return;
        }
        let wait = at.saturating_sub(turn.now()).max(1);
        let path = turn.path().clone();
        match turn.call(&path, METHOD, &wait, Ask::new().in_memory().timeout(wait).note(&Note::Wake(at))) {
            Ok(_) => self.timer.0 = Some(at),
            Err(error) => tracing::warn!(%path, %error, "a worker's connection cannot wait"),
        }
    }

    /// A wait is over.
    pub(super) fn woken(&mut self, turn: &mut Turn<'_>, at: u64) {
        if self.timer.0 == Some(at) {
            self.timer.0 = None;
        }
        self.look(turn);
    }

    /// Does what is due, and sees to what will be.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>) {
        let strangers = self.end_strangers(turn).unwrap_or_else(|error| {
            tracing::warn!(path = %turn.path(), %error, "a socket cannot be closed");
            None
        });
        let reports = self.report_again(turn);
        if let Some(next) = strangers.into_iter().chain(reports).chain(self.tasks.keep_awake(turn.now())).min() {
            self.wake_at(turn, next);
        }
    }
}

/// Lets this object wait for itself.
pub(super) fn wait(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    turn.defer_for(read(payload)?).map(drop)?;
    json(&())
}
