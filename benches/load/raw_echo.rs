//! A raw limit: what axum's own WebSocket does with the same frames from the same client when there is no object, no
//! storage and no disk. It also answers `POST`s with a constant.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpListener;

use super::process::end_with_input;
use crate::Result;

/// As long as the `state` frame of an object that counts to some tens of thousands.
const STATE: &str = r#"{"type":"state","payload":{"data":{"count":54321},"agents":[]}}"#;
const COUNT: &str = r#"{"count":1}"#;
/// Of each socket. The default of 128 KiB makes the echo slower by a sixth with 16 in flight, by a third with one, and is
/// resident in every socket.
const READ_BYTES: usize = 4 << 10;
/// Frames that are fed before a flush.
const BURST: usize = 256;

/// Serves until it is killed, or the benchmark is gone.
pub(crate) fn serve() -> Result<()> {
    end_with_input();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Without it, only the latency of a second write would suffer.
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().fallback(answer);
        Ok(axum::serve(listener, router).await?)
    })
}

async fn answer(upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>, _body: Bytes) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade.read_buffer_size(READ_BYTES).on_upgrade(async |socket| {
            // The client closes when it is done.
            let _ = echo(socket).await;
        }),
        Err(_) => ([(CONTENT_TYPE, "application/json")], COUNT).into_response(),
    }
}

/// Answers every text with one of the size of a `state` frame: receives one, then whatever else is there without waiting,
/// and flushes once, which is how an edge reaches the most frames.
async fn echo(mut socket: WebSocket) -> std::result::Result<(), axum::Error> {
    let state = || Message::Text(Utf8Bytes::from_static(STATE));
    socket.send(state()).await?;
    while let Some(first) = socket.next().await {
        let (mut next, mut left) = (Some(first), BURST);
        while let Some(message) = next {
            match message? {
                Message::Text(_) => socket.feed(state()).await?,
                Message::Close(_) => return Ok(()),
                _ => {}
            }
            left -= 1;
            next = if left > 0 { socket.next().now_or_never().flatten() } else { None };
        }
        socket.flush().await?;
    }
    Ok(())
}
