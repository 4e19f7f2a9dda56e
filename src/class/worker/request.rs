//! Tasks of type `http`: the request that a task describes, and the result that a response is.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::class::task::Task;
use crate::limits::TASK_ERROR_CHARS;
use crate::object::{Error, json, response};
use crate::protocol::Code;

/// The type of these tasks.
pub(super) const KIND: &str = "http";

/// What such a task is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    url: String,
    /// `POST` if there is none.
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text as it is, anything else as JSON; without one, a method that takes a body sends the whole task.
    body: Option<Box<RawValue>>,
}

/// The request that a task describes.
///
/// # Errors
/// `bad_request` that says what cannot be.
pub(super) fn of(task: &Task) -> Result<Request<Bytes>, Error> {
    let Description { url, method, headers, body } = task.read()?;
    let bad = |what: &str, text: &str| Error::bad_request(format!("{what} of the task cannot be: `{text:.64}`"));
    let method = method.unwrap_or_else(|| "POST".to_owned());
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method", &method))?;
    let (body, kind) = encoded(task, body, &method)?;
    let mut request = Request::builder().method(method).uri(&url);
    if let Some(kind) = kind.filter(|_| !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"))) {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    for (name, value) in &headers {
        let name = HeaderName::try_from(name).map_err(|_| bad("a header", name))?;
        let value = HeaderValue::try_from(value).map_err(|_| bad("the value of a header", name.as_str()))?;
        request = request.header(name, value);
    }
    request.body(body).map_err(|_| bad("the url", &url))
}

/// The body, and what it is.
fn encoded(task: &Task, body: Option<Box<RawValue>>, method: &Method) -> Result<(Bytes, Option<&'static str>), Error> {
    match body {
        None if [Method::POST, Method::PUT, Method::PATCH].contains(method) => {
            Ok((json(task)?.into(), Some("application/json")))
        }
        None => Ok((Bytes::new(), None)),
        Some(body) => Ok(match serde_json::from_str::<String>(body.get()) {
            Ok(text) => (text.into(), Some("text/plain; charset=utf-8")),
            Err(_) => (body.get().to_owned().into(), Some("application/json")),
        }),
    }
}

/// What a response is as the result of a task: its JSON, or its text.
///
/// # Errors
/// `unavailable` for a status that is no success, `bad_request` for a body that is no text.
pub(super) fn result(answer: &RawValue) -> Result<Box<RawValue>, Error> {
    let response = response(answer)?;
    let status = response.status();
    if !status.is_success() {
        let body = String::from_utf8_lossy(response.body());
        let said: String = body.trim().chars().take(TASK_ERROR_CHARS).collect();
        let colon = if said.is_empty() { "" } else { ": " };
        return Err(Error::new(Code::Unavailable, format!("the answer is {status}{colon}{said}")));
    }
    let Ok(text) = std::str::from_utf8(response.body()) else {
        return Err(Error::bad_request("the answer is neither JSON nor text"));
    };
    let no_json = |_| to_raw_value(text.trim_end());
    let result = match text.trim() {
        "" => Ok(RawValue::NULL.to_owned()),
        _ if is_text(&response) => to_raw_value(text),
        json => RawValue::from_string(json.to_owned()).or_else(no_json),
    };
    result.map_err(|error| Error::internal(format!("a text is no JSON: {error}")))
}

/// Whether a response says that it is text, so that its figures are none.
fn is_text(response: &Response<Bytes>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/"))
}
