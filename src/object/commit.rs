//! The end of a run: its write set goes to storage, its effects to whoever waits for them.
//!
//! Up to [`TURNS_PER_RUN`](crate::limits::TURNS_PER_RUN) turns share one write set, which is as atomic for all of them as it
//! would be for each. The effects of a run queue behind it; a run that wrote nothing queues behind the object's last write,
//! because what it has seen may not be durable yet.

use std::sync::Arc;

use tokio::time::Instant;

use super::Error;
use super::attempt::Source;
use super::body::{Body, Joined};
use super::errand::Errand;
use super::event::{Answer, Effect, Event};
use super::instance::{Input, Output};
use super::namespace::{Inner, Slot};
use super::session::ResponseChange;
use super::slot::Life;
use super::turn::SocketId;
use crate::limits::{WRITE_SET_BYTES, WRITE_SET_ROWS};
use crate::path::ObjectPath;
use crate::protocol::{self, Frame, Version};
use crate::storage::{Seq, Space, WriteSet};

/// What the turns of one run have done so far.
pub(super) struct Run {
    pub(super) set: WriteSet,
    pub(super) changed: Changed,
    pub(super) effects: Vec<Effect>,
    /// Where among the effects sockets are to be told the state: before the answer of the last turn that published a change.
    pub(super) published: Option<usize>,
    /// The state as the last turn left it, if it was the answer to that turn's sender, and the sender.
    pub(super) told: Option<(SocketId, Option<Frame>)>,
    /// Sockets that have joined.
    pub(super) joined: Vec<Joined>,
    /// What the edge is to answer by itself from now on.
    pub(super) response: Option<ResponseChange>,
    /// Whether the last turn that succeeded changed what is stored.
    pub(super) wrote: bool,
    /// Whether a turn left the memory in a state that no other may see: all of it is read anew.
    pub(super) spoiled: bool,
    pub(super) scratch: Vec<u8>,
    /// When the last turn ended: the clock is read once a turn.
    pub(super) now: Instant,
}

/// How much of the object's record the turns of a run changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Changed {
    #[default]
    Nothing,
    /// Anything but the state.
    Record,
    /// The state, and perhaps the rest.
    State,
}

