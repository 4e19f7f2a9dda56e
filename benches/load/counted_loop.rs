//! Plain increments from many connections of one path, counted by the object itself.
//!
//! # Why
//! A path with several sockets sends a `state` frame to all of them after each message, and those that others caused
//! may be merged. The frame that answers a socket's own message is never merged away, but nothing in it says that it is
//! that one. So no socket can tell how many of its own messages are done. What all of them can tell is the count in the
//! newest frame: a frame leaves once its commit is durable, so that count minus the count at the start is the number of
//! increments acknowledged so far. It is what this loop counts, and what it holds the number in flight by, for all
//! connections together. Latency needs ids: see [`super::traffic::IncrementsWithId`].

use std::time::{Duration, Instant};

use super::closed_loop::Plan;
use super::connection::{Connection, READ_BYTES};
use super::frame;
use super::poller::Poller;
use super::socket::Socket;
use super::traffic::{INCREMENT, count_of_state, refuse_error};
use crate::Result;

/// How long the last acknowledgements may take.
const DRAIN: Duration = Duration::from_secs(10);

/// What a run gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    /// Increments that were acknowledged in the time that counts, a second.
    pub(crate) rate: f64,
    /// The count that the object has to have now.
    pub(crate) count: u64,
}

/// Offers increments to one path, whose count is `base`, until the plan ends and all are acknowledged.
pub(crate) fn run(sockets: Vec<Socket>, base: u64, plan: &Plan) -> Result<Counted> {
    let poller = Poller::new()?;
    let mut connections = Vec::with_capacity(sockets.len());
    for (index, socket) in sockets.into_iter().enumerate() {
        connections.push(Connection::register(socket.stream, socket.rest, index, &poller)?);
    }
    let mut message = Vec::new();
    frame::masked(frame::TEXT, INCREMENT, &mut message);
    let window = plan.in_flight as u64 * connections.len() as u64;
    let counted = Loop { poller, connections, message, window, next: 0, sent: base, acknowledged: base };
    counted.run(plan)
}

struct Loop {
    poller: Poller,
    connections: Vec<Connection>,
    /// One increment, as a frame.
    message: Vec<u8>,
    /// Increments in flight, of all connections.
    window: u64,
    /// Whose turn it is to send.
    next: usize,
    /// The count of the object once everything sent is done.
    sent: u64,
    /// The newest count seen.
    acknowledged: u64,
}

impl Loop {
    fn run(mut self, plan: &Plan) -> Result<Counted> {
        let (from, until) = plan.window();
        let mut buffer = vec![0; READ_BYTES];
        let mut ready = Vec::new();
        let mut first = None;
        let mut last = (from, self.acknowledged);
        loop {
            let now = Instant::now();
            if now < until {
                self.send()?;
                last = (now, self.acknowledged);
                if now >= from {
                    first.get_or_insert(last);
                }
            } else if self.acknowledged >= self.sent {
                break;
            } else if now > until + DRAIN {
                return Err(format!("{} increments are unanswered", self.sent - self.acknowledged).into());
            }
            self.poller.wait(Duration::from_millis(100), &mut ready)?;
            for &index in &ready {
                self.receive(index, &mut buffer)?;
            }
        }
        let first = first.ok_or("the run was too short to measure")?;
        let seconds = (last.0 - first.0).as_secs_f64();
        Ok(Counted { rate: (last.1 - first.1) as f64 / seconds.max(1e-9), count: self.acknowledged })
    }

    /// Sends as many increments as were acknowledged, one on each connection in turn.
    fn send(&mut self) -> Result<()> {
        let free = self.window - (self.sent - self.acknowledged);
        let count = self.connections.len();
        let first = self.next;
        for _ in 0..free {
            self.connections[self.next].out.extend_from_slice(&self.message);
            self.next = (self.next + 1) % count;
        }
        self.sent += free;
        let touched = usize::try_from(free)?.min(count);
        for step in 0..touched {
            self.connections[(first + step) % count].flush(&self.poller)?;
        }
        Ok(())
    }

    /// Takes the frames that a connection has; the newest count is in the last.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Result<()> {
        let connection = &mut self.connections[index];
        let mut newest = self.acknowledged;
        connection.receive(buffer, |bytes, out| {
            let mut at = 0;
            let mut last = None;
            loop {
                let (passed, text) = frame::next_text(&bytes[at..], out)?;
                at += passed;
                let Some(text) = text else { break };
                refuse_error(text.payload)?;
                at += text.length;
                last = Some(text.payload);
            }
            newest = last.and_then(count_of_state).unwrap_or(0).max(newest);
            Ok(at)
        })?;
        self.acknowledged = newest;
        if newest > self.sent {
            return Err(format!("the object counts {newest}, but only {} were sent", self.sent).into());
        }
        connection.flush(&self.poller)
    }
}
