//! Which class an object gets of which nothing is stored: whoever chooses first, the object with its first write or the
//! parent that lists it, chooses for the other, also before either is durable.
//!
//! # Why
//! Both look into storage, and what is on its way there cannot be seen: a child and its parent would each write another
//! class. So a choice stands here from its turn until its commit is decided. From then on storage knows, or nobody has
//! chosen.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::path::ObjectPath;
use crate::storage::{Outcome, Seq, Storage};

/// How many parts there are, so that those who create objects at once seldom meet.
const PARTS: usize = 64;

/// The choices that are not durable.
#[derive(Debug)]
pub(super) struct Choices([Mutex<Part>; PARTS]);

/// Those of some paths.
#[derive(Debug, Default)]
struct Part {
    chosen: BTreeMap<ObjectPath, Weak<Choice>>,
    /// Those whose turn was committed.
    undecided: VecDeque<(Seq, Arc<Choice>)>,
    changes: u64,
}

/// The class of one object; it stands for as long as anybody holds it.
#[derive(Debug)]
pub(crate) struct Choice {
    all: Arc<Choices>,
    path: ObjectPath,
    pub(super) class: Arc<str>,
}

impl Choices {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| Mutex::default())))
    }

    /// The choice for a path: this class, unless another was chosen before. Also how many [`Choices::changes`] there were
    /// until then.
    pub(super) fn choose(
        self: &Arc<Self>,
        storage: &Storage,
        path: &ObjectPath,
        class: &Arc<str>,
    ) -> (Arc<Choice>, u64) {
        self.forget_decided(storage, path);
        let mut part = self.part(path).lock();
        let changes = part.changes;
        if let Some(choice) = part.chosen.get(path).and_then(Weak::upgrade) {
            return (choice, changes);
        }
        let choice = Arc::new(Choice { all: Arc::clone(self), path: path.clone(), class: Arc::clone(class) });
        part.chosen.insert(path.clone(), Arc::downgrade(&choice));
        part.changes += 1;
        (choice, changes)
    }

    /// What was chosen for a path, and how many [`Choices::changes`] there were until then.
    pub(super) fn class(&self, storage: &Storage, path: &ObjectPath) -> (Option<Arc<str>>, u64) {
        self.forget_decided(storage, path);
        let part = self.part(path).lock();
        let (choice, changes) = (part.chosen.get(path).and_then(Weak::upgrade), part.changes);
        // A choice that is dropped locks its part.
        drop(part);
        (choice.map(|choice| Arc::clone(&choice.class)), changes)
    }

    /// A number that grows with every choice for this path that is made or is over, and now and then without.
    pub(super) fn changes(&self, storage: &Storage, path: &ObjectPath) -> u64 {
        self.forget_decided(storage, path);
        self.part(path).lock().changes
    }

    /// Keeps a choice until its commit is decided.
    pub(super) fn keep(&self, choice: Arc<Choice>, seq: Seq) {
        self.part(&choice.path).lock().undecided.push_back((seq, choice));
    }

    /// What lay in a subtree that is deleted gets its class anew.
    pub(super) fn forget_below(&self, subtree: &ObjectPath) {
        for part in &self.0 {
            let mut part = part.lock();
            let below = part.chosen.range(subtree.clone()..).map(|(path, _)| path);
            let paths: Vec<_> = below.take_while(|path| subtree.contains(path)).cloned().collect();
            part.changes += paths.len() as u64;
            for path in paths {
                part.chosen.remove(&path);
            }
        }
    }

    fn part(&self, path: &ObjectPath) -> &Mutex<Part> {
        let mut hasher = DefaultHasher::new();
        path.key().hash(&mut hasher);
        &self.0[usize::try_from(hasher.finish() % PARTS as u64).unwrap_or(0)]
    }

    fn forget_decided(&self, storage: &Storage, path: &ObjectPath) {
        let decided = |(seq, _): &mut (Seq, Arc<Choice>)| storage.outcome(*seq) != Outcome::Pending;
        loop {
            let choice = self.part(path).lock().undecided.pop_front_if(decided);
            // It is dropped when the lock is not held.
            if choice.is_none() {
                return;
            }
        }
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        let mut part = self.all.part(&self.path).lock();
        if part.chosen.get(&self.path).is_some_and(|other| std::ptr::eq(other.as_ptr(), self)) {
            part.chosen.remove(&self.path);
            part.changes += 1;
        }
    }
}