impl Run {
    pub(super) fn new(path: &ObjectPath) -> Self {
        Self {
            set: WriteSet::new(path.clone()),
            changed: Changed::Nothing,
            effects: Vec::new(),
            published: None,
            told: None,
            joined: Vec::new(),
            response: None,
            wrote: false,
            spoiled: false,
            scratch: Vec::new(),
            now: Instant::now(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.spoiled
            || !self.set.deleted.is_empty()
            || (!self.set.is_empty()
                && (self.set.rows() > WRITE_SET_ROWS / 2 || self.set.bytes() > WRITE_SET_BYTES / 2))
    }
}

impl Inner {
    /// Tells the state to the sockets of which it was not the answer.
    fn tell_state(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, place: usize) {
        let (sender, frame) = match run.told.take() {
            Some((sender, frame)) => (Some(sender), frame),
            None => (None, None),
        };
        if body.sockets.whole() <= usize::from(sender.is_some()) {
            return;
        }
        let frame = frame.or_else(|| {
            let usable = !run.spoiled && body.live.is_some();
            let state = usable.then(|| self.attempt(slot, body, run, &mut Source::runtime(), Input::State));
            run.published = None;
            match state {
                Some(Ok(Output::Json(state))) => Some(protocol::state(&state)),
                _ => None,
            }
        });
        let others: Vec<_> = body.sockets.of(Version::V1).into_iter().filter(|one| Some(one.id()) != sender).collect();
        match frame {
            Some(frame) => run.effects.insert(place, Effect::State(others, frame)),
            // The value that could tell is gone; the next one will.
            None => others.into_iter().for_each(|session| Self::post_later(slot, Event::Open(session, None))),
        }
    }

    pub(super) fn post_later(slot: &Slot, event: Event) {
        let room = event.room();
        // The caller runs the slot, so the event is only queued.
        drop(slot.core.lock().post(event, room));
    }

    /// Puts the record as the last turn left it into the write set, and when the object is to be woken.
    fn finish(&self, body: &mut Body, run: &mut Run) {
        if let Some(stored) = &mut body.stored {
            stored.keep_wake(&mut run.set, &self.services.clock);
        }
        let changed = std::mem::take(&mut run.changed);
        let Some(stored) = body.stored.as_mut().filter(|_| changed > Changed::Nothing) else { return };
        if let Some(live) = body.live.as_ref().filter(|_| changed == Changed::State) {
            stored.record.state = Some(live.saved.as_slice().into());
        }
        run.set.record = Some(stored.record.clone());
    }

    /// Hands the run's write set to storage and its effects on, to wait for it.
    pub(super) fn commit(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        if let Some(place) = run.published.take() {
            self.tell_state(slot, body, run, place);
        }
        self.finish(body, run);
        if let Some(live) = &mut body.live {
            live.tally.flush();
        }
        let set = std::mem::replace(&mut run.set, WriteSet::new(slot.path.clone()));
        let (cleared, wake) = (set.clear, set.wake.flatten());
        let rows = cleared || set.rows.keys().any(|(space, _)| *space == Space::User);
        let effects = std::mem::take(&mut run.effects);
        let (joined, response) = (std::mem::take(&mut run.joined), run.response.take());
        let committed = if set.deleted.is_empty() {
            let mut core = slot.core.lock();
            match core.life() {
                Life::Alive if set.is_empty() => Some(Ok(core.last_write)),
                Life::Alive => {
                    let committed = self.storage.commit(set, core.last_write);
                    core.last_write = committed.unwrap_or(core.last_write);
                    Some(committed)
                }
                _ => None,
            }
        } else {
            self.commit_deletion(slot, set)
        };
        match committed {
            Some(Ok(seq)) => {
                if let Some(stored) = &mut body.stored {
                    stored.mail.committed(&self.storage, seq);
                }
                if let Some(at) = wake {
                    self.wakes.note(at, seq);
                }
                if let Some(stored) = body.stored.as_mut().filter(|_| rows) {
                    stored.rows.committed(&self.storage, seq);
                }
                self.release(slot, effects, seq);
                if let Some(response) = response {
                    body.sockets.respond_with(response.made_by(seq));
                }
                body.sockets.committed(joined, Some(seq));
            }
            Some(Err(error)) => {
                body.sockets.committed(joined, None);
                let error = error.into();
                let failed = effects.into_iter().filter_map(|effect| effect.failed(&error)).collect();
                self.release(slot, failed, Seq::NONE);
            }
            None => self.release_dead(slot, effects, self.end_of(slot)),
        }
        if run.spoiled || !matches!(committed, Some(Ok(_))) {
            // What is in memory is not what is in storage: it is read anew, behind everything that is on its way there.
            run.spoiled = false;
            self.reset(slot, body);
            body.load_after = slot.core.lock().last_write;
        }
        self.keep_timeout(slot, body);
    }

    /// Gives back the memory of an object that cannot go on with it, and with it what is only there: nobody waits any more
    /// for what was asked in memory.
    pub(super) fn reset(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body) {
        let Some((Some(stored), _)) = body.sleep() else { return };
        for id in stored.pending.forgotten_jobs() {
            // Behind its start, which may still wait for a commit.
            self.errand(slot, Seq::NONE, Errand::Cancel(id));
        }
        if stored.in_memory {
            for asker in self.deferred.take_all(&slot.path) {
                self.pay(asker, Err(Error::forgotten()));
            }
        }
    }

    /// Hands effects to whoever waits for them; each holds back until `seq` is durable.
    pub(super) fn release(self: &Arc<Self>, slot: &Arc<Slot>, effects: Vec<Effect>, seq: Seq) {
        for effect in effects {
            match effect {
                // Whoever asked may be gone; then nobody waits for the answer.
                Effect::Json(reply, result) => drop(reply.send((seq, result))),
                Effect::Response(reply, result) => drop(reply.send((seq, *result))),
                Effect::Done(reply, result) => drop(reply.send((seq, result))),
                Effect::Answer(session, Answer { id, frame }) => session.answer(seq, id, frame),
                Effect::Handled(session) => session.handled(),
                Effect::First(session, frame) => session.first_state(seq, frame),
                Effect::Refuse(session, error) => session.refuse(seq, error),
                Effect::State(sessions, frame) => {
                    for session in sessions {
                        session.state(seq, frame.clone());
                    }
                }
                Effect::Change(sessions, change) => {
                    for session in sessions {
                        session.change(seq, &change);
                    }
                }
                Effect::Sockets(sessions, frame) => {
                    for session in sessions {
                        session.tell(seq, frame.clone());
                    }
                }
                Effect::Send(outbound) => outbound.release(seq),
                Effect::Close(session, close) => session.close_for(seq, close),
                Effect::Noted(session) => session.noted(seq),
                Effect::Errand(errand) => self.errand(slot, seq, errand),
                // Not behind the commit, or an inbox would be handled no faster than one page of it an fsync.
                Effect::ReadOn => self.notify(&slot.path),
                Effect::Chosen(choice) => self.choices.keep(choice, seq),
            }
        }
    }
}
