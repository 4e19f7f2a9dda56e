//! What can happen to an object, and how its answer finds the way back.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Error;
use super::choices::Choice;
use super::deferred::Asker;
use super::errand::Errand;
use super::session::{Close, Session};
use super::slot::Room;
use super::turn::SocketId;
use crate::path::ObjectPath;
use crate::protocol::{Closed, Frame, Id, Message};
use crate::storage::Seq;

/// Who caused a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A request over HTTP.
    Http,
    /// A socket of the object.
    Socket(SocketId),
    /// Another object.
    Object(ObjectPath),
    /// The runtime: a start, an alarm, a schedule.
    Runtime,
}

/// The answer to a request, and the write set that must be durable before anyone sees it.
pub(crate) type Reply<T> = oneshot::Sender<(Seq, Result<T, Error>)>;

/// The number of a question, and its answer.
pub(crate) type Answered = (u64, Result<Vec<u8>, Error>);

/// One event.
pub(crate) enum Event {
    /// A method called over HTTP or by another object.
    Call { method: Box<str>, payload: Box<RawValue>, asker: Asker },
    /// The state is asked for.
    State { reply: Reply<Vec<u8>> },
    /// Any other request.
    Fetch { request: Box<http::Request<Bytes>>, reply: Reply<http::Response<Bytes>> },
    /// A socket joins, with the request that opened it, or must be told the state anew.
    Open(Arc<Session>, Option<Box<http::Request<()>>>),
    /// A message of a socket.
    Message(Arc<Session>, Frame),
    /// A socket broke, and will be gone.
    Broken(Arc<Session>, String),
    /// A socket is gone.
    Close(Arc<Session>, Closed),
    /// A frame for every socket of this object.
    Forward(Frame),
    /// A message of another object, at most once.
    Tell { sender: ObjectPath, message: Box<RawValue> },
    /// Durable messages wait; at most one such event does. The place among those that are told at once, if it has one, is
    /// given back when it is handled.
    Inbox(Option<OwnedSemaphorePermit>),
    /// Answers to what the object has asked for, by the numbers of the questions.
    Replied(Vec<Answered>),
    /// Answers are due that nobody else will give.
    Overdue,
    /// Something is due; the place among those that are woken at once is given back when it is handled.
    Wake(OwnedSemaphorePermit),
    /// Delete a subtree: a child's, or for the root its own.
    Delete { subtree: ObjectPath, reply: Reply<()> },
}

impl Event {
    pub(crate) fn room(&self) -> Room {
        match self {
            Self::Call { .. }
            | Self::State { .. }
            | Self::Fetch { .. }
            | Self::Message(..)
            | Self::Broken(..)
            | Self::Forward(_)
            | Self::Tell { .. } => Room::Ordinary,
            Self::Open(..)
            | Self::Close(..)
            | Self::Inbox(_)
            | Self::Replied(_)
            | Self::Overdue
            | Self::Wake(_)
            | Self::Delete { .. } => Room::Reserved,
        }
    }

    /// Whether the class handles it, so that there must be an instance.
    pub(crate) fn needs_class(&self) -> bool {
        match self {
            Self::Call { .. }
            | Self::State { .. }
            | Self::Fetch { .. }
            | Self::Open(..)
            | Self::Message(..)
            | Self::Broken(..)
            | Self::Close(..)
            | Self::Tell { .. } => true,
            // Of the first four it is found out first whether there is anything for the class.
            Self::Inbox(_)
            | Self::Replied(_)
            | Self::Overdue
            | Self::Wake(_)
            | Self::Forward(_)
            | Self::Delete { .. } => false,
        }
    }

    /// Whether it needs the object's record.
    pub(crate) fn needs_stored(&self) -> bool {
        !matches!(self, Self::Forward(_))
    }

    /// The effect that tells whoever caused the event that it failed.
    pub(crate) fn refuse(self, error: Error) -> Option<Effect> {
        Some(match self {
            Self::Call { asker, .. } => asker.answer(Err(error)),
            Self::State { reply } => Effect::Json(reply, Err(error)),
            Self::Fetch { reply, .. } => Effect::Response(reply, Box::new(Err(error))),
            Self::Delete { reply, .. } => Effect::Done(reply, Err(error)),
            Self::Message(session, frame) => Effect::Answer(session, Answer::error(id_of(&frame), error)),
            Self::Open(session, _) => Effect::Refuse(session, error),
            // The messages are still there.
            Self::Inbox(_) => Effect::Errand(Errand::Unread),
            Self::Broken(..)
            | Self::Close(..)
            | Self::Forward(_)
            | Self::Tell { .. }
            | Self::Replied(_)
            | Self::Overdue
            | Self::Wake(_) => return None,
        })
    }
}

