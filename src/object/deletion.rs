//! Deleting a subtree, with live objects in it, in one atomic and durable step.
//!
//! The gate is held alone while every live object of the subtree is marked dead and the tombstone gets its number: whatever
//! they wrote before has a lower number and is dead with them, and whatever comes to life afterwards has a higher one.

use std::collections::btree_set::{BTreeSet, Range};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Error;
use super::body::Body;
use super::deferred::Debt;
use super::errand::Errand;
use super::event::{Effect, Event};
use super::namespace::{Inner, Slot};
use super::slot::Life;
use crate::path::ObjectPath;
use crate::storage::{Child, CommitError, Seq, WriteSet};

/// What ends with a subtree, once it is known that it is deleted.
#[derive(Default)]
pub(crate) struct Ended {
    /// Answers that its objects owe.
    owed: Vec<Debt>,
    jobs: Vec<(ObjectPath, u64)>,
}

impl Inner {
    /// A deletion is durable.
    pub(super) fn end(self: &Arc<Self>, ended: Ended) {
        for debt in ended.owed {
            self.pay(debt.owed.asker, Err(Error::deleted()));
        }
        for (path, id) in ended.jobs {
            self.jobs.cancel(&path, id);
        }
    }

    /// A deletion has failed: what its objects owe they owe still, and the messages to them are there again.
    pub(super) fn spare(self: &Arc<Self>, ended: Ended) {
        for debt in self.deferred.put_back(ended.owed) {
            self.pay(debt.owed.asker, Err(Error::stopping()));
        }
        if let Some(first) = self.deferred.first() {
            self.timeouts.note(first);
        }
        self.undelivered.look_at_all();
    }

    /// Whether any object of a subtree is in memory.
    pub(super) fn is_live(&self, subtree: &ObjectPath) -> bool {
        let index = self.index.lock();
        range_of(&index, subtree).next().is_some()
    }

    /// Commits a write set that deletes subtrees, and takes every live object in them out of service in the same step.
    /// Answers the number to wait for, or `None` when the slot itself is dead.
    pub(super) fn commit_deletion(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        set: WriteSet,
    ) -> Option<Result<Seq, CommitError>> {
        let gate = self.gate.write();
        let mut core = slot.core.lock();
        if core.life() != Life::Alive {
            return None;
        }
        drop(core);
        let victims: Vec<Arc<Slot>> = set.deleted.iter().flat_map(|subtree| self.take_out(subtree)).collect();
        // Each is marked before the deletion gets its number: whatever it wrote has a lower one.
        let mut killed = Vec::with_capacity(victims.len());
        for victim in victims {
            let remains = victim.core.lock().kill();
            killed.push((remains, victim));
        }
        let deleted = set.deleted.clone();
        let created: Vec<Child> = set.children.values().flatten().cloned().collect();
        core = slot.core.lock();
        let committed = self.storage.commit(set, core.last_write);
        core.last_write = committed.unwrap_or(core.last_write);
        drop(core);
        let end = match committed {
            Ok(seq) => Life::Deleted(seq),
            Err(_) => Life::Dropped,
        };
        for (_, victim) in &killed {
            let mut core = victim.core.lock();
            self.barrier.fetch_max(core.last_write.0, Ordering::Relaxed);
            core.killed(end);
        }
        // The gate is still held: what is owed and under way from here on is of others.
        let mut ended = Ended::default();
        for subtree in &deleted {
            ended.owed.extend(self.deferred.take_below(subtree));
            ended.jobs.extend(self.jobs.below(subtree));
            self.choices.forget_below(subtree);
        }
        if let Ok(seq) = committed {
            // A child that is deleted and listed again has the class that it is listed with.
            for child in created {
                let (choice, _) = self.choices.choose(&self.storage, &slot.path.child(&child.name), &child.class);
                self.choices.keep(choice, seq);
            }
        }
        drop(gate);
        match committed {
            Ok(seq) => self.errand(slot, seq, Errand::Ended(ended)),
            Err(_) => self.spare(ended),
        }
        for ((events, body), victim) in killed {
            self.bury(&victim, events, body, end);
        }
        Some(committed)
    }

    fn take_out(&self, subtree: &ObjectPath) -> Vec<Arc<Slot>> {
        let paths: Vec<ObjectPath> = range_of(&self.index.lock(), subtree).cloned().collect();
        let remove = |path: &ObjectPath| {
            let (_, slot) = self.slots.remove_if(path, |path, _| self.index.lock().remove(path))?;
            // An evicted one holds nothing; whoever evicted it has yet to forget it.
            let life = slot.core.lock().life();
            (life == Life::Alive).then_some(slot)
        };
        paths.iter().filter_map(remove).collect()
    }

    /// Closes what a slot still holds that was taken out of service.
    pub(super) fn bury(self: &Arc<Self>, slot: &Arc<Slot>, events: Vec<Event>, body: Option<Box<Body>>, end: Life) {
        let (seq, close) = match end {
            Life::Deleted(seq) => (seq, super::DELETED),
            _ => (Seq::NONE, super::STORAGE_FAILED),
        };
        Self::wake_waiting(slot);
        let refused = events.into_iter().filter_map(|event| event.refuse(Error::deleted())).collect();
        self.release_dead(slot, refused, end);
        if let Some(body) = body {
            body.close(seq, &close);
        }
    }

    /// Hands on what is left of effects whose slot ended before they could be committed.
    pub(super) fn release_dead(self: &Arc<Self>, slot: &Arc<Slot>, effects: Vec<Effect>, end: Life) {
        let (seq, close, result, error) = match end {
            // What was to be deleted lies below what was: it is gone with it, and as durably.
            Life::Deleted(seq) => (seq, super::DELETED, Ok(()), Error::deleted()),
            _ => (Seq::NONE, super::STORAGE_FAILED, Err(Error::dropped()), Error::dropped()),
        };
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Done(reply, _) => done.push(Effect::Done(reply, result.clone())),
                Effect::First(session, _) | Effect::Refuse(session, _) | Effect::Noted(session) => {
                    session.close(seq, close.clone());
                }
                other => failed.extend(other.failed(&error)),
            }
        }
        self.release(slot, done, seq);
        // Nobody is told of a deletion that may still fail.
        self.release(slot, failed, seq);
    }

    /// How a slot ended; waits for the step that is ending it.
    pub(super) fn end_of(&self, slot: &Slot) -> Life {
        loop {
            let life = slot.core.lock().life();
            if life != Life::Deleting {
                return life;
            }
            drop(self.gate.read());
        }
    }
}

fn range_of<'a>(index: &'a BTreeSet<ObjectPath>, subtree: &ObjectPath) -> Range<'a, ObjectPath> {
    let end = subtree.range_end();
    index.range::<str, _>((Bound::Included(subtree.key()), Bound::Excluded(end.as_str())))
}
