//! The wire: what goes over a WebSocket or in a body, and nothing of what it does.
//!
//! Every WebSocket message is a JSON object in a text frame with a `type`, an optional `payload`, and an optional `id`
//! (a string or a number) by which its answer is recognised:
//!
//! ```json
//! {"type":"createAgent","id":7,"payload":{"name":"bob"}}
//! {"type":"result","id":7,"payload":{"name":"bob","path":"/team1/bob"}}
//! {"type":"error","id":7,"payload":{"error":"Agent already exists","code":"conflict"}}
//! ```
//!
//! Two subprotocols differ only in how they tell of a changed state: `fleet.v1` (the default) sends the whole `state`,
//! `fleet.v2` sends the first `state` whole and then what changed, as a [`Change`].

mod change;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use change::Change;

/// Longest `id` of a message, in bytes of JSON: it is held and echoed for every message.
const ID_BYTES: usize = 256;

/// Which of the two subprotocols a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// `fleet.v1`: every change of the state is a whole `state` frame.
    #[default]
    V1,
    /// `fleet.v2`: after the first `state`, only what changed.
    V2,
}

impl Version {
    /// The name of the subprotocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "fleet.v1",
            Self::V2 => "fleet.v2",
        }
    }

    /// The version that a subprotocol's name stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|version| version.name() == name)
    }

    /// The version that a client offers first, by the values of its `sec-websocket-protocol` headers; a token may be offered
    /// beside it, and is never selected.
    pub fn offered<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values.find_map(|value| value.split(',').find_map(|name| Self::from_name(name.trim())))
    }
}

/// One WebSocket message of either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// UTF-8 text.
    Text(Bytes),
    /// Anything else.
    Binary(Bytes),
}

impl Frame {
    /// Bytes of the payload.
    pub fn len(&self) -> usize {
        let (Self::Text(payload) | Self::Binary(payload)) = self;
        payload.len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1006 when the peer vanished without one, 1005 when it gave none.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: String,
}

/// The kinds of failure that a client can tell apart, with the word that stands for each on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation; `http::error` gives each its status")]
pub enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    PathTooLong,
    UnsupportedMediaType,
    RateLimited,
    Internal,
    Overloaded,
    CommitUnknown,
    Unavailable,
    StorageFull,
}

impl Code {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::PathTooLong => "path_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::CommitUnknown => "commit_unknown",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
        }
    }
}

/// What recognises the answer to a message: a string or a number, kept as it was written.
#[derive(Debug, Clone)]
pub struct Id(Box<str>);

/// A message from a client.
#[derive(Debug)]
pub struct Message<'a> {
    /// The method that is called.
    pub kind: Cow<'a, str>,
    /// Asks for exactly one `result` or `error`.
    pub id: Option<Id>,
    /// The arguments; `null` when absent.
    pub payload: &'a RawValue,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// Why a frame is not a message, and the `id` to answer with if it had a good one.
#[derive(Debug)]
pub struct BadMessage {
    /// What is wrong, for the sender.
    pub reason: &'static str,
    /// The frame's `id`.
    pub id: Option<Id>,
}

impl<'a> Message<'a> {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`BadMessage`] when it is not a JSON object with a `type` that is a string, or its `id` is neither a string nor a
    /// number or is longer than 256 bytes.
    pub fn parse(text: &'a [u8]) -> Result<Self, BadMessage> {
        if let Some((kind, id)) = plain(text) {
            return Ok(Self { kind: Cow::Borrowed(kind), id, payload: RawValue::NULL });
        }
        let bad = |reason, id| BadMessage { reason, id };
        // A struct also reads from a JSON array, which is not a message.
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(bad("Invalid message: not a JSON object", None));
        }
        let raw: RawMessage<'_> =
            serde_json::from_slice(text).map_err(|_| bad("Invalid message: not valid JSON", None))?;
        let id = match raw.id.map(|id| Id::new(id.get())) {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => {
                return Err(bad("Invalid message: id must be a string or a number of at most 256 bytes", None));
            }
        };
        match raw.kind.map(|kind| kind_of(kind.get())) {
            Some(Some(kind)) => Ok(Self { kind, id, payload: raw.payload.unwrap_or(RawValue::NULL) }),
            Some(None) => Err(bad("Invalid message: type must be a string", id)),
            None => Err(bad("Invalid message: type is missing", id)),
        }
    }
}

