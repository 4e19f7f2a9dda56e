//! What each event does to an object.

mod sockets;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Error;
use super::attempt::Source;
use super::body::{Body, Stored};
use super::commit::{Changed, Run};
use super::event::{Caller, Effect, Event};
use super::instance::{Input, Output};
use super::namespace::{Inner, Slot};
use super::registry::ClassNumber;
use super::turn::Turn;
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::{Change, Code, Version};
use crate::storage::Record;

impl Inner {
    /// Handles an event; gives it back if it must come again in a new memory.
    pub(super) fn handle(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        event: Event,
    ) -> Option<Event> {
        match event {
            Event::Wake(_) => slot.waking.store(false, Ordering::Relaxed),
            // Before the inbox is read: a message that comes now is either seen then, or brings another event.
            Event::Inbox(_) => slot.mail.store(false, Ordering::Release),
            Event::Call { ref asker, .. } => body.spawn(asker.spawn()),
            _ => {}
        }
        let event = Self::settle(body, run, event)?;
        let ready = if event.needs_class() {
            self.activate(slot, body, run)
        } else if event.needs_stored() {
            self.load(slot, body)
        } else {
            Ok(())
        };
        if let Err(error) = ready {
            run.effects.extend(event.refuse(error));
            return None;
        }
        self.tell_gone(slot, body, run);
        if run.spoiled && !matches!(event, Event::Close(..)) {
            return Some(event);
        }
        match event {
            Event::Call { method, payload, asker } => self.called(slot, body, run, (&method, &payload), asker),
            Event::State { reply } => {
                let result = self.attempt(slot, body, run, &mut Source::new(Caller::Http), Input::State);
                run.effects.push(Effect::Json(reply, result.and_then(json_of)));
            }
            Event::Fetch { request, reply } => {
                let input = Input::Fetch(&request);
                let result = match self.attempt(slot, body, run, &mut Source::new(Caller::Http), input) {
                    Ok(Output::Response(response)) => Ok(response),
                    Ok(other) => Err(Error::internal(format!("a fetch answered {other:?}"))),
                    Err(error) => Err(error),
                };
                run.effects.push(Effect::Response(reply, Box::new(result)));
            }
            Event::Open(session, upgrade) => self.open(slot, body, run, session, upgrade.as_deref()),
            Event::Message(session, frame) => self.message(slot, body, run, &session, &frame),
            Event::Broken(session, error) => self.broken(slot, body, run, &session, &error),
            // It is among those that are gone.
            Event::Close(..) => {}
            Event::Tell { sender, message } => self.hear(slot, body, run, sender, &message),
            Event::Inbox(place) => {
                self.read_inbox(slot, body, run);
                drop(place);
            }
            Event::Replied(answers) => self.replied(slot, body, run, answers),
            Event::Overdue => self.answer_overdue(slot, body, run),
            Event::Wake(place) => self.wake(slot, body, run, place),
            Event::Forward(frame) => run.effects.push(Effect::Sockets(body.sockets.all().to_vec(), frame)),
            Event::Delete { subtree, reply } => {
                let result = self.delete(slot, body, run, subtree);
                run.effects.push(Effect::Done(reply, result));
            }
        }
        None
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
            let mut turn = Turn::new(self, &slot.path, None, stored, &body.sockets, &Caller::Runtime);
            listed = turn.unlist(name)?;
            turn.draft.add_to(&mut run.set);
            if listed {
                run.changed = run.changed.max(Changed::Record);
            }
        }
        let exists = listed || self.is_live(&subtree) || !self.storage.objects(&subtree, None, 1)?.is_empty();
        if !exists && !self.has_mail(&subtree)? {
            return Ok(());
        }
        run.set.deleted.push(subtree);
        if let (Some(name), true) = (name, listed && body.sockets.are_told()) {
            run.published = Some(run.effects.len());
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
        let mut before = None;
        let unwritten = body.stored.as_ref().filter(|stored| !stored.exists && !stored.in_memory);
        if unwritten.is_some_and(|stored| stored.looked != self.choices.changes(&self.storage, &slot.path)) {
            // Its parent may have listed it since it was looked at, perhaps with another class.
            before = body.sleep().and_then(|(stored, _)| stored);
        }
        if body.stored.is_none() {
            // Before storage: what is not chosen any more has become durable, or has failed.
            let (chosen, looked) = self.choices.class(&self.storage, &slot.path);
            let found = self.storage.load(&slot.path)?;
            let exists = found.is_some();
            let record = match (found, chosen) {
                (Some(record), _) => record,
                (None, Some(class)) => Record::new(class),
                (None, None) => Record::new(self.class_of_new(&slot.path, body.spawned)?),
            };
            let in_memory = self.registry.is_in_memory(&record.class);
            let mut stored = Stored::load(&self.storage, &slot.path, record, (exists, in_memory))?;
            stored.looked = looked;
            if let Some(before) = before {
                // What was handled of the inbox is handled, also where that is not durable yet.
                stored.mail = before.mail;
                stored.pending.keep_memory(before.pending);
            }
            if stored.pending.interrupted(self.start).next().is_some() {
                Self::post_later(slot, Event::Overdue);
            }
            body.stored = Some(stored);
        }
        Ok(())
    }

    /// The class of an object of which nothing is stored: what a caller has named, else what its path says.
    fn class_of_new(&self, path: &ObjectPath, spawned: Option<ClassNumber>) -> Result<Arc<str>, Error> {
        let named = spawned.and_then(|number| self.registry.named(number));
        named.map_or_else(|| self.class_by_path(path), |class| Ok(Arc::clone(class)))
    }

    /// What the class of a path's parent names for its children, else what is routed there. The parent need not be stored.
    pub(super) fn class_by_path(&self, path: &ObjectPath) -> Result<Arc<str>, Error> {
        let named = match path.parent().filter(|_| self.registry.names_children()) {
            Some(parent) => {
                let class = self.storage.class(&parent)?.unwrap_or_else(|| self.registry.class_for(&parent));
                self.registry.children_of(&class)
            }
            None => None,
        };
        Ok(named.map_or_else(|| self.registry.class_for(path), Arc::from))
    }

    /// Brings the class into memory, unless it is.
    pub(super) fn activate(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) -> Result<(), Error> {
        self.load(slot, body)?;
        if body.live.is_some() {
            return Ok(());
        }
        let Some(stored) = &body.stored else { return Ok(()) };
        let definition = Arc::clone(self.registry.get(&stored.record.class)?);
        if definition.in_memory && stored.exists {
            return Err(Error::new(Code::Unavailable, stored_in_memory(&slot.path, &definition.name)));
        }
        let (class, saved) = definition.make(stored.record.state.as_deref())?;
        body.wake(&definition, class, saved);
        self.metrics.activations.inc();
        let activated = self.attempt(slot, body, run, &mut Source::runtime(), Input::Activate);
        if activated.is_err() {
            drop(body.live.take());
        }
        activated.map(drop)
    }
}

fn stored_in_memory(path: &ObjectPath, class: &str) -> String {
    format!("{path} is stored as an object of class `{class}`, which lives in memory alone in this server; delete it")
}

pub(super) fn json_of(output: Output) -> Result<Vec<u8>, Error> {
    match output {
        Output::Json(json) => Ok(json),
        other => Err(Error::internal(format!("a question was answered with {other:?}"))),
    }
}
