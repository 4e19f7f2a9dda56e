//! Messages to the worker, also while it is away.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::frames::{self, Delivered};
use super::session::OPEN;
use super::{WorkerConnection, offline};
use crate::limits::{QUEUED_MESSAGE_BYTES, QUEUED_MESSAGES};
use crate::object::{Caller, Error, List, SocketId, Turn, json};
use crate::protocol::{self, Code};

/// What begins the keys of messages that wait.
const PREFIX: &str = "mail/";

/// The messages that wait, each of which is a row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Mail {
    count: usize,
    bytes: usize,
    /// The number of the next one.
    next: u64,
}

#[derive(Deserialize)]
struct Send<'a> {
    #[serde(borrow, default, deserialize_with = "also_null")]
    message: Option<&'a RawValue>,
    #[serde(default)]
    queue: bool,
}

/// A message that waits.
#[derive(Serialize, Deserialize)]
struct Waiting {
    /// JSON, as it came.
    message: Box<str>,
    sender: Box<str>,
}

impl WorkerConnection {
    /// Sends the worker a message, now or when it connects.
    pub(super) fn send(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let Send { message, queue } = frames::parse(payload)?;
        let message = message.ok_or_else(|| Error::bad_request("Message required"))?;
        let sender = match turn.caller() {
            Caller::Object(path) => path.name().unwrap_or("root"),
            _ => "",
        };
        let sessions = turn.sockets_tagged(OPEN).len();
        if sessions > 0 {
            let frame = protocol::message(message, sender);
            turn.send_tagged(OPEN, frame);
            return json(&Delivered { sessions, queued: false });
        }
        if !queue {
            return Err(offline(turn));
        }
        let waiting = Waiting { message: message.get().into(), sender: sender.into() };
        self.queue(turn, &waiting)?;
        json(&Delivered { sessions, queued: true })
    }

    fn queue(&mut self, turn: &mut Turn<'_>, waiting: &Waiting) -> Result<(), Error> {
        let bytes = self.mail.bytes + waiting.message.len();
        if self.mail.count >= QUEUED_MESSAGES || bytes > QUEUED_MESSAGE_BYTES {
            let text = format!(
                "queue full: {} messages of {} bytes wait for {}; the limits are {QUEUED_MESSAGES} and \
                 {QUEUED_MESSAGE_BYTES}",
                self.mail.count,
                self.mail.bytes,
                turn.path()
            );
            return Err(Error::new(Code::Overloaded, text));
        }
        turn.put(&format!("{PREFIX}{:016x}", self.mail.next), waiting)?;
        self.mail = Mail { count: self.mail.count + 1, bytes, next: self.mail.next + 1 };
        Ok(())
    }

    /// Sends a worker that has connected what waited for it. All of it fits into one turn.
    pub(super) fn deliver(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        while self.mail.count > 0 {
            let page = turn.list::<Waiting>(List::new().prefix(PREFIX))?;
            for (key, Waiting { message, sender }) in &page.items {
                let message = serde_json::from_str(message)
                    .map_err(|error| Error::internal(format!("a message that waited is no JSON: {error}")))?;
                turn.send_frame(socket, protocol::message(message, sender));
                turn.delete(key)?;
            }
            if page.cursor.is_none() {
                (self.mail.count, self.mail.bytes) = (0, 0);
            }
        }
        Ok(())
    }
}

/// That `null` is a message, and not the lack of one.
fn also_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
