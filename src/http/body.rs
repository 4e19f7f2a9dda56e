//! Reading a request's body: bounded in size and time, and JSON where JSON is expected.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use super::error::Error;
use crate::limits::REQUEST_BODY_TIME;
use crate::protocol::Code;

/// Reads a whole body.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    let too_large = || Error::new(Code::TooLarge, format!("the body is too large; the limit is {limit} bytes"));
    if hyper::body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(REQUEST_BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Error::bad_request("the body ended before it was complete")),
        Err(_) => Err(Error::bad_request(format!("the body took longer than {REQUEST_BODY_TIME:?}"))),
    }
}

/// Reads a body as JSON; an empty one is `null`, whatever its type.
pub(super) async fn json(headers: &HeaderMap, body: Body, limit: usize) -> Result<Box<RawValue>, Error> {
    let bytes = read(body, limit).await?;
    if bytes.is_empty() {
        return Ok(RawValue::NULL.to_owned());
    }
    // A browser sends other types, and none, across origins without asking.
    if !is_json(headers) {
        return Err(Error::new(Code::UnsupportedMediaType, "a body must say `Content-Type: application/json`"));
    }
    serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(format!("the body is not valid JSON: {error}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence).as_deref() == Some("application/json")
}
