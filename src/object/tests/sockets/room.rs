//! A class that does with its sockets what they ask for, and clients of it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::task::TaskTracker;

use crate::class::Agent;
use crate::metrics::Metrics;
use crate::object::namespace::Slot;
use crate::object::{
    Class, Error, Namespace, Options, Outgoing, Registry, Services, Socket, SocketId, Turn, json, unknown_method,
};
use crate::path::ObjectPath;
use crate::protocol::{Change, Closed, Code, Frame, Version};
use crate::storage::{self, Fate, Stepper, Storage};

thread_local! {
    /// Whether the class does not start. Turns run on the thread of their test.
    pub(super) static BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// Writes down what happens to its sockets.
#[derive(Default, Serialize, Deserialize)]
struct Room {
    log: Vec<String>,
}

impl Room {
    fn event(&mut self, turn: &Turn<'_>, socket: SocketId, what: &str, how: &str) -> Result<(), Error> {
        let name: Option<String> = turn.attachment(socket)?;
        let left = turn.socket_count();
        self.log.push(format!("{what} {} {how}, {left} left", name.unwrap_or_default()));
        Ok(())
    }

    fn command(&mut self, turn: &mut Turn<'_>, socket: SocketId, text: &str) -> Result<(), Error> {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
        match command {
            "all" => drop(turn.send_all(frame(rest))),
            "red" => drop(turn.send_tagged("red", frame(rest))),
            "cursor" => turn.send_all(frame(rest)).unconfirmed(),
            "many" => {
                for number in 0..rest.parse().unwrap_or(0) {
                    turn.send_all(frame(&format!("{number}")));
                }
            }
            "note" => {
                self.log.push(rest.to_owned());
                turn.send_frame(socket, frame(&format!("noted {rest}")));
            }
            "upgrade" => {
                let shown = if turn.upgrade().is_some() { "some" } else { "none" };
                turn.send_frame(socket, frame(shown));
            }
            "caller" => {
                let caller = format!("{:?}", turn.caller());
                turn.send_frame(socket, frame(&caller));
            }
            "attachment" => {
                let attachment: Option<String> = turn.attachment(socket)?;
                turn.send_frame(socket, frame(&attachment.unwrap_or_default()));
            }
            "tagged" => {
                let tagged: Vec<String> = turn.sockets_tagged(rest).iter().map(|id| id.0.to_string()).collect();
                turn.send_frame(socket, frame(&tagged.join(" ")));
            }
            "tag" if rest == "and fail" || rest == "and panic" => {
                turn.set_tags(socket, &["lost"])?;
                turn.attach(socket, "lost")?;
                assert_ne!(rest, "and panic", "on purpose");
                return Err(Error::conflict("on purpose"));
            }
            "tag" => turn.set_tags(socket, &words)?,
            "nested" => {
                let nested = turn.transaction(|turn| {
                    turn.set_tags(socket, &["lost"])?;
                    turn.attach(socket, "lost")?;
                    assert_eq!(turn.sockets_tagged("lost"), [socket]);
                    Err::<(), _>(Error::conflict("on purpose"))
                });
                assert!(nested.is_err() && turn.sockets_tagged("lost").is_empty());
                turn.send_frame(socket, frame("rolled back"));
            }
            "respond" if rest == "and fail" => {
                turn.set_auto_response(Some(("hi", "lost")))?;
                return Err(Error::conflict("on purpose"));
            }
            "respond" => {
                self.log.push(rest.to_owned());
                turn.set_auto_response(words.first().map(|request| (*request, words[1])))?;
            }
            "close" => {
                turn.send_frame(socket, frame("closing"));
                turn.close_socket(socket, words[0].parse().unwrap_or(0), words[1])?;
                turn.send_frame(socket, frame("too late"));
            }
            "bounds" => bounds(turn, socket, rest)?,
            _ => return Err(Error::bad_request("unknown command")),
        }
        Ok(())
    }
}

fn bounds(turn: &mut Turn<'_>, socket: SocketId, what: &str) -> Result<(), Error> {
    match what {
        "tags" => turn.set_tags(socket, &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
        "tag" => turn.set_tags(socket, &[&"ü".repeat(257)]),
        "attachment" => turn.attach(socket, &"x".repeat(16 << 10)),
        "response" => turn.set_auto_response(Some(("ping", &"x".repeat(2_049)))),
        "code" => turn.close_socket(socket, 1001, ""),
        "reason" => turn.close_socket(socket, 1000, &"x".repeat(124)),
        "gone" => turn.attach(SocketId(99), "x"),
        _ => {
            turn.set_tags(socket, &["0", "1", "2", "3", "4", "5", "6", "7", "8", &"ü".repeat(256)])?;
            turn.attach(socket, &"x".repeat((16 << 10) - 3))?;
            turn.set_auto_response(Some((&"x".repeat(2_048), &"x".repeat(2_048))))?;
            turn.close_socket(socket, 3000, &"x".repeat(123))
        }
    }
}

fn frame(text: &str) -> Frame {
    Frame::Text(text.to_owned().into())
}

impl Class for Room {
    const NAME: &'static str = "room";
    const TELLS_STATE: bool = false;

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        if BROKEN.get() {
            return Err(Error::conflict("broken on purpose"));
        }
        turn.set_auto_response(Some(("ping", "pong")))
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "log" => json(&self.log),
            "sockets" => json(&turn.sockets().map(|socket| socket.0).collect::<Vec<_>>()),
            other => Err(unknown_method(other)),
        }
    }

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        let query = turn.upgrade().and_then(|request| request.uri().query()).unwrap_or_default();
        self.log.push(format!("open {query}"));
        turn.attach(socket, query)?;
        match query {
            "refuse" => {
                turn.send_all(frame("somebody was refused"));
                Err(Error::new(Code::Forbidden, "not you"))
            }
            "panic" => panic!("on purpose"),
            _ => Ok(()),
        }
    }

    fn websocket_message(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) -> Result<(), Error> {
        match frame {
            Frame::Text(text) => self.command(turn, socket, &String::from_utf8_lossy(text)),
            binary @ Frame::Binary(_) => {
                turn.send_frame(socket, binary.clone());
                Ok(())
            }
        }
    }

    fn websocket_close(&mut self, turn: &mut Turn<'_>, socket: SocketId, closed: &Closed) -> Result<(), Error> {
        assert!(!turn.sockets().any(|open| open == socket));
        self.event(turn, socket, "close", &format!("{} {}", closed.code, closed.reason))
    }

    fn websocket_error(&mut self, turn: &mut Turn<'_>, socket: SocketId, error: &str) -> Result<(), Error> {
        assert_ne!(error, "panic", "on purpose");
        self.event(turn, socket, "error", error)
    }
}

