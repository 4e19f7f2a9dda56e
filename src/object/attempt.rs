//! One turn of a class: all of it happens, or nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::body::{Body, Live, Stored};
use super::choices::Choice;
use super::commit::{Changed, Run};
use super::event::{Answer, Caller, Effect};
use super::instance::{Input, Output};
use super::namespace::{Inner, Slot};
use super::session::Session;
use super::turn::{Draft, Turn, storage_full};
use crate::limits::STATE_BYTES;
use crate::protocol::{self, Code, Id, Version};
use crate::storage::Record;

/// Where an event comes from.
pub(super) struct Source<'a> {
    pub(super) caller: Caller,
    /// The socket whose message it is.
    pub(super) sender: Option<&'a Arc<Session>>,
    /// By what the sender recognises the answer, once the class has said so.
    pub(super) id: Option<Id>,
    /// How many calls lie above it.
    pub(super) hops: u8,
    /// Whether whoever caused it may be answered later.
    pub(super) may_defer: bool,
    /// The idempotency key of the request.
    pub(super) key: Option<&'a str>,
    /// By what it will be, once the class has said so.
    pub(super) deferred: Option<(u64, Duration)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, sender: None, id: None, hops: 0, may_defer: false, key: None, deferred: None }
    }

    /// The runtime itself.
    pub(super) fn runtime() -> Self {
        Self::new(Caller::Runtime)
    }

    /// A socket.
    pub(super) fn socket(session: &'a Arc<Session>) -> Self {
        Self { sender: Some(session), ..Self::new(Caller::Socket(session.id())) }
    }
}

impl Inner {
    /// One turn of the class. If it fails, nothing of it remains.
    pub(super) fn attempt(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        source: &mut Source<'_>,
        input: Input<'_>,
    ) -> Result<Output, Error> {
        let (Some(stored), Some(live)) = (&mut body.stored, &mut body.live) else {
            return Err(Error::internal("a turn without an activated class"));
        };
        let before = Sizes::of(&stored.record);
        let is_event = source.caller != Caller::Runtime || !matches!(input, Input::Activate | Input::State);
        // As the wait before hibernation does, a wish for it ends with the next event.
        body.leaving &= !is_event;
        let mut turn = Turn::new(self, &slot.path, live.definition.children, stored, &body.sockets, &source.caller);
        (turn.hops, turn.may_defer, turn.key) = (source.hops, source.may_defer, source.key);
        if let Input::Open(_, upgrade) = input {
            turn.upgrade = upgrade;
        }
        let tells_state = live.definition.tells_state;
        let whole = tells_state && source.sender.is_some_and(|sender| sender.version() == Version::V1);
        slot.doing.begin(input.name());
        let result = catch_unwind(AssertUnwindSafe(|| {
            let output = live.class.deliver(&mut turn, input)?;
            // Only who is answered by the state is told it now; the others when the run ends.
            let state = match turn.draft.published {
                Some(_) if whole && turn.draft.id.is_none() => Some(live.class.deliver(&mut turn, Input::State)?),
                _ => None,
            };
            run.scratch.clear();
            live.class.save(&mut run.scratch)?;
            Ok((output, state))
        }));
        let now = Instant::now();
        live.definition.observe(now - run.now, &input);
        live.tally.turn(now - run.now);
        if is_event {
            live.tally.events(input.events());
        }
        run.now = now;
        let draft = &mut turn.draft;
        live.tally.operations(draft.operations);
        source.id = draft.id.take();
        source.deferred = draft.said.deferred;
        let error = match result {
            Ok(Ok((output, state))) => match self.keep(slot, stored, live, run, before, draft) {
                Ok(Kept::Yes) => {
                    Self::accept(body, run, draft, source, state);
                    return Ok(output);
                }
                Ok(Kept::OtherClass) => None,
                Err(error) => Some(error),
            },
            Ok(Err(error)) => Some(error),
            Err(_) => {
                let (class, event) = (&*live.definition.name, input.name());
                tracing::error!(path = %slot.path, class, event, "a handler panicked");
                self.metrics.panics.inc();
                run.spoiled = true;
                // Earlier turns of the run are still to be written.
                before.restore(&mut stored.record);
                stored.timers.undo();
                return Err(Error::panicked());
            }
        };
        draft.undo(&mut stored.children);
        before.restore(&mut stored.record);
        stored.timers.undo();
        let Some(error) = error else { return self.attempt_anew(slot, body, run, source, input) };
        match live.definition.make(Some(&live.saved)) {
            Ok((class, _)) => live.class = class,
            Err(error) => {
                // What the failed turn left of the value must not be seen by another: all of it is read anew.
                tracing::error!(path = %slot.path, %error, "a turn cannot be taken back in memory");
                run.spoiled = true;
            }
        }
        Err(error)
    }

    /// The object was created with another class while this turn of its first went on: the turn is one of that.
    fn attempt_anew(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        source: &mut Source<'_>,
        input: Input<'_>,
    ) -> Result<Output, Error> {
        drop(body.live.take());
        self.activate(slot, body, run)?;
        match input {
            Input::Activate => Ok(Output::Nothing),
            input => self.attempt(slot, body, run, source, input),
        }
    }

