//! A raw limit: plain writes of one finished frame to every socket, by one thread that does nothing else. Messages that
//! wait already go out together, with one write for each socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::process::end_with_input;
use super::{frame, http};
use crate::Result;

const STATE: &[u8] = br#"{"type":"state","payload":{"data":{"count":0},"agents":[]}}"#;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"success\":true}";

/// Serves until it is killed, or the benchmark is gone: sockets, until a connection asks for something else; then that connection's messages, until
/// it closes; and from the beginning, without the sockets.
pub(crate) fn serve() -> Result<()> {
    end_with_input();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut sockets = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        let mut bytes = Vec::new();
        match first_request(&mut stream, &mut bytes)? {
            Some(key) => {
                upgrade(&mut stream, &key)?;
                sockets.push(stream);
            }
            None => fan(&mut stream, bytes, &mut std::mem::take(&mut sockets))?,
        }
    }
    Ok(())
}

/// Reads one head, and gives the key if it asks for an upgrade.
fn first_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Option<String>> {
    while http::size(bytes)?.is_none() {
        if !read(stream, bytes)? {
            return Err("a connection closed before its request".into());
        }
    }
    let text = String::from_utf8_lossy(bytes);
    let headers = text.lines().filter_map(|line| line.split_once(':'));
    let mut keys = headers.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    Ok(keys.next().map(|(_, key)| key.trim().to_owned()))
}

fn upgrade(stream: &mut TcpStream, key: &str) -> Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    frame::unmasked(frame::TEXT, STATE, &mut answer);
    Ok(stream.write_all(&answer)?)
}

/// Writes the body of every request to all sockets, and answers it.
fn fan(control: &mut TcpStream, mut bytes: Vec<u8>, sockets: &mut [TcpStream]) -> Result<()> {
    let (mut frames, mut answers) = (Vec::new(), Vec::new());
    loop {
        let mut at = 0;
        while let Some(size) = http::size(&bytes[at..])? {
            let Some(body) = bytes[at + size.head..].get(..size.body) else {
                break;
            };
            frame::unmasked(frame::TEXT, body, &mut frames);
            answers.extend_from_slice(OK);
            at += size.head + size.body;
        }
        bytes.drain(..at);
        for socket in &mut *sockets {
            socket.write_all(&frames)?;
        }
        control.write_all(&answers)?;
        frames.clear();
        answers.clear();
        if !read(control, &mut bytes)? {
            return Ok(());
        }
    }
}

/// Reads once; false when the other end is gone.
fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<bool> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk) {
        Ok(count) => {
            bytes.extend_from_slice(&chunk[..count]);
            Ok(count > 0)
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error.into()),
    }
}
