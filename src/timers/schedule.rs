//! One named schedule: its next tick, whether it runs, and what became of its last firings (AL4).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Spec;
use crate::limits::{SCHEDULE_ERROR_BYTES, SCHEDULE_HISTORY};

/// A named schedule as it stands; it is changed through [`Timers`](super::Timers) only. Times are in ms since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// When it ticks.
    pub spec: Spec,
    /// The next tick; `None` when there is none left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Whether its ticks are held back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// When somebody asked for it to run at once, until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// Since when it runs, until its work is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// How many of its firings lasted beyond its next tick, which was then skipped.
    #[serde(default)]
    pub overlaps: u64,
    /// Its last firings, the oldest first.
    #[serde(default)]
    pub history: VecDeque<Firing>,
}

/// A firing that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// When it began, in ms since the epoch.
    pub at: u64,
    /// How long it took, in ms.
    pub took: u64,
    /// How it failed, if it did: at most 256 bytes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}

/// A firing that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// For when it was due, in ms since the epoch.
    pub due: u64,
    /// When it began, in ms since the epoch: by this [`Timers::finish`](super::Timers::finish) knows it.
    pub started: u64,
}

/// How a firing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Well.
    Done,
    /// With an error; ticks are not retried.
    Failed(&'a str),
    /// Its server went away. A tick that fell due meanwhile was missed and not skipped: it fires.
    Interrupted,
}

impl Schedule {
    pub(super) fn new(spec: Spec, now: u64) -> Self {
        let next = spec.first(now);
        let history = VecDeque::new();
        Self { spec, next, paused: false, asked: None, running: None, overlaps: 0, history }
    }

    /// Takes a newer specification; the rest stays as it is.
    pub(super) fn respecify(&mut self, spec: Spec, now: u64) {
        self.next = spec.first(now);
        self.spec = spec;
    }

    /// When it fires next, if nothing changes. While it runs that is open: what falls due is skipped.
    pub(super) fn wake(&self) -> Option<u64> {
        let tick = self.next.filter(|_| !self.paused);
        let wake = [self.asked, tick].into_iter().flatten().min();
        wake.filter(|_| self.running.is_none())
    }

    /// Whether it will never fire again on its own.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none() && self.asked.is_none() && self.running.is_none()
    }

    /// When its last firing began; 0 if it had none.
    pub(super) fn last(&self) -> u64 {
        self.history.back().map_or(0, |firing| firing.at)
    }

    pub(super) fn begin(&mut self, now: u64) -> Option<Tick> {
        let due = self.wake().filter(|due| *due <= now)?;
        self.asked = None;
        if !self.paused {
            self.pass(now);
        }
        self.running = Some(now);
        Some(Tick { due, started: now })
    }

    pub(super) fn finish(&mut self, started: u64, now: u64, outcome: Outcome<'_>) {
        self.running = None;
        let error = match outcome {
            Outcome::Done => None,
            Outcome::Failed(text) => Some(&text[..text.floor_char_boundary(SCHEDULE_ERROR_BYTES)]),
            Outcome::Interrupted => Some("interrupted"),
        };
        if self.history.len() == SCHEDULE_HISTORY {
            self.history.pop_front();
        }
        let took = now.saturating_sub(started);
        self.history.push_back(Firing { at: started, took, error: error.map(Into::into) });
        // What fell due in a pause is `resume`'s affair.
        if outcome != Outcome::Interrupted && !self.paused && self.skip(now) {
            self.overlaps += 1;
        }
    }

    pub(super) fn resume(&mut self, now: u64) {
        self.paused = false;
        self.skip(now);
    }

    /// Leaves out the ticks up to `now`, and says whether there were any. The only tick of a schedule is not left out.
    fn skip(&mut self, now: u64) -> bool {
        !self.spec.is_once() && self.pass(now)
    }

    /// Goes on to the tick after `now`, and says whether that is another one.
    fn pass(&mut self, now: u64) -> bool {
        let Some(tick) = self.next.filter(|tick| *tick <= now) else { return false };
        self.next = self.spec.next(tick, now);
        true
    }
}
