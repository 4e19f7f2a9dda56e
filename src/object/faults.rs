//! What may go wrong on the way to an object, for simulations: a server has none of it, and pays a look at an `Option`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::namespace::Inner;
use super::slot::Room;
use crate::path::ObjectPath;

type Decide = dyn Fn(Delivery<'_>) -> Option<Fault> + Send + Sync;

/// Whether a delivery goes wrong; none does unless it is simulated.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Decide>>);

/// What is on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delivery<'a> {
    /// A message that is delivered at most once.
    Tell,
    /// That durable messages wait.
    Notice,
    /// That something is due.
    Wake,
    /// The answer to what an object has asked for.
    Answer,
    /// Anything that a full mailbox refuses.
    Ordinary(&'a ObjectPath),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not arrive.
    Lost,
    /// It arrives, and again after this long.
    Again(Duration),
    /// The mailbox is full.
    Full,
}

impl Faults {
    pub(crate) fn new(decide: impl Fn(Delivery<'_>) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }

    pub(super) fn of(&self, delivery: Delivery<'_>) -> Option<Fault> {
        self.0.as_ref().and_then(|decide| decide(delivery))
    }

    /// Whether a mailbox is to be taken for full.
    pub(super) fn fills(&self, path: &ObjectPath, event: &Event) -> bool {
        self.0.is_some() && event.room() == Room::Ordinary && self.of(Delivery::Ordinary(path)) == Some(Fault::Full)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}

impl Inner {
    /// Delivers something a second time, later.
    pub(super) fn repeat(self: &Arc<Self>, after: Duration, deliver: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let namespace = Arc::clone(self);
        self.spawn(async move {
            tokio::time::sleep(after).await;
            deliver(&namespace);
        });
    }
}
