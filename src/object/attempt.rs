//! One turn of a class: all of it happens, or nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::Error;
use super::body::{Body, Live, Stored};
use super::class::Instance;
use super::commit::Run;
use super::event::{Answer, Effect};
use super::namespace::{Inner, Slot};
use super::session::Session;
use super::turn::{Draft, Turn, storage_full};
use crate::limits::STATE_BYTES;
use crate::protocol::{self, Code, Version};
use crate::storage::Record;

impl Inner {
    /// One turn of the class. If it fails, nothing of it remains.
    pub(super) fn attempt<T>(
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
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = handler(&mut *live.class, &mut turn)?;
            let state = if whole && turn.draft.published.is_some() { Some(live.class.state(&mut turn)?) } else { None };
            run.scratch.clear();
            live.class.save(&mut run.scratch)?;
            Ok((value, state))
        }));
        let now = Instant::now();
        live.definition.observe(now - run.now, what);
        run.now = now;
        let draft = turn.draft;
        let result = match result {
            Ok(Ok((value, state))) => match self.keep(slot, stored, live, run, &before, &draft) {
                Ok(()) => {
                    Self::accept(slot, body, run, draft, state);
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
    fn accept(slot: &Slot, body: &Body, run: &mut Run, mut draft: Draft, state: Option<Vec<u8>>) {
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
                // Kept only if there is somebody else to tell.
                run.told = Some((sender.id(), (body.sockets.whole() > 1).then(|| frame.clone())));
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
}
