//! One client with a socket: it says what it is told to, and reads when it is told to.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use crate::object::{Drained, Namespace, Outgoing, Socket};
use crate::path::ObjectPath;
use crate::protocol::{Closed, Frame, Version};

/// Bytes that are taken of a socket at once.
const READ_BYTES: usize = 64 << 10;

/// A client's end of a socket.
pub(super) struct Client {
    /// Until it is closed.
    socket: Option<Socket>,
    pub(super) frames: Vec<String>,
    pub(super) closed: Option<Closed>,
}

/// Nobody waits for a socket here: it is read when a step says so.
struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

impl Client {
    /// Opens a socket, if there is room.
    pub(super) fn open(namespace: &Namespace, path: &ObjectPath, request: http::Request<()>) -> Option<Self> {
        let offered =
            request.headers().get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
        let version = Version::offered(offered).unwrap_or_default();
        let mut socket = namespace.socket(path, version).ok()?.upgraded(request);
        socket.open().ok()?;
        Some(Self { socket: Some(socket), frames: Vec::new(), closed: None })
    }

    /// Sends a text frame, unless the socket is closed or what it sent before was not taken yet.
    pub(super) fn send(&mut self, text: &str) {
        if let Some(socket) = self.socket.as_mut().filter(|socket| socket.room() > 0) {
            socket.ask(Frame::Text(text.to_owned().into()));
            submit(socket);
        }
    }

    /// Closes the socket.
    pub(super) fn close(&mut self, code: u16) {
        self.end(Closed { code, reason: String::new() });
    }

    /// The end, which the object is told behind what was sent before.
    fn end(&mut self, closed: Closed) {
        if let Some(mut socket) = self.socket.take() {
            socket.close(closed.clone());
            submit(&mut socket);
            self.closed = Some(closed);
        }
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) {
        self.socket.iter_mut().for_each(submit);
        let waker = Waker::from(Arc::new(Nobody));
        let context = Context::from_waker(&waker);
        while let Some(socket) = &mut self.socket {
            let (mut due, mut end) = (Vec::new(), None);
            let drained = socket.drain(&context, READ_BYTES, &mut due);
            for outgoing in due {
                match outgoing {
                    Outgoing::Frame(Frame::Text(text) | Frame::Binary(text)) => {
                        self.frames.push(String::from_utf8_lossy(&text).into_owned());
                    }
                    Outgoing::Close(close) => {
                        end = Some(Closed { code: close.code, reason: close.reason.into_owned() });
                    }
                    // As the edge does.
                    Outgoing::Resync => {
                        if let Err(error) = socket.open() {
                            end = Some(Closed { code: 1013, reason: error.to_string() });
                        }
                    }
                }
            }
            match end {
                Some(closed) => self.end(closed),
                None if drained == Drained::All => return,
                None => {}
            }
        }
    }
}

fn submit(socket: &mut Socket) {
    let waker = Waker::from(Arc::new(Nobody));
    socket.submit(&Context::from_waker(&waker));
}
