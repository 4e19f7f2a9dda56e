//! WebSockets: the upgrade, and the connection that follows.
//!
//! The upgraded transport is taken over from the HTTP server and spoken to directly, because the frames are the hot path:
//! one task per socket reads whatever has arrived, lets the object handle it right there, and writes what is due at once.

mod connection;
mod transport;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::error::Error;
use super::{Connection, Edge};
use crate::path::ObjectPath;
use crate::protocol::{Code, Version};

/// Whether a request asks for a WebSocket.
pub(super) fn is_upgrade<B>(request: &hyper::Request<B>) -> bool {
    let has = |name, wanted: &str| {
        let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|text| text.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

/// Answers an upgrade and hands the connection over.
pub(super) fn upgrade(edge: &Edge, path: &str, mut request: Request) -> Result<Response, Error> {
    let path = ObjectPath::parse(path)?;
    if request.headers().get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        let error = Error::bad_request("this WebSocket version is not spoken here; use 13");
        let mut response = error.into_response();
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Ok(response);
    }
    let Some(Connection { permit, .. }) = request.extensions().get::<Connection>().cloned() else {
        return Err(Error::new(Code::Internal, "a request without a connection"));
    };
    let protocols = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered = Version::offered(protocols);
    let upgraded = hyper::upgrade::on(&mut request);
    let mut response = create_response_with_body(&request, axum::body::Body::empty)
        .map_err(|error| Error::bad_request(format!("not a WebSocket handshake: {error}")))?;
    if edge.stopping.is_cancelled() {
        return Err(Error::new(Code::Unavailable, "the server is shutting down"));
    }
    let socket = edge.namespace.socket(&path, offered.unwrap_or_default())?.upgraded(head_of(&request));
    if let Some(version) = offered {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(version.name()));
    }
    // A token of its own: every poll of the connection asks it, and the locks of one token would be everybody's.
    let (options, stopping) = (edge.options, edge.stopping.child_token());
    edge.tasks.spawn(async move {
        // A peer that is gone before it is upgraded leaves nothing to say.
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            tracing::error!("an upgraded connection is not a TCP stream");
            return;
        };
        let (stream, head) = (parts.io.into_inner(), parts.read_buf);
        let read = head.to_vec();
        // With it goes the whole buffer of the request's head, which would stay as long as the socket.
        drop(head);
        // Boxed, so that what only setting it up needs is not part of the task for as long as the socket lives.
        let mut connection = Box::pin(connection::Connection::new(stream, read, socket, options)).await;
        connection.run(&stopping).await;
        drop(permit);
    });
    Ok(response)
}

/// What a class may see of the request.
fn head_of(request: &Request) -> hyper::Request<()> {
    let mut head = hyper::Request::new(());
    head.uri_mut().clone_from(request.uri());
    head.headers_mut().clone_from(request.headers());
    head
}
