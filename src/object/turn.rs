//! What a handler may use while its turn lasts: everything it does here is dropped if it fails.
//!
//! | file | what of it |
//! |---|---|
//! | `storage` | the object's rows, and transactions |
//! | `sockets` | its sockets |
//! | `talk`, `ask` | messages, calls, jobs and requests |
//! | `tree` | its children |
//! | `alarms` | its alarm and its schedules |
//! | `tokens` | who somebody is |

mod alarms;
mod ask;
mod sockets;
mod storage;
mod talk;
mod tokens;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

pub use self::alarms::When;
pub use self::ask::Ask;
pub use self::sockets::Sent;
pub(in crate::object) use self::sockets::SocketChanges;
pub(super) use self::storage::{check_key, decode};
use self::talk::Said;
pub use self::tree::ListedChild;
use super::Error;
use super::body::{Sockets, Stored};
use super::children::Children;
use super::errand::Errand;
use super::event::{Answer, Caller, Effect};
use super::namespace::Inner;
use super::rows::Value;
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::{self, Change, Code, Id};
use crate::storage::{Child, Space, WriteSet};

/// One open socket of an object; its number is not used again while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub(crate) u64);

/// One turn of one object.
///
/// ```
/// use fleet::{Change, Error, Turn};
///
/// fn visit(turn: &mut Turn<'_>) -> Result<u64, Error> {
///     let visits = turn.get("visits")?.unwrap_or(0) + 1;
///     turn.put("visits", &visits)?;
///     let in_an_hour = turn.now() + 3_600_000;
///     turn.set_alarm(in_an_hour)?;
///     turn.publish(Change::field("visits", visits));
///     Ok(visits)
/// }
/// ```
pub struct Turn<'a> {
    pub(super) namespace: &'a Arc<Inner>,
    pub(super) path: &'a ObjectPath,
    /// The class of children that are created without naming one.
    children_class: Option<&'static str>,
    pub(super) stored: &'a mut Stored,
    pub(super) sockets: &'a Sockets,
    /// The request that opened the socket which joins in this turn.
    pub(super) upgrade: Option<&'a http::Request<()>>,
    pub(super) caller: &'a Caller,
    /// Read once, when it is first asked for.
    now: Option<u64>,
    /// How many calls lie above this turn.
    pub(super) hops: u8,
    /// Whether the call that it handles may be answered later.
    pub(super) may_defer: bool,
    pub(super) key: Option<&'a str>,
    pub(super) draft: Draft,
}

/// What a turn has done so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) id: Option<Id>,
    pub(super) effects: Vec<Effect>,
    pub(super) children: BTreeMap<u64, Option<Child>>,
    pub(super) deleted: Vec<ObjectPath>,
    /// Whether every row that there was is dropped.
    pub(super) cleared: bool,
    pub(super) said: Said,
    pub(super) rows: BTreeMap<Box<str>, Write>,
    row_bytes: usize,
    pub(super) sockets: SocketChanges,
    /// Whether the alarm or a schedule was changed.
    timers: bool,
    /// Whether the memory is to be given back at once.
    pub(super) hibernates: bool,
    /// Rows that were read, written, deleted or listed.
    pub(super) operations: u64,
    pub(super) published: Option<Change>,
    pub(super) answer: Option<Vec<u8>>,
    undo: Vec<Undo>,
    /// How many transactions are open: only then it is kept what rows were before.
    transactions: usize,
}

/// What is written to a row: a value, or that there is none.
type Write = Option<Value>;

/// One step back.
enum Undo {
    Created(ObjectName),
    Removed(u64, Child),
    /// A row as the turn had left it before; `None` if it had not touched it.
    Row(Box<str>, Option<Write>),
    /// All that the turn had written before it dropped everything.
    Cleared(bool, BTreeMap<Box<str>, Write>),
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        namespace: &'a Arc<Inner>,
        path: &'a ObjectPath,
        children_class: Option<&'static str>,
        stored: &'a mut Stored,
        sockets: &'a Sockets,
        caller: &'a Caller,
    ) -> Self {
        Self {
            namespace,
            path,
            children_class,
            stored,
            sockets,
            upgrade: None,
            caller,
            now: None,
            hops: 0,
            may_defer: false,
            key: None,
            draft: Draft::default(),
        }
    }
}

