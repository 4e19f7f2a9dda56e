//! What the events of sockets do.

use std::sync::Arc;

use super::json_of;
use crate::object::Error;
use crate::object::attempt::Source;
use crate::object::body::{Body, Joined};
use crate::object::commit::Run;
use crate::object::event::{Answer, Caller, Effect, Event};
use crate::object::instance::Input;
use crate::object::namespace::{Inner, Slot};
use crate::object::session::Session;
use crate::protocol::{self, Code, Frame};

impl Inner {
    /// Does what needs no class; answers the event if there is more to do.
    pub(super) fn settle(body: &mut Body, run: &mut Run, event: Event) -> Option<Event> {
        match event {
            Event::Message(session, frame) if !body.sockets.has(&session) => {
                let error = Error::new(Code::Unavailable, "this socket is not open");
                run.effects.extend(Event::Message(session, frame).refuse(error));
                None
            }
            Event::Message(session, frame) => {
                let Some(answer) = body.sockets.response().and_then(|response| response.to(&frame)) else {
                    return Some(Event::Message(session, frame));
                };
                run.effects.push(Effect::Answer(session, Answer { id: None, frame: answer }));
                None
            }
            Event::Broken(session, error) => body.sockets.has(&session).then_some(Event::Broken(session, error)),
            Event::Close(session, closed) => {
                body.sockets.leave(&session, closed.clone());
                // A socket that was refused has never been opened.
                body.sockets.any_gone().then_some(Event::Close(session, closed))
            }
            other => Some(other),
        }
    }

    pub(super) fn open(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        session: Arc<Session>,
        upgrade: Option<&http::Request<()>>,
    ) {
        let Some(live) = &body.live else { return };
        let tells_state = live.definition.tells_state;
        let place = run.effects.len();
        let mut result = Ok(());
        if body.sockets.insert(&session, &live.definition) {
            let mut source = Source::new(Caller::Socket(session.id()));
            result = self.attempt(slot, body, run, &mut source, Input::Open(session.id(), upgrade)).map(drop);
            if result.is_ok() {
                let noted = !tells_state || run.wrote || run.effects.len() > place;
                run.joined.push(Joined { session: Arc::clone(&session), noted });
                run.effects.extend(noted.then(|| Effect::Noted(Arc::clone(&session))));
            } else {
                body.sockets.remove(&session);
            }
        }
        if tells_state && result.is_ok() {
            result =
                self.attempt(slot, body, run, &mut Source::runtime(), Input::State).and_then(json_of).map(|state| {
                    // Before what the class said to it when it opened.
                    run.effects.insert(place, Effect::First(Arc::clone(&session), protocol::state(&state)));
                });
        }
        if let Err(error) = result {
            run.effects.push(Effect::Refuse(session, error));
        }
    }

    pub(super) fn message(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        session: &Arc<Session>,
        frame: &Frame,
    ) {
        let mut source = Source::socket(session);
        if let Err(error) = self.attempt(slot, body, run, &mut source, Input::Frame(session.id(), frame)) {
            run.effects.push(Effect::Answer(Arc::clone(session), Answer::error(source.id, error)));
        }
    }

    pub(super) fn broken(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        session: &Session,
        error: &str,
    ) {
        let mut source = Source::new(Caller::Socket(session.id()));
        if let Err(error) = self.attempt(slot, body, run, &mut source, Input::Broken(session.id(), error)) {
            tracing::warn!(path = %slot.path, error = %error.redacted(), "websocket_error failed");
        }
    }

    /// Tells the class which sockets are gone. Those that it cannot be told of now, because it does not start or panics, it
    /// is told of with the object's next event.
    pub(super) fn tell_gone(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        while !run.spoiled
            && body.live.is_some()
            && let Some((socket, closed)) = body.sockets.next_gone()
        {
            let mut source = Source::new(Caller::Socket(socket));
            if let Err(error) = self.attempt(slot, body, run, &mut source, Input::Close(socket, &closed)) {
                tracing::warn!(path = %slot.path, error = %error.redacted(), "websocket_close failed");
            }
            body.sockets.forget(socket);
        }
    }
}
