//! What a runner takes out of a slot: the object's memory and its sockets.

mod sockets;

use std::sync::Arc;

pub(super) use self::sockets::{Joined, Notes, Sockets};
use super::children::Children;
use super::inbox::Mail;
use super::instance::{Definition, Instance};
use super::registry::ClassNumber;
use super::replies::Pending;
use super::rows::Rows;
use super::session::Close;
use super::tally::Tally;
use super::timeouts::Timeout;
use crate::storage::{Record, Seq};
use crate::timers::Timers;

pub(crate) struct Body {
    pub(super) sockets: Sockets,
    /// What is known of storage; goes when the object hibernates.
    pub(super) stored: Option<Stored>,
    /// The class's value; goes when the object hibernates, or panics.
    pub(super) live: Option<Live>,
    /// Storage may be read only once this write set is decided: an earlier incarnation wrote it.
    pub(super) load_after: Seq,
    /// The class that a caller named for the object, should nothing be stored of it.
    pub(super) spawned: Option<ClassNumber>,
    /// Whether the last turn wants the memory given back at once.
    pub(super) leaving: bool,
    /// When the first answer of those that are waited for in memory is due.
    pub(super) timeout: Option<Timeout>,
    asleep: Option<Gauge>,
}

/// The object's record and list of children, as of its last turn.
pub(super) struct Stored {
    /// Its state is that of the last run; newer is what the class saved.
    pub(super) record: Record,
    /// What the state counts towards the object's storage.
    pub(super) state_bytes: usize,
    /// Whether the record is in storage, or on its way; in memory alone, whether the value was ever changed.
    pub(super) exists: bool,
    /// Up to which of the [`Choices`](super::choices::Choices) its class is right.
    pub(super) looked: u64,
    /// Whether nothing of the object is ever written.
    pub(super) in_memory: bool,
    pub(super) children: Option<Children>,
    pub(super) rows: Rows,
    pub(super) mail: Mail,
    pub(super) pending: Pending,
    pub(super) timers: Timers,
    /// Rows of the runtime that the record counts.
    pub(super) runtime_rows: u64,
    /// The earliest time at which the object is to be woken, as of its last run.
    pub(super) wake: Option<u64>,
}

/// An activated class.
pub(super) struct Live {
    pub(super) definition: Arc<Definition>,
    pub(super) class: Box<dyn Instance>,
    /// Its encoded value after the last turn that succeeded: what a failed turn goes back to.
    pub(super) saved: Vec<u8>,
    pub(super) tally: Tally,
    _active: Gauge,
}

/// One in a gauge, for as long as it lives.
struct Gauge(prometheus::IntGauge);

impl Gauge {
    fn new(gauge: &prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Body {
    pub(super) fn new(load_after: Seq) -> Self {
        Self {
            sockets: Sockets::default(),
            stored: None,
            live: None,
            load_after,
            spawned: None,
            leaving: false,
            timeout: None,
            asleep: None,
        }
    }

    /// The class is in memory from here on.
    pub(super) fn wake(&mut self, definition: &Arc<Definition>, class: Box<dyn Instance>, saved: Vec<u8>) {
        self.asleep = None;
        let gauge = Gauge::new(&definition.active);
        let (definition, tally) = (Arc::clone(definition), Tally::new(definition));
        self.live = Some(Live { definition, class, saved, tally, _active: gauge });
    }

    /// Whether the memory may go as soon as the object rests: it was only looked at, or its class says so.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving || self.stored.as_ref().is_some_and(|stored| !stored.exists)
    }

    /// Whether it waits for an answer that only its memory knows of.
    pub(super) fn waits(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.pending.waits_in_memory())
    }

    /// Takes the class that a caller names, unless there is an object already.
    pub(super) fn spawn(&mut self, class: Option<ClassNumber>) {
        if class.is_some() && self.stored.is_none() && self.sockets.all().is_empty() && !self.sockets.any_gone() {
            self.spawned = class;
        }
    }

    /// Gives back the memory, but for the sockets.
    pub(super) fn sleep(&mut self) -> Option<(Option<Stored>, Option<Live>)> {
        (self.leaving, self.timeout) = (false, None);
        let (stored, live) = (self.stored.take(), self.live.take());
        if let Some(live) = live.as_ref().filter(|_| !self.sockets.is_empty()) {
            self.asleep = Some(Gauge::new(&live.definition.asleep));
        }
        (stored.is_some() || live.is_some()).then_some((stored, live))
    }

    /// The end of a slot: its sockets close once the write set is durable.
    pub(super) fn close(self, seq: Seq, close: &Close) {
        for session in self.sockets.all() {
            session.close(seq, close.clone());
        }
    }
}
