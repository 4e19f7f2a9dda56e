//! Messages between objects that were not handled yet.
//!
//! A message is one row, inserted in the commit of its sender and removed in the commit of the turn that handled it. It is
//! dead as soon as its sender or its target is deleted.
//!
//! # Why
//! Inboxes are ordered by the number of the sender's write set. As those are committed in that order, a reader sees an
//! inbox grow only at its end.

use std::ops::AddAssign;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::error::Error;
use super::reader::{number, text};
use super::tombstones::Floors;
use super::{Position, Seq, Storage, sql};
use crate::limits::INBOX_BYTES;
use crate::path::ObjectPath;

/// A message that waits in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it stands in the inbox.
    pub position: Position,
    /// Who sent it.
    pub sender: ObjectPath,
    /// What it says.
    pub message: Arc<[u8]>,
}

/// Messages that wait, of one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// How many.
    pub messages: u64,
    /// How long they are together.
    pub bytes: u64,
}

impl AddAssign for Backlog {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

impl Storage {
    /// Durable messages that wait for an object, after a position, in order: at most `limit`, and no more than
    /// [`INBOX_BYTES`] unless the first alone has more. That there are no more is only certain when the answer is empty.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn inbox(&self, target: &ObjectPath, after: Option<Position>, limit: usize) -> Result<Vec<Received>, Error> {
        let shared = &self.0.shared;
        let floors = shared.tombstones.floors(&ObjectPath::root());
        // Numbers of write sets begin at 1.
        let after = after.unwrap_or(Position { seq: Seq::NONE, number: 0 });
        shared.readers.read(|connection| {
            let mut statement = connection.prepare_cached(sql::INBOX)?;
            let mut rows = statement.query((target.key(), after.seq.0.cast_signed(), after.number.cast_signed()))?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let (seq, sender) = (number(row, 0)?, ObjectPath::from_key(text(row, 2)?));
                if !floors.alive(target, seq) || !floors.alive(&sender, seq) {
                    continue;
                }
                let message = row.get_ref(3)?.as_blob()?;
                bytes += message.len();
                if bytes > INBOX_BYTES && !found.is_empty() {
                    break;
                }
                let position = Position { seq: Seq(seq), number: number(row, 1)? };
                found.push(Received { position, sender, message: message.into() });
            }
            Ok(found)
        })
    }

    /// The durable messages of a sender that wait, counted up to `most`.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn outbox(&self, sender: &ObjectPath, most: u64) -> Result<Backlog, Error> {
        let shared = &self.0.shared;
        let floors = shared.tombstones.floors(&ObjectPath::root());
        let floor = shared.tombstones.floor(sender);
        shared.readers.read(|connection| {
            let mut statement = connection.prepare_cached(sql::OUTBOX)?;
            let mut rows = statement.query((sender.key(), floor.cast_signed()))?;
            let mut waiting = Backlog::default();
            while waiting.messages < most
                && let Some(row) = rows.next()?
            {
                if floors.alive(&ObjectPath::from_key(text(row, 0)?), number(row, 1)?) {
                    waiting += Backlog { messages: 1, bytes: number(row, 2)? };
                }
            }
            Ok(waiting)
        })
    }

    /// Objects that durable messages wait for, each once, in the order of paths, after one (exclusive) if one is given.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn inboxes(&self, after: Option<&ObjectPath>, limit: usize) -> Result<Vec<ObjectPath>, Error> {
        let shared = &self.0.shared;
        let floors = shared.tombstones.floors(&ObjectPath::root());
        shared.readers.read(|connection| {
            let mut next = connection.prepare_cached(sql::INBOX_NEXT)?;
            let mut found = Vec::new();
            let mut last = after.map_or(String::new(), |after| after.key().to_owned());
            while found.len() < limit
                && let Some(target) = next.query_row((&last,), |row| row.get(0)).optional()?
            {
                last = target;
                let target = ObjectPath::from_key(&last);
                if has_mail(connection, &target, &floors)? {
                    found.push(target);
                }
            }
            Ok(found)
        })
    }
}

/// Whether any message in an inbox is not dead.
fn has_mail(connection: &Connection, target: &ObjectPath, floors: &Floors) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(sql::INBOX_SENDERS)?;
    let mut rows = statement.query((target.key(), floors.base.cast_signed()))?;
    while let Some(row) = rows.next()? {
        let seq = number(row, 1)?;
        if floors.alive(target, seq) && floors.alive(&ObjectPath::from_key(text(row, 0)?), seq) {
            return Ok(true);
        }
    }
    Ok(false)
}
