//! The object's open sockets: frames to them, and what the class keeps of each.
//!
//! Tags, attachments and the automatic response live as long as the sockets do: they survive hibernation and a panic, and
//! nothing of them is there after a restart, as there are no sockets then.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{SocketId, Turn};
use crate::limits::{AUTO_RESPONSE_BYTES, CLOSE_REASON_BYTES, SOCKET_ATTACHMENT_BYTES, SOCKET_TAG_CHARS, SOCKET_TAGS};
use crate::object::Error;
use crate::object::body::Notes;
use crate::object::event::{Caller, Effect, Outbound};
use crate::object::session::{Close, ResponseChange, Session};
use crate::protocol::{Code, Frame};

/// What a turn has noted of sockets so far.
#[derive(Debug, Clone, Default)]
pub(in crate::object) struct SocketChanges {
    /// All that is noted of a socket.
    pub(in crate::object) notes: BTreeMap<SocketId, Notes>,
    pub(in crate::object) response: Option<ResponseChange>,
}

/// A frame that is to be sent; what can still be said about how.
#[derive(Debug)]
pub struct Sent<'t>(Option<&'t mut bool>);

impl Sent<'_> {
    /// Lets the frame leave before the turn is durable: for presence or cursors, where losing a change matters less than
    /// the time of a commit. It still comes in order with everything else that the socket gets, so it overtakes nothing
    /// that waits for a commit.
    pub fn unconfirmed(self) {
        if let Some(confirmed) = self.0 {
            *confirmed = false;
        }
    }
}

impl<'a> Turn<'a> {
    /// The object's open sockets, in the order in which they were opened. In [`Class::websocket_close`] the one that is
    /// gone is not among them.
    ///
    /// [`Class::websocket_close`]: crate::Class::websocket_close
    pub fn sockets(&self) -> impl ExactSizeIterator<Item = SocketId> + DoubleEndedIterator + use<'a> {
        self.sockets.all().iter().map(|session| session.id())
    }

    /// The number of open sockets.
    pub fn socket_count(&self) -> usize {
        self.sockets.all().len()
    }

    /// The open sockets that have a tag, in the order in which they were opened.
    pub fn sockets_tagged(&self, tag: &str) -> Vec<SocketId> {
        let changed = &self.draft.sockets.notes;
        let mut tagged: Vec<_> = self.sockets.tagged(tag).filter(|socket| !changed.contains_key(socket)).collect();
        if !changed.is_empty() {
            let has = |notes: &Notes| notes.tags.iter().any(|known| **known == *tag);
            tagged.extend(changed.iter().filter(|(_, notes)| has(notes)).map(|(socket, _)| *socket));
            tagged.sort_unstable();
        }
        tagged
    }

    /// The request that opened the socket, with its query and headers; only in the [`Class::websocket_open`] that it caused.
    ///
    /// [`Class::websocket_open`]: crate::Class::websocket_open
    pub fn upgrade(&self) -> Option<&'a http::Request<()>> {
        self.upgrade
    }
}