/// A class that tells its state, and speaks to its sockets besides.
#[derive(Default, Serialize, Deserialize)]
struct Telling(u64);

impl Class for Telling {
    const NAME: &'static str = "telling";

    fn state(&mut self, _: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        if self.0 > 1_000 { Err(Error::conflict("hidden")) } else { json(self) }
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        assert_ne!(method, "panic", "on purpose");
        self.0 += if method == "hide" { 1_000 } else { 1 };
        turn.publish(Change::none());
        turn.send_all(frame("changed"));
        json(self)
    }

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        self.0 += 1;
        turn.send_frame(socket, frame("welcome"));
        Ok(())
    }
}

pub(super) struct World {
    namespace: Namespace,
    storage: Storage,
    stepper: RefCell<Stepper>,
    pub(super) metrics: Metrics,
    _data: tempfile::TempDir,
}

pub(super) struct Client {
    pub(super) socket: Socket,
}

impl World {
    pub(super) fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let metrics = Metrics::new();
        let options = storage::Options { data_dir: data.path().to_owned(), sync: false, ..storage::Options::default() };
        let (storage, stepper) = Storage::stepped(options, &metrics).expect("storage opens");
        let mut registry = Registry::new::<Room>(&metrics).expect("a registry");
        registry.add::<Telling>().expect("another class");
        registry.add::<Agent>().expect("and another");
        let registry = registry.routed(|path| match path.as_str() {
            "/room" => None,
            other => Some(other.trim_start_matches('/').to_owned()),
        });
        let options = Options {
            children_per_object: 5,
            sockets_per_object: 10,
            storage_per_object: 1 << 20,
            objects: 100,
            sockets: 10,
        };
        let services = Services::default();
        let namespace =
            Namespace::new(storage.clone(), registry, options, metrics.clone(), services, &TaskTracker::new());
        Self { namespace, storage, stepper: RefCell::new(stepper), metrics, _data: data }
    }

    pub(super) fn open(&self, query: &str) -> Client {
        self.open_at("/room", query)
    }

    pub(super) fn open_at(&self, path: &str, query: &str) -> Client {
        let request = http::Request::get(format!("{path}?{query}")).body(()).expect("a request");
        let socket = self.namespace.socket(&ObjectPath::parse(path).expect("a path"), Version::V1);
        let mut socket = socket.expect("a place").upgraded(request);
        socket.open().expect("it joins");
        Client { socket }
    }

    /// What is queued becomes durable.
    pub(super) fn commit(&self) {
        self.stepper.borrow_mut().step(usize::MAX, Fate::Durable);
    }

    /// What is queued fails, and storage recovers.
    pub(super) fn fail(&self) {
        assert!(self.stepper.borrow().waiting() > 0, "nothing can fail");
        self.stepper.borrow_mut().step(usize::MAX, Fate::Lost);
        self.commit();
    }

    fn slot(&self) -> Arc<Slot> {
        self.namespace.0.find("/room/").expect("it has a slot")
    }

    /// The object hibernates.
    pub(super) fn sleep(&self) {
        self.commit();
        assert!(self.namespace.0.hibernate(&self.slot()));
        assert!(self.is_asleep());
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.slot().core.lock().body_mut().is_some_and(|body| body.live.is_none())
    }

    pub(super) async fn try_call(&self, method: &str) -> Result<Value, Error> {
        let path = ObjectPath::parse("/room").expect("a path");
        let mut call = pin!(self.namespace.call(&path, method, to_raw_value(&()).expect("JSON")));
        // A turn, its commit, and perhaps those of what had to be done before it.
        for _ in 0..10 {
            if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
                return Ok(serde_json::from_slice(&answer?).expect("JSON"));
            }
            self.commit();
            tokio::task::yield_now().await;
        }
        panic!("{method} is not answered");
    }

    pub(super) async fn call(&self, method: &str) -> Value {
        self.try_call(method).await.expect(method)
    }

    /// What has happened to the room's sockets.
    pub(super) async fn log(&self) -> Vec<String> {
        serde_json::from_value(self.call("log").await).expect("lines")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.close();
    }
}

impl Client {
    pub(super) fn say(&mut self, text: &str) {
        self.ask(frame(text));
    }

    /// Says all of it before the object takes its turns.
    pub(super) fn say_at_once(&mut self, texts: &[&str]) {
        for text in texts {
            self.socket.ask(frame(text));
        }
        self.submit();
    }

    pub(super) fn ask(&mut self, frame: Frame) {
        self.socket.ask(frame);
        self.submit();
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.socket.close(Closed { code, reason: reason.to_owned() });
        self.submit();
    }

    pub(super) fn submit(&mut self) {
        self.socket.submit(&Context::from_waker(Waker::noop()));
    }

    /// What may be written now.
    pub(super) fn read(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        self.socket.drain(&Context::from_waker(Waker::noop()), usize::MAX, &mut out);
        let text = |outgoing| match outgoing {
            Outgoing::Frame(Frame::Text(text)) => String::from_utf8_lossy(&text).into_owned(),
            Outgoing::Frame(Frame::Binary(bytes)) => format!("binary {}", String::from_utf8_lossy(&bytes)),
            Outgoing::Close(close) => format!("close {} {}", close.code, close.reason),
            Outgoing::Resync => "resync".to_owned(),
        };
        out.into_iter().map(text).collect()
    }
}
