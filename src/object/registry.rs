//! Which classes there are, and which one a path gets that has none stored.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::Error;
use super::class::Class;
use super::instance::Definition;
use crate::limits::CLASS_NAME_BYTES;
use crate::metrics::Metrics;
use crate::path::ObjectPath;
use crate::protocol::Code;

/// A class of a [`Registry`], by its place there: small enough to travel with every question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClassNumber(NonZeroU32);

type Route = dyn Fn(&ObjectPath) -> Option<String> + Send + Sync;

/// Why classes cannot be registered as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Two classes have the same name.
    #[error("two classes are named `{0}`; a class is found by its name")]
    Duplicate(&'static str),
    /// A name that cannot be one.
    #[error("`{0}` cannot be the name of a class: 1 to 64 of A-Z a-z 0-9 _ - are needed")]
    Name(&'static str),
    /// A class names one for its children that there is not.
    #[error("class `{class}` names `{children}` for its children, which is not registered")]
    Children {
        /// The class.
        class: &'static str,
        /// What its `CHILDREN` says.
        children: &'static str,
    },
}

/// The classes of a server, by name, and its routes.
pub struct Registry {
    classes: HashMap<&'static str, Arc<Definition>>,
    /// In the order of their numbers.
    numbered: Vec<&'static str>,
    /// Whether any class names one for the children of its objects.
    names_children: bool,
    /// Methods that some class answers by a look.
    looks: BTreeSet<&'static str>,
    route: Box<Route>,
    default: Arc<str>,
    metrics: Metrics,
}

impl Registry {
    /// A registry with one class, which is also the default for every path.
    ///
    /// # Errors
    /// [`RegistryError::Name`].
    pub fn new<C: Class>(metrics: &Metrics) -> Result<Self, RegistryError> {
        let mut registry = Self {
            classes: HashMap::new(),
            numbered: Vec::new(),
            names_children: false,
            looks: BTreeSet::new(),
            route: Box::new(|_| None),
            default: C::NAME.into(),
            metrics: metrics.clone(),
        };
        registry.add::<C>()?;
        Ok(registry)
    }

    /// Registers another class.
    ///
    /// # Errors
    /// [`RegistryError::Duplicate`] and [`RegistryError::Name`].
    pub fn add<C: Class>(&mut self) -> Result<(), RegistryError> {
        let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        if !(1..=CLASS_NAME_BYTES).contains(&C::NAME.len()) || !C::NAME.bytes().all(legal) {
            return Err(RegistryError::Name(C::NAME));
        }
        match self.classes.entry(C::NAME) {
            Entry::Occupied(_) => Err(RegistryError::Duplicate(C::NAME)),
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(Definition::of::<C>(&self.metrics)));
                self.numbered.push(C::NAME);
                self.names_children |= C::CHILDREN.is_some();
                self.looks.extend(C::LOOKS);
                Ok(())
            }
        }
    }

    /// Checks what can only be checked when every class is there.
    ///
    /// # Errors
    /// [`RegistryError::Children`].
    pub fn check(&self) -> Result<(), RegistryError> {
        debug_assert!(self.has(&self.default), "the builder registers the default");
        let named = self.classes.iter().filter_map(|(class, definition)| Some((*class, definition.children?)));
        for (class, children) in named {
            if !self.has(children) {
                return Err(RegistryError::Children { class, children });
            }
        }
        Ok(())
    }

    /// Makes another class the default for every path; one that is registered, which [`Registry::check`] checks.
    pub fn set_default(&mut self, name: &'static str) {
        self.default = name.into();
    }

    /// Sets the function that names the class of a path which has none stored.
    #[must_use]
    pub fn routed(mut self, route: impl Fn(&ObjectPath) -> Option<String> + Send + Sync + 'static) -> Self {
        self.route = Box::new(route);
        self
    }

    /// Whether a class of that name is registered.
    pub fn has(&self, name: &str) -> bool {
        self.classes.contains_key(name)
    }

    /// Every class there is.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.classes.values().map(|definition| &**definition)
    }

    /// The number of a class, if there is one of that name.
    pub(crate) fn number(&self, name: &str) -> Option<ClassNumber> {
        let place = self.numbered.iter().position(|numbered| *numbered == name)?;
        u32::try_from(place + 1).ok().and_then(NonZeroU32::new).map(ClassNumber)
    }

    /// The name of a numbered class.
    pub(crate) fn named(&self, ClassNumber(number): ClassNumber) -> Option<&Arc<str>> {
        let name = self.numbered.get(number.get() as usize - 1)?;
        self.classes.get(name).map(|definition| &definition.name)
    }

    /// The largest body that a class takes, if it says so.
    pub(crate) fn body_bytes(&self, name: &str) -> Option<usize> {
        self.classes.get(name)?.body_bytes
    }

    /// Whether objects of a class live in memory alone.
    pub(crate) fn is_in_memory(&self, name: &str) -> bool {
        self.classes.get(name).is_some_and(|definition| definition.in_memory)
    }

    /// Whether the class of a parent may decide that of its child.
    pub(crate) fn names_children(&self) -> bool {
        self.names_children
    }

    /// Whether some class answers a method by a look.
    pub(crate) fn looks(&self, method: &str) -> bool {
        self.looks.contains(method)
    }

    /// What a class names for the children of its objects.
    pub(crate) fn children_of(&self, class: &str) -> Option<&'static str> {
        self.classes.get(class)?.children
    }

    /// The class that is routed to a path.
    pub(crate) fn class_for(&self, path: &ObjectPath) -> Arc<str> {
        (self.route)(path).map_or_else(|| Arc::clone(&self.default), Arc::from)
    }

    /// # Errors
    /// The class is not registered (any more).
    pub(crate) fn get(&self, name: &str) -> Result<&Arc<Definition>, Error> {
        self.classes
            .get(name)
            .ok_or_else(|| Error::new(Code::Unavailable, format!("class `{name}` is not registered in this server")))
    }
}
