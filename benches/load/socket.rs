//! Opening WebSockets: connect, upgrade, and wait for the first frame, which every object sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::{frame, http};
use crate::Result;

/// Opening one socket and getting its first frame may not take longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Threads that open many sockets: each waits for the server most of the time.
const OPENERS: usize = 8;

/// An open WebSocket, in blocking mode.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    /// What was read and not yet taken.
    pub(crate) rest: Vec<u8>,
}

impl Socket {
    /// A connection that is not upgraded, for load over HTTP.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let rest = Vec::new();
        Ok(Self { stream, rest })
    }

    /// Opens a socket of a class that says nothing first.
    pub(crate) fn upgraded(address: SocketAddr, path: &str) -> Result<Self> {
        let mut socket = Self::connect(address)?;
        socket.upgrade(address, path).map_err(|error| format!("{path}: {error}"))?;
        Ok(socket)
    }

    /// Sends one text frame.
    pub(crate) fn send_text(&mut self, text: &str) -> Result<()> {
        let mut frame = Vec::with_capacity(text.len() + 14);
        frame::masked(frame::TEXT, text.as_bytes(), &mut frame);
        Ok(self.stream.write_all(&frame)?)
    }

    /// Opens a socket and takes its first frame.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let mut socket = Self::upgraded(address, path)?;
        socket.next_text(|_| ()).map_err(|error| format!("{path}: no first frame: {error}"))?;
        Ok(socket)
    }

    fn upgrade(&mut self, address: SocketAddr, path: &str) -> Result<()> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        let (status, size) = loop {
            match http::response(&self.rest)? {
                Some(found) => break found,
                None => self.read()?,
            }
        };
        self.rest.drain(..size.head + size.body);
        match status {
            101 => Ok(()),
            status => Err(format!("the upgrade was answered with {status}").into()),
        }
    }

    /// Waits for the next text frame.
    pub(crate) fn next_text<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let found = self.next_text_within(PATIENCE, look)?;
        found.ok_or_else(|| format!("no frame within {PATIENCE:?}").into())
    }

    /// Waits for the next text frame, but after `patience` without one gives up.
    pub(crate) fn next_text_within<T>(
        &mut self,
        patience: Duration,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        self.stream.set_read_timeout(Some(patience))?;
        loop {
            let mut pongs = Vec::new();
            let (passed, text) = frame::next_text(&self.rest, &mut pongs)?;
            self.stream.write_all(&pongs)?;
            if let Some(frame) = text {
                let answer = look(frame.payload);
                let taken = passed + frame.length;
                self.rest.drain(..taken);
                return Ok(Some(answer));
            }
            self.rest.drain(..passed);
            match self.read() {
                Err(error) if is_would_block(error.as_ref()) => return Ok(None),
                other => other?,
            }
        }
    }

    /// Reads what has arrived and throws text away, so that pings are answered; does not wait.
    pub(crate) fn pump(&mut self) -> Result<()> {
        self.stream.set_nonblocking(true)?;
        let read = self.read();
        self.stream.set_nonblocking(false)?;
        match read {
            Err(error) if is_would_block(error.as_ref()) => return Ok(()),
            other => other?,
        }
        let mut pongs = Vec::new();
        while let (passed, Some(frame)) = frame::next_text(&self.rest, &mut pongs)? {
            let taken = passed + frame.length;
            self.rest.drain(..taken);
        }
        // What is left are answered pings, or the beginning of a frame; a frame is never cut in an idle socket.
        self.rest.clear();
        self.stream.write_all(&pongs)?;
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let mut chunk = [0; 4 << 10];
        match self.stream.read(&mut chunk)? {
            0 => Err("the server closed the socket".into()),
            read => {
                self.rest.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

fn is_would_block(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Opens one socket on each path, several at a time, in the order of the paths.
pub(crate) fn open_all(address: SocketAddr, paths: &[String]) -> Result<Vec<Socket>> {
    let share = paths.len().div_ceil(OPENERS).max(1);
    let open =
        |paths: &[String]| -> Result<Vec<Socket>> { paths.iter().map(|path| Socket::open(address, path)).collect() };
    thread::scope(|scope| {
        let openers: Vec<_> = paths.chunks(share).map(|paths| scope.spawn(move || open(paths))).collect();
        let mut sockets = Vec::with_capacity(paths.len());
        for opener in openers {
            sockets.extend(opener.join().map_err(|_| "a thread that opens sockets panicked")??);
        }
        Ok(sockets)
    })
}
