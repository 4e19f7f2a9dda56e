//! Errands: what a turn wants other objects to hear, or work to be done, once its commit is durable.
//!
//! Each slot has one queue of them, in the order of its turns. An errand never runs another object's turn: its caller is
//! in the middle of something else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use prometheus::IntCounter;
use serde_json::value::RawValue;

use super::Error;
use super::deferred::{Asked, Asker};
use super::deletion::Ended;
use super::event::Event;
use super::faults::{Delivery, Fault};
use super::jobs::Assignment;
use super::namespace::{Inner, Slot};
use super::slot::{Life, Posted};
use crate::limits::{ERRANDS, FAN_OUT_CHUNK};
use crate::path::ObjectPath;
use crate::protocol::Frame;
use crate::storage::{Outcome, Seq};

/// What is to be done behind a commit.
pub(crate) enum Errand {
    /// A frame for the sockets of these objects.
    Frame(Vec<Arc<Slot>>, Frame),
    /// A message, at most once.
    Tell { to: ObjectPath, message: Box<RawValue> },
    /// A message waits in the inbox of this object.
    Mail(ObjectPath),
    /// Messages of the object's own inbox were handled.
    Handled,
    /// What became of the message to this object is not known.
    Missed(ObjectPath),
    /// What became of the object's own inbox is not known.
    Unread,
    /// A call of another object.
    Call { to: ObjectPath, method: Box<str>, payload: Box<RawValue>, asked: Asked },
    /// The answer to a call of another object.
    Answer(Asked, Result<Vec<u8>, Error>),
    /// The answer under this number is owed from now on.
    Owe(u64),
    /// The answer that was owed under this number.
    Pay(u64, Result<Vec<u8>, Error>),
    /// A job.
    Start(Assignment),
    /// A job is not wanted any more.
    Cancel(u64),
    /// A class counts so many.
    Count(IntCounter, u64),
    /// A subtree is deleted, and with it this.
    Ended(Ended),
    /// It is not, and with it nothing.
    Spared(Ended),
}

impl Errand {
    /// What becomes of it when its turn could not be committed.
    pub(crate) fn failed(self, error: &Error) -> Option<Self> {
        match self {
            Self::Mail(to) | Self::Missed(to) => Some(Self::Missed(to)),
            Self::Handled | Self::Unread => Some(Self::Unread),
            Self::Answer(asked, _) => Some(Self::Answer(asked, Err(error.clone()))),
            Self::Ended(ended) | Self::Spared(ended) => Some(Self::Spared(ended)),
            Self::Owe(id) | Self::Pay(id, _) => Some(Self::Pay(id, Err(error.clone()))),
            // What would wait for their answers was not committed either.
            Self::Frame(..)
            | Self::Tell { .. }
            | Self::Call { .. }
            | Self::Start(_)
            | Self::Cancel(_)
            | Self::Count(..) => None,
        }
    }

    /// Whether it may be dropped when too many wait.
    fn may_be_dropped(&self) -> bool {
        matches!(self, Self::Frame(..) | Self::Tell { .. })
    }
}

/// What became of an event that was posted without running it.
pub(super) enum Aside {
    Taken,
    Full(Event),
    Gone(Event),
}

/// The errands of one slot that wait for their commits, in order.
#[derive(Default)]
pub(super) struct Errands {
    waiting: VecDeque<(Seq, Errand)>,
    /// Whether somebody is doing them: one at a time does, so that their order stays.
    busy: bool,
}

impl Inner {
    /// Queues an errand of a slot behind its commit.
    pub(super) fn errand(self: &Arc<Self>, slot: &Arc<Slot>, seq: Seq, errand: Errand) {
        {
            let mut errands = slot.errands.lock();
            if errands.waiting.len() >= ERRANDS && errand.may_be_dropped() {
                self.metrics.overloaded.inc();
                return;
            }
            errands.waiting.push_back((seq, errand));
            if errands.waiting.len() > 1 {
                return;
            }
        }
        self.do_errands(slot);
    }

    /// Does the errands of a slot whose commits are decided, and comes back for the others.
    pub(super) fn do_errands(self: &Arc<Self>, slot: &Arc<Slot>) {
        let mut mine = false;
        loop {
            let errand = {
                let mut errands = slot.errands.lock();
                if errands.busy && !mine {
                    return;
                }
                let outcome = errands
                    .waiting
                    .front()
                    .map_or(Outcome::Pending, |(seq, _)| self.storage.wait(*seq, &Waker::from(Arc::clone(slot))));
                mine = outcome != Outcome::Pending;
                errands.busy = mine;
                match outcome {
                    Outcome::Pending => return,
                    Outcome::Durable => errands.waiting.pop_front().map(|(_, errand)| errand),
                    Outcome::Failed(error) => {
                        errands.waiting.pop_front().and_then(|(_, errand)| errand.failed(&error.into()))
                    }
                }
            };
            // The lock is not held: what is done may bring an errand back.
            match errand {
                // It goes on in a task, which comes back here.
                Some(Errand::Frame(to, frame)) if to.len() > FAN_OUT_CHUNK => return self.fan_out(slot, to, frame),
                Some(errand) => self.run_errand(slot, errand),
                None => {}
            }
        }
    }

