//! Which request is for whom.
//!
//! No name can hold a dot or a colon, so an object's path never collides with a file (`/ui.js`), with the server's own
//! endpoints (`/.fleet/…`), or with a method call (`/a/b:method`).

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

use super::error::Error;
use super::{Connection, Edge, assets, object, system, websocket};
use crate::limits::PATH_BYTES;
use crate::path;
use crate::path::MESSAGE_SEGMENT;
use crate::protocol::Code;

/// Every route of the server.
pub fn router(edge: Edge) -> Router {
    // Each request takes it more than once, and a copy of all that is counted costs as much as a short turn.
    let edge = Arc::new(edge);
    Router::new()
        .route("/.fleet/health", get(system::health))
        .route("/.fleet/ready", get(system::ready))
        .route("/.fleet/metrics", get(system::metrics))
        .route("/.fleet/objects", get(system::objects))
        .route("/.fleet/classes/{class}/metrics", get(system::class_metrics))
        .method_not_allowed_fallback(async |method: Method| Error::method_not_allowed(&method, "GET, HEAD"))
        .fallback(dispatch)
        .layer(from_fn_with_state(Arc::clone(&edge), checked))
        .with_state(edge)
}

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Object(&'a str),
    /// `PATH:method`
    Method(&'a str, &'a str),
    /// `PATH/_message`
    Message(&'a str),
    /// A last segment with a dot.
    File(&'a str),
}

impl<'a> Target<'a> {
    fn of(path: &'a str, method: &Method) -> Result<Self, path::Error> {
        if path.len() > PATH_BYTES {
            return Err(path::Error::TooLong(path.len()));
        }
        let trimmed = path.trim_end_matches('/');
        let (parent, last) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        if let Some((name, called)) = last.split_once(':') {
            return Ok(Self::Method(&trimmed[..parent.len() + 1 + name.len()], called));
        }
        if last == MESSAGE_SEGMENT && *method == Method::POST {
            return Ok(Self::Message(parent));
        }
        // A segment with a dot is never an object, wherever it stands.
        if path.split('/').any(|segment| segment.contains('.')) { Ok(Self::File(path)) } else { Ok(Self::Object(path)) }
    }
}

/// What kind of request a response answers, for the metrics; an extension of the response.
#[derive(Clone, Copy)]
pub(super) struct Kind(pub(super) &'static str);

async fn dispatch(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let target = match Target::of(&path, request.method()) {
        Ok(target) => target,
        Err(error) => return Error::from(error).into_response(),
    };
    let (kind, response) = match target {
        Target::File(path) => ("file", file(path, &request)),
        Target::Method(path, method) => ("call", object::call(&edge, path, method, request).await),
        Target::Message(path) => ("message", object::message(&edge, path, request).await),
        Target::Object(path) if websocket::is_upgrade(&request) => {
            ("upgrade", websocket::upgrade(&edge, path, request))
        }
        Target::Object(path) => object::request(&edge, path, request).await,
    };
    let mut response = response.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(Kind(kind));
    response
}

fn file(path: &str, request: &Request) -> Result<Response, Error> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Error::method_not_allowed(request.method(), "GET, HEAD"));
    }
    let found = path.strip_prefix('/').and_then(|name| assets::file(name, request.headers()));
    found.ok_or_else(|| Error::new(Code::NotFound, "there is no such file, and no object's path holds a dot"))
}

/// Around every request: who may ask, how long it took, what every answer says.
async fn checked(State(edge): State<Arc<Edge>>, request: Request<Body>, next: Next) -> Response {
    let began = Instant::now();
    let peer = request.extensions().get::<Connection>().map(|connection| connection.peer);
    let upgrade = websocket::is_upgrade(&request);
    let checked = match peer {
        Some(peer) => edge.guard.check(request.method(), request.uri(), request.headers(), peer, upgrade),
        None => Err(Error::new(Code::Internal, "a request without a connection")),
    };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let kind = response.extensions().get::<Kind>().map_or("system", |kind| kind.0);
    let outcome = match response.status().as_u16() {
        ..400 => "ok",
        400..500 => "refused",
        500.. => "failed",
    };
    edge.metrics.requests.with_label_values(&[kind, outcome]).inc();
    edge.metrics.request_seconds.observe(began.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_for_an_object_a_method_a_message_or_a_file() {
        let of = |path| Target::of(path, &Method::POST).unwrap();
        assert_eq!(of("/a//b/"), Target::Object("/a//b/"));
        assert_eq!(of("/"), Target::Object("/"));
        assert_eq!(of("/a/b:increment"), Target::Method("/a/b", "increment"));
        assert_eq!(of("/:increment"), Target::Method("/", "increment"));
        assert_eq!(of("/a/b:increment/"), Target::Method("/a/b", "increment"));
        assert_eq!(of("/a/_message"), Target::Message("/a"));
        assert_eq!(of("/_message/"), Target::Message(""));
        assert_eq!(Target::of("/a/_message", &Method::GET).unwrap(), Target::Object("/a/_message"));
        assert_eq!(of("/ui.js"), Target::File("/ui.js"));
        assert_eq!(of("/a/../b"), Target::File("/a/../b"));
        assert!(Target::of(&"/a".repeat(PATH_BYTES), &Method::GET).is_err());
    }
}
