//! From a failure to a response: the only place that knows status codes.

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use crate::path;
use crate::protocol::{Code, error_body};

/// A request that failed: what its sender gets.
#[derive(Debug)]
pub(super) struct Error {
    error: crate::object::Error,
    allow: Option<&'static str>,
}

impl Error {
    pub(super) fn new(code: Code, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        crate::object::Error::new(code, message).into()
    }

    pub(super) fn bad_request(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// 405, with the methods that are allowed.
    pub(super) fn method_not_allowed(method: &hyper::Method, allow: &'static str) -> Self {
        let message = format!("{method} is not allowed here; allowed: {allow}");
        Self::new(Code::MethodNotAllowed, message).with_allow(allow)
    }

    /// Says which methods are allowed, if that is what is wrong.
    pub(super) fn with_allow(mut self, allow: &'static str) -> Self {
        self.allow = (self.error.code() == Code::MethodNotAllowed).then_some(allow);
        self
    }
}

impl From<crate::object::Error> for Error {
    fn from(error: crate::object::Error) -> Self {
        Self { error, allow: None }
    }
}

impl From<path::Error> for Error {
    fn from(error: path::Error) -> Self {
        let code = match error {
            path::Error::TooLong(_) => Code::PathTooLong,
            path::Error::BadSegment(_) | path::Error::DashedUuid(_) | path::Error::Reserved => Code::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let error = self.error.redacted();
        let code = error.code();
        let body = error_body(code, error.message());
        let mut response = (status(code), [(CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        if let Code::Overloaded | Code::CommitUnknown | Code::Unavailable | Code::RateLimited = code {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::PathTooLong => StatusCode::URI_TOO_LONG,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Overloaded | Code::CommitUnknown | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
    }
}
