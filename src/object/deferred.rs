//! Answers that are owed: who asked, until the class answers, time is up, or the object is deleted.
//!
//! They are kept beside the slots and not in them, so that an object that owes an answer can hibernate like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Error;
use super::errand::Errand;
use super::event::{Caller, Effect, Reply};
use super::namespace::Inner;
use super::registry::ClassNumber;
use crate::path::ObjectPath;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// An answer that an object owes: see [`Turn::defer`](super::Turn::defer). It can be kept in the object's state or rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "whoever asked waits for the answer"]
#[serde(transparent)]
pub struct Deferred(pub(super) u64);

/// A call of an object that waits for its answer.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) caller: ObjectPath,
    pub(crate) id: u64,
    /// How many calls lie above it, with itself.
    pub(crate) hops: u8,
    /// The class of the called object, should there be none yet.
    pub(crate) spawn: Option<ClassNumber>,
}

/// Who called a method.
pub(crate) enum Asker {
    /// A request of the edge, which may carry an idempotency key.
    Edge(Reply<Vec<u8>>, Option<Box<str>>),
    /// Another object.
    Object(Asked),
}

impl Asker {
    pub(super) fn caller(&self) -> Caller {
        match self {
            Self::Edge(..) => Caller::Http,
            Self::Object(asked) => Caller::Object(asked.caller.clone()),
        }
    }

    pub(super) fn hops(&self) -> u8 {
        match self {
            Self::Edge(..) => 0,
            Self::Object(asked) => asked.hops,
        }
    }

    /// The class that the called object is to have, should there be none yet.
    pub(super) fn spawn(&self) -> Option<ClassNumber> {
        match self {
            Self::Edge(..) => None,
            Self::Object(asked) => asked.spawn,
        }
    }

    /// The idempotency key of a request.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Edge(_, key) => key.as_deref(),
            Self::Object(_) => None,
        }
    }

    /// The effect that answers.
    pub(super) fn answer(self, result: Result<Vec<u8>, Error>) -> Effect {
        match self {
            Self::Edge(reply, _) => Effect::Json(reply, result),
            Self::Object(asked) => Effect::Errand(Errand::Answer(asked, result)),
        }
    }
}

/// Every answer that the objects of a server owe.
#[derive(Default)]
pub(super) struct Deferrals(Mutex<State>);

#[derive(Default)]
struct State {
    owed: BTreeMap<(ObjectPath, u64), Owed>,
    /// In milliseconds of [`Timeouts`](super::timeouts::Timeouts).
    by_time: BTreeSet<(u64, ObjectPath, u64)>,
    stopping: bool,
}

pub(super) struct Owed {
    pub(super) asker: Asker,
    until: u64,
}

/// An answer that was owed, and by whom.
pub(super) struct Debt {
    key: (ObjectPath, u64),
    pub(super) owed: Owed,
}

impl Deferrals {
    /// The asker comes back when the server is stopping.
    pub(super) fn insert(&self, path: &ObjectPath, id: u64, asker: Asker, until: u64) -> Option<Asker> {
        let mut state = self.0.lock();
        if state.stopping {
            return Some(asker);
        }
        state.by_time.insert((until, path.clone(), id));
        state.owed.insert((path.clone(), id), Owed { asker, until });
        None
    }

    pub(super) fn take(&self, path: &ObjectPath, id: u64) -> Option<Asker> {
        self.0.lock().take((path.clone(), id)).map(|owed| owed.asker)
    }

    pub(super) fn contains(&self, path: &ObjectPath, id: u64) -> bool {
        self.0.lock().owed.contains_key(&(path.clone(), id))
    }

    /// How many answers an object owes.
    pub(super) fn count(&self, path: &ObjectPath) -> usize {
        self.0.lock().of(path).count()
    }

    /// Whether an object owes any.
    pub(super) fn owes(&self, path: &ObjectPath) -> bool {
        self.0.lock().of(path).next().is_some()
    }

