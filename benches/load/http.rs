//! A small HTTP/1.1 client: one request after the other on a kept connection, and the parser that the load loops share.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// No request of the benchmark may take longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes of a whole message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) head: usize,
    pub(crate) body: usize,
}

/// The size of the message at the beginning of `bytes`, or nothing while its head is incomplete.
pub(crate) fn size(bytes: &[u8]) -> Result<Option<Size>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = std::str::from_utf8(&bytes[..end])?.split("\r\n");
    let body = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    let body = body.map_or(Ok(0), str::parse)?;
    Ok(Some(Size { head: end + 4, body }))
}

/// The status of the whole response at the beginning of `bytes`, and its size; nothing while it is incomplete.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<(u16, Size)>> {
    let Some(size) = size(bytes)?.filter(|size| bytes.len() >= size.head + size.body) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..size.head]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("not a response: {head}"))?;
    Ok(Some((status, size)))
}

/// A kept connection.
pub(crate) struct Http {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, address, buffer: Vec::new() })
    }

    /// Sends a request and gives status and body.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let host = self.address;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes())?;
        let (status, size) = loop {
            match response(&self.buffer)? {
                Some(found) => break found,
                None => self.read()?,
            }
        };
        let answer: Vec<u8> = self.buffer.drain(..size.head + size.body).skip(size.head).collect();
        Ok((status, String::from_utf8(answer)?))
    }

    /// Sends a request that has to be answered with 200, and gives the body.
    pub(crate) fn expect_ok(&mut self, method: &str, path: &str, body: &str) -> Result<String> {
        match self.request(method, path, body)? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(format!("{method} {path}: {status} {answer}").into()),
        }
    }

    /// The count of an object's state.
    pub(crate) fn count(&mut self, path: &str) -> Result<u64> {
        let body = self.expect_ok("GET", path, "")?;
        let state: serde_json::Value = serde_json::from_str(&body)?;
        let count = state.pointer("/data/count").and_then(serde_json::Value::as_u64);
        Ok(count.ok_or_else(|| format!("GET {path}: no count in {body}"))?)
    }

    fn read(&mut self) -> Result<()> {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk)? {
            0 => Err("the server closed the connection".into()),
            read => {
                self.buffer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}
