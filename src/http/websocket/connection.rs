//! One open WebSocket: reads what has arrived, lets the object handle it, writes what is due.
//!
//! The loop takes one frame, then whatever else is there without waiting, hands all of it over at once, and writes all
//! answers with one flush. A peer that does not take its answers is not read any further; one that takes nothing for a
//! while is given up.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::transport::Transport;
use crate::http::Options;
use crate::limits::{SOCKET_CLOSE_WAIT, SOCKET_FLUSH_BYTES, SOCKET_READ_BYTES, SOCKET_UNANSWERED, SOCKET_WRITE_STALL};
use crate::object::{Drained, Outgoing, Socket};
use crate::protocol::{Closed, Frame};

/// Rounds of reading and writing before other tasks get a turn.
const ROUNDS: usize = 16;
/// The transport's own buffer holds pings, pongs and closes only.
const CONTROL_BYTES: usize = 256;

pub(super) struct Connection {
    stream: WebSocketStream<Transport>,
    socket: Socket,
    options: Options,
    phase: Phase,
    /// When the peer last sent anything.
    heard: Instant,
    /// When it was last asked whether it is there, if it has said nothing since.
    pinged: Option<Instant>,
    /// Since when it takes nothing.
    stalled: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The server stops: nothing more is read, what is owed is still written.
    Stopping,
    /// A close frame is on its way; the peer's own is awaited.
    Closing {
        since: Instant,
    },
    /// The peer broke the protocol: what it still sends is not looked at.
    Discarding {
        since: Instant,
    },
}

/// The close code of a peer that gives none.
const NO_CODE: u16 = 1005;

/// The connection is over.
struct Gone;

