//! What a runner takes out of a slot: the object's memory and its sockets.

mod sockets;

use std::sync::Arc;

pub(super) use self::sockets::{Joined, Notes, Sockets};
use super::children::Children;
use super::inbox::Mail;
use super::instance::{Definition, Instance};
use super::replies::Pending;
use super::rows::Rows;
use super::session::Close;
use super::tally::Tally;
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
    asleep: Option<Gauge>,
}

/// The object's record and list of children, as of its last turn.
pub(super) struct Stored {
    /// Its state is that of the last run; newer is what the class saved.
    pub(super) record: Record,
    /// What the state counts towards the object's storage.
    pub(super) state_bytes: usize,
    /// Whether the record is in storage, or on its way.
    pub(super) exists: bool,
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
        Self { sockets: Sockets::default(), stored: None, live: None, load_after, asleep: None }
    }

    /// The class is in memory from here on.
    pub(super) fn wake(&mut self, definition: &Arc<Definition>, class: Box<dyn Instance>, saved: Vec<u8>) {
        self.asleep = None;
        let gauge = Gauge::new(&definition.active);
        let (definition, tally) = (Arc::clone(definition), Tally::new(definition));
        self.live = Some(Live { definition, class, saved, tally, _active: gauge });
    }

    /// Gives back the memory, but for the sockets.
    pub(super) fn sleep(&mut self) -> Option<(Option<Stored>, Option<Live>)> {
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
