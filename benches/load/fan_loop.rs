//! Fan-out: messages go in by `POST PATH/_message` on one connection and come out on every socket of the path.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::{Connection, READ_BYTES};
use super::histogram::Histogram;
use super::poller::Poller;
use super::socket::Socket;
use super::{frame, http};
use crate::Result;

/// One delivery to all sockets may not take longer.
const PATIENCE: Duration = Duration::from_secs(30);
const MESSAGE: &[u8] = br#"{"type":"message""#;

/// What a run gave.
#[derive(Debug, Clone)]
pub(crate) struct Fanned {
    /// Frames that arrived, all sockets together, a second.
    pub(crate) rate: f64,
    /// Time from the request until the last socket had the frame.
    pub(crate) last: Histogram,
}

/// Sends messages for `time` to a path that `sockets` are open on, with at most `in_flight` that some socket still lacks.
pub(crate) fn run(
    address: SocketAddr,
    path: &str,
    sockets: Vec<Socket>,
    in_flight: usize,
    time: Duration,
) -> Result<Fanned> {
    let poller = Poller::new()?;
    let mut connections = Vec::with_capacity(sockets.len() + 1);
    for (index, socket) in sockets.into_iter().enumerate() {
        connections.push(Connection::register(socket.stream, socket.rest, index, &poller)?);
    }
    let control = Socket::connect(address)?;
    connections.push(Connection::register(control.stream, control.rest, connections.len(), &poller)?);
    let fan = Fan {
        poller,
        received: vec![0; connections.len() - 1],
        connections,
        target: format!("POST {path}/_message HTTP/1.1\r\nhost: {address}\r\n"),
        messages: Vec::new(),
        complete: 0,
        answered: 0,
        last: Histogram::new(),
    };
    fan.run(in_flight, time)
}

/// A message under way.
struct Message {
    sent: Instant,
    /// Sockets that lack it.
    missing: usize,
}

struct Fan {
    poller: Poller,
    /// The sockets, and behind them the connection that requests go in by.
    connections: Vec<Connection>,
    /// Frames that each socket has.
    received: Vec<usize>,
    target: String,
    messages: Vec<Message>,
    /// Messages that every socket has.
    complete: usize,
    /// Requests that were answered.
    answered: usize,
    last: Histogram,
}

impl Fan {
    fn run(mut self, in_flight: usize, time: Duration) -> Result<Fanned> {
        let began = Instant::now();
        let mut buffer = vec![0; READ_BYTES];
        let mut ready = Vec::new();
        loop {
            let now = Instant::now();
            if now < began + time {
                self.send(in_flight, now)?;
            } else if self.complete == self.messages.len() && self.answered == self.messages.len() {
                break;
            } else if now > began + time + PATIENCE {
                return Err("some sockets never got a message".into());
            }
            self.poller.wait(Duration::from_millis(100), &mut ready)?;
            for &index in &ready {
                if index < self.received.len() {
                    self.receive(index, &mut buffer)?;
                } else {
                    self.acknowledge(&mut buffer)?;
                }
            }
        }
        let frames = self.complete * self.received.len();
        Ok(Fanned { rate: frames as f64 / began.elapsed().as_secs_f64(), last: self.last })
    }

    /// Sends messages until as many as allowed are under way.
    fn send(&mut self, in_flight: usize, now: Instant) -> Result<()> {
        let control = self.received.len();
        while self.messages.len() < self.complete.min(self.answered) + in_flight {
            let number = self.messages.len();
            let body = format!(r#"{{"type":"message","payload":{{"message":"{number:010}","sender":"bench"}}}}"#);
            let length = body.len();
            let rest = format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
            let out = &mut self.connections[control].out;
            out.extend_from_slice(self.target.as_bytes());
            out.extend_from_slice(rest.as_bytes());
            self.messages.push(Message { sent: now, missing: self.received.len() });
        }
        self.connections[control].flush(&self.poller)
    }

    /// Takes the frames of one socket; its n-th is the n-th message, for messages of one sender keep their order.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Result<()> {
        let (messages, received) = (&mut self.messages, &mut self.received[index]);
        let (complete, last) = (&mut self.complete, &mut self.last);
        self.connections[index].receive(buffer, |bytes, out| {
            let now = Instant::now();
            let mut at = 0;
            loop {
                let (passed, text) = frame::next_text(&bytes[at..], out)?;
                at += passed;
                let Some(text) = text else { return Ok(at) };
                at += text.length;
                if !text.payload.starts_with(MESSAGE) {
                    continue;
                }
                let message = messages.get_mut(*received).ok_or("a message that nobody sent")?;
                *received += 1;
                message.missing -= 1;
                if message.missing == 0 {
                    *complete += 1;
                    last.record(now - message.sent);
                }
            }
        })?;
        self.connections[index].flush(&self.poller)
    }

    /// Takes the answers to the requests.
    fn acknowledge(&mut self, buffer: &mut [u8]) -> Result<()> {
        let control = self.received.len();
        let answered = &mut self.answered;
        self.connections[control].receive(buffer, |bytes, _| {
            let mut at = 0;
            while let Some((status, size)) = http::response(&bytes[at..])? {
                at += size.head + size.body;
                *answered += 1;
                if status != 200 {
                    return Err(String::from_utf8_lossy(&bytes[..at]).into());
                }
            }
            Ok(at)
        })?;
        self.connections[control].flush(&self.poller)
    }
}
