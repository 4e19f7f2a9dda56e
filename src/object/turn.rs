//! What a handler may use while its turn lasts: everything it does here is dropped if it fails.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::Error;
use super::body::Stored;
use super::children::Children;
use super::event::{Answer, Effect};
use super::namespace::{Inner, Slot};
use super::session::Session;
use crate::limits::PATH_BYTES;
use crate::path::{self, ObjectName, ObjectPath};
use crate::protocol::{self, Change, Code, Frame, Id};
use crate::storage::{Child, Record, WriteSet};

/// One turn of one object.
pub struct Turn<'a> {
    pub(super) namespace: &'a Arc<Inner>,
    pub(super) path: &'a ObjectPath,
    pub(super) record: &'a mut Record,
    pub(super) children: &'a mut Option<Children>,
    pub(super) draft: Draft,
}

/// What a turn has done so far.
#[derive(Default)]
pub(super) struct Draft {
    /// The socket whose message this is.
    pub(super) sender: Option<Arc<Session>>,
    pub(super) id: Option<Id>,
    pub(super) effects: Vec<Effect>,
    pub(super) children: std::collections::BTreeMap<u64, Option<Child>>,
    pub(super) deleted: Vec<ObjectPath>,
    pub(super) published: Option<Change>,
    pub(super) answer: Option<Vec<u8>>,
    undo: Vec<Undo>,
}

enum Undo {
    Created(ObjectName),
    Removed(u64, Child),
}

impl<'a> Turn<'a> {
    pub(super) fn new(namespace: &'a Arc<Inner>, path: &'a ObjectPath, stored: &'a mut Stored) -> Self {
        let Stored { record, children, .. } = stored;
        Self { namespace, path, record, children, draft: Draft::default() }
    }
}

