//! What one run of turns changed: final values, never code or deltas.
//!
//! # Why
//! Because a write set holds final values, many of them can be coalesced into one batch, sent again, or handed to another
//! engine, and always mean the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::path::{ObjectName, ObjectPath};

/// The number of a write set in the one queue that all of them pass through; [`Seq::NONE`] means "nothing written".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub(crate) u64);

impl Seq {
    /// Before every write set, and always durable.
    pub const NONE: Self = Self(0);
}

/// What is stored of an object besides its lists: always written whole, so that a row of a deleted predecessor that was
/// not reaped yet can leave nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The class that was chosen when the object was created.
    pub class: Arc<str>,
    /// The saved state as the class encoded it (JSON); `None` until a turn changed it.
    pub state: Option<Arc<[u8]>>,
    /// Number of listed children.
    pub children: u64,
    /// The ordinal that the next listed child gets.
    pub next_ordinal: u64,
    /// Bytes that count towards the object's storage limit.
    pub bytes: u64,
    /// Number of rows in either [`Space`], so that an object without any needs no query.
    pub rows: u64,
}

impl Record {
    /// The record of an object of which nothing is stored.
    #[must_use]
    pub fn new(class: Arc<str>) -> Self {
        Self { class, state: None, children: 0, next_ordinal: 0, bytes: 0, rows: 0 }
    }
}

/// One listed child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its last segment.
    pub name: ObjectName,
    /// The class it was created with.
    pub class: Arc<str>,
}

/// Which rows of an object a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The class's own key/value pairs.
    User,
    /// What the runtime keeps: the alarm, schedules, pending calls.
    Runtime,
}

impl Space {
    /// Where the rows of an object are stored: the runtime's at its path, the class's at a path with an empty last name,
    /// which no object has. So dropping the class's rows is the deletion of a subtree, of whatever size.
    pub(super) fn place(self, path: &ObjectPath) -> ObjectPath {
        match self {
            Self::User => ObjectPath::from_key(&[path.key(), "/"].concat()),
            Self::Runtime => path.clone(),
        }
    }
}

/// What a row holds; storage does not look into it.
pub type Value = Arc<[u8]>;

/// A message to another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Who is to handle it.
    pub target: ObjectPath,
    /// What it says; storage does not look into it.
    pub message: Arc<[u8]>,
}

/// Place of a message in its target's inbox; inboxes are ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of the sender's write set.
    pub seq: Seq,
    /// The number within that write set, from 0.
    pub number: u64,
}

impl Position {
    /// Whether another stands right behind it in the same write set.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.seq == other.seq && self.number + 1 == other.number
    }
}

/// The changes of one object, applied as one atomic step.
///
/// Deletions are applied first: a child that is deleted and created again in the same write set is there afterwards, and
/// what the same write set sends to it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSet {
    /// Whose changes these are.
    pub path: ObjectPath,
    /// The object's own record, if it changed.
    pub record: Option<Record>,
    /// Changes to the list of children, by ordinal: `Some` lists a child, `None` takes it off the list. A listed child
    /// exists from then on: its own record is created too, unless it has one.
    pub children: BTreeMap<u64, Option<Child>>,
    /// Subtrees that are deleted: every row below each of them with an older number is dead.
    pub deleted: Vec<ObjectPath>,
    /// Drop every row of [`Space::User`] that is older than this write set; applied after `deleted` and before `rows`.
    pub clear: bool,
    /// Final values of rows; `None` deletes.
    pub rows: BTreeMap<(Space, Box<str>), Option<Value>>,
    /// When the object is to be woken: `Some(None)` never, `Some(Some(ms since the epoch))`; `None` leaves it.
    pub wake: Option<Option<u64>>,
    /// Messages to other objects, delivered effectively once, in order.
    pub sends: Vec<Send>,
    /// Messages of the inbox that were handled: their rows go in this commit. Only what [`Storage::inbox`] has answered.
    ///
    /// [`Storage::inbox`]: super::Storage::inbox
    pub handled: Vec<Position>,
}

impl WriteSet {
    /// An empty write set of an object.
    #[must_use]
    pub fn new(path: ObjectPath) -> Self {
        Self {
            path,
            record: None,
            children: BTreeMap::new(),
            deleted: Vec::new(),
            clear: false,
            rows: BTreeMap::new(),
            wake: None,
            sends: Vec::new(),
            handled: Vec::new(),
        }
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.children.is_empty()
            && self.deleted.is_empty()
            && !self.clear
            && self.rows.is_empty()
            && self.wake.is_none()
            && self.sends.is_empty()
            && self.handled.is_empty()
    }

    /// Number of rows that will be written (a listed child counts two, as its own record may be created).
    #[must_use]
    pub fn rows(&self) -> usize {
        usize::from(self.record.is_some())
            + 2 * self.children.len()
            + self.deleted.len()
            + usize::from(self.clear)
            + self.rows.len()
            + usize::from(self.wake.is_some())
            + self.sends.len()
            + self.handled.len()
    }

    /// Bytes of the values and keys, without the engine's overhead.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let path = self.path.key().len();
        let record =
            self.record.as_ref().map_or(0, |record| path + record.state.as_ref().map_or(0, |state| state.len()));
        let child = |child: &Option<Child>| 2 * path + child.as_ref().map_or(0, |child| 2 * child.name.as_str().len());
        let row = |key: &str, value: &Option<Value>| path + key.len() + value.as_ref().map_or(0, |value| value.len());
        record
            + self.children.values().map(child).sum::<usize>()
            + self.deleted.iter().map(|path| path.key().len()).sum::<usize>()
            + self.rows.iter().map(|((_, key), value)| row(key, value)).sum::<usize>()
            + self.sends.iter().map(|send| path + send.target.key().len() + send.message.len()).sum::<usize>()
            + path * (usize::from(self.clear) + usize::from(self.wake.is_some()) + self.handled.len())
    }

    /// Adds the changes of a later turn of the same object.
    pub fn merge(&mut self, later: Self) {
        debug_assert_eq!(self.path, later.path);
        if later.record.is_some() {
            self.record = later.record;
        }
        self.children.extend(later.children);
        for prefix in later.deleted {
            // They are older than the deletion, which is applied first.
            self.sends.retain(|send| !prefix.contains(&send.target));
            self.deleted.push(prefix);
        }
        if later.clear {
            self.clear = true;
            self.rows.retain(|(space, _), _| *space != Space::User);
        }
        self.rows.extend(later.rows);
        self.wake = later.wake.or(self.wake);
        self.sends.extend(later.sends);
        self.handled.extend(later.handled);
    }
}

/// What became of a write set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided yet.
    Pending,
    /// Fsynced.
    Durable,
    /// Not, or not known to be, applied.
    Failed(CommitError),
}

/// Why a commit failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk, or the space given to the database, is full: nothing of the write set was applied.
    #[error("storage is full; the change was not applied")]
    Full,
    /// The outcome on disk is not known.
    #[error("the commit failed; the change may or may not have been applied")]
    Unknown,
}