impl Connection {
    pub(super) async fn new(stream: TcpStream, read: Vec<u8>, socket: Socket, options: Options) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(SOCKET_READ_BYTES)
            .write_buffer_size(CONTROL_BYTES)
            .max_message_size(Some(options.message_bytes))
            .max_frame_size(Some(options.message_bytes));
        let transport = Transport::new(stream);
        let stream = WebSocketStream::from_partially_read(transport, read, Role::Server, Some(config)).await;
        let now = Instant::now();
        Self { stream, socket, options, phase: Phase::Open, heard: now, pinged: None, stalled: None }
    }

    /// Serves the socket until it is over.
    pub(super) async fn run(&mut self, stopping: &CancellationToken) {
        if self.socket.open().is_err() {
            self.close(CloseCode::Again, "too many sockets");
        }
        let mut stopping = pin!(stopping.cancelled());
        let mut timer = pin!(sleep_until(self.due()));
        poll_fn(|context| match self.poll(context, stopping.as_mut(), timer.as_mut()) {
            Ok(()) => Poll::Pending,
            Err(Gone) => Poll::Ready(()),
        })
        .await;
        // The peer may be gone already.
        let _ = self.stream.get_mut().shutdown().await;
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        stopping: Pin<&mut WaitForCancellationFuture<'_>>,
        timer: Pin<&mut Sleep>,
    ) -> Result<(), Gone> {
        if self.phase == Phase::Open && stopping.poll(context).is_ready() {
            self.phase = Phase::Stopping;
        }
        self.socket.submit(context);
        for round in 0.. {
            let wrote = self.write(context)?;
            let read = self.read(context)?;
            if !wrote && !read {
                break;
            }
            if round == ROUNDS {
                context.waker().wake_by_ref();
                break;
            }
        }
        self.watch(context, timer)
    }

    /// Writes what is due; answers whether there was anything.
    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, Gone> {
        let before = self.stalled.map(|_| self.stream.get_ref().unwritten());
        let mut wrote = false;
        let polled = loop {
            match self.poll_write(context) {
                Poll::Ready(Ok(true)) => wrote = true,
                other => break other,
            }
        };
        let takes_nothing = match polled {
            Poll::Ready(Err(Gone)) => return Err(Gone),
            Poll::Ready(Ok(_)) => false,
            Poll::Pending => !wrote && before == Some(self.stream.get_ref().unwritten()),
        };
        if takes_nothing {
            return Ok(false);
        }
        if before.is_some() {
            // What the system had no room for it takes only because the peer took something: it is there.
            self.heard = Instant::now();
            self.pinged = None;
        }
        self.stalled = polled.is_pending().then(Instant::now);
        Ok(wrote)
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Gone>> {
        // First what is half written: a pong of tungstenite's, or the rest of a frame of ours.
        ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(|error| self.broke(&error))?;
        match self.phase {
            Phase::Stopping if self.socket.is_settled() => {
                self.close(CloseCode::Away, "the server is shutting down");
                return Poll::Ready(Ok(true));
            }
            Phase::Open | Phase::Stopping => {}
            Phase::Closing { .. } | Phase::Discarding { .. } => return Poll::Ready(Ok(false)),
        }
        let mut out = Vec::new();
        let drained = self.socket.drain(context, SOCKET_FLUSH_BYTES, &mut out);
        if out.is_empty() {
            // What was taken may have been nothing to write, and the last that was waited for.
            return Poll::Ready(Ok(self.phase == Phase::Stopping && self.socket.is_settled()));
        }
        let written = self.stream.get_mut().poll_frames(context, &out);
        let resync = out.contains(&Outgoing::Resync);
        let close = out.into_iter().find_map(|due| if let Outgoing::Close(close) = due { Some(close) } else { None });
        let closes = close.is_some();
        if let Some(close) = close {
            self.close(CloseCode::from(close.code), close.reason);
        } else if resync && self.socket.open().is_err() {
            self.close(CloseCode::Again, "too many sockets");
        }
        ready!(written).map_err(|error| self.broke(&error))?;
        // While stopping, what was just written may have been the last: then the close frame is due.
        let stopping = self.phase == Phase::Stopping;
        Poll::Ready(Ok(drained == Drained::More || closes || resync || stopping))
    }

    /// Reads what is there and hands it over; answers whether there was anything.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Gone> {
        if let Phase::Discarding { .. } = self.phase {
            return match self.stream.get_mut().poll_discard(context) {
                Poll::Ready(_) => Err(Gone),
                Poll::Pending => Ok(false),
            };
        }
        let (room, mut count) = (self.room(), 0);
        // A peer that breaks the protocol is not read any further.
        while count < room && !matches!(self.phase, Phase::Discarding { .. }) {
            match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(None) => return Err(self.broke(&"the connection ended")),
                Poll::Ready(Some(Ok(message))) => self.take(message),
                Poll::Ready(Some(Err(error))) => self.fail(&error)?,
            }
            count += 1;
        }
        if count > 0 {
            self.heard = Instant::now();
            self.pinged = None;
            self.socket.submit(context);
        }
        Ok(count > 0)
    }

    /// How many messages may be read before it is asked again.
    fn room(&self) -> usize {
        match self.phase {
            Phase::Open => self.socket.room(),
            Phase::Closing { .. } => SOCKET_UNANSWERED,
            Phase::Stopping | Phase::Discarding { .. } => 0,
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Text(text) if self.phase == Phase::Open => self.socket.ask(Frame::Text(text.into())),
            Message::Binary(bytes) if self.phase == Phase::Open => self.socket.ask(Frame::Binary(bytes)),
            // Tungstenite has its own close frame ready, and ends the stream when that is written.
            Message::Close(frame) => {
                self.socket.close(match frame {
                    Some(frame) => Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() },
                    None => Closed { code: NO_CODE, reason: String::new() },
                });
                self.phase = Phase::Closing { since: Instant::now() };
            }
            _ => {}
        }
    }

    fn fail(&mut self, error: &WsError) -> Result<(), Gone> {
        let (code, reason) = match error {
            WsError::Capacity(CapacityError::MessageTooLong { .. }) => (
                CloseCode::Size,
                Cow::Owned(format!("message too large; the limit is {} bytes", self.options.message_bytes)),
            ),
            WsError::Utf8(_) => (CloseCode::Invalid, Cow::Borrowed("a text message must be UTF-8")),
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Err(self.broke(error)),
            WsError::Protocol(error) => {
                // Bounded by 123 bytes.
                let text: String = format!("protocol error: {error}").chars().take(100).collect();
                (CloseCode::Protocol, Cow::Owned(text))
            }
            _ => return Err(self.broke(error)),
        };
        if let Phase::Closing { .. } = self.phase {
            return Err(Gone);
        }
        self.socket.fail(reason.to_string());
        self.close(code, reason);
        self.phase = Phase::Discarding { since: Instant::now() };
        Ok(())
    }

    /// The connection ends without a closing handshake.
    fn broke(&mut self, error: &impl Display) -> Gone {
        if matches!(self.phase, Phase::Open | Phase::Stopping) {
            self.socket.fail(error.to_string());
        }
        Gone
    }

    fn close(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        let frame = CloseFrame { code, reason: reason.into().into_owned().into() };
        self.control(Message::Close(Some(frame)));
        self.phase = Phase::Closing { since: Instant::now() };
    }

    /// Queues a control frame; it goes out with the next flush.
    fn control(&mut self, message: Message) {
        // If it cannot be queued the stream is at its end, which the next poll of it says.
        let _ = Pin::new(&mut self.stream).start_send(message);
    }

    /// When to look whether the peer is still there.
    fn due(&self) -> Instant {
        match (self.phase, self.pinged) {
            (Phase::Closing { since } | Phase::Discarding { since }, _) => since + SOCKET_CLOSE_WAIT,
            (_, pinged) => {
                let silent = match pinged {
                    Some(pinged) => pinged + self.options.ping_timeout,
                    None => self.heard + self.options.ping_interval,
                };
                self.stalled.map_or(silent, |since| silent.min(since + SOCKET_WRITE_STALL))
            }
        }
    }

    /// Pings a silent peer, and gives it up when it stays silent.
    fn watch(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Result<(), Gone> {
        loop {
            // A timer that is early is let fire: to move it with every message would cost more.
            if timer.deadline() > self.due() {
                timer.as_mut().reset(self.due());
            }
            if timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            let now = Instant::now();
            if now < self.due() {
                timer.as_mut().reset(self.due());
                continue;
            }
            let silent = matches!(self.phase, Phase::Open | Phase::Stopping) && self.pinged.is_none();
            if self.stalled.is_some_and(|since| now >= since + SOCKET_WRITE_STALL) {
                return Err(self.broke(&format_args!("the peer took nothing for {SOCKET_WRITE_STALL:?}")));
            }
            if !silent {
                let silence = self.options.ping_timeout;
                return Err(self.broke(&format_args!("the peer was silent for {silence:?} after a ping")));
            }
            self.control(Message::Ping(Bytes::new()));
            self.pinged = Some(now);
            self.write(context)?;
        }
    }
}