    /// When the first of all is owed too long.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.lock().by_time.first().map(|(until, ..)| *until)
    }

    /// Those of an object that cannot answer any more.
    pub(super) fn take_all(&self, path: &ObjectPath) -> Vec<Asker> {
        let mut state = self.0.lock();
        let keys: Vec<_> = state.of(path).cloned().collect();
        keys.into_iter().filter_map(|key| state.take(key)).map(|owed| owed.asker).collect()
    }

    /// Those of a subtree that is being deleted.
    pub(super) fn take_below(&self, subtree: &ObjectPath) -> Vec<Debt> {
        let mut state = self.0.lock();
        let below = state.owed.range((subtree.clone(), 0)..).map(|(key, _)| key.clone());
        let keys: Vec<_> = below.take_while(|(path, _)| subtree.contains(path)).collect();
        keys.into_iter().filter_map(|key| Some(Debt { owed: state.take(key.clone())?, key })).collect()
    }

    /// The deletion has failed. They come back when the server is stopping.
    pub(super) fn put_back(&self, debts: Vec<Debt>) -> Vec<Debt> {
        let mut state = self.0.lock();
        if state.stopping {
            return debts;
        }
        for Debt { key, owed } in debts {
            state.by_time.insert((owed.until, key.0.clone(), key.1));
            state.owed.insert(key, owed);
        }
        Vec::new()
    }

    /// All of them; from here on there are no new ones.
    pub(super) fn stop(&self) -> Vec<Asker> {
        let mut state = self.0.lock();
        state.stopping = true;
        state.by_time.clear();
        std::mem::take(&mut state.owed).into_values().map(|owed| owed.asker).collect()
    }

    fn take_overdue(&self, now: u64) -> Vec<(ObjectPath, Asker)> {
        let mut state = self.0.lock();
        let mut overdue = Vec::new();
        while let Some((_, path, id)) = state.by_time.first().filter(|(until, ..)| *until <= now).cloned() {
            overdue.extend(state.take((path.clone(), id)).map(|owed| (path, owed.asker)));
        }
        overdue
    }
}

impl State {
    fn of(&self, path: &ObjectPath) -> impl Iterator<Item = &(ObjectPath, u64)> {
        self.owed.range((path.clone(), 0)..=(path.clone(), u64::MAX)).map(|(key, _)| key)
    }

    fn take(&mut self, key: (ObjectPath, u64)) -> Option<Owed> {
        let owed = self.owed.remove(&key)?;
        self.by_time.remove(&(owed.until, key.0, key.1));
        Some(owed)
    }
}

impl Inner {
    /// Answers whoever has waited too long.
    pub(super) fn pay_overdue(self: &Arc<Self>) {
        for (path, asker) in self.deferred.take_overdue(self.timeouts.now()) {
            self.pay(asker, Err(Error::timed_out(path)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn co2_an_answer_is_owed_until_its_time_is_up() {
        let (deferred, path) = (Deferrals::default(), ObjectPath::parse("/a").unwrap());
        for (id, until) in [(1, 300), (2, 200)] {
            let (reply, _) = oneshot::channel();
            assert!(deferred.insert(&path, id, Asker::Edge(reply, None), until).is_none());
        }
        assert_eq!(deferred.first(), Some(200));
        assert!(deferred.take_overdue(199).is_empty());
        assert_eq!(deferred.take_overdue(200).len(), 1);
        assert!(deferred.contains(&path, 1) && !deferred.contains(&path, 2) && deferred.owes(&path));
        assert!(deferred.take(&path, 1).is_some());
        assert!(deferred.first().is_none() && !deferred.owes(&path));
    }

    #[test]
    fn co4_a_subtree_takes_what_it_owes_and_a_stop_everything() {
        let deferred = Deferrals::default();
        let insert = |path: &str| {
            let (reply, _) = oneshot::channel();
            deferred.insert(&ObjectPath::parse(path).unwrap(), 1, Asker::Edge(reply, None), 1).is_none()
        };
        assert!(["/a", "/a/b", "/a-b", "/b"].into_iter().all(insert));
        assert_eq!(deferred.take_below(&ObjectPath::parse("/a").unwrap()).len(), 2);
        assert!(insert("/b/c"));
        assert_eq!(deferred.take_all(&ObjectPath::parse("/b").unwrap()).len(), 1);
        assert_eq!(deferred.stop().len(), 2);
        assert!(!insert("/c"), "who asks now is told at once");
    }
}
