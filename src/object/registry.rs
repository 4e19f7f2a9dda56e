//! Which classes there are, and which one a path gets that has none stored.

use std::collections::HashMap;
use std::sync::Arc;

use super::Error;
use super::class::{Class, Definition};
use crate::metrics::Metrics;
use crate::path::ObjectPath;
use crate::protocol::Code;

type Route = dyn Fn(&ObjectPath) -> Option<String> + Send + Sync;

/// The classes of a server, by name, and its routes.
pub struct Registry {
    classes: HashMap<Arc<str>, Arc<Definition>>,
    route: Box<Route>,
    default: Arc<str>,
    metrics: Metrics,
}

impl Registry {
    /// A registry with one class, which is also the default for every path.
    pub fn new<C: Class>(default: &str, metrics: &Metrics) -> Self {
        let mut registry = Self {
            classes: HashMap::new(),
            route: Box::new(|_| None),
            default: default.into(),
            metrics: metrics.clone(),
        };
        registry.add::<C>(default);
        registry
    }

    fn add<C: Class>(&mut self, name: &str) {
        let definition = Definition::of::<C>(name, &self.metrics);
        self.classes.insert(Arc::clone(&definition.name), Arc::new(definition));
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

    /// The class for a path of which nothing is stored.
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
