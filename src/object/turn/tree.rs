//! The object's children, as a turn sees and changes them.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Turn, Undo};
use crate::limits::{CLASS_NAME_BYTES, PATH_BYTES};
use crate::object::Error;
use crate::object::children::Children;
use crate::object::errand::Errand;
use crate::object::event::Effect;
use crate::object::namespace::Slot;
use crate::object::registry::ClassNumber;
use crate::path::{self, ObjectName, ObjectPath};
use crate::protocol::{self, Code};
use crate::storage::Child;

/// A child on the list, of [`Turn::children`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedChild<'a> {
    /// Its name.
    pub name: &'a ObjectName,
    /// The class it was listed with.
    pub class: &'a str,
    /// Its open sockets.
    pub sockets: usize,
}

impl Turn<'_> {
    /// The number of listed children.
    pub fn child_count(&self) -> u64 {
        self.stored.record.children
    }

    /// Whether a child of that name is listed.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn has_child(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.stored.record.children > 0 && self.listed()?.contains(name))
    }

    /// The names of the listed children in the order of their creation, as a JSON array.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn children_json(&mut self) -> Result<&[u8], Error> {
        if self.stored.record.children == 0 { Ok(b"[]") } else { Ok(self.listed()?.encoded()) }
    }

    /// The listed children in the order of their creation, with the open sockets of each; those after a name, if one is
    /// given. Nobody is woken. Take as many as a page needs, and go on after the last of them.
    ///
    /// ```
    /// # use fleet::{Error, Turn, json};
    /// fn first_page(turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
    ///     let names: Vec<&str> = turn.children(None)?.take(100).map(|child| child.name.as_str()).collect();
    ///     json(&names)
    /// }
    /// ```
    ///
    /// # Errors
    /// `not_found` when `after` is not listed; storage that cannot be read.
    pub fn children(&mut self, after: Option<&str>) -> Result<impl Iterator<Item = ListedChild<'_>>, Error> {
        let (namespace, mut key) = (self.namespace, self.path.key().to_owned());
        let length = key.len();
        let children = self.listed()?.after(after).ok_or_else(|| Error::not_found("Agent not found"))?;
        Ok(children.map(move |child| {
            key.truncate(length);
            key.push_str(child.name.as_str());
            key.push('/');
            ListedChild { name: &child.name, class: &child.class, sockets: namespace.socket_count(&key) }
        }))
    }

    /// A name that nobody can guess: 32 hex digits, which are 128 random bits.
    #[must_use]
    pub fn unique_name(&self) -> ObjectName {
        let mut bytes = [0; 16];
        self.namespace.services.random.fill(&mut bytes);
        ObjectName::of_number(u128::from_le_bytes(bytes))
    }

    /// Lists a child of a name that nobody can guess, [`Turn::unique_name`].
    ///
    /// # Errors
    /// As [`Turn::create_child`].
    pub fn create_unique_child(&mut self) -> Result<ObjectPath, Error> {
        self.create_child(&self.unique_name())
    }

    /// Lists a child, of the class that this object's class names for its children, else of that of its path. What exists
    /// at its path already is adopted as it is.
    ///
    /// # Errors
    /// `conflict` when the name is listed already or a limit is reached, `bad_request` when the child or this object would
    /// live in memory alone; storage that cannot be read.
    pub fn create_child(&mut self, name: &ObjectName) -> Result<ObjectPath, Error> {
        self.list_child(name, self.children_class)
    }

    /// Lists a child of a class, as [`Turn::create_child`] does: what exists at its path already keeps its class.
    ///
    /// # Errors
    /// `bad_request` for a class that is not registered; as [`Turn::create_child`].
    pub fn create_child_as(&mut self, name: &ObjectName, class: &str) -> Result<ObjectPath, Error> {
        self.class_number(class)?;
        self.list_child(name, Some(class))
    }

    /// # Errors
    /// `bad_request` for a class that is not registered.
    pub(super) fn class_number(&self, class: &str) -> Result<ClassNumber, Error> {
        let unknown = || {
            let shown: String = class.chars().take(CLASS_NAME_BYTES).collect();
            let mut known: Vec<_> = self.namespace.registry.definitions().map(|definition| &*definition.name).collect();
            known.sort_unstable();
            Error::bad_request(format!("Unknown class: {shown}; there are {}", known.join(", ")))
        };
        self.namespace.registry.number(class).ok_or_else(unknown)
    }

    fn list_child(&mut self, name: &ObjectName, class: Option<&str>) -> Result<ObjectPath, Error> {
        self.check_written("create_child")?;
        if self.has_child(name.as_str())? {
            return Err(Error::conflict("Agent already exists"));
        }
        let limits = &self.namespace.options;
        if self.stored.record.children >= limits.children_per_object {
            return Err(Error::conflict(format!(
                "children limit reached: {} has {} children; the limit is {}",
                self.path, self.stored.record.children, limits.children_per_object
            )));
        }
        self.draft.check_rows(self.path, 2)?;
        let path = self.path.child(name);
        if path.as_str().len() > PATH_BYTES {
            let text = path::Error::TooLong(path.as_str().len()).to_string();
            return Err(Error::new(Code::PathTooLong, text));
        }
        self.namespace.check_object_limit()?;
        let class = class.map_or_else(|| self.namespace.registry.class_for(&path), Arc::from);
        let class = self.class_of(&path, class)?;
        let ordinal = self.stored.record.next_ordinal;
        let child = Child { name: name.clone(), class };
        self.listed()?.insert(ordinal, child.clone());
        self.stored.record.next_ordinal += 1;
        self.stored.record.children += 1;
        self.stored.record.bytes += child_bytes(self.path, name);
        self.draft.children.insert(ordinal, Some(child));
        self.draft.undo.push(Undo::Created(name.clone()));
        Ok(path)
    }

    /// The class of what there is at a path, else this one.
    fn class_of(&mut self, path: &ObjectPath, class: Arc<str>) -> Result<Arc<str>, Error> {
        if self.draft.deleted.iter().any(|top| top.contains(path)) {
            // Of what this turn deletes nothing is left.
            return self.check_listed(class);
        }
        let storage = &self.namespace.storage;
        let (choice, _) = self.namespace.choices.choose(storage, path, &class);
        if let Some(record) = storage.load(path)? {
            return self.check_listed(record.class);
        }
        let class = self.check_listed(Arc::clone(&choice.class))?;
        self.draft.effects.push(Effect::Chosen(choice));
        Ok(class)
    }

    fn check_listed(&self, class: Arc<str>) -> Result<Arc<str>, Error> {
        if self.namespace.registry.is_in_memory(&class) {
            let text =
                format!("objects of class `{class}` live in memory alone, and cannot be listed: call them instead");
            return Err(Error::bad_request(text));
        }
        Ok(class)
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
    pub(in crate::object) fn unlist(&mut self, name: &ObjectName) -> Result<bool, Error> {
        if !self.has_child(name.as_str())? {
            return Ok(false);
        }
        if let Some((ordinal, child)) = self.listed()?.remove(name.as_str()) {
            self.stored.record.children -= 1;
            self.stored.record.bytes = self.stored.record.bytes.saturating_sub(child_bytes(self.path, name));
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
        self.forward_to(slots, message);
        Ok(())
    }

    /// Sends a message to the sockets of every listed child, as [`Turn::message_child`] does to one; answers how many
    /// children there are.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn message_children(&mut self, message: &RawValue) -> Result<u64, Error> {
        if self.stored.record.children == 0 {
            return Ok(0);
        }
        let (namespace, mut key) = (Arc::clone(self.namespace), self.path.key().to_owned());
        let length = key.len();
        let mut slots = Vec::new();
        for name in self.listed()?.names() {
            key.truncate(length);
            key.push_str(name.as_str());
            key.push('/');
            slots.extend(namespace.with_sockets(&key));
        }
        self.forward_to(slots, message);
        Ok(self.stored.record.children)
    }

    fn forward_to(&mut self, slots: Vec<Arc<Slot>>, message: &RawValue) {
        if !slots.is_empty() {
            let sender = self.path.name().unwrap_or("root");
            let frame = protocol::message(message, sender);
            self.draft.effects.push(Effect::Errand(Errand::Frame(slots, frame)));
        }
    }

    /// What the list of children counts towards the object's storage.
    pub(super) fn children_bytes(&mut self) -> Result<u64, Error> {
        let path = self.path;
        Ok(self.listed()?.names().map(|name| child_bytes(path, name)).sum())
    }

    fn listed(&mut self) -> Result<&mut Children, Error> {
        let children = match self.stored.children.take() {
            Some(children) => children,
            None if self.stored.record.children == 0 => Children::default(),
            None => Children::from_rows(self.namespace.storage.children(self.path)?),
        };
        Ok(self.stored.children.insert(children))
    }
}

/// What a listed child counts towards the storage of its parent.
fn child_bytes(parent: &ObjectPath, name: &ObjectName) -> u64 {
    (parent.key().len() + name.as_str().len() + 16) as u64
}
