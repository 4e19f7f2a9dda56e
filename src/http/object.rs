//! Requests for objects, but for WebSockets.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::Bounds;
use super::error::Error;
use super::{Edge, assets, body};
use crate::limits::IDEMPOTENCY_KEY_BYTES;
use crate::path::ObjectPath;

/// What a plain path allows when its class has no `fetch` of its own.
const ALLOWED: &str = "GET, HEAD, DELETE";

type Answer = Result<Response, Error>;

/// A request to the plain path of an object, and its kind.
pub(super) async fn request(edge: &Edge, path: &str, request: Request) -> (&'static str, Answer) {
    let path = match ObjectPath::parse(path) {
        Ok(path) => path,
        Err(error) => return ("object", Err(error.into())),
    };
    match *request.method() {
        Method::GET | Method::HEAD if wants_json(request.headers()) => ("state", state(edge, &path).await),
        Method::GET | Method::HEAD => ("page", Ok(assets::page(request.headers()))),
        Method::DELETE => ("delete", delete(edge, &path).await),
        _ => ("fetch", fetch(edge, &path, request).await),
    }
}

/// `POST PATH:method`
pub(super) async fn call(edge: &Edge, path: &str, method: &str, request: Request) -> Answer {
    let path = ObjectPath::parse(path)?;
    if *request.method() != Method::POST {
        return Err(Error::method_not_allowed(request.method(), "POST"));
    }
    let key = idempotency_key(request.headers())?;
    let (head, body) = request.into_parts();
    let bounds = Bounds::of_class(edge, &path);
    // Its place is taken until the object has answered, and so has let it go.
    let (payload, _place) = body::json(&head.headers, body, bounds).await?;
    Ok(json(edge.namespace.call_with_key(&path, method, payload, key).await?.into()))
}

/// The key by which the object recognises a call that was made before.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Box<str>>, Error> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if !(1..=IDEMPOTENCY_KEY_BYTES).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES} visible ASCII characters");
        return Err(Error::bad_request(text));
    }
    Ok(Some(key.into()))
}

/// `POST PATH/_message`
pub(super) async fn message(edge: &Edge, path: &str, request: Request) -> Answer {
    #[derive(Deserialize)]
    struct Delivery {
        #[serde(rename = "type")]
        kind: Option<Box<RawValue>>,
        payload: Option<Payload>,
    }
    #[derive(Deserialize)]
    struct Payload {
        message: Option<Box<RawValue>>,
        sender: Option<Box<RawValue>>,
    }
    let path = ObjectPath::parse(path)?;
    let (head, body) = request.into_parts();
    let (body, _) = body::json(&head.headers, body, Bounds::of_server(edge)).await?;
    let delivery: Delivery = serde_json::from_str(body.get()).map_err(|_| {
        Error::bad_request("the body must be {\"type\":\"message\",\"payload\":{\"message\":…,\"sender\":…}}")
    })?;
    if delivery.kind.is_none_or(|kind| kind.get() != r#""message""#) {
        return Err(Error::bad_request("Invalid message type"));
    }
    let (message, sender) = delivery.payload.map_or((None, None), |payload| (payload.message, payload.sender));
    let message = message
        .filter(|message| !matches!(message.get(), "null" | r#""""#))
        .ok_or_else(|| Error::bad_request("Message required"))?;
    let sender: String = sender
        .and_then(|sender| serde_json::from_str(sender.get()).ok())
        .ok_or_else(|| Error::bad_request("Sender required"))?;
    edge.namespace.message(&path, &message, &sender);
    Ok(json(Bytes::from_static(br#"{"success":true}"#)))
}

async fn state(edge: &Edge, path: &ObjectPath) -> Answer {
    let mut response = json(edge.namespace.state(path).await?.into());
    response.headers_mut().insert(VARY, ACCEPT.into());
    Ok(response)
}

async fn delete(edge: &Edge, path: &ObjectPath) -> Answer {
    edge.namespace.delete(path).await?;
    Ok("OK".into_response())
}

async fn fetch(edge: &Edge, path: &ObjectPath, request: Request<Body>) -> Answer {
    let (head, body) = request.into_parts();
    let (body, _place) = body::read(body, Bounds::of_class(edge, path)).await?;
    let answer = edge.namespace.fetch(path, Request::from_parts(head, body)).await;
    Ok(answer.map_err(|error| Error::from(error).with_allow(ALLOWED))?.map(Body::from))
}

/// A JSON answer, which no cache keeps.
pub(super) fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}

/// Whether JSON is preferred to the page: it is named, and nothing says that HTML is liked better.
fn wants_json(headers: &HeaderMap) -> bool {
    let mut json = 0.0;
    let mut html = 0.0;
    for range in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality: f32 = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
        match kind.as_str() {
            "application/json" => json = quality,
            "text/html" | "application/xhtml+xml" => html = quality.max(html),
            _ => {}
        }
    }
    json > 0.0 && json >= html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fp3_json_must_be_asked_for() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            wants_json(&headers)
        };
        assert!(!wants_json(&HeaderMap::new()));
        for page in ["*/*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json;q=0"] {
            assert!(!wants(page), "{page}");
        }
        for json in ["application/json", "application/json, text/plain, */*", "Application/JSON;q=0.5"] {
            assert!(wants(json), "{json}");
        }
        assert!(!wants("text/html, application/json;q=0.9"));
    }
}
