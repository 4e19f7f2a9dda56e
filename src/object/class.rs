//! What a class is: a plain value that is driven by events.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Error;
use super::look::Look;
use super::turn::{SocketId, Turn};
use crate::protocol::{Closed, Code, Frame, Message};

/// An object's class: its value is the object's saved state.
///
/// The runtime keeps one value per live object, hands it one event at a time, and saves it (as JSON, by serde) whenever a
/// turn changed it. A handler that fails has its turn dropped: the value goes back to what was saved, and nothing that was
/// written or was to be sent remains. Fields marked `#[serde(skip)]` are caches: they start at their default whenever the
/// value is restored.
///
/// A handler never waits: it reads and changes the value, and lists on the [`Turn`] what is to happen. Nothing of that
/// leaves before the turn's changes are durable.
///
/// ```
/// use fleet::{Class, Error, RawValue, Turn, json, unknown_method};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counter {
///     count: u64,
/// }
///
/// impl Class for Counter {
///     const NAME: &'static str = "counter";
///
///     fn call(&mut self, _: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
///         match method {
///             "increment" => self.count += 1,
///             "get" => {}
///             other => return Err(unknown_method(other)),
///         }
///         json(&self.count)
///     }
/// }
/// ```
pub trait Class: Serialize + DeserializeOwned + Default + Send + 'static {
    /// What it is called in routes, in `createAgent`, and in storage: 1 to 64 of `A-Z a-z 0-9 _ -`.
    const NAME: &'static str;

    /// The class of the children that its objects create without naming one, and of those that are reached below them of
    /// which nothing is stored; by default a child's path decides. Only the direct parent counts.
    const CHILDREN: Option<&'static str> = None;

    /// Largest body of an HTTP request to one of its objects, in bytes; by default, and at least, what the server is
    /// configured for (`limits.message_bytes`). Bodies beyond that wait for each other, four at a time: more are refused.
    const BODY_BYTES: Option<usize> = None;

    /// Bytes that one object may store; by default what the server is configured for.
    const STORAGE_BYTES: Option<u64> = None;

    /// How many answers to questions in memory ([`Ask::in_memory`](super::Ask::in_memory)) one turn takes at most, if as
    /// many are there. More than one is for a class that waits for many at a time, whose turns end with work that can be
    /// done once for all of them: see [`Class::replied_all`].
    const REPLIES: usize = 1;

    /// Whether objects of the class live in memory alone: nothing of them is ever written, so they cost no commit, are on no
    /// list, and are gone after a restart. The value lives as long as it is in memory: until [`Turn::hibernate`], 10 s
    /// without an event, a panic, or a deletion; but while it waits for an answer or owes one, it stays. All its questions
    /// are [`Ask::in_memory`](super::Ask::in_memory).
    ///
    /// Such an object cannot be listed as a child, and has no rows, alarm, schedules, children, nor [`Turn::send`]: each is
    /// a `bad_request`. It comes to life where its class is routed, where its parent's [`Class::CHILDREN`] says so, or by
    /// [`Ask::spawn_as`](super::Ask::spawn_as). What is stored at its path goes before it; what is created there while it
    /// lives takes its place when it is gone.
    const IN_MEMORY: bool = false;

    /// Whether sockets are told the state: a `state` frame when they open and whenever a turn publishes a change. Without
    /// it a socket gets only what the class sends; one that has lost something with a failed commit is closed with 1013,
    /// so that it connects again.
    const TELLS_STATE: bool = true;

    /// Methods that only read, and that [`Class::look`] can answer. [`Class::call`] answers them as well: over a socket and
    /// for other objects they are calls like others, in their order.
    const LOOKS: &'static [&'static str] = &[];

    /// Before the first event after each start. A failure fails the waiting events; the next event tries again.
    ///
    /// # Errors
    /// Whatever the class finds wrong.
    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let _ = turn;
        Ok(())
    }

    /// What a viewer sees: the answer to `GET` with `Accept: application/json` and the payload of `state` frames, as JSON
    /// text. By default the saved state.
    ///
    /// # Errors
    /// Whatever the class finds wrong; storage that cannot be read.
    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        let _ = turn;
        json(self)
    }

    /// A method called by name: over HTTP (`POST PATH:method`), a WebSocket (`{"type":METHOD,…}`), or by another object
    /// ([`Turn::call`]). The payload is JSON, read with [`read`]; the answer is JSON text, made with [`json`].
    ///
    /// # Errors
    /// Whatever the class finds wrong; by default every method is unknown.
    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let _ = (turn, payload);
        Err(unknown_method(method))
    }

    /// One of the [`Class::LOOKS`], over HTTP or by [`Namespace::call`](super::Namespace::call) and without an idempotency
    /// key, of an object that is stored: answered from what is durable and not by a turn, so that it neither waits for the object's other work nor holds that up, nor wakes an
    /// object that sleeps. It sees everything that was acknowledged before it was asked for, and nothing that could still
    /// be undone. It must be short: no thread takes its place.
    ///
    /// ```
    /// use fleet::{Class, Error, Look, RawValue, Turn, json, unknown_method};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Counter {
    ///     count: u64,
    /// }
    ///
    /// impl Class for Counter {
    ///     const NAME: &'static str = "counter";
    ///     const LOOKS: &'static [&'static str] = &["get"];
    ///
    ///     fn look(look: &Look<'_>, _: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
    ///         json(&look.value::<Self>()?.count)
    ///     }
    ///
    ///     fn call(&mut self, _: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
    ///         match method {
    ///             "increment" => self.count += 1,
    ///             "get" => {}
    ///             other => return Err(unknown_method(other)),
    ///         }
    ///         json(&self.count)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Whatever the class finds wrong.
    fn look(look: &Look<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let _ = (look, payload);
        Err(unknown_method(method))
    }

    /// Any other request to the plain path, with its whole body.
    ///
    /// # Errors
    /// Whatever the class finds wrong; by default the method is not allowed.
    fn fetch(&mut self, turn: &mut Turn<'_>, request: &http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let _ = turn;
        Err(Error::new(
            Code::MethodNotAllowed,
            format!("{} is not allowed here; call a method with POST PATH:method", request.method()),
        ))
    }

    /// A message of another object ([`Turn::tell`], [`Turn::send`]), which is the turn's caller. By default every socket of
    /// this object gets it as a `message` frame.
    ///
    /// # Errors
    /// Whatever the class finds wrong: the turn is dropped and logged, and the message counts as handled.
    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        turn.forward(message);
        Ok(())
    }

    /// The alarm is due; `retry` counts the runs of it that have failed before.
    ///
    /// # Errors
    /// Whatever the class finds wrong: it is run again, later and later, six times at most.
    fn alarm(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        let _ = (turn, retry);
        Ok(())
    }

    /// The schedule of that name is due.
    ///
    /// # Errors
    /// Whatever the class finds wrong: the failure is in the schedule's history.
    fn scheduled(&mut self, turn: &mut Turn<'_>, name: &str) -> Result<(), Error> {
        let _ = (turn, name);
        Ok(())
    }

    /// The answer to a [`Turn::call`], [`Turn::http`] or [`Turn::run`] of an earlier turn. Each is answered exactly once.
    ///
    /// # Errors
    /// Whatever the class finds wrong: the turn is dropped and logged.
    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let _ = (turn, reply);
        Ok(())
    }

    /// Up to [`Class::REPLIES`] answers, in the order in which they came; by default each goes to [`Class::replied`].
    ///
    /// # Errors
    /// Whatever the class finds wrong: the turn is dropped, and each of the answers comes again in a turn of its own.
    fn replied_all(&mut self, turn: &mut Turn<'_>, replies: &[Replied<'_>]) -> Result<(), Error> {
        replies.iter().try_for_each(|reply| self.replied(turn, reply))
    }

    /// A socket has joined; [`Turn::upgrade`] is the request that opened it.
    ///
    /// # Errors
    /// Whatever the class finds wrong: the socket is told and closed with 1011, nothing it says is heard, and no
    /// [`Class::websocket_close`] follows.
    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        let _ = (turn, socket);
        Ok(())
    }

    /// A message of a socket. By default it is read as a [`Message`] and becomes a [`Class::call`].
    ///
    /// # Errors
    /// What the call finds wrong; a frame that is not a message. The sender alone is told.
    fn websocket_message(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) -> Result<(), Error> {
        let _ = socket;
        let Frame::Text(text) = frame else {
            return Err(Error::bad_request("Invalid message: binary frames are not supported here"));
        };
        let message = Message::parse(text).map_err(|bad| {
            turn.expect_answer(bad.id);
            Error::bad_request(bad.reason)
        })?;
        turn.expect_answer(message.id);
        let result = self.call(turn, &message.kind, message.payload)?;
        turn.answer(result);
        Ok(())
    }

    /// A socket is gone; once for each that was opened, also if the object sleeps. The code is the peer's: 1005 when it gave
    /// none, 1006 when it vanished or broke the protocol. What was noted of the socket can still be read.
    ///
    /// An object that cannot start is told with its next event that can. There is none for the sockets of an object that is
    /// deleted, for an opening that was lost with a failed commit, and when the server dies: after a start, and after a
    /// failed commit, [`Turn::sockets`] is what is true, and [`Class::activate`] the place to look at it.
    ///
    /// # Errors
    /// Whatever the class finds wrong: the turn is dropped and logged.
    fn websocket_close(&mut self, turn: &mut Turn<'_>, socket: SocketId, closed: &Closed) -> Result<(), Error> {
        let _ = (turn, socket, closed);
        Ok(())
    }

    /// A socket broke: the protocol was violated, or the connection failed. [`Class::websocket_close`] follows.
    ///
    /// # Errors
    /// Whatever the class finds wrong: the turn is dropped and logged.
    fn websocket_error(&mut self, turn: &mut Turn<'_>, socket: SocketId, error: &str) -> Result<(), Error> {
        let _ = (turn, socket, error);
        Ok(())
    }
}