impl Turn<'_> {
    /// Sends a frame to a socket. It waits for the turn to be durable, and comes in order with everything else that the
    /// socket gets. A socket that is gone gets nothing, and that is no error.
    ///
    /// A socket that does not take what it is sent is closed with 1013; if it is the one that caused this turn, the server
    /// stops reading it first. A socket whose frame is lost with a failed commit is closed with 1013 too.
    pub fn send_frame(&mut self, socket: SocketId, frame: Frame) -> Sent<'_> {
        let to = self.sockets.find(socket).map(Arc::clone);
        self.send_to(to.into_iter().collect(), frame)
    }

    /// Sends a frame to every open socket, as [`Turn::send_frame`] does to one.
    pub fn send_all(&mut self, frame: Frame) -> Sent<'_> {
        self.send_to(self.sockets.all().to_vec(), frame)
    }

    /// Sends a frame to the open sockets that have a tag, as [`Turn::send_frame`] does to one.
    ///
    /// ```
    /// # use fleet::{Error, Frame, SocketId, Turn};
    /// fn join(turn: &mut Turn<'_>, socket: SocketId, name: &str) -> Result<(), Error> {
    ///     turn.set_tags(socket, &["player"])?;
    ///     turn.attach(socket, name)?;
    ///     turn.send_tagged("player", Frame::Text(format!("{name} plays").into()));
    ///     Ok(())
    /// }
    /// ```
    pub fn send_tagged(&mut self, tag: &str, frame: Frame) -> Sent<'_> {
        let tagged = self.sockets_tagged(tag);
        let to = tagged.into_iter().filter_map(|socket| self.sockets.find(socket).map(Arc::clone));
        self.send_to(to.collect(), frame)
    }

    fn send_to(&mut self, to: Vec<Arc<Session>>, frame: Frame) -> Sent<'_> {
        if to.is_empty() {
            return Sent(None);
        }
        let cause = if let Caller::Socket(socket) = self.caller { Some(*socket) } else { None };
        let effects = &mut self.draft.effects;
        effects.push(Effect::Send(Outbound { to, frame, confirmed: true, cause }));
        match effects.last_mut() {
            Some(Effect::Send(outbound)) => Sent(Some(&mut outbound.confirmed)),
            _ => Sent(None),
        }
    }

    /// Closes a socket, after what it was sent before. It stays one of [`Turn::sockets`] until it is gone. A socket that is
    /// gone already is no error.
    ///
    /// # Errors
    /// `bad_request` for a code that is neither 1000 nor 3000 to 4999, `too_large` for a reason of more than 123 bytes.
    pub fn close_socket(&mut self, socket: SocketId, code: u16, reason: &str) -> Result<(), Error> {
        if !matches!(code, 1000 | 3000..=4999) {
            return Err(Error::bad_request(format!("close code is {code}; it must be 1000 or 3000 to 4999")));
        }
        check("close reason", reason.len(), CLOSE_REASON_BYTES, "bytes")?;
        if let Some(session) = self.sockets.find(socket) {
            let close = Close { code, reason: reason.to_owned().into() };
            self.draft.effects.push(Effect::Close(Arc::clone(session), close));
        }
        Ok(())
    }

    /// The tags of a socket, also of one that is gone while [`Class::websocket_close`] hears of it.
    ///
    /// [`Class::websocket_close`]: crate::Class::websocket_close
    pub fn tags(&self, socket: SocketId) -> impl Iterator<Item = &str> {
        self.notes(socket).into_iter().flat_map(|notes| &notes.tags).map(|tag| &**tag)
    }

    /// Gives a socket these tags, in place of those it had; a tag that is named twice counts once.
    ///
    /// # Errors
    /// `not_found` when there is no such socket, `too_large` for more than 10 tags or a tag of more than 256 characters.
    pub fn set_tags(&mut self, socket: SocketId, tags: &[&str]) -> Result<(), Error> {
        let mut unique: Vec<Arc<str>> = Vec::new();
        for tag in tags {
            check("tag", tag.chars().count(), SOCKET_TAG_CHARS, "characters")?;
            if !unique.iter().any(|known| **known == **tag) {
                unique.push(Arc::from(*tag));
            }
        }
        if unique.len() > SOCKET_TAGS {
            let text = format!("a socket would have {} tags; the limit is {SOCKET_TAGS}", unique.len());
            return Err(Error::new(Code::TooLarge, text));
        }
        self.note(socket, |notes| notes.tags = unique)
    }

    /// What was attached to a socket, also to one that is gone while [`Class::websocket_close`] hears of it.
    ///
    /// # Errors
    /// `internal` for a value of another type.
    ///
    /// [`Class::websocket_close`]: crate::Class::websocket_close
    pub fn attachment<T: DeserializeOwned>(&self, socket: SocketId) -> Result<Option<T>, Error> {
        let attachment = self.notes(socket).and_then(|notes| notes.attachment.as_deref());
        let read = |bytes| {
            rmp_serde::from_slice(bytes).map_err(|error| {
                Error::internal(format!("the attachment of a socket is no {}: {error}", std::any::type_name::<T>()))
            })
        };
        attachment.map(read).transpose()
    }

    /// Attaches a value to a socket, in place of what was there.
    ///
    /// # Errors
    /// `not_found` when there is no such socket, `too_large` for a value of more than 16 KiB.
    pub fn attach<T: Serialize + ?Sized>(&mut self, socket: SocketId, value: &T) -> Result<(), Error> {
        let encoded = rmp_serde::to_vec_named(value)
            .map_err(|error| Error::internal(format!("an attachment cannot be encoded: {error}")))?;
        check("attachment", encoded.len(), SOCKET_ATTACHMENT_BYTES, "bytes")?;
        self.note(socket, |notes| notes.attachment = Some(encoded.into()))
    }

    /// Sets the text frame that is answered without asking the class, and its answer; `None`: there is none. It goes when
    /// the last socket has gone and the object sleeps, so [`Class::activate`] is the place to set it.
    ///
    /// A sleeping object is not woken by it.
    ///
    /// # Errors
    /// `too_large` for a request or a response of more than 2,048 bytes.
    ///
    /// [`Class::activate`]: crate::Class::activate
    pub fn set_auto_response(&mut self, pair: Option<(&str, &str)>) -> Result<(), Error> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        self.draft.sockets.response = Some(match pair {
            None => ResponseChange::Unset,
            Some((request, response)) => {
                check("request of an automatic response", request.len(), AUTO_RESPONSE_BYTES, "bytes")?;
                check("automatic response", response.len(), AUTO_RESPONSE_BYTES, "bytes")?;
                ResponseChange::Set(bytes(request), bytes(response))
            }
        });
        Ok(())
    }

    fn notes(&self, socket: SocketId) -> Option<&Notes> {
        self.draft.sockets.notes.get(&socket).or_else(|| self.sockets.notes(socket))
    }

    fn note(&mut self, socket: SocketId, change: impl FnOnce(&mut Notes)) -> Result<(), Error> {
        if self.sockets.find(socket).is_none() {
            return Err(Error::not_found(format!("socket {} is not open", socket.0)));
        }
        let mut notes = self.notes(socket).cloned().unwrap_or_default();
        change(&mut notes);
        self.draft.sockets.notes.insert(socket, notes);
        Ok(())
    }
}

fn check(what: &str, size: usize, limit: usize, unit: &str) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::new(Code::TooLarge, format!("{what} is {size} {unit}; the limit is {limit}")))
}