impl Turn<'_> {
    /// The object's path.
    pub fn path(&self) -> &ObjectPath {
        self.path
    }

    /// Asks for a `state` (or, for sockets of `fleet.v2`, this change) to be sent to every socket of the object.
    pub fn publish(&mut self, change: Change) {
        match &mut self.draft.published {
            Some(published) => published.merge(&change),
            None => self.draft.published = Some(change),
        }
    }

    /// Says by which `id` the sender of the message recognises its answer; without one there is no `result`.
    pub fn expect_answer(&mut self, id: Option<Id>) {
        self.draft.id = id;
    }

    /// Answers the message of a socket, if it carried an `id`.
    pub fn answer(&mut self, payload: Vec<u8>) {
        self.draft.answer = Some(payload);
    }

    /// The number of listed children.
    pub fn child_count(&self) -> u64 {
        self.record.children
    }

    /// Whether a child of that name is listed.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn has_child(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.record.children > 0 && self.children()?.contains(name))
    }

    /// The names of the listed children in the order of their creation, as a JSON array.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn children_json(&mut self) -> Result<&[u8], Error> {
        if self.record.children == 0 { Ok(b"[]") } else { Ok(self.children()?.encoded()) }
    }

    /// Lists a child. What exists at its path already is adopted as it is.
    ///
    /// # Errors
    /// `conflict` when the name is listed already or a limit is reached; storage that cannot be read.
    pub fn create_child(&mut self, name: &ObjectName) -> Result<ObjectPath, Error> {
        if self.has_child(name.as_str())? {
            return Err(Error::conflict("Agent already exists"));
        }
        let limits = &self.namespace.options;
        if self.record.children >= limits.children_per_object {
            return Err(Error::conflict(format!(
                "children limit reached: {} has {} children; the limit is {}",
                self.path, self.record.children, limits.children_per_object
            )));
        }
        let path = self.path.child(name);
        if path.as_str().len() > PATH_BYTES {
            let text = path::Error::TooLong(path.as_str().len()).to_string();
            return Err(Error::new(Code::PathTooLong, text));
        }
        self.namespace.check_object_limit()?;
        let class = match self.namespace.storage.load(&path)? {
            Some(record) => record.class,
            None => self.namespace.registry.class_for(&path),
        };
        let ordinal = self.record.next_ordinal;
        let child = Child { name: name.clone(), class };
        self.children()?.insert(ordinal, child.clone());
        self.record.next_ordinal += 1;
        self.record.children += 1;
        self.record.bytes += child_bytes(self.path, name);
        self.draft.children.insert(ordinal, Some(child));
        self.draft.undo.push(Undo::Created(name.clone()));
        Ok(path)
    }

    /// Takes a child off the list and deletes it with everything below it.
    ///
    /// # Errors
    /// `not_found` when the name is not listed; storage that cannot be read.
    pub fn delete_child(&mut self, name: &ObjectName) -> Result<(), Error> {
        if !self.has_child(name.as_str())? {
            return Err(Error::not_found("Agent not found"));
        }
        self.unlist(name)?;
        self.draft.deleted.push(self.path.child(name));
        Ok(())
    }

    /// Takes a child off the list, if it is on it.
    pub(super) fn unlist(&mut self, name: &ObjectName) -> Result<bool, Error> {
        if !self.has_child(name.as_str())? {
            return Ok(false);
        }
        if let Some((ordinal, child)) = self.children()?.remove(name.as_str()) {
            self.record.children -= 1;
            self.record.bytes = self.record.bytes.saturating_sub(child_bytes(self.path, name));
            self.draft.children.insert(ordinal, None);
            self.draft.undo.push(Undo::Removed(ordinal, child));
        }
        Ok(true)
    }

    /// Sends a message to the sockets of a listed child; at most once, and nobody waits for it. A child without sockets is
    /// not woken.
    ///
    /// # Errors
    /// `not_found` when the name is not listed; storage that cannot be read.
    pub fn message_child(&mut self, name: &str, message: &RawValue) -> Result<(), Error> {
        if !self.has_child(name)? {
            return Err(Error::not_found("Recipient not found"));
        }
        let key = format!("{}{name}/", self.path.key());
        let slots: Vec<Arc<Slot>> = self.namespace.with_sockets(&key).into_iter().collect();
        self.tell(slots, message);
        Ok(())
    }

    /// Sends a message to the sockets of every listed child, as [`Turn::message_child`] does to one; answers how many
    /// children there are.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn message_children(&mut self, message: &RawValue) -> Result<u64, Error> {
        if self.record.children == 0 {
            return Ok(0);
        }
        let (namespace, mut key) = (Arc::clone(self.namespace), self.path.key().to_owned());
        let length = key.len();
        let mut slots = Vec::new();
        for name in self.children()?.names() {
            key.truncate(length);
            key.push_str(name.as_str());
            key.push('/');
            slots.extend(namespace.with_sockets(&key));
        }
        self.tell(slots, message);
        Ok(self.record.children)
    }

    fn tell(&mut self, slots: Vec<Arc<Slot>>, message: &RawValue) {
        if !slots.is_empty() {
            let sender = self.path.name().unwrap_or("root");
            self.draft.effects.push(Effect::Tell(slots, protocol::message(message, sender)));
        }
    }

    fn children(&mut self) -> Result<&mut Children, Error> {
        let children = match self.children.take() {
            Some(children) => children,
            None if self.record.children == 0 => Children::default(),
            None => Children::from_rows(self.namespace.storage.children(self.path)?),
        };
        Ok(self.children.insert(children))
    }
}

impl Draft {
    /// Takes back what the turn did to the list of children.
    pub(super) fn undo(self, children: &mut Option<Children>) {
        let Some(children) = children else { return };
        for step in self.undo.into_iter().rev() {
            match step {
                Undo::Created(name) => drop(children.remove(name.as_str())),
                Undo::Removed(ordinal, child) => children.insert(ordinal, child),
            }
        }
    }

    /// Whether the turn wrote something besides the state.
    pub(super) fn has_writes(&self) -> bool {
        !self.children.is_empty() || !self.deleted.is_empty()
    }

    /// The turn's changes, without the record.
    pub(super) fn write_set(&mut self, path: &ObjectPath) -> WriteSet {
        let mut set = WriteSet::new(path.clone());
        set.children = std::mem::take(&mut self.children);
        set.deleted = std::mem::take(&mut self.deleted);
        set
    }

    /// The answer to the sender's message, if it gets one besides a state.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        let (id, payload) = (self.id.clone()?, self.answer.take()?);
        let frame: Frame = protocol::result(&id, &payload);
        Some(Answer { id: Some(id), frame })
    }
}

/// What a listed child counts towards the storage of its parent.
fn child_bytes(parent: &ObjectPath, name: &ObjectName) -> u64 {
    (parent.key().len() + name.as_str().len() + 16) as u64
}

/// The failure for a write that would exceed the storage of one object.
pub(super) fn storage_full(path: &ObjectPath, bytes: u64, limit: u64) -> Error {
    Error::new(Code::StorageFull, format!("storage full: {path} would hold {bytes} bytes; the limit is {limit}"))
}
