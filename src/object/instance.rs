//! A class whose type is not known: what the runtime holds and drives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{Histogram, IntCounter, IntGauge};
use serde_json::value::RawValue;

use super::Error;
use super::activity::Activity;
use super::class::{Class, Replied, append_json};
use super::look::Look;
use super::turn::{SocketId, Turn};
use crate::limits::{LONG_TURN, WARY_TURNS};
use crate::metrics::Metrics;
use crate::protocol::{Closed, Frame};

/// What is handed to a class: one event, or the question how it looks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    Activate,
    State,
    Call(&'a str, &'a RawValue),
    Fetch(&'a http::Request<Bytes>),
    Message(&'a RawValue),
    Alarm { retry: u32 },
    Scheduled(&'a str),
    Replied(&'a [Replied<'a>]),
    Open(SocketId, Option<&'a http::Request<()>>),
    Frame(SocketId, &'a Frame),
    Close(SocketId, &'a Closed),
    Broken(SocketId, &'a str),
}

/// What a class answers to an [`Input`].
#[derive(Debug)]
pub(crate) enum Output {
    Nothing,
    Json(Vec<u8>),
    Response(http::Response<Bytes>),
}

impl Input<'_> {
    /// How many events it is.
    pub(crate) fn events(&self) -> u64 {
        match self {
            Self::Replied(replies) => replies.len() as u64,
            _ => 1,
        }
    }

    /// What to call it in a log.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Activate => "activate",
            Self::State => "state",
            Self::Call(method, _) => method,
            Self::Fetch(_) => "fetch",
            Self::Message(_) => "message",
            Self::Alarm { .. } => "alarm",
            Self::Scheduled(_) => "scheduled",
            Self::Replied(_) => "replied",
            Self::Open(..) => "websocket_open",
            Self::Frame(..) => "websocket_message",
            Self::Close(..) => "websocket_close",
            Self::Broken(..) => "websocket_error",
        }
    }
}

/// One value of a class.
pub(crate) trait Instance: Send {
    /// Hands it one event: everything that a class can be asked goes through here.
    fn deliver(&mut self, turn: &mut Turn<'_>, input: Input<'_>) -> Result<Output, Error>;

    /// Encodes what is to be saved.
    fn save(&self, into: &mut Vec<u8>) -> Result<(), Error>;
}

impl<C: Class> Instance for C {
    fn deliver(&mut self, turn: &mut Turn<'_>, input: Input<'_>) -> Result<Output, Error> {
        let nothing = |()| Output::Nothing;
        match input {
            Input::Activate => self.activate(turn).map(nothing),
            Input::State => self.state(turn).map(Output::Json),
            Input::Call(method, payload) => self.call(turn, method, payload).map(Output::Json),
            Input::Fetch(request) => self.fetch(turn, request).map(Output::Response),
            Input::Message(message) => self.message(turn, message).map(nothing),
            Input::Alarm { retry } => self.alarm(turn, retry).map(nothing),
            Input::Scheduled(name) => self.scheduled(turn, name).map(nothing),
            Input::Replied(replies) => self.replied_all(turn, replies).map(nothing),
            Input::Open(socket, _) => self.websocket_open(turn, socket).map(nothing),
            Input::Frame(socket, frame) => self.websocket_message(turn, socket, frame).map(nothing),
            Input::Close(socket, closed) => self.websocket_close(turn, socket, closed).map(nothing),
            Input::Broken(socket, error) => self.websocket_error(turn, socket, error).map(nothing),
        }
    }

    fn save(&self, into: &mut Vec<u8>) -> Result<(), Error> {
        append_json(into, self)
    }
}

/// Makes an instance from its saved state.
type Make = fn(Option<&[u8]>) -> Result<Box<dyn Instance>, Error>;

/// Answers a call from what is durable.
type Looker = fn(&Look<'_>, &str, &RawValue) -> Result<Vec<u8>, Error>;

/// A registered class: how to make its instances, and what is known of all of them.
pub(crate) struct Definition {
    pub(crate) name: Arc<str>,
    /// The class of its objects' children, unless one is named.
    pub(crate) children: Option<&'static str>,
    pub(crate) storage_bytes: Option<u64>,
    pub(crate) body_bytes: Option<usize>,
    pub(crate) replies: usize,
    pub(crate) in_memory: bool,
    pub(crate) tells_state: bool,
    pub(crate) looks: &'static [&'static str],
    pub(crate) look: Looker,
    make: Make,
    /// How many more turns of this class run where they hold up nobody, because one was long.
    wary: AtomicU32,
    pub(crate) turn_seconds: Histogram,
    pub(crate) events: IntCounter,
    pub(crate) state_operations: IntCounter,
    pub(crate) activity: Activity,
    pub(crate) active: IntGauge,
    pub(crate) asleep: IntGauge,
    pub(crate) websockets: IntGauge,
}

impl Definition {
    pub(crate) fn of<C: Class>(metrics: &Metrics) -> Self {
        let name = C::NAME;
        Self {
            name: name.into(),
            children: C::CHILDREN,
            storage_bytes: C::STORAGE_BYTES,
            body_bytes: C::BODY_BYTES,
            replies: C::REPLIES,
            in_memory: C::IN_MEMORY,
            tells_state: C::TELLS_STATE,
            looks: C::LOOKS,
            look: C::look,
            make: |saved| match saved {
                None => Ok(Box::new(C::default())),
                Some(saved) => match serde_json::from_slice::<C>(saved) {
                    Ok(class) => Ok(Box::new(class)),
                    Err(error) => Err(Error::internal(format!("saved state cannot be read: {error}"))),
                },
            },
            wary: AtomicU32::new(0),
            turn_seconds: metrics.turn_seconds.with_label_values(&[name]),
            events: metrics.events.with_label_values(&[name]),
            state_operations: metrics.state_operations.with_label_values(&[name]),
            activity: Activity::new(),
            active: metrics.objects.with_label_values(&[name, "active"]),
            asleep: metrics.objects.with_label_values(&[name, "asleep"]),
            websockets: metrics.websockets.with_label_values(&[name]),
        }
    }

    /// An instance from what was saved of it, and what it is saved as.
    pub(crate) fn make(&self, saved: Option<&[u8]>) -> Result<(Box<dyn Instance>, Vec<u8>), Error> {
        // This is code of the class, too.
        let made = catch_unwind(AssertUnwindSafe(|| {
            let class = (self.make)(saved)?;
            let mut encoded = Vec::new();
            class.save(&mut encoded)?;
            Ok((class, encoded))
        }));
        made.unwrap_or_else(|_| {
            tracing::error!(class = &*self.name, "the class panicked when it was made from its saved state");
            Err(Error::panicked())
        })
    }

    /// Whether what a turn leaves can be read again. JSON writes NaN and the infinities as `null`, so only what has one is
    /// looked at.
    ///
    /// # Errors
    /// `internal`: it would be lost.
    pub(crate) fn check(&self, saved: &[u8]) -> Result<(), Error> {
        if memchr::memmem::find(saved, b"null").is_none() {
            return Ok(());
        }
        let read = catch_unwind(AssertUnwindSafe(|| (self.make)(Some(saved)).map(drop)));
        read.unwrap_or_else(|_| Err(Error::panicked())).map_err(|error| {
            let what = "the value would be saved as JSON that cannot be read again (NaN and infinities become null)";
            Error::internal(format!("class `{}`: {what}: {error}", self.name))
        })
    }

    /// Whether turns of this class may hold up others.
    pub(crate) fn is_long(&self) -> bool {
        self.wary.load(Ordering::Relaxed) > 0
    }

    /// Notes how long a turn took.
    ///
    /// A long turn makes the class suspect for a while, not for ever: a thread that was preempted looks the same from here,
    /// and giving its place away costs a short turn many times its own time.
    pub(crate) fn observe(&self, took: Duration, input: &Input<'_>) {
        if took > LONG_TURN {
            if self.wary.swap(WARY_TURNS, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    class = &*self.name,
                    event = input.name(),
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
