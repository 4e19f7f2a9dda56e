//! What can happen in a simulation, and what comes of it.

use serde::Serialize;
use serde_json::Value;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Somebody calls a method; the next steps do not wait for the answer.
    Call {
        /// The object.
        path: String,
        /// Its method.
        method: String,
        /// The payload.
        payload: Value,
    },
    /// Somebody deletes a subtree; the next steps do not wait for it.
    Delete {
        /// Its top.
        path: String,
    },
    /// A client opens a socket; if it had one, that one closes first.
    Connect {
        /// Which client.
        client: u32,
        /// The object, with a query if there is one: `/room?name=ann`.
        path: String,
    },
    /// As [`Step::Connect`], with headers. The first `fleet.v1` or `fleet.v2` in `sec-websocket-protocol` is what the socket
    /// speaks.
    Upgrade {
        /// Which client.
        client: u32,
        /// The object, with a query if there is one.
        path: String,
        /// Name and value of each header of the request.
        headers: Vec<(String, String)>,
    },
    /// A client sends a text frame over its socket, if it has one.
    Send {
        /// Which client.
        client: u32,
        /// The frame.
        text: String,
    },
    /// A client reads what has come; until then it reads nothing.
    Read {
        /// Which client.
        client: u32,
    },
    /// A client closes its socket.
    Close {
        /// Which client.
        client: u32,
        /// The close code.
        code: u16,
    },
    /// A client vanishes, which its object is told as 1006.
    Vanish {
        /// Which client.
        client: u32,
    },
    /// Time passes.
    Pass {
        /// Milliseconds.
        ms: u64,
    },
    /// Whatever was begun is finished.
    Settle,
    /// The next commit fails, with its outcome unknown.
    CommitFails,
    /// The next of these is lost: a `tell`, the notice that durable messages wait, the wake-up for something that is due.
    /// The last two come again, up to 5 and 10 seconds later.
    Lose,
    /// The next of these comes twice, up to 5 seconds apart: the notice that durable messages wait, the wake-up for something
    /// that is due, the answer to what an object has asked for.
    Repeat,
    /// The next of these finds the object's mailbox full: a request, a `tell`, a call, a frame of a socket.
    FullMailbox {
        /// The object.
        path: String,
    },
    /// The process dies and starts anew on what was durable.
    Crash,
}

impl Step {
    /// A call of a method.
    ///
    /// # Panics
    /// The payload cannot be JSON.
    pub fn call<T: Serialize>(path: &str, method: &str, payload: T) -> Self {
        let payload = serde_json::to_value(payload).expect("a payload is JSON");
        Self::Call { path: path.to_owned(), method: method.to_owned(), payload }
    }

    /// A deletion.
    pub fn delete(path: &str) -> Self {
        Self::Delete { path: path.to_owned() }
    }
}

/// What came of a call or a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged, with this answer (`null` for a deletion).
    Answered(Value),
    /// It was refused: nothing of it happened.
    Refused(String),
    /// Nobody knows: the commit failed with its outcome unknown, or the process died before it answered.
    Unknown,
}
