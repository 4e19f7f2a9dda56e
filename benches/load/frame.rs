//! WebSocket frames: as little of RFC 6455 as a load generator needs, so that the client is not what is measured.

use crate::Result;

pub(crate) const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// Lengths that say that the length stands behind them, in 2 or in 8 bytes.
const MEDIUM: u8 = 0x7e;
const LONG: u8 = 0x7f;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Any key will do: masks protect proxies from scripts, and this is neither. It is not zero, so that the server has to
/// unmask.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One whole frame from a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes of the frame with its header.
    pub(crate) length: usize,
}

/// The first frame of `bytes`, or nothing while it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & FINAL == 0 || second & MASKED != 0 {
        return Err("a fragmented or masked frame from the server".into());
    }
    let (extended, short) = match second {
        &MEDIUM => (2, 0),
        &LONG => (8, 0),
        short => (0, usize::from(*short)),
    };
    if rest.len() < extended {
        return Ok(None);
    }
    let (length, rest) = rest.split_at(extended);
    let length = length.iter().fold(short, |sum, byte| sum << 8 | usize::from(*byte));
    Ok(rest.get(..length).map(|payload| Frame { opcode: first & 0x0f, payload, length: 2 + extended + length }))
}

/// The first text frame of `bytes` that is not about the connection itself: pings are answered into `out`, a close is
/// an error. Gives what was passed over, and the frame.
pub(crate) fn next_text<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> Result<(usize, Option<Frame<'a>>)> {
    let mut passed = 0;
    while let Some(frame) = parse(&bytes[passed..])? {
        match frame.opcode {
            TEXT => return Ok((passed, Some(frame))),
            PING => masked(PONG, frame.payload, out),
            CLOSE => return Err(closed(frame.payload).into()),
            _ => {}
        }
        passed += frame.length;
    }
    Ok((passed, None))
}

fn closed(payload: &[u8]) -> String {
    let (code, reason) = payload.split_at(payload.len().min(2));
    let code = code.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    format!("the server closed a socket: {code} {}", String::from_utf8_lossy(reason))
}

/// Appends a frame as clients send it.
pub(crate) fn masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), MASKED, out);
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends a frame as servers send it.
pub(crate) fn unmasked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

fn header(opcode: u8, length: usize, mask: u8, out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..MEDIUM), _) => out.push(mask | short),
        (_, Ok(medium)) => {
            out.push(mask | MEDIUM);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask | LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}