    /// Puts a turn's state into the record, if the bounds allow it.
    fn keep(
        &self,
        slot: &Slot,
        stored: &mut Stored,
        live: &mut Live,
        run: &mut Run,
        before: Sizes,
        draft: &Draft,
    ) -> Result<Kept, Error> {
        let changed = *run.scratch != *live.saved;
        run.wrote = changed || draft.has_writes();
        if !run.wrote {
            return Ok(Kept::Yes);
        }
        let (old, new) = (stored.state_bytes, run.scratch.len());
        if changed && new > STATE_BYTES {
            return Err(Error::new(Code::TooLarge, format!("state is {new} bytes; the limit is {STATE_BYTES}")));
        }
        if changed {
            live.definition.check(&run.scratch)?;
        }
        if stored.in_memory {
            std::mem::swap(&mut live.saved, &mut run.scratch);
            stored.exists |= changed;
            return Ok(Kept::Yes);
        }
        if changed {
            stored.record.bytes = (stored.record.bytes + new as u64).saturating_sub(old as u64);
            live.tally.operations(1);
        }
        let limit = live.definition.storage_bytes.unwrap_or(self.options.storage_per_object);
        if stored.record.bytes > limit && stored.record.bytes > before.bytes {
            return Err(storage_full(&slot.path, stored.record.bytes, limit));
        }
        if !stored.exists {
            self.check_object_limit()?;
            let Some(choice) = self.chosen(slot, stored)? else { return Ok(Kept::OtherClass) };
            run.effects.push(Effect::Chosen(choice));
        }
        if changed {
            stored.state_bytes = run.scratch.len();
            std::mem::swap(&mut live.saved, &mut run.scratch);
            run.changed = Changed::State;
        }
        // A row whose size stays does not change the record.
        if !stored.exists || before != Sizes::of(&stored.record) {
            run.changed = run.changed.max(Changed::Record);
        }
        stored.exists = true;
        Ok(Kept::Yes)
    }

    /// Chooses the class that the object has had so far, unless another was chosen since.
    fn chosen(&self, slot: &Slot, stored: &Stored) -> Result<Option<Arc<Choice>>, Error> {
        let (class, path) = (&stored.record.class, &slot.path);
        let (choice, changes) = self.choices.choose(&self.storage, path, class);
        // What was chosen since may be durable by now.
        let other = choice.class != *class
            || (changes != stored.looked && self.storage.load(path)?.is_some_and(|record| record.class != *class));
        Ok((!other).then_some(choice))
    }

    /// Adds a turn that succeeded to the run.
    fn accept(body: &mut Body, run: &mut Run, draft: &mut Draft, source: &mut Source<'_>, state: Option<Output>) {
        if let Some(stored) = body.stored.as_mut().filter(|_| draft.has_writes()) {
            stored.rows.apply(draft.cleared, &draft.rows);
            stored.mail.sent(draft.said.sends());
            draft.add_to(&mut run.set);
        }
        if let Some(stored) = &mut body.stored {
            if draft.said.has_questions() {
                std::mem::take(&mut draft.said).settle(&mut stored.pending);
            }
            stored.keep_timers(run);
        }
        body.leaving |= draft.hibernates;
        run.effects.append(&mut draft.effects);
        run.effects.extend(body.sockets.apply(&mut draft.sockets).into_iter().map(Effect::Noted));
        if let Some(response) = draft.sockets.response.take() {
            run.response = Some(response);
        }
        let mut answered = false;
        let tells_state = body.live.as_ref().is_some_and(|live| live.definition.tells_state);
        if let Some(change) = draft.published.take().filter(|_| tells_state) {
            run.published = Some(run.effects.len());
            run.told = None;
            if body.sockets.all().len() > body.sockets.whole() && !change.is_empty() {
                run.effects.push(Effect::Change(body.sockets.of(Version::V2), change));
            }
            if let (Some(Output::Json(state)), Some(sender)) = (state, source.sender) {
                answered = true;
                let frame = protocol::state(&state);
                // Kept only if there is somebody else to tell.
                run.told = Some((sender.id(), (body.sockets.whole() > 1).then(|| frame.clone())));
                run.effects.push(Effect::Answer(Arc::clone(sender), Answer { id: None, frame }));
            }
        }
        let Some(sender) = source.sender.map(Arc::clone) else { return };
        match draft.take_answer(source.id.take()) {
            Some(answer) => run.effects.push(Effect::Answer(sender, answer)),
            None if !answered => run.effects.push(Effect::Handled(sender)),
            None => {}
        }
    }
}

/// What became of a turn that succeeded.
enum Kept {
    Yes,
    /// It was one of another class than the object has by now.
    OtherClass,
}

/// The parts of a record that turns change, but for the state.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sizes {
    children: u64,
    next_ordinal: u64,
    bytes: u64,
    rows: u64,
}

impl Sizes {
    fn of(record: &Record) -> Self {
        let Record { children, next_ordinal, bytes, rows, .. } = *record;
        Self { children, next_ordinal, bytes, rows }
    }

    fn restore(self, record: &mut Record) {
        let Self { children, next_ordinal, bytes, rows } = self;
        (record.children, record.next_ordinal, record.bytes, record.rows) = (children, next_ordinal, bytes, rows);
    }
}
