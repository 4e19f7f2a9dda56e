//! A chat room: what is said is stored and can be paged, who is there is read off the sockets, and typing is not stored.
//!
//! ```text
//! cargo run --example chat_room
//! curl localhost:8787/rooms/lobby:history --json null
//! ```
//!
//! Open <http://localhost:8787/rooms/lobby> and speak in its console (F12), or in those of two windows:
//!
//! ```js
//! const room = new WebSocket("ws://localhost:8787/rooms/lobby");
//! room.onmessage = ({ data }) => console.log(data);
//! room.send('{"type":"join","id":1,"payload":"ann"}');
//! room.send('{"type":"say","payload":"hello"}');
//! room.send('{"type":"typing"}');
//! ```

use std::collections::BTreeSet;
use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{
    Caller, Class, Closed, Code, Error, Frame, List, ObjectName, RawValue, Server, SocketId, Turn, json, read,
    unknown_method,
};
use serde::{Deserialize, Serialize};

/// Messages that a room keeps.
const KEPT: u64 = 10_000;
/// Bytes of one message.
const TEXT_BYTES: usize = 4_096;
/// Messages on a page of the history.
const PAGE: usize = 50;
/// The tag of every socket that has joined.
const MEMBER: &str = "member";

/// A socket's name is attached to it, and is one of its tags: both are there after a sleep, and gone with the socket.
#[derive(Default, Serialize, Deserialize)]
pub struct ChatRoom {
    said: u64,
}

#[derive(Serialize, Deserialize)]
struct Said {
    by: String,
    /// In milliseconds since the epoch.
    at: u64,
    text: String,
}

#[derive(Serialize)]
struct View {
    members: BTreeSet<String>,
    said: u64,
}

/// The newest messages come first.
#[derive(Serialize)]
struct Page {
    messages: Vec<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// What members are told, as `{"type":"joined","payload":{"name":"ann"}}`.
#[derive(Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
enum News<'a> {
    Joined { name: &'a str },
    Left { name: &'a str },
    Said(&'a Said),
    Typing { name: &'a str },
}

impl Class for ChatRoom {
    const NAME: &'static str = "chat-room";
    /// The room says what there is to say.
    const TELLS_STATE: bool = false;

    /// A client that wants to know whether its connection lives does not wake the room.
    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        turn.set_auto_response(Some(("ping", "pong")))
    }

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        self.view(turn)
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "join" => self.join(turn, &read::<String>(payload)?),
            "say" => self.say(turn, read(payload)?),
            "typing" => typing(turn),
            "history" => history(turn, read(payload)?),
            other => Err(unknown_method(other)),
        }
    }

    /// The name is still to be read, though the socket is gone.
    fn websocket_close(&mut self, turn: &mut Turn<'_>, socket: SocketId, _: &Closed) -> Result<(), Error> {
        match turn.attachment::<String>(socket)? {
            Some(name) if turn.sockets_tagged(&tag(&name)).is_empty() => tell(turn, &News::Left { name: &name }),
            _ => Ok(()),
        }
    }
}

impl ChatRoom {
    /// Somebody may join with several sockets, and is there until the last has gone.
    fn join(&mut self, turn: &mut Turn<'_>, name: &str) -> Result<Vec<u8>, Error> {
        ObjectName::parse(name).map_err(|error| Error::bad_request(error.to_string()))?;
        let socket = socket(turn)?;
        if let Some(name) = turn.attachment::<String>(socket)? {
            return Err(Error::conflict(format!("You are {name} already")));
        }
        let is_new = turn.sockets_tagged(&tag(name)).is_empty();
        turn.attach(socket, name)?;
        turn.set_tags(socket, &[MEMBER, &tag(name)])?;
        if is_new {
            tell(turn, &News::Joined { name })?;
        }
        self.view(turn)
    }

    fn say(&mut self, turn: &mut Turn<'_>, text: String) -> Result<Vec<u8>, Error> {
        if text.len() > TEXT_BYTES {
            let text = format!("the message is {} bytes; the limit is {TEXT_BYTES}", text.len());
            return Err(Error::new(Code::TooLarge, text));
        }
        let (_, by) = member(turn)?;
        let said = Said { by, at: turn.now(), text };
        self.said += 1;
        turn.put(&key(self.said), &said)?;
        if let Some(old) = self.said.checked_sub(KEPT) {
            turn.delete(&key(old))?;
        }
        tell(turn, &News::Said(&said))?;
        json(&())
    }

    fn view(&self, turn: &Turn<'_>) -> Result<Vec<u8>, Error> {
        let names = turn.sockets_tagged(MEMBER).into_iter().map(|socket| turn.attachment(socket));
        let members = names.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        json(&View { members, said: self.said })
    }
}

/// Tells the others; nothing is lost if the server dies before they know.
fn typing(turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
    let (socket, name) = member(turn)?;
    let frame = frame(&News::Typing { name: &name })?;
    for other in turn.sockets_tagged(MEMBER).into_iter().filter(|other| *other != socket) {
        turn.send_frame(other, frame.clone()).unconfirmed();
    }
    json(&())
}

fn history(turn: &mut Turn<'_>, cursor: Option<String>) -> Result<Vec<u8>, Error> {
    let list = List::new().prefix("message ").reverse().limit(PAGE);
    let page = turn.list(match cursor {
        Some(cursor) => list.after(cursor),
        None => list,
    })?;
    let messages = page.items.into_iter().map(|(_, said)| said).collect();
    json(&Page { messages, cursor: page.cursor })
}

/// Whoever speaks, by the name under which it has joined.
fn member(turn: &Turn<'_>) -> Result<(SocketId, String), Error> {
    let socket = socket(turn)?;
    let name = turn.attachment(socket)?.ok_or_else(|| Error::conflict("Join first"))?;
    Ok((socket, name))
}

fn socket(turn: &Turn<'_>) -> Result<SocketId, Error> {
    match turn.caller() {
        Caller::Socket(socket) => Ok(*socket),
        _ => Err(Error::bad_request("Only a WebSocket can be in a room")),
    }
}

fn tell(turn: &mut Turn<'_>, news: &News<'_>) -> Result<(), Error> {
    turn.send_tagged(MEMBER, frame(news)?);
    Ok(())
}

fn frame(news: &News<'_>) -> Result<Frame, Error> {
    Ok(Frame::Text(json(news)?.into()))
}

fn tag(name: &str) -> String {
    format!("name {name}")
}

/// Keys are in the order of what was said.
fn key(number: u64) -> String {
    format!("message {number:020}")
}

/// The server of this example.
pub fn server() -> Builder {
    Server::builder().class::<ChatRoom>().route("/rooms/*", "chat-room")
}

fn main() -> ExitCode {
    server().run()
}
