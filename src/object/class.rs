//! What a class is: a plain value that is driven by events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{Histogram, IntGauge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Error;
use super::turn::Turn;
use crate::limits::{LONG_TURN, WARY_TURNS};
use crate::metrics::Metrics;
use crate::protocol::{Code, Frame, Message};

/// An object's class: its value is the object's saved state.
///
/// The runtime keeps one value per live object, hands it one event at a time, and saves it (as JSON, by serde) whenever a
/// turn changed it. A handler that fails has its turn dropped: the value goes back to what was saved. Fields marked
/// `#[serde(skip)]` are caches: they start at their default whenever the value is restored.
///
/// A handler never waits: it reads and changes the value, and lists on the [`Turn`] what is to happen. Nothing of that
/// leaves before the turn's changes are durable.
pub trait Class: Serialize + DeserializeOwned + Default + Send + 'static {
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

    /// A method called by name, over HTTP (`POST PATH:method`) or a WebSocket (`{"type":METHOD,…}`); answers JSON text.
    ///
    /// # Errors
    /// Whatever the class finds wrong; by default every method is unknown.
    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let _ = (turn, payload);
        Err(unknown_method(method))
    }

    /// Any other request to the plain path.
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

    /// A message of a socket. By default it is read as a [`Message`] and becomes a [`Class::call`].
    ///
    /// # Errors
    /// What the call finds wrong; a frame that is not a message. The sender alone is told.
    fn websocket_message(&mut self, turn: &mut Turn<'_>, frame: &Frame) -> Result<(), Error> {
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
}

/// The failure for a method that a class does not have.
pub fn unknown_method(method: &str) -> Error {
    let quoted: String = method.chars().take(64).collect();
    Error::not_found(format!("Unknown message type: {quoted}"))
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

/// A [`Class`] whose type is not known: what the runtime holds.
pub(crate) trait Instance: Send {
    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error>;
    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error>;
    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error>;
    fn fetch(&mut self, turn: &mut Turn<'_>, request: &http::Request<Bytes>) -> Result<http::Response<Bytes>, Error>;
    fn websocket_message(&mut self, turn: &mut Turn<'_>, frame: &Frame) -> Result<(), Error>;
    fn save(&self, into: &mut Vec<u8>) -> Result<(), Error>;
}

impl<C: Class> Instance for C {
    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        Class::activate(self, turn)
    }

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        Class::state(self, turn)
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        Class::call(self, turn, method, payload)
    }

    fn fetch(&mut self, turn: &mut Turn<'_>, request: &http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        Class::fetch(self, turn, request)
    }

    fn websocket_message(&mut self, turn: &mut Turn<'_>, frame: &Frame) -> Result<(), Error> {
        Class::websocket_message(self, turn, frame)
    }

    fn save(&self, into: &mut Vec<u8>) -> Result<(), Error> {
        append_json(into, self)
    }
}

/// Makes an instance from its saved state.
type Make = fn(Option<&[u8]>) -> Result<Box<dyn Instance>, Error>;

/// A registered class: how to make its instances, and what is known of all of them.
pub(crate) struct Definition {
    pub(crate) name: Arc<str>,
    make: Make,
    /// How many more turns of this class run where they hold up nobody, because one was long.
    wary: AtomicU32,
    pub(crate) turn_seconds: Histogram,
    pub(crate) active: IntGauge,
    pub(crate) asleep: IntGauge,
    pub(crate) websockets: IntGauge,
}

impl Definition {
    pub(crate) fn of<C: Class>(name: &str, metrics: &Metrics) -> Self {
        Self {
            name: name.into(),
            make: |saved| match saved {
                None => Ok(Box::new(C::default())),
                Some(saved) => match serde_json::from_slice::<C>(saved) {
                    Ok(class) => Ok(Box::new(class)),
                    Err(error) => Err(Error::internal(format!("saved state cannot be read: {error}"))),
                },
            },
            wary: AtomicU32::new(0),
            turn_seconds: metrics.turn_seconds.with_label_values(&[name]),
            active: metrics.objects.with_label_values(&[name, "active"]),
            asleep: metrics.objects.with_label_values(&[name, "asleep"]),
            websockets: metrics.websockets.with_label_values(&[name]),
        }
    }

    pub(crate) fn make(&self, saved: Option<&[u8]>) -> Result<Box<dyn Instance>, Error> {
        (self.make)(saved)
    }

    /// Whether turns of this class may hold up others.
    pub(crate) fn is_long(&self) -> bool {
        self.wary.load(Ordering::Relaxed) > 0
    }

    /// Notes how long a turn took; `what` names the event.
    ///
    /// A long turn makes the class suspect for a while, not for ever: a thread that was preempted looks the same from here,
    /// and giving its place away costs a short turn many times its own time.
    pub(crate) fn observe(&self, took: Duration, what: &str) {
        self.turn_seconds.observe(took.as_secs_f64());
        if took > LONG_TURN {
            if self.wary.swap(WARY_TURNS, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    class = &*self.name,
                    event = what,
                    ?took,
                    "a turn took longer than {LONG_TURN:?}; turns of this class run where they hold up nobody, until \
                     {WARY_TURNS} in a row were short"
                );
            }
        } else if self.is_long() {
            // Two at once may count one too few or many, which does not matter.
            let wary = self.wary.load(Ordering::Relaxed);
            self.wary.store(wary.saturating_sub(1), Ordering::Relaxed);
        }
    }
}
