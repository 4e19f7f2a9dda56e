//! Writing frames straight to the socket.
//!
//! A frame from a server is not masked, so its bytes are the same for everyone it goes to: a short header, then the payload
//! as it is. Small frames of one burst go out in one write; a large payload is written from where it lies, however many
//! sockets it goes to. Nothing is kept between bursts, so an idle socket holds no write buffer.
//!
//! Reading, pongs and the closing handshake are tungstenite's. It shares the stream, and is held off while one of our frames
//! is only half written. What it reads was read ahead for it: it asks for no more than its small buffer has room for at the
//! moment, which can be less than a frame, and a burst of sixteen would take a dozen system calls.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::SOCKET_AHEAD_BYTES;
use crate::object::Outgoing;
use crate::protocol::Frame;

/// A payload up to this size is copied beside its neighbours; a larger one is written from where it lies.
const COPIED_BYTES: usize = 4 << 10;
/// Most pieces in one vectored write.
const PIECES: usize = 16;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const FINAL: u8 = 0x80;

thread_local! {
    static BURST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static AHEAD: RefCell<[u8; SOCKET_AHEAD_BYTES]> = const { RefCell::new([0; SOCKET_AHEAD_BYTES]) };
}

/// A socket, what of our frames it has not taken yet, and what was read of it and not asked for yet.
pub(super) struct Transport {
    stream: TcpStream,
    rest: VecDeque<Bytes>,
    ahead: Bytes,
}

impl Transport {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, rest: VecDeque::new(), ahead: Bytes::new() }
    }

    /// Writes the frames that are due; what the socket does not take now is kept, and [`Transport::poll_rest`] goes on with it.
    pub(super) fn poll_frames(&mut self, context: &mut Context<'_>, due: &[Outgoing]) -> Poll<io::Result<()>> {
        BURST.with_borrow_mut(|burst| {
            burst.clear();
            for outgoing in due {
                let (kind, payload) = match outgoing {
                    Outgoing::Frame(Frame::Text(payload)) => (TEXT, payload),
                    Outgoing::Frame(Frame::Binary(payload)) => (BINARY, payload),
                    Outgoing::Close(_) | Outgoing::Resync => continue,
                };
                put_header(burst, kind, payload.len());
                if payload.len() <= COPIED_BYTES {
                    burst.extend_from_slice(payload);
                } else {
                    self.rest.push_back(Bytes::copy_from_slice(burst));
                    self.rest.push_back(payload.clone());
                    burst.clear();
                }
            }
            if self.rest.is_empty() {
                // The common case: everything fits into one write and nothing has to be kept.
                let written = match Pin::new(&mut self.stream).poll_write(context, burst)? {
                    Poll::Ready(written) => written,
                    Poll::Pending => 0,
                };
                burst.drain(..written);
            }
            if !burst.is_empty() {
                self.rest.push_back(Bytes::copy_from_slice(burst));
            }
            Ok::<_, io::Error>(())
        })?;
        self.poll_rest(context)
    }

    /// Writes what is left of earlier frames.
    pub(super) fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = self.rest.iter().zip(&mut pieces).map(|(bytes, piece)| *piece = IoSlice::new(bytes)).count();
            let mut written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &pieces[..count]))?;
            while let Some(front) = self.rest.front_mut() {
                let taken = written.min(front.len());
                front.advance(taken);
                written -= taken;
                if !front.is_empty() {
                    break;
                }
                self.rest.pop_front();
            }
        }
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes of our frames the socket has not taken yet.
    pub(super) fn unwritten(&self) -> usize {
        self.rest.iter().map(Bytes::len).sum()
    }

    /// Reads and throws away what the peer still sends; ready at its end.
    pub(super) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ahead.clear();
        AHEAD.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(FINAL | kind);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, ahead, .. } = &mut *self;
        if ahead.is_empty() {
            return AHEAD.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch);
                ready!(Pin::new(stream).poll_read(context, &mut read))?;
                let (taken, rest) = read.filled().split_at(read.filled().len().min(buffer.remaining()));
                buffer.put_slice(taken);
                if !rest.is_empty() {
                    *ahead = Bytes::copy_from_slice(rest);
                }
                Poll::Ready(Ok(()))
            });
        }
        let taken = ahead.split_to(ahead.len().min(buffer.remaining()));
        buffer.put_slice(&taken);
        if ahead.is_empty() {
            *ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_rest(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_rest(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

    use super::*;

    proptest! {
        #[test]
        fn headers_are_what_the_protocol_says(length in prop_oneof![0usize..300, 65_000usize..66_000, Just(1 << 33)]) {
            let mut header = Vec::new();
            put_header(&mut header, TEXT, length);
            let (parsed, payload) = FrameHeader::parse(&mut io::Cursor::new(&header)).unwrap().unwrap();
            prop_assert!(parsed.is_final && parsed.mask.is_none());
            prop_assert_eq!(payload, length as u64);
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_handed_on_whole_and_in_order() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut transport = Transport::new(listener.accept().await.unwrap().0);
        let sent: Vec<u8> = (0..3 * SOCKET_AHEAD_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect();
        peer.write_all(&sent).await.unwrap();
        drop(peer);
        let (mut found, mut buffer) = (Vec::new(), [0; 14]);
        loop {
            match transport.read(&mut buffer).await.unwrap() {
                0 => break,
                count => found.extend_from_slice(&buffer[..count]),
            }
            assert!(transport.ahead.len() <= SOCKET_AHEAD_BYTES);
        }
        assert!(found == sent, "{} of {} bytes", found.len(), sent.len());
    }
}
