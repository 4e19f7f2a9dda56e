//! Who runs a slot, and for how long: until its mailbox is empty, storage makes it wait, or it has had its share.
//!
//! The edge runs the turns of the events it brought in; everybody else's run in tasks of their own. A slot that must wait
//! keeps its runner's place: its body lies in the slot until the waker takes it up again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::body::Body;
use super::commit::Run;
use super::event::Event;
use super::namespace::{Inner, Slot};
use super::replies::gather;
use super::slot::Next;
use crate::limits::{RUN_TIME, TURNS_PER_RUN};
use crate::storage::{Outcome, Seq};

impl Inner {
    /// Runs a slot whose runner the caller has become, until its mailbox is empty, it must wait for storage, or it has had
    /// its share.
    pub(super) fn run(self: &Arc<Self>, slot: &Arc<Slot>, body: Box<Body>) {
        let long = body.live.as_ref().is_some_and(|live| live.definition.is_long());
        if long
            && tokio::runtime::Handle::try_current()
                .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
        {
            tokio::task::block_in_place(|| self.run_share(slot, body));
        } else {
            self.run_share(slot, body);
        }
    }

    fn run_share(self: &Arc<Self>, slot: &Arc<Slot>, mut body: Box<Body>) {
        self.pulse.beat();
        let mut turns = 0;
        loop {
            if turns >= TURNS_PER_RUN {
                if self.park(slot, body, Vec::new()) {
                    self.reschedule(slot);
                }
                return;
            }
            let waker = Waker::from(Arc::clone(slot));
            if !self.storage.admit(&waker) {
                let Some(taken) = self.park_until(slot, body, Vec::new(), || self.storage.admit(&waker)) else {
                    return;
                };
                body = taken;
            }
            let (leaving, waits) = (body.is_leaving(), body.waits());
            let next = slot.core.lock().next(body, TURNS_PER_RUN - turns);
            Self::wake_waiting(slot);
            match next {
                // The answer that it waits for brings another run.
                Next::Rest if waits => return,
                // Looking at a path leaves nothing behind, not even memory.
                Next::Rest if leaving => return self.leave(slot),
                Next::Rest => return self.idle.touch(slot),
                Next::Dead(body, events) => {
                    let end = self.end_of(slot);
                    self.bury(slot, events, Some(body), end);
                    return;
                }
                Next::Run(taken, events) => {
                    turns += events.len();
                    match self.run_events(slot, taken, events, &waker) {
                        Some(taken) => body = taken,
                        None => return,
                    }
                }
            }
        }
    }

    /// Lays the body down; answers whether the slot still lives.
    fn park(self: &Arc<Self>, slot: &Arc<Slot>, body: Box<Body>, events: Vec<Event>) -> bool {
        let dead = slot.core.lock().park(body, events);
        let Some((body, events)) = dead else { return true };
        let end = self.end_of(slot);
        self.bury(slot, events, Some(body), end);
        false
    }

    /// Lays the body down until `ready`, which has a waker registered when it says no. The body comes back if that was at
    /// once and nobody else has taken it up.
    fn park_until(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: Box<Body>,
        events: Vec<Event>,
        ready: impl FnOnce() -> bool,
    ) -> Option<Box<Body>> {
        // Asked again after the body lies there: a wake-up between the two would have found nothing to take up.
        if self.park(slot, body, events) && ready() { slot.core.lock().resume() } else { None }
    }

    /// Runs these events; the body comes back unless the slot waits for storage.
    fn run_events(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        mut body: Box<Body>,
        events: Vec<Event>,
        waker: &Waker,
    ) -> Option<Box<Body>> {
        let mut events = VecDeque::from(events);
        let mut run = Run::new(&slot.path);
        let mut started = run.now;
        self.forget_failed(slot, &mut body);
        if let Some(stored) = &mut body.stored {
            stored.rows.trim(&self.storage);
        }
        while let Some(mut event) = events.pop_front() {
            if let Event::Replied(answers) = &mut event {
                gather(&body, answers, &mut events);
            }
            if matches!(event, Event::Delete { .. }) {
                // What came before it has a lower number, and is deleted with the rest.
                self.commit(slot, &mut body, &mut run);
                self.forget_failed(slot, &mut body);
            }
            if event.needs_stored() && body.stored.is_none() && self.must_wait(&body, waker) {
                self.commit(slot, &mut body, &mut run);
                events.push_front(event);
                let after = body.load_after;
                let decided = || self.storage.wait(after, waker) != Outcome::Pending;
                return self.park_until(slot, body, events.into(), decided);
            }
            if let Some(event) = self.handle(slot, &mut body, &mut run, event) {
                events.push_front(event);
            }
            if run.is_full() || (!events.is_empty() && run.now - started > RUN_TIME) {
                self.commit(slot, &mut body, &mut run);
                self.forget_failed(slot, &mut body);
                started = run.now;
            }
        }
        self.commit(slot, &mut body, &mut run);
        Some(body)
    }

    fn must_wait(&self, body: &Body, waker: &Waker) -> bool {
        self.storage.outcome(body.load_after) == Outcome::Pending
            && self.storage.wait(body.load_after, waker) == Outcome::Pending
    }

    /// If the last write failed, what is in memory may never have happened: it is read anew.
    fn forget_failed(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body) {
        let mut core = slot.core.lock();
        if let Outcome::Failed(_) = self.storage.outcome(core.last_write) {
            core.last_write = Seq::NONE;
            drop(core);
            self.reset(slot, body);
        } else {
            drop(core);
        }
        body.sockets.forget_failed(|seq| self.storage.outcome(seq));
    }
}
