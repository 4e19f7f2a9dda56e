//! The protocol by which an object's events are handed to exactly one runner at a time.
//!
//! A slot has no task and no channel. Whoever posts an event into a slot that nobody runs becomes its *runner*: it takes the
//! *body* (the object's memory and sockets) out, runs turns, and puts it back. The check for an empty mailbox and the
//! return of the body happen under the lock that posting takes, so no event is ever left behind; and as there is one
//! body, there is never a second incarnation.
//!
//! [`Core`] is a plain value without locks, tasks or time, so that its protocol can be run under a seeded scheduler.
//!
//! # Why
//! A task and a channel per object cost 1.3 KB and two thread hops per event, and "is the channel empty?" can only be
//! asked after somebody else may have filled it: that race loses messages.

use std::collections::VecDeque;

use crate::limits::{MAILBOX_EVENTS, MAILBOX_RESERVED_EVENTS};
use crate::storage::Seq;

/// Whether an event may be refused when the mailbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Requests and tells: refused at `MAILBOX_EVENTS`.
    Ordinary,
    /// Closes, deletions, and what the edge has bounded already: has room of its own.
    Reserved,
}

/// What became of a posted event.
#[derive(Debug)]
pub(crate) enum Posted<E, B> {
    /// Nobody ran the slot: the caller is its runner now and must run it.
    Run(B),
    /// Somebody runs it and will take the event.
    Queued,
    /// The mailbox is full; the event comes back.
    Full(E),
    /// The slot is no longer in the namespace: look the path up again.
    Gone(E),
}

/// Whether the slot still stands for its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Alive,
    /// It was evicted: nothing was in it.
    Evicted,
    /// A subtree that it belongs to is being deleted: its write set has no number yet.
    Deleting,
    /// It was deleted by this write set.
    Deleted(Seq),
    /// It was to be deleted, but the write set was refused: whatever was in it is read from storage again.
    Dropped,
}

/// What the runner does next.
#[derive(Debug)]
pub(crate) enum Next<E, B> {
    /// Run these events.
    Run(B, Vec<E>),
    /// Nothing to do: the body is back in the slot.
    Rest,
    /// The slot was deleted: these events are to be refused, and the body's sockets closed.
    Dead(B, Vec<E>),
}

#[derive(Debug)]
pub(crate) struct Core<E, B> {
    mailbox: VecDeque<E>,
    /// The body, unless a runner has it.
    body: Option<B>,
    /// Whether the slot has a runner (which may have laid the body down while it waits).
    running: bool,
    life: Life,
    /// The object's last write set: its effects and its next write set queue behind it.
    pub(crate) last_write: Seq,
}

impl<E, B> Core<E, B> {
    pub(crate) fn new(body: B, last_write: Seq) -> Self {
        Self { mailbox: VecDeque::new(), body: Some(body), running: false, life: Life::Alive, last_write }
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// The body, if no runner has it.
    pub(crate) fn body_mut(&mut self) -> Option<&mut B> {
        self.body.as_mut()
    }

    pub(crate) fn post(&mut self, event: E, room: Room) -> Posted<E, B> {
        if self.life != Life::Alive {
            return Posted::Gone(event);
        }
        let bound = match room {
            Room::Ordinary => MAILBOX_EVENTS,
            Room::Reserved => MAILBOX_EVENTS + MAILBOX_RESERVED_EVENTS,
        };
        if self.mailbox.len() >= bound {
            return Posted::Full(event);
        }
        self.mailbox.push_back(event);
        match self.start() {
            Some(body) => Posted::Run(body),
            None => Posted::Queued,
        }
    }

    /// Makes the caller the runner, if there is none.
    pub(crate) fn start(&mut self) -> Option<B> {
        if self.running || self.life != Life::Alive {
            return None;
        }
        let body = self.body.take()?;
        self.running = true;
        Some(body)
    }

    /// The runner asks for its next events, or gives the body back if there are none.
    pub(crate) fn next(&mut self, body: B, most: usize) -> Next<E, B> {
        debug_assert!(self.running);
        if self.life != Life::Alive {
            self.running = false;
            return Next::Dead(body, self.mailbox.drain(..).collect());
        }
        if self.mailbox.is_empty() {
            self.running = false;
            self.body = Some(body);
            return Next::Rest;
        }
        let count = self.mailbox.len().min(most);
        Next::Run(body, self.mailbox.drain(..count).collect())
    }

    /// The runner cannot go on now (storage has no room, an earlier commit is undecided): it lays the body down and stays
    /// responsible; events it has taken go back to the front.
    pub(crate) fn park(&mut self, body: B, mut events: Vec<E>) -> Option<(B, Vec<E>)> {
        debug_assert!(self.running);
        if self.life != Life::Alive {
            self.running = false;
            events.extend(self.mailbox.drain(..));
            return Some((body, events));
        }
        for event in events.into_iter().rev() {
            self.mailbox.push_front(event);
        }
        self.body = Some(body);
        None
    }

    /// Takes up a body that was laid down.
    pub(crate) fn resume(&mut self) -> Option<B> {
        if self.running && self.life == Life::Alive { self.body.take() } else { None }
    }

    /// Whether a runner is at it, and does not wait.
    pub(crate) fn is_running(&self) -> bool {
        self.running && self.body.is_none()
    }

    /// Whether nobody runs it and no event waits: then its memory may go, if its last write is durable.
    pub(crate) fn is_resting(&self) -> bool {
        !self.running && self.mailbox.is_empty() && self.life == Life::Alive
    }

    /// Takes the slot out of service, if it is resting. The caller removes it from the namespace in the same step.
    pub(crate) fn evict(&mut self) -> Option<B> {
        if !self.is_resting() {
            return None;
        }
        let body = self.body.take()?;
        self.life = Life::Evicted;
        Some(body)
    }

    /// Marks the slot dead: from here on nothing of it is written. Gives back the waiting events and the body. If a runner has
    /// that, it finds out by [`Core::next`] or [`Core::life`], and the events are for it: behind those that it has taken.
    pub(crate) fn kill(&mut self) -> (Vec<E>, Option<B>) {
        debug_assert_eq!(self.life, Life::Alive);
        self.life = Life::Deleting;
        let Some(body) = self.body.take() else { return (Vec::new(), None) };
        self.running = false;
        (self.mailbox.drain(..).collect(), Some(body))
    }

    /// Says how the deletion ended.
    pub(crate) fn killed(&mut self, end: Life) {
        debug_assert_eq!(self.life, Life::Deleting);
        self.life = end;
    }
}

#[cfg(test)]
mod tests;