impl Turn<'_> {
    /// The object's path.
    pub fn path(&self) -> &ObjectPath {
        self.path
    }

    /// Who caused this turn.
    pub fn caller(&self) -> &Caller {
        self.caller
    }

    /// The `Idempotency-Key` header of the HTTP call that this turn handles: 1 to 255 visible ASCII characters.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.key
    }

    /// The time in milliseconds since the epoch; the same for the whole turn.
    pub fn now(&mut self) -> u64 {
        *self.now.get_or_insert_with(|| self.namespace.services.clock.now())
    }

    /// A random number, each as likely as the other, which nobody can guess.
    pub fn random(&mut self) -> u64 {
        self.namespace.services.random.number()
    }

    /// Counts something, towards a counter of that name and those labels in `/.fleet/metrics`, once this turn is durable.
    ///
    /// A counter has the same labels wherever it is counted. What cannot be one, because its name is taken or its labels
    /// differ, is said once in the log and not counted. Each goes out as a message does, towards the 10,000 of a turn.
    ///
    /// ```
    /// # use fleet::Turn;
    /// fn sold(turn: &mut Turn<'_>, tickets: u64) {
    ///     turn.count("box_office_tickets_total", &[("kind", "evening")], tickets);
    /// }
    /// ```
    pub fn count(&mut self, metric: &'static str, labels: &[(&'static str, &'static str)], by: u64) {
        let Some(counter) = self.namespace.metrics.named(metric, labels) else { return };
        match self.count_errand() {
            Ok(()) => self.draft.effects.push(Effect::Errand(Errand::Count(counter, by))),
            Err(error) => tracing::error!(path = %self.path, metric, by, %error, "a count is dropped"),
        }
    }

    /// Gives the object's memory back as soon as what its turns have caused has left, instead of after 10 s without an event.
    /// It stays while it waits for an answer in memory; the next event that comes before it has gone takes the wish back.
    pub fn hibernate(&mut self) {
        self.draft.hibernates = true;
    }

    /// The failure for what would be written, in an object that lives in memory alone.
    fn check_written(&self, what: &str) -> Result<(), Error> {
        if !self.stored.in_memory {
            return Ok(());
        }
        let (path, class) = (self.path, &self.stored.record.class);
        let text =
            format!("{what}: {path} lives in memory alone, as its class `{class}` does; nothing of it is written");
        Err(Error::bad_request(text))
    }

    /// Whether the server is stopping: then sockets close, and questions fail, because of that.
    pub fn is_stopping(&self) -> bool {
        self.namespace.jobs.are_stopping()
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

    /// Sends a message to every socket of this object, as a `message` frame that names the caller.
    pub fn forward(&mut self, message: &RawValue) {
        if !self.sockets.is_empty() {
            let sender = match self.caller {
                Caller::Object(path) => path.name().unwrap_or("root"),
                _ => "",
            };
            self.draft.effects.push(Effect::Sockets(self.sockets.all().to_vec(), protocol::message(message, sender)));
        }
    }
}

impl Draft {
    /// Takes back what the turn did to the list of children.
    pub(super) fn undo(&mut self, children: &mut Option<Children>) {
        self.undo_to(0, children);
    }

    /// Takes steps back until so many are left.
    fn undo_to(&mut self, mark: usize, children: &mut Option<Children>) {
        for step in self.undo.drain(mark..).rev() {
            match (step, children.as_mut()) {
                (Undo::Created(name), Some(children)) => drop(children.remove(name.as_str())),
                (Undo::Removed(ordinal, child), Some(children)) => children.insert(ordinal, child),
                (Undo::Row(key, Some(value)), _) => drop(self.rows.insert(key, value)),
                (Undo::Row(key, None), _) => drop(self.rows.remove(&key)),
                (Undo::Cleared(cleared, rows), _) => (self.cleared, self.rows) = (cleared, rows),
                (Undo::Created(_) | Undo::Removed(..), None) => {}
            }
        }
    }

    /// Whether the turn wrote something besides the state.
    pub(super) fn has_writes(&self) -> bool {
        !self.rows.is_empty() || self.timers || self.has_rare_writes()
    }

    fn has_rare_writes(&self) -> bool {
        !self.children.is_empty() || !self.deleted.is_empty() || self.cleared || self.said.has_writes()
    }

    /// Adds the turn's changes, but for the record, to those of earlier turns.
    pub(super) fn add_to(&mut self, run: &mut WriteSet) {
        if self.has_rare_writes() {
            let mut set = WriteSet::new(run.path.clone());
            set.children = std::mem::take(&mut self.children);
            set.deleted = std::mem::take(&mut self.deleted);
            set.clear = self.cleared;
            self.said.write(&mut set);
            run.merge(set);
        }
        // What the turn has cleared is gone by now.
        for (key, row) in std::mem::take(&mut self.rows) {
            run.rows.insert((Space::User, key), row);
        }
    }

    /// The answer to the sender's message, if it gets one besides a state.
    pub(super) fn take_answer(&mut self, id: Option<Id>) -> Option<Answer> {
        let (id, payload) = (id?, self.answer.take()?);
        let frame = protocol::result(&id, &payload);
        Some(Answer { id: Some(id), frame })
    }
}

/// The failure for a write that would exceed the storage of one object.
pub(super) fn storage_full(path: &ObjectPath, bytes: u64, limit: u64) -> Error {
    Error::new(Code::StorageFull, format!("storage full: {path} would hold {bytes} bytes; the limit is {limit}"))
}
