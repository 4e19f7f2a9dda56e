//! Faults that wait for the next delivery of their kind. Two of a kind that wait are one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Random;
use crate::limits::SIM_REPEAT;
use crate::object::{Delivery, Fault, Faults};
use crate::path::ObjectPath;

/// The faults of one life.
pub(super) struct Troubles(Mutex<State>);

struct State {
    random: Random,
    lose: bool,
    repeat: bool,
    full: BTreeSet<ObjectPath>,
}

impl Troubles {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let random = Random::new(seed ^ 0xfa17);
        Arc::new(Self(Mutex::new(State { random, lose: false, repeat: false, full: BTreeSet::new() })))
    }

    pub(super) fn lose(&self) {
        self.0.lock().lose = true;
    }

    pub(super) fn repeat(&self) {
        self.0.lock().repeat = true;
    }

    pub(super) fn fill(&self, path: ObjectPath) {
        self.0.lock().full.insert(path);
    }

    /// What has met nothing yet will not.
    pub(super) fn forget(&self) {
        let mut state = self.0.lock();
        (state.lose, state.repeat) = (false, false);
        state.full.clear();
    }

    /// What objects get of it.
    pub(super) fn faults(self: &Arc<Self>) -> Faults {
        let troubles = Arc::clone(self);
        Faults::new(move |delivery| troubles.0.lock().meet(delivery))
    }
}

impl State {
    fn meet(&mut self, delivery: Delivery<'_>) -> Option<Fault> {
        let may_be_lost = matches!(delivery, Delivery::Tell | Delivery::Notice | Delivery::Wake);
        let may_repeat = matches!(delivery, Delivery::Answer | Delivery::Notice | Delivery::Wake);
        if let Delivery::Ordinary(path) = delivery {
            return self.full.remove(path).then_some(Fault::Full);
        }
        if may_be_lost && std::mem::take(&mut self.lose) {
            return Some(Fault::Lost);
        }
        if may_repeat && std::mem::take(&mut self.repeat) {
            let most = u64::try_from(SIM_REPEAT.as_millis()).unwrap_or(u64::MAX);
            return Some(Fault::Again(Duration::from_millis(self.random.below(most))));
        }
        None
    }
}
