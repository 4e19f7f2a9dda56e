//! Who a socket is, and for how long.
//!
//! What is known of a socket is attached to it, so it lives as long as the socket does, whatever becomes of the object's
//! memory. Tags say the same where it is asked for every frame.

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use serde::{Deserialize, Serialize};

use super::frames::{self, Auth, Ready};
use super::{WorkerConnection, has_tag, is_connected};
use crate::limits::{AUTH_TIME_MS, LATEST_MS};
use crate::object::{Error, Identity, Scope, SocketId, Turn, json};
use crate::protocol::{Frame, Message};

/// The tag of a socket that may speak for the worker.
pub(super) const OPEN: &str = "open";
/// The tag of one whose worker takes tasks.
pub(super) const READY: &str = "ready";

/// What begins a subprotocol that is a token.
const TOKEN_PROTOCOL: &str = "fleet.token.";
const UNAUTHORIZED: u16 = 4401;
const FORBIDDEN: u16 = 4403;

/// What is attached to a socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Session {
    /// It has until then to say who it is.
    Stranger { until: u64 },
    Open {
        /// Absent where nobody is asked for a token.
        identity: Option<Identity>,
        ready: Option<Ready>,
    },
    /// It is being closed.
    Refused,
}

impl WorkerConnection {
    /// A socket has joined. One that is refused is closed rather than its upgrade: a browser sees no status of that.
    pub(super) fn opened(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        if !turn.authentication_required() {
            return self.admit(turn, socket, None);
        }
        if let Some(token) = turn.upgrade().and_then(token_of) {
            return self.authenticate(turn, socket, &token).map(drop);
        }
        let until = turn.now() + AUTH_TIME_MS;
        turn.attach(socket, &Session::Stranger { until })?;
        self.wake_at(turn, until);
        Ok(())
    }

    /// A message of a socket that has not said who it is: it can do nothing else.
    pub(super) fn heard_of_stranger(
        &mut self,
        turn: &mut Turn<'_>,
        socket: SocketId,
        frame: &Frame,
    ) -> Result<(), Error> {
        if !matches!(turn.attachment(socket)?, Some(Session::Stranger { .. })) {
            return Ok(());
        }
        let Frame::Text(text) = frame else { return refuse_talk(turn, socket) };
        match Message::parse(text) {
            Ok(message) if message.kind == "auth" => {
                turn.expect_answer(message.id);
                // What is wrong with it is not said, as the text could show the token.
                let Ok(Auth { token }) = frames::parse(message.payload) else { return refuse_talk(turn, socket) };
                if self.authenticate(turn, socket, &token)? {
                    turn.answer(json(&())?);
                }
                Ok(())
            }
            _ => refuse_talk(turn, socket),
        }
    }

    /// Lets a socket in whose token is good enough, for the first time or for longer; answers whether it is.
    pub(super) fn authenticate(&mut self, turn: &mut Turn<'_>, socket: SocketId, token: &str) -> Result<bool, Error> {
        let (code, reason) = match turn.authenticate(token) {
            Ok(identity) if identity.reaches(turn.path(), Scope::Write) => {
                return self.admit(turn, socket, Some(identity)).map(|()| true);
            }
            Ok(_) => (FORBIDDEN, "forbidden: the token does not reach this worker".to_owned()),
            Err(error) => (UNAUTHORIZED, error.message().to_owned()),
        };
        self.expel(turn, socket, code, &reason).map(|()| false)
    }

    fn admit(&mut self, turn: &mut Turn<'_>, socket: SocketId, identity: Option<Identity>) -> Result<(), Error> {
        if let Some(expires_at) = identity.as_ref().and_then(|identity| identity.expires_at) {
            alarm_at(turn, expires_at)?;
        }
        if let Some(Session::Open { ready, .. }) = turn.attachment(socket)? {
            return turn.attach(socket, &Session::Open { identity, ready });
        }
        turn.attach(socket, &Session::Open { identity, ready: None })?;
        turn.set_tags(socket, &[OPEN])?;
        self.last_connected_at = Some(turn.now());
        self.deliver(turn, socket)
    }