/// The type and the `id` of a message without a payload that is written in this order, without spaces and escapes: the most
/// frequent, and read without a parser for whatever JSON can be.
fn plain(text: &[u8]) -> Option<(&str, Option<Id>)> {
    let (kind, rest) = plain_text(text.strip_prefix(br#"{"type":"#)?)?;
    let kind = str::from_utf8(kind).ok()?.trim_matches('"');
    if rest == b"}" {
        return Some((kind, None));
    }
    let rest = rest.strip_prefix(br#","id":"#)?;
    let (id, rest) = plain_number(rest).or_else(|| plain_text(rest))?;
    let id = if rest == b"}" { Id::new(str::from_utf8(id).ok()?)? } else { return None };
    Some((kind, Some(id)))
}

/// A JSON text without escapes, with its quotes, and what comes after it.
fn plain_text(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = json.strip_prefix(b"\"")?;
    let length = inner.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
    (inner[length] == b'"').then(|| json.split_at(length + 2))
}

/// A JSON number of digits alone, and what comes after it.
fn plain_number(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = json.iter().position(|byte| !byte.is_ascii_digit())?;
    (length == 1 || (length > 1 && json[0] != b'0')).then(|| json.split_at(length))
}

fn kind_of(json: &str) -> Option<Cow<'_, str>> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

impl Id {
    fn new(json: &str) -> Option<Self> {
        let first = json.as_bytes().first()?;
        let legal = matches!(first, b'"' | b'-' | b'0'..=b'9') && json.len() <= ID_BYTES;
        legal.then(|| Self(json.into()))
    }
}

/// `{"type":"state","payload":…}`
pub fn state(state: &[u8]) -> Frame {
    frame([br#"{"type":"state","payload":"#, state, b"}"])
}

/// `{"type":"result","id":…,"payload":…}`
pub fn result(id: &Id, payload: &[u8]) -> Frame {
    frame([br#"{"type":"result","id":"#, id.0.as_bytes(), br#","payload":"#, payload, b"}"])
}

/// `{"type":"error","payload":{"error":TEXT}}`, and with an `id` also `id` and `code`.
pub fn error(id: Option<&Id>, code: Code, text: &str) -> Frame {
    #[derive(Serialize)]
    struct Payload<'a> {
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<Code>,
    }
    let payload = encode(&Payload { error: text, code: id.map(|_| code) });
    match id {
        None => frame([br#"{"type":"error","payload":"#, &payload, b"}"]),
        Some(id) => frame([br#"{"type":"error","id":"#, id.0.as_bytes(), br#","payload":"#, &payload, b"}"]),
    }
}

/// `{"type":"message","payload":{"message":…,"sender":NAME}}`
pub fn message(message: &RawValue, sender: &str) -> Frame {
    let sender = encode(&sender);
    let message = message.get().as_bytes();
    frame([br#"{"type":"message","payload":{"message":"#, message, br#","sender":"#, &sender, b"}}"])
}

/// The body of an HTTP error: `{"error":TEXT,"code":CODE}`.
pub fn error_body(code: Code, text: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        code: Code,
    }
    encode(&Body { error: text, code })
}

/// Encodes what cannot fail to encode: our own types without maps of odd keys.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        tracing::error!(%error, "a value cannot be encoded as JSON");
        b"null".to_vec()
    })
}

fn frame<const N: usize>(parts: [&[u8]; N]) -> Frame {
    Frame::Text(parts.concat().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(frame: &Frame) -> String {
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame;
        String::from_utf8(bytes.to_vec()).expect("frames are UTF-8")
    }

    #[test]
    fn a_message_is_read() {
        let message = Message::parse(br#" {"type":"increment","id":"x","payload":{"a":1}} "#).unwrap();
        assert_eq!(message.kind, "increment");
        assert_eq!(message.payload.get(), r#"{"a":1}"#);
        assert_eq!(text(&result(&message.id.unwrap(), b"{}")), r#"{"type":"result","id":"x","payload":{}}"#);

        let message = Message::parse(br#"{"type":"\u0061b"}"#).unwrap();
        assert_eq!((&*message.kind, message.payload.get()), ("ab", "null"));
        assert!(message.id.is_none());
    }

    #[test]
    fn fp5_what_is_not_a_message_is_named() {
        let reason = |text: &str| Message::parse(text.as_bytes()).expect_err(text).reason;
        assert_eq!(reason(""), "Invalid message: not a JSON object");
        assert_eq!(reason("[]"), "Invalid message: not a JSON object");
        assert_eq!(reason("{"), "Invalid message: not valid JSON");
        assert_eq!(reason("{}"), "Invalid message: type is missing");
        assert_eq!(reason(r#"{"type":5}"#), "Invalid message: type must be a string");
        let long = format!(r#"{{"type":"a","id":"{}"}}"#, "x".repeat(ID_BYTES));
        for id in [r#"{"type":"a","id":true}"#, r#"{"type":"a","id":{}}"#, &long] {
            assert!(reason(id).contains("id must be"), "{id}");
        }
        assert!(Message::parse(br#"{"id":7}"#).unwrap_err().id.is_some(), "fx1: the id is answered");
    }

    #[test]
    fn fx1_errors_carry_a_code_only_with_an_id() {
        let id = Id::new("7");
        assert_eq!(
            text(&error(id.as_ref(), Code::NotFound, "Agent not found")),
            r#"{"type":"error","id":7,"payload":{"error":"Agent not found","code":"not_found"}}"#
        );
        assert_eq!(text(&error(None, Code::NotFound, "a\"b")), r#"{"type":"error","payload":{"error":"a\"b"}}"#);
    }

    #[test]
    fn the_word_of_a_code_is_its_encoding() {
        for code in [Code::BadRequest, Code::PathTooLong, Code::UnsupportedMediaType, Code::CommitUnknown] {
            assert_eq!(encode(&code), format!("\"{}\"", code.as_str()).into_bytes());
        }
    }

    proptest! {
        #[test]
        fn a_plain_message_is_read_as_any_other(
            kind in ".{0,12}|[\\\\\"\u{0}-\u{20}a]{0,4}",
            id in "|,\"id\":(-?[0-9]{1,12}|[0-9.eE+-]{0,5}|\".{0,6}\"|\"[\\\\\"\u{0}-\u{20}a]{0,4}\"|null|[{]})",
            end in "[}]|[}] |,[}]|x[}]|",
        ) {
            let (plain, spaced) = (format!(r#"{{"type":"{kind}"{id}{end}"#), format!(r#"{{ "type":"{kind}"{id}{end}"#));
            let id = |id: Option<Id>| id.map(|id| id.0);
            let read = |text: &str| match Message::parse(text.as_bytes()) {
                Ok(message) => Ok((message.kind.into_owned(), id(message.id), message.payload.get().to_owned())),
                Err(bad) => Err((bad.reason, id(bad.id))),
            };
            prop_assert_eq!(read(&plain), read(&spaced));
        }

        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn a_message_frame_is_json(value in ".{0,40}", sender in "[a-z]{1,8}") {
            let raw = RawValue::from_string(serde_json::to_string(&value).unwrap()).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text(&message(&raw, &sender))).unwrap();
            prop_assert_eq!(&json["payload"]["message"], &value);
            prop_assert_eq!(&json["payload"]["sender"], &sender);
        }
    }
}
