//! What each event does to an object.

use std::sync::Arc;

use super::Error;
use super::body::{Body, Stored};
use super::commit::Run;
use super::event::{Answer, Effect, Event};
use super::namespace::{Inner, Slot};
use super::session::Session;
use super::turn::Turn;
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::{self, Change, Frame, Version};
use crate::storage::Record;

impl Inner {
    pub(super) fn handle(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, event: Event) {
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
                run.effects.push(Effect::Response(reply, Box::new(result)));
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
}
