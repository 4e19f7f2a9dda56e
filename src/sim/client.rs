//! One client with a socket: it says what it is told to, and reads when it is told to.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use crate::object::{Drained, Namespace, Outgoing, Socket};
use crate::path::ObjectPath;
use crate::protocol::{Frame, Version};

/// Bytes that are taken of a socket at once.
const READ_BYTES: usize = 64 << 10;

/// A client's end of a socket.
pub(super) struct Client {
    socket: Socket,
    pub(super) frames: Vec<String>,
    pub(super) closed: Option<u16>,
}

/// Nobody waits for a socket here: it is read when a step says so.
struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

impl Client {
    /// Opens a socket, if there is room.
    pub(super) fn open(namespace: &Namespace, path: &ObjectPath) -> Option<Self> {
        let mut socket = namespace.socket(path, Version::V1).ok()?;
        socket.open().ok()?;
        Some(Self { socket, frames: Vec::new(), closed: None })
    }

    /// Sends a text frame, unless the socket is closed or what it sent before was not taken yet.
    pub(super) fn send(&mut self, text: &str) {
        if self.closed.is_none() && self.socket.may_read() {
            let waker = Waker::from(Arc::new(Nobody));
            self.socket.ask(Frame::Text(text.to_owned().into()));
            self.socket.submit(&Context::from_waker(&waker));
        }
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) {
        let waker = Waker::from(Arc::new(Nobody));
        let context = Context::from_waker(&waker);
        self.socket.submit(&context);
        while self.closed.is_none() {
            let mut due = Vec::new();
            let drained = self.socket.drain(&context, READ_BYTES, &mut due);
            for outgoing in due {
                match outgoing {
                    Outgoing::Frame(Frame::Text(text) | Frame::Binary(text)) => {
                        self.frames.push(String::from_utf8_lossy(&text).into_owned());
                    }
                    Outgoing::Close(close) => self.closed = Some(close.code),
                    // As the edge does.
                    Outgoing::Resync => {
                        if self.socket.open().is_err() {
                            self.closed = Some(1013);
                        }
                    }
                }
            }
            if drained == Drained::All {
                return;
            }
        }
    }
}
