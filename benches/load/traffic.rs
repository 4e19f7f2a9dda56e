//! The kinds of requests, and how their answers are told from other frames.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::closed_loop::{Taken, Traffic};
use super::{frame, http};
use crate::Result;

/// The seed's message, without an id.
pub(crate) const INCREMENT: &[u8] = br#"{"type":"increment"}"#;
const STATE: &[u8] = br#"{"type":"state""#;
const RESULT: &[u8] = br#"{"type":"result""#;
const ERROR: &[u8] = br#"{"type":"error""#;

/// Plain increments. Each is answered by a `state` frame; only right on a path that nobody else changes, because such a
/// frame does not say whose message caused it.
pub(crate) struct Increments {
    message: Vec<u8>,
}

impl Increments {
    pub(crate) fn new() -> Self {
        let mut message = Vec::new();
        frame::masked(frame::TEXT, INCREMENT, &mut message);
        Self { message }
    }
}

impl Traffic for Increments {
    fn request(&self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.message);
        true
    }

    fn take(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Taken> {
        take_text(bytes, out, STATE)
    }
}

/// Increments with an id: exactly one `result` each, whatever else happens to the path.
pub(crate) struct IncrementsWithId(AtomicU64);

impl IncrementsWithId {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Traffic for IncrementsWithId {
    fn request(&self, out: &mut Vec<u8>) -> bool {
        let id = self.0.fetch_add(1, Ordering::Relaxed);
        frame::masked(frame::TEXT, format!(r#"{{"type":"increment","id":{id}}}"#).as_bytes(), out);
        true
    }

    fn take(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Taken> {
        take_text(bytes, out, RESULT)
    }
}

fn take_text(bytes: &[u8], out: &mut Vec<u8>, answer: &[u8]) -> Result<Taken> {
    let (passed, text) = frame::next_text(bytes, out)?;
    let Some(text) = text else {
        return Ok(Taken { length: passed, answer: false, more: false });
    };
    refuse_error(text.payload)?;
    Ok(Taken { length: passed + text.length, answer: text.payload.starts_with(answer), more: true })
}

/// An error frame ends the benchmark.
pub(crate) fn refuse_error(payload: &[u8]) -> Result<()> {
    if payload.starts_with(ERROR) {
        return Err(String::from_utf8_lossy(payload).into());
    }
    Ok(())
}

/// The count in a `state` frame, read without parsing the rest.
pub(crate) fn count_of_state(payload: &[u8]) -> Option<u64> {
    const MARK: &[u8] = br#""count":"#;
    if !payload.starts_with(STATE) {
        return None;
    }
    let at = payload.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = payload[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `POST`s over kept connections, several in a row (pipelined); the paths are made from numbers and none comes twice.
pub(crate) struct Posts<F> {
    host: SocketAddr,
    next: AtomicU64,
    end: u64,
    /// Makes target and body of a request from its number.
    make: F,
}

impl<F: Fn(u64) -> (String, String) + Sync> Posts<F> {
    /// The requests with the numbers from 0 up to `end`.
    pub(crate) fn new(host: SocketAddr, end: u64, make: F) -> Self {
        let next = AtomicU64::new(0);
        Self { host, next, end, make }
    }
}

impl<F: Fn(u64) -> (String, String) + Sync> Traffic for Posts<F> {
    fn request(&self, out: &mut Vec<u8>) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.end {
            return false;
        }
        let (target, body) = (self.make)(number);
        let (host, length) = (self.host, body.len());
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        true
    }

    fn take(&self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<Taken> {
        let Some((status, size)) = http::response(bytes)? else {
            return Ok(Taken { length: 0, answer: false, more: false });
        };
        let length = size.head + size.body;
        if status != 200 {
            return Err(format!("a POST was answered with {}", String::from_utf8_lossy(&bytes[..length])).into());
        }
        Ok(Taken { length, answer: true, more: true })
    }
}
