//! Running turns: a runner takes events from a slot, lets the class handle them, and commits what they changed.
//!
//! Up to [`TURNS_PER_RUN`] turns share one write set, which is as atomic for all of them as it would be for each. The
//! effects of a run queue behind it; a run that wrote nothing queues behind the object's last write, because what it
//! has seen may not be durable yet.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::body::{Body, Live, Stored};
use super::event::{Answer, Effect, Event};
use super::namespace::{Inner, Slot};
use super::session::Session;
use super::slot::{Life, Next};
use super::turn::{Draft, Turn, storage_full};
use super::{Error, Instance};
use crate::limits::{RUN_TIME, STATE_BYTES, TURNS_PER_RUN, WRITE_SET_BYTES, WRITE_SET_ROWS};
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::{self, Change, Code, Frame, Version};
use crate::storage::{Outcome, Record, Seq, WriteSet};

/// What the turns of one run have done so far.
struct Run {
    set: WriteSet,
    effects: Vec<Effect>,
    /// Whether sockets are to be told the state.
    published: bool,
    /// The state as the last turn left it, if that turn's sender was told it, and the sender.
    told: Option<(u64, Frame)>,
    panicked: bool,
    scratch: Vec<u8>,
}

impl Run {
    fn new(path: &ObjectPath) -> Self {
        Self {
            set: WriteSet::new(path.clone()),
            effects: Vec::new(),
            published: false,
            told: None,
            panicked: false,
            scratch: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.panicked
            || !self.set.deleted.is_empty()
            || self.set.rows() > WRITE_SET_ROWS / 2
            || self.set.bytes() > WRITE_SET_BYTES / 2
    }
}

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
        self.idle.touch(slot);
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
            let pristine = body.stored.as_ref().is_some_and(|stored| !stored.exists);
            let next = slot.core.lock().next(body, TURNS_PER_RUN - turns);
            Self::wake_waiting(slot);
            match next {
                Next::Rest if pristine => {
                    // Looking at a path leaves nothing behind, not even memory.
                    self.hibernate(slot);
                    return;
                }
                Next::Rest => return,
                Next::Dead(body) => {
                    let end = self.end_of(slot);
                    self.bury(slot, Vec::new(), Some(body), end);
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
        let mut started = Instant::now();
        self.forget_failed(slot, &mut body);
        while let Some(event) = events.pop_front() {
            if event.needs_stored() && body.stored.is_none() && self.must_wait(&body, waker) {
                self.commit(slot, &mut body, &mut run);
                events.push_front(event);
                let after = body.load_after;
                let decided = || self.storage.wait(after, waker) != Outcome::Pending;
                return self.park_until(slot, body, events.into(), decided);
            }
            self.handle(slot, &mut body, &mut run, event);
            if run.is_full() || (!events.is_empty() && started.elapsed() > RUN_TIME) {
                self.commit(slot, &mut body, &mut run);
                self.forget_failed(slot, &mut body);
                started = Instant::now();
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
    fn forget_failed(&self, slot: &Slot, body: &mut Body) {
        let mut core = slot.core.lock();
        if let Outcome::Failed(_) = self.storage.outcome(core.last_write) {
            core.last_write = Seq::NONE;
            drop(core);
            drop(body.sleep());
        }
    }

    fn handle(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, event: Event) {
        let ready = if event.needs_class() {
            self.activate(slot, body, run)
        } else if event.needs_stored() {
            self.load(slot, body)
        } else {
            Ok(())
        };
        if let Err(error) = ready {
            run.effects.extend(event.refuse(error));
            return;
        }
        let name = event.name();
        match event {
            Event::Call { ref method, ref payload, .. } => {
                let result = self.attempt(slot, body, run, None, name, |class, turn| class.call(turn, method, payload));
                if let Event::Call { reply, .. } = event {
                    run.effects.push(Effect::Json(reply, result));
                }
            }
            Event::State { reply } => {
                let result = self.attempt(slot, body, run, None, "state", |class, turn| class.state(turn));
                run.effects.push(Effect::Json(reply, result));
            }
            Event::Fetch { request, reply } => {
                let result = self.attempt(slot, body, run, None, "fetch", |class, turn| class.fetch(turn, &request));
                run.effects.push(Effect::Response(reply, result));
            }
            Event::Open(session) => self.open(slot, body, run, session),
            Event::Message(session, frame) => self.message(slot, body, run, &session, &frame),
            Event::Close(session) => body.sockets.remove(&session),
            Event::Tell(frame) => run.effects.push(Effect::Sockets(body.sockets.all().to_vec(), frame)),
            Event::Delete { subtree, reply } => {
                let result = self.delete(slot, body, run, subtree);
                run.effects.push(Effect::Done(reply, result));
            }
        }
    }

    fn open(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, session: Arc<Session>) {
        if let Some(live) = &body.live {
            body.sockets.insert(&session, &live.definition);
        }
        match self.attempt(slot, body, run, None, "open", |class, turn| class.state(turn)) {
            Ok(state) => run.effects.push(Effect::First(session, protocol::state(&state))),
            Err(error) => run.effects.push(Effect::Refuse(session, error)),
        }
    }

    fn message(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        session: &Arc<Session>,
        frame: &Frame,
    ) {
        let mut id = None;
        let result = self.attempt(slot, body, run, Some(session), "websocket_message", |class, turn| {
            let result = class.websocket_message(turn, frame);
            id.clone_from(&turn.draft.id);
            result
        });
        if let Err(error) = result {
            run.effects.push(Effect::Answer(Arc::clone(session), Answer::error(id, error)));
        }
    }

    /// Deletes a subtree: takes its top off the list of children, and adds a tombstone to the write set.
    fn delete(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        subtree: ObjectPath,
    ) -> Result<(), Error> {
        let name = subtree.name().map(ObjectName::parse).transpose().map_err(|e| Error::bad_request(e.to_string()))?;
        let mut listed = false;
        if let (Some(name), Some(stored)) = (&name, &mut body.stored)
            && subtree != slot.path
        {
            let mut turn = Turn::new(self, &slot.path, stored);
            listed = turn.unlist(name)?;
            run.set.merge(turn.draft.write_set(&slot.path));
            if listed {
                run.set.record = Some(stored.record.clone());
            }
        }
        if !listed && !self.is_live(&subtree) && self.storage.objects(&subtree, None, 1)?.is_empty() {
            return Ok(());
        }
        run.set.deleted.push(subtree);
        if let (Some(name), true) = (name, listed && !body.sockets.is_empty()) {
            run.published = true;
            run.told = None;
            run.effects.push(Effect::Change(body.sockets.of(Version::V2), Change::removed(name.as_str())));
            if let Err(error) = self.activate(slot, body, run) {
                tracing::warn!(path = %slot.path, %error, "sockets cannot be told that a child was deleted");
            }
        }
        Ok(())
    }

    /// Reads the object's record, unless it is in memory.
    fn load(&self, slot: &Slot, body: &mut Body) -> Result<(), Error> {
        if body.stored.is_none() {
            let found = self.storage.load(&slot.path)?;
            let exists = found.is_some();
            let record = found.unwrap_or_else(|| Record::new(self.registry.class_for(&slot.path)));
            body.stored = Some(Stored { record, exists, children: None });
        }
        Ok(())
    }

    /// Brings the class into memory, unless it is.
    fn activate(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) -> Result<(), Error> {
        self.load(slot, body)?;
        if body.live.is_some() {
            return Ok(());
        }
        let Some(stored) = &body.stored else { return Ok(()) };
        let definition = Arc::clone(self.registry.get(&stored.record.class)?);
        let class = definition.make(stored.record.state.as_deref())?;
        let mut saved = Vec::new();
        class.save(&mut saved)?;
        body.wake(&definition, class, saved.into());
        self.metrics.activations.inc();
        let activated = self.attempt(slot, body, run, None, "activate", |class, turn| class.activate(turn));
        if activated.is_err() {
            drop(body.live.take());
        }
        activated
    }

    /// One turn of the class. If it fails, nothing of it remains.
    fn attempt<T>(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        sender: Option<&Arc<Session>>,
        what: &str,
        handler: impl FnOnce(&mut dyn Instance, &mut Turn<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (Some(stored), Some(live)) = (&mut body.stored, &mut body.live) else {
            return Err(Error::internal("a turn without an activated class"));
        };
        let before = stored.record.clone();
        let mut turn = Turn::new(self, &slot.path, stored);
        turn.draft.sender = sender.cloned();
        let whole = sender.is_some_and(|sender| sender.version() == Version::V1);
        let began = std::time::Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = handler(&mut *live.class, &mut turn)?;
            let state = if whole && turn.draft.published.is_some() { Some(live.class.state(&mut turn)?) } else { None };
            run.scratch.clear();
            live.class.save(&mut run.scratch)?;
            Ok((value, state))
        }));
        live.definition.observe(began.elapsed(), what);
        let draft = turn.draft;
        let result = match result {
            Ok(Ok((value, state))) => match self.keep(slot, stored, live, run, &before, &draft) {
                Ok(()) => {
                    self.accept(slot, body, run, draft, state);
                    return Ok(value);
                }
                Err(error) => Err(error),
            },
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::error!(path = %slot.path, class = &*live.definition.name, event = what, "a handler panicked");
                self.metrics.panics.inc();
                run.panicked = true;
                return Err(Error::panicked());
            }
        };
        draft.undo(&mut stored.children);
        stored.record = before;
        live.class = live.definition.make(Some(&live.saved))?;
        result
    }

    /// Puts a turn's state into the record, if the bounds allow it.
    fn keep(
        &self,
        slot: &Slot,
        stored: &mut Stored,
        live: &mut Live,
        run: &mut Run,
        before: &Record,
        draft: &Draft,
    ) -> Result<(), Error> {
        let changed = *run.scratch != *live.saved;
        if changed {
            if run.scratch.len() > STATE_BYTES {
                let text = format!("state is {} bytes; the limit is {STATE_BYTES}", run.scratch.len());
                return Err(Error::new(Code::TooLarge, text));
            }
            let old = before.state.as_ref().map_or(0, |state| state.len());
            stored.record.bytes = (stored.record.bytes + run.scratch.len() as u64).saturating_sub(old as u64);
            stored.record.state = Some(run.scratch.as_slice().into());
        }
        if changed || draft.has_writes() {
            let limit = self.options.storage_per_object;
            if stored.record.bytes > limit && stored.record.bytes > before.bytes {
                return Err(storage_full(&slot.path, stored.record.bytes, limit));
            }
            if !stored.exists {
                self.check_object_limit()?;
            }
            if let (true, Some(state)) = (changed, &stored.record.state) {
                live.saved = Arc::clone(state);
            }
            stored.exists = true;
            run.set.record = Some(stored.record.clone());
        }
        Ok(())
    }

    /// Adds a turn that succeeded to the run.
    fn accept(&self, slot: &Slot, body: &Body, run: &mut Run, mut draft: Draft, state: Option<Bytes>) {
        run.set.merge(draft.write_set(&slot.path));
        run.effects.append(&mut draft.effects);
        let sender = draft.sender.take();
        let mut answered = false;
        if let Some(change) = draft.published.take() {
            run.published = true;
            run.told = None;
            if body.sockets.all().len() > body.sockets.whole() && !change.is_empty() {
                run.effects.push(Effect::Change(body.sockets.of(Version::V2), change));
            }
            if let (Some(state), Some(sender)) = (state, &sender) {
                let frame = protocol::state(&state);
                run.told = Some((sender.id(), frame.clone()));
                run.effects.push(if draft.id.is_none() {
                    answered = true;
                    Effect::Answer(Arc::clone(sender), Answer { id: None, frame })
                } else {
                    Effect::State(vec![Arc::clone(sender)], frame)
                });
            }
        }
        let Some(sender) = sender else { return };
        match draft.take_answer() {
            Some(answer) => run.effects.push(Effect::Answer(sender, answer)),
            None if !answered => run.effects.push(Effect::Handled(sender)),
            None => {}
        }
    }

    /// Tells the state to the sockets that were not told by a turn of their own.
    fn tell_state(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        let (sender, frame) = match run.told.take() {
            Some((sender, frame)) => (Some(sender), Some(frame)),
            None => (None, None),
        };
        run.published = false;
        if body.sockets.whole() <= usize::from(sender.is_some()) {
            return;
        }
        let frame = match (frame, &mut body.stored, &mut body.live) {
            (Some(frame), ..) => Some(frame),
            (None, Some(stored), Some(live)) if !run.panicked => {
                let mut turn = Turn::new(self, &slot.path, stored);
                let state = catch_unwind(AssertUnwindSafe(|| live.class.state(&mut turn)));
                state.ok().and_then(Result::ok).map(|state| protocol::state(&state))
            }
            _ => None,
        };
        let others: Vec<_> = body.sockets.of(Version::V1).into_iter().filter(|one| Some(one.id()) != sender).collect();
        match frame {
            Some(frame) => run.effects.push(Effect::State(others, frame)),
            // The value that could tell is gone; the next one will.
            None => others.into_iter().for_each(|session| self.post_later(slot, Event::Open(session))),
        }
    }

    fn post_later(&self, slot: &Slot, event: Event) {
        let room = event.room();
        // The caller runs the slot, so the event is only queued.
        drop(slot.core.lock().post(event, room));
    }

    /// Hands the run's write set to storage and its effects on, to wait for it.
    fn commit(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        if run.published {
            self.tell_state(slot, body, run);
        }
        let set = std::mem::replace(&mut run.set, WriteSet::new(slot.path.clone()));
        let effects = std::mem::take(&mut run.effects);
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
        let error = match committed {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(error.into()),
            None => Some(Error::deleted()),
        };
        match (&error, committed) {
            (None, Some(Ok(seq))) => self.release(slot, effects, seq),
            (Some(error), _) => {
                let failed = effects.into_iter().filter_map(|effect| effect.failed(error)).collect();
                self.release(slot, failed, Seq::NONE);
            }
            (None, _) => {}
        }
        if error.is_some() || run.panicked {
            // What is in memory is not what is in storage: it is read anew, behind everything that is on its way there.
            run.panicked = false;
            drop(body.sleep());
            body.load_after = slot.core.lock().last_write;
        }
    }

    /// Hands effects to whoever waits for them; each holds back until `seq` is durable.
    pub(super) fn release(self: &Arc<Self>, slot: &Arc<Slot>, effects: Vec<Effect>, seq: Seq) {
        for effect in effects {
            match effect {
                // Whoever asked may be gone; then nobody waits for the answer.
                Effect::Json(reply, result) => drop(reply.send((seq, result))),
                Effect::Response(reply, result) => drop(reply.send((seq, result))),
                Effect::Done(reply, result) => drop(reply.send((seq, result))),
                Effect::Answer(session, Answer { id, frame }) => session.answer(seq, id, frame),
                Effect::Handled(session) => session.handled(),
                Effect::First(session, frame) => session.first_state(seq, frame),
                Effect::Refuse(session, error) => session.refuse(seq, error),
                Effect::State(sessions, frame) => {
                    sessions.iter().for_each(|session| session.state(seq, frame.clone()));
                }
                Effect::Change(sessions, change) => sessions.iter().for_each(|session| session.change(seq, &change)),
                Effect::Sockets(sessions, frame) => {
                    sessions.iter().for_each(|session| session.tell(seq, frame.clone()));
                }
                Effect::Tell(to, frame) => self.tell_after(slot, seq, to, frame),
            }
        }
    }
}
