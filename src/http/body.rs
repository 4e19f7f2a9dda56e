//! Reading a request's body: bounded in size and time, and JSON where JSON is expected.
//!
//! A class may allow larger bodies than others. It is asked only when one is larger, so that the others cost nothing more;
//! the few that are take places, and are checked where they hold up nobody.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, timeout_at};

use super::Edge;
use super::error::Error;
use crate::limits::{LARGE_BODIES, LARGE_BODY_TIME, REQUEST_BODY_TIME};
use crate::path::ObjectPath;
use crate::protocol::Code;

/// A place among the large bodies, for one that is.
type Place = Option<OwnedSemaphorePermit>;

/// How large a body may be, and how long it may take.
pub(super) struct Bounds<'a> {
    edge: &'a Edge,
    /// The object whose class may allow more; nobody is asked twice.
    path: Option<&'a ObjectPath>,
    bytes: usize,
    began: Instant,
    time: Duration,
    place: Place,
}

impl<'a> Bounds<'a> {
    /// What the server allows.
    pub(super) fn of_server(edge: &'a Edge) -> Self {
        let bytes = edge.options.message_bytes;
        Self { edge, path: None, bytes, began: Instant::now(), time: REQUEST_BODY_TIME, place: None }
    }

    /// What the server allows, or the class of an object beyond that.
    pub(super) fn of_class(edge: &'a Edge, path: &'a ObjectPath) -> Self {
        Self { path: Some(path), ..Self::of_server(edge) }
    }

    /// Whether a body of at least so many bytes may go on.
    fn admit(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes <= self.bytes as u64 {
            return Ok(());
        }
        let class = self.path.take().map(|path| self.edge.namespace.body_bytes(path)).transpose()?.flatten();
        if let Some(class) = class.filter(|class| *class > self.bytes) {
            (self.bytes, self.time) = (class, LARGE_BODY_TIME);
        }
        if bytes > self.bytes as u64 {
            let text = format!("the body is too large; the limit is {} bytes", self.bytes);
            return Err(Error::new(Code::TooLarge, text));
        }
        let full = |_| {
            let text = format!(
                "{LARGE_BODIES} bodies of more than {} bytes are read already",
                self.edge.options.message_bytes
            );
            Error::new(Code::Overloaded, text)
        };
        self.place = Some(self.edge.large_bodies.clone().try_acquire_owned().map_err(full)?);
        Ok(())
    }
}

/// What has come of a body: most come in one piece, which is not copied.
enum Pieces {
    One(Bytes),
    Many(Vec<u8>),
}

impl Pieces {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, piece: Bytes) {
        match self {
            Self::One(bytes) if bytes.is_empty() => *self = Self::One(piece),
            Self::One(bytes) => *self = Self::Many([&**bytes, &*piece].concat()),
            Self::Many(bytes) => bytes.extend_from_slice(&piece),
        }
    }
}

impl From<Pieces> for Bytes {
    fn from(pieces: Pieces) -> Self {
        match pieces {
            Pieces::One(bytes) => bytes,
            Pieces::Many(bytes) => bytes.into(),
        }
    }
}

/// Reads a whole body.
pub(super) async fn read(mut body: Body, mut bounds: Bounds<'_>) -> Result<(Bytes, Place), Error> {
    Ok((pieces(&mut body, &mut bounds).await?.into(), bounds.place))
}

async fn pieces(body: &mut Body, bounds: &mut Bounds<'_>) -> Result<Pieces, Error> {
    bounds.admit(hyper::body::Body::size_hint(body).lower())?;
    let mut pieces = Pieces::One(Bytes::new());
    loop {
        let frame = match timeout_at(bounds.began + bounds.time, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Error::bad_request("the body ended before it was complete")),
            Ok(None) => return Ok(pieces),
            Err(_) => return Err(Error::bad_request(format!("the body took longer than {:?}", bounds.time))),
        };
        if let Ok(piece) = frame.into_data() {
            bounds.admit((pieces.len() + piece.len()) as u64)?;
            pieces.push(piece);
        }
    }
}

/// Reads a body as JSON; an empty one is `null`, whatever its type.
pub(super) async fn json(
    headers: &HeaderMap,
    mut body: Body,
    mut bounds: Bounds<'_>,
) -> Result<(Box<RawValue>, Place), Error> {
    let pieces = pieces(&mut body, &mut bounds).await?;
    let place = bounds.place;
    if pieces.len() == 0 {
        return Ok((RawValue::NULL.to_owned(), place));
    }
    // A browser sends other types, and none, across origins without asking.
    if !is_json(headers) {
        return Err(Error::new(Code::UnsupportedMediaType, "a body must say `Content-Type: application/json`"));
    }
    if place.is_none() {
        return Ok((parse(pieces)?, place));
    }
    let parsed = tokio::task::spawn_blocking(|| parse(pieces)).await;
    Ok((parsed.map_err(|_| Error::new(Code::Internal, "the check of a large body panicked"))??, place))
}

fn parse(pieces: Pieces) -> Result<Box<RawValue>, Error> {
    let parsed = match pieces {
        Pieces::One(bytes) => serde_json::from_slice(&bytes),
        // It is not copied once more: it may be large.
        Pieces::Many(bytes) => match String::from_utf8(bytes) {
            Ok(text) => RawValue::from_string(text),
            // The error says where it is no UTF-8.
            Err(error) => serde_json::from_slice(error.as_bytes()),
        },
    };
    parsed.map_err(|error| Error::bad_request(format!("the body is not valid JSON: {error}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence).as_deref() == Some("application/json")
}