    /// Notes what a worker takes.
    pub(super) fn note_ready(turn: &mut Turn<'_>, socket: SocketId, ready: Ready) -> Result<(), Error> {
        if let Some(Session::Open { identity, .. }) = turn.attachment(socket)? {
            turn.attach(socket, &Session::Open { identity, ready: Some(ready) })?;
            turn.set_tags(socket, &[OPEN, READY])?;
        }
        Ok(())
    }

    /// Closes a socket that may not speak for the worker, or not any more.
    fn expel(&mut self, turn: &mut Turn<'_>, socket: SocketId, code: u16, reason: &str) -> Result<(), Error> {
        let (was_open, was_ready) = (has_tag(turn, socket, OPEN), has_tag(turn, socket, READY));
        turn.attach(socket, &Session::Refused)?;
        turn.set_tags(socket, &[])?;
        turn.close_socket(socket, code, reason)?;
        if was_open {
            self.left(turn, was_ready);
        }
        Ok(())
    }

    /// A socket does not speak for the worker any more.
    pub(super) fn left(&mut self, turn: &mut Turn<'_>, was_ready: bool) {
        if is_connected(turn) {
            // An older session may take less, or other types.
            if was_ready && ready_session(turn).is_some() {
                self.announce(turn);
            }
            return;
        }
        self.last_disconnected_at = Some(turn.now());
        self.tasks.clear();
        // Of a server that stops it is the worker that is left, and it may come back within its lease.
        if !turn.is_stopping() {
            self.say_gone(turn, was_ready);
        }
    }

    /// Closes the sockets whose tokens have expired.
    pub(super) fn end_expired(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let now = turn.now();
        let mut next: Option<u64> = None;
        for socket in turn.sockets() {
            let Some(Session::Open { identity: Some(identity), .. }) = turn.attachment(socket)? else { continue };
            match identity.expires_at {
                Some(at) if at <= now => {
                    self.expel(turn, socket, UNAUTHORIZED, "unauthorized: the token has expired")?;
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        next.map_or(Ok(()), |next| alarm_at(turn, next))
    }

    /// Closes the sockets that have not said in time who they are; answers when the next of them is due.
    pub(super) fn end_strangers(&mut self, turn: &mut Turn<'_>) -> Result<Option<u64>, Error> {
        let now = turn.now();
        let mut next: Option<u64> = None;
        for socket in turn.sockets() {
            match turn.attachment(socket)? {
                Some(Session::Stranger { until }) if until <= now => {
                    let reason = format!("unauthorized: no token came within {AUTH_TIME_MS} ms");
                    self.expel(turn, socket, UNAUTHORIZED, &reason)?;
                }
                Some(Session::Stranger { until }) => next = Some(next.map_or(until, |next| next.min(until))),
                _ => {}
            }
        }
        Ok(next)
    }
}

/// The newest socket whose worker takes tasks.
pub(super) fn ready_session(turn: &Turn<'_>) -> Option<SocketId> {
    turn.sockets_tagged(READY).pop()
}

/// What the worker takes, as its newest session has said.
pub(super) fn what_is_taken(turn: &Turn<'_>) -> Option<Ready> {
    match turn.attachment(ready_session(turn)?) {
        Ok(Some(Session::Open { ready, .. })) => ready,
        _ => None,
    }
}

/// The socket that the worker surely reads.
pub(super) fn newest_session(turn: &Turn<'_>) -> Option<SocketId> {
    ready_session(turn).or_else(|| turn.sockets_tagged(OPEN).pop())
}

fn refuse_talk(turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
    turn.attach(socket, &Session::Refused)?;
    turn.close_socket(socket, UNAUTHORIZED, "unauthorized: the first message must be auth, with a token")
}

/// Sees to it that the alarm goes off then, or before.
fn alarm_at(turn: &mut Turn<'_>, at: u64) -> Result<(), Error> {
    let at = at.min(LATEST_MS);
    match turn.get_alarm() {
        Some(set) if set <= at => Ok(()),
        _ => turn.set_alarm(at),
    }
}

/// The token of an upgrade: a bearer's, or a subprotocol.
fn token_of(request: &http::Request<()>) -> Option<String> {
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        // Another scheme is a credential that is not accepted.
        return Some(token.unwrap_or_default().to_owned());
    }
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut names = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    names.find_map(|name| name.trim().strip_prefix(TOKEN_PROTOCOL)).map(str::to_owned)
}