/// The `id` by which the sender of a frame recognises its answer, if the frame is a message that has one.
fn id_of(frame: &Frame) -> Option<Id> {
    let Frame::Text(text) = frame else { return None };
    Message::parse(text).map_or_else(|bad| bad.id, |message| message.id)
}

/// An answer to a socket's message.
pub(crate) struct Answer {
    pub(crate) id: Option<Id>,
    pub(crate) frame: Frame,
}

impl Answer {
    pub(crate) fn error(id: Option<Id>, error: Error) -> Self {
        let error = error.redacted();
        let frame = crate::protocol::error(id.as_ref(), error.code(), error.message());
        Self { id, frame }
    }
}

/// A frame that a class sends to sockets of its object.
pub(crate) struct Outbound {
    pub(crate) to: Vec<Arc<Session>>,
    pub(crate) frame: Frame,
    /// Whether it waits until the turn is durable.
    pub(crate) confirmed: bool,
    /// The socket that caused the turn.
    pub(crate) cause: Option<SocketId>,
}

impl Outbound {
    /// Hands it to the sockets.
    pub(crate) fn release(self, seq: Seq) {
        let seq = if self.confirmed { seq } else { Seq::NONE };
        for session in self.to {
            let frame = self.frame.clone();
            if Some(session.id()) == self.cause { session.send_back(seq, frame) } else { session.send(seq, frame) }
        }
    }
}

/// What a turn wants to happen once its write set is durable.
pub(crate) enum Effect {
    /// An answer to a request.
    Json(Reply<Vec<u8>>, Result<Vec<u8>, Error>),
    /// An answer to a [`Event::Fetch`].
    Response(Reply<http::Response<Bytes>>, Box<Result<http::Response<Bytes>, Error>>),
    /// A request without a result was done.
    Done(Reply<()>, Result<(), Error>),
    /// An answer to a socket's message.
    Answer(Arc<Session>, Answer),
    /// A socket's message has no answer of its own.
    Handled(Arc<Session>),
    /// A socket's first state.
    First(Arc<Session>, Frame),
    /// A socket could not join.
    Refuse(Arc<Session>, Error),
    /// A state, replaceable while unsent.
    State(Vec<Arc<Session>>, Frame),
    /// A change, merged while unsent.
    Change(Vec<Arc<Session>>, crate::protocol::Change),
    /// A frame for these sockets of the object.
    Sockets(Vec<Arc<Session>>, Frame),
    /// A frame of the class.
    Send(Outbound),
    /// The class closes a socket.
    Close(Arc<Session>, Close),
    /// The class knows something of a socket that goes with the turn.
    Noted(Arc<Session>),
    /// Something that reaches other objects, or the world outside.
    Errand(Errand),
    /// More may wait in the object's inbox than was read of it.
    ReadOn,
    /// The class of an object that the turn created.
    Chosen(Arc<Choice>),
}

impl Effect {
    /// What becomes of it when its turn cannot be committed: an answer becomes this failure, and what others were to be
    /// told is not told.
    pub(crate) fn failed(self, error: &Error) -> Option<Self> {
        Some(match self {
            Self::Json(reply, _) => Self::Json(reply, Err(error.clone())),
            Self::Response(reply, _) => Self::Response(reply, Box::new(Err(error.clone()))),
            Self::Done(reply, _) => Self::Done(reply, Err(error.clone())),
            Self::Answer(session, Answer { id, .. }) => Self::Answer(session, Answer::error(id, error.clone())),
            // What the class knows of one that it has noted is not true any more.
            Self::First(session, _) | Self::Refuse(session, _) | Self::Noted(session) => {
                Self::Refuse(session, error.clone())
            }
            Self::Send(outbound) if !outbound.confirmed => Self::Send(outbound),
            // Without an answer of its own it would be told nothing at all.
            Self::Handled(session) => Self::Answer(session, Answer::error(None, error.clone())),
            Self::Errand(errand) => Self::Errand(errand.failed(error)?),
            // Of an inbox, what was not handled is looked at again when storage is back.
            Self::State(..)
            | Self::Change(..)
            | Self::Sockets(..)
            | Self::Send(_)
            | Self::Close(..)
            | Self::ReadOn
            | Self::Chosen(_) => {
                return None;
            }
        })
    }
}