    fn run_errand(self: &Arc<Self>, slot: &Arc<Slot>, errand: Errand) {
        match errand {
            Errand::Frame(to, frame) => to.iter().for_each(|slot| self.forward(slot, frame.clone())),
            Errand::Tell { to, message } => {
                let sender = slot.path.clone();
                let lost = self.services.faults.of(Delivery::Tell) == Some(Fault::Lost);
                if lost || self.post_aside(&to, Event::Tell { sender, message }).is_some() {
                    self.metrics.overloaded.inc();
                }
            }
            Errand::Mail(to) => self.notify(&to),
            Errand::Missed(to) => self.undelivered.look_at(&to),
            Errand::Unread => self.undelivered.look_at(&slot.path),
            Errand::Call { to, method, payload, asked } => {
                let asker = Asker::Object(asked);
                let refused = self.post_aside(&to, Event::Call { method, payload, asker });
                if let Some(Event::Call { asker: Asker::Object(asked), .. }) = refused {
                    self.metrics.overloaded.inc();
                    self.reply(&asked, Err(Error::overloaded(&to)));
                }
            }
            Errand::Answer(asked, result) => self.reply(&asked, result),
            // They are for a commit that fails.
            Errand::Handled | Errand::Owe(_) => {}
            Errand::Pay(id, result) => {
                if let Some(asker) = self.deferred.take(&slot.path, id) {
                    self.pay(asker, result);
                }
            }
            Errand::Start(assignment) => {
                // A slot that was evicted has an object still; one that was deleted has none.
                if matches!(slot.core.lock().life(), Life::Alive | Life::Evicted) {
                    self.start(slot, assignment);
                }
            }
            Errand::Cancel(id) => self.jobs.cancel(&slot.path, id),
            Errand::Count(counter, by) => counter.inc_by(by),
            Errand::Ended(ended) => self.end(ended),
            Errand::Spared(ended) => self.spare(ended),
        }
    }

    /// Answers whoever waits for an answer that was owed.
    pub(super) fn pay(self: &Arc<Self>, to: Asker, result: Result<Vec<u8>, Error>) {
        match to {
            // What it tells is durable already. Whoever asked may be gone; then nobody waits for the answer.
            Asker::Edge(reply, _) => drop(reply.send((Seq::NONE, result))),
            Asker::Object(asked) => self.reply(&asked, result),
        }
    }

    /// Tells an object what came of what it asked for. Its room is reserved; should even that be full, time runs out.
    pub(super) fn reply(self: &Arc<Self>, asked: &Asked, result: Result<Vec<u8>, Error>) {
        self.repeat_answer(asked, &result);
        let event = Event::Replied(vec![(asked.id, result)]);
        if self.post_aside(&asked.caller, event).is_some() {
            tracing::error!(path = %asked.caller, "an answer was dropped: the mailbox is full to the last place");
        }
    }

    /// As [`Inner::reply`], from a task that has nothing else to do: the object's turn is run right here.
    pub(super) fn reply_here(self: &Arc<Self>, asked: &Asked, result: Result<Vec<u8>, Error>) {
        self.repeat_answer(asked, &result);
        self.post(&asked.caller, Event::Replied(vec![(asked.id, result)]));
    }

    fn repeat_answer(self: &Arc<Self>, asked: &Asked, result: &Result<Vec<u8>, Error>) {
        if let Some(Fault::Again(after)) = self.services.faults.of(Delivery::Answer) {
            let (to, again) = (asked.caller.clone(), Event::Replied(vec![(asked.id, result.clone())]));
            self.repeat(after, move |namespace| drop(namespace.post_aside(&to, again)));
        }
    }

    /// Posts an event to a path without ever running its turn here; the event comes back if the mailbox is full.
    pub(super) fn post_aside(self: &Arc<Self>, path: &ObjectPath, mut event: Event) -> Option<Event> {
        loop {
            let slot = self.slot(path);
            match self.post_to(&slot, event) {
                Aside::Taken => return None,
                Aside::Full(back) => return Some(back),
                Aside::Gone(back) => {
                    self.forget(&slot);
                    event = back;
                }
            }
        }
    }

    /// Posts an event to a slot; somebody else runs its turn.
    pub(super) fn post_to(self: &Arc<Self>, slot: &Arc<Slot>, event: Event) -> Aside {
        let posted = self.put(slot, &mut slot.core.lock(), event);
        match posted {
            Posted::Queued => Aside::Taken,
            Posted::Run(body) => {
                let (namespace, slot) = (Arc::clone(self), Arc::clone(slot));
                self.spawn(async move { namespace.run(&slot, body) });
                Aside::Taken
            }
            Posted::Full(event) => Aside::Full(event),
            Posted::Gone(event) => Aside::Gone(event),
        }
    }

    /// Posts a frame to the sockets of a slot; it is dropped when the mailbox is full or the slot is gone.
    pub(super) fn forward(self: &Arc<Self>, slot: &Arc<Slot>, frame: Frame) {
        if let Aside::Full(_) = self.post_to(slot, Event::Forward(frame)) {
            self.metrics.overloaded.inc();
        }
    }

    /// Posts a frame to many slots, letting others run in between. Until it is done no other errand of the slot is.
    fn fan_out(self: &Arc<Self>, from: &Arc<Slot>, to: Vec<Arc<Slot>>, frame: Frame) {
        let (namespace, from) = (Arc::clone(self), Arc::clone(from));
        self.spawn(async move {
            for chunk in to.chunks(FAN_OUT_CHUNK) {
                for slot in chunk {
                    namespace.forward(slot, frame.clone());
                }
                tokio::task::yield_now().await;
            }
            from.errands.lock().busy = false;
            namespace.do_errands(&from);
        });
    }
}