/// What came of something that an object asked for in an earlier turn.
///
/// ```
/// use fleet::{Error, Replied, read};
///
/// /// The number that was answered, beside the order that it was asked for.
/// fn order_of(reply: &Replied<'_>) -> Result<(u64, u64), Error> {
///     Ok((read(reply.note)?, read(reply.result.clone()?)?))
/// }
/// ```
#[derive(Debug)]
pub struct Replied<'a> {
    /// What [`Turn::call`], [`Turn::http`] or [`Turn::run`] answered.
    pub id: u64,
    /// The note that was given along, as JSON.
    pub note: &'a RawValue,
    /// The answer as JSON, or why there is none: the error of the other side, or `timed out`, `interrupted` (the server was
    /// restarted meanwhile), `deleted`. Which of them it is, and whether anything began, [`Error`] says.
    pub result: Result<&'a RawValue, Error>,
}

/// The failure for a method that a class does not have.
pub fn unknown_method(method: &str) -> Error {
    let quoted: String = method.chars().take(64).collect();
    Error::not_found(format!("Unknown message type: {quoted}"))
}

/// Reads a payload.
///
/// # Errors
/// `bad_request` that says what is wrong where.
pub fn read<T: DeserializeOwned>(payload: &RawValue) -> Result<T, Error> {
    serde_json::from_str(payload.get()).map_err(|error| Error::bad_request(format!("invalid payload: {error}")))
}

/// Encodes an answer as JSON text.
///
/// # Errors
/// The value cannot be JSON: a map with keys that are not text, or a `Serialize` that fails.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut text = Vec::with_capacity(32);
    append_json(&mut text, value)?;
    Ok(text)
}

/// Encodes a value as JSON text behind what is there.
///
/// # Errors
/// As [`json`].
pub fn append_json<T: Serialize + ?Sized>(into: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    serde_json::to_writer(into, value)
        .map_err(|error| Error::internal(format!("a value cannot be encoded as JSON: {error}")))
}
