//! One non-blocking connection of a load loop: bytes that are not yet a whole answer, and bytes not yet written.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::poller::Poller;
use crate::Result;

/// Room for one read, shared by all connections of a thread.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// A connection and its place in the poller.
pub(crate) struct Connection {
    stream: TcpStream,
    index: usize,
    /// The beginning of an answer whose end has not arrived.
    rest: Vec<u8>,
    /// Requests to be written; the loop appends and calls [`Connection::flush`].
    pub(crate) out: Vec<u8>,
    watches_writes: bool,
}

impl Connection {
    /// Takes over a connected stream, and what was already read from it.
    pub(crate) fn register(stream: TcpStream, rest: Vec<u8>, index: usize, poller: &Poller) -> Result<Self> {
        stream.set_nonblocking(true)?;
        poller.add(&stream, index)?;
        Ok(Self { stream, index, rest, out: Vec::new(), watches_writes: false })
    }

    /// Reads once, and hands over everything that has not been understood yet; `take` says how much it took.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        take: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<usize>,
    ) -> Result<()> {
        let kept = self.rest.len();
        if kept >= buffer.len() {
            return Err(format!("an answer is longer than {} bytes", buffer.len()).into());
        }
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = &buffer[..kept + read];
        let taken = take(bytes, &mut self.out)?;
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Writes what it can; the poller reports the connection again when more can be written.
    pub(crate) fn flush(&mut self, poller: &Poller) -> Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.drain(..written);
        let blocked = !self.out.is_empty();
        if blocked != self.watches_writes {
            poller.watch_writes(&self.stream, self.index, blocked)?;
            self.watches_writes = blocked;
        }
        Ok(())
    }
}
