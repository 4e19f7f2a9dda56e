//! `worker-connection`: one external worker of a fleet manager, and the only truth about whether it is connected.
//!
//! A worker is a process in any language that opens a WebSocket to a child of its manager (`/jobs/w1`). This object checks
//! who it is, hands its tasks to it and its results to the manager, and tells the manager when it is there and when it is
//! gone. What runs is written in the books of the manager alone; here it is known in memory, so that a task costs no commit
//! of this object.
//!
//! | file | what of it |
//! |---|---|
//! | `session` | who a socket is, and for how long |
//! | `frames` | what a worker says and is told |
//! | `work` | tasks to the worker |
//! | `reports` | what the manager is told of the worker |
//! | `results` | what came of its tasks, in as few questions as it fits into |
//! | `history` | what the worker did last |
//! | `mail` | messages to the worker, also while it is away |
//! | `timer` | what is due in memory |
//!
//! # Why
//! What is in memory alone is lost with a panic or a failed commit, and that is allowed for: a result that is not
//! acknowledged is sent again by the worker, and what the manager does not hear of ends with the lease. A handler that
//! answers `Err` would lose it as well, so a refusal is given as an answer instead (see `call`).

mod frames;
mod history;
mod mail;
mod reports;
mod results;
mod session;
mod timer;
mod work;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::history::History;
use self::mail::Mail;
use self::session::{OPEN, READY};
use self::timer::Timer;
use self::work::Tasks;
use crate::object::{Caller, Class, Error, Replied, SocketId, Turn, json, unknown_method};
use crate::protocol::{Closed, Code, Frame};

/// What is stored of a worker, and what is known of it in memory.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerConnection {
    last_connected_at: Option<u64>,
    last_disconnected_at: Option<u64>,
    mail: Mail,
    #[serde(skip)]
    tasks: Tasks,
    #[serde(skip)]
    history: History,
    #[serde(skip)]
    reports: reports::Reports,
    #[serde(skip)]
    results: results::Results,
    #[serde(skip)]
    timer: Timer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    connected: bool,
    sessions: usize,
    last_connected_at: Option<u64>,
    last_disconnected_at: Option<u64>,
    current_tasks: Vec<&'a str>,
}

/// What a viewer sees.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    class: &'static str,
    #[serde(flatten)]
    status: Status<'a>,
    last_tasks: &'a History,
}

impl Class for WorkerConnection {
    const NAME: &'static str = "worker-connection";
    const TELLS_STATE: bool = false;

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        if !is_connected(turn) && self.last_connected_at > self.last_disconnected_at {
            // The server ended before it could be seen.
            self.last_disconnected_at = Some(turn.now());
        }
        self.look(turn);
        Ok(())
    }

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        json(&Seen { class: Self::NAME, status: self.status(turn), last_tasks: &self.history })
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let result = self.method(turn, method, payload);
        if result.is_err()
            && let Ok(deferred) = turn.defer()
        {
            // A refusal changes nothing; as an `Err` of this turn it would take what is in memory alone.
            turn.answer_deferred(&deferred, result);
            return json(&());
        }
        result
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        let sender = match turn.caller() {
            Caller::Object(path) => path.name().unwrap_or("root").to_owned(),
            _ => String::new(),
        };
        turn.send_tagged(OPEN, crate::protocol::message(message, &sender));
        Ok(())
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, _: u32) -> Result<(), Error> {
        self.end_expired(turn)
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        self.answered(turn, reply)
    }

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        self.opened(turn, socket)
    }

    fn websocket_message(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) -> Result<(), Error> {
        if has_tag(turn, socket, OPEN) {
            self.heard(turn, socket, frame);
            return Ok(());
        }
        self.heard_of_stranger(turn, socket, frame)
    }

    fn websocket_close(&mut self, turn: &mut Turn<'_>, socket: SocketId, _: &Closed) -> Result<(), Error> {
        if has_tag(turn, socket, OPEN) {
            let was_ready = has_tag(turn, socket, READY);
            self.left(turn, was_ready);
        }
        Ok(())
    }
}

impl WorkerConnection {
    fn method(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "status" => json(&self.status(turn)),
            "send" => self.send(turn, payload),
            "start" => command(turn, "start", payload),
            "stop" => command(turn, "stop", payload),
            "assign" => {
                only_by(turn, turn.path().parent().as_ref(), method)?;
                self.assign(turn, payload)
            }
            "cancelTasks" => {
                only_by(turn, turn.path().parent().as_ref(), method)?;
                self.cancel_tasks(turn, payload)
            }
            timer::METHOD => {
                only_by(turn, Some(turn.path()), method)?;
                timer::wait(turn, payload)
            }
            other => Err(unknown_method(other)),
        }
    }

    fn status(&self, turn: &Turn<'_>) -> Status<'_> {
        let sessions = turn.sockets_tagged(OPEN).len();
        Status {
            connected: sessions > 0,
            sessions,
            last_connected_at: self.last_connected_at,
            last_disconnected_at: self.last_disconnected_at,
            current_tasks: self.tasks.ids().collect(),
        }
    }
}

/// Sends the worker a message of this type.
fn command(turn: &mut Turn<'_>, kind: &'static str, payload: &RawValue) -> Result<Vec<u8>, Error> {
    let sessions = turn.sockets_tagged(OPEN).len();
    if sessions == 0 {
        return Err(offline(turn));
    }
    turn.send_tagged(OPEN, frames::frame(kind, payload));
    json(&frames::Delivered { sessions, queued: false })
}

fn offline(turn: &Turn<'_>) -> Error {
    Error::conflict(format!("offline: the worker {} is not connected", turn.path()))
}

/// Only this object may call the method.
fn only_by(turn: &Turn<'_>, path: Option<&crate::path::ObjectPath>, method: &str) -> Result<(), Error> {
    match (turn.caller(), path) {
        (Caller::Object(caller), Some(path)) if caller == path => Ok(()),
        _ => Err(Error::new(Code::Forbidden, format!("{method}: only the manager of this worker may call it"))),
    }
}

fn is_connected(turn: &Turn<'_>) -> bool {
    !turn.sockets_tagged(OPEN).is_empty()
}

fn has_tag(turn: &Turn<'_>, socket: SocketId, wanted: &str) -> bool {
    turn.tags(socket).any(|tag| tag == wanted)
}

#[cfg(test)]
mod tests;
