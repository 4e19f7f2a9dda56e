//! Clients that live through the death of their server: every failure of a connection is a value.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, error::Error as WsError};

use crate::within;

/// One HTTP connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?} is not JSON"))
    }

    /// The result; the server is not expected to fail.
    #[track_caller]
    pub(crate) fn ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Http {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = within("connecting", TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// The state of an object, or an endpoint of the server.
    pub(crate) async fn get(&mut self, target: &str) -> Result<Reply> {
        self.send("GET", target, "", None).await
    }

    pub(crate) async fn call(&mut self, path: &str, method: &str, payload: &Value) -> Result<Reply> {
        self.send("POST", &format!("{path}:{method}"), "", Some(payload)).await
    }

    /// Submits a batch under an idempotency key.
    pub(crate) async fn submit(&mut self, path: &str, key: &str, payload: &Value) -> Result<Reply> {
        let header = format!("Idempotency-Key: {key}\r\n");
        self.send("POST", &format!("{path}:submitBatch"), &header, Some(payload)).await
    }

    pub(crate) async fn increment(&mut self, path: &str) -> Result<Reply> {
        self.call(path, "increment", &Value::Null).await
    }

    pub(crate) async fn create(&mut self, path: &str, name: &str) -> Result<Reply> {
        self.call(path, "createAgent", &json!({"name": name})).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Result<Reply> {
        self.send("DELETE", path, "", None).await
    }

    /// The count of an object.
    pub(crate) async fn count(&mut self, path: &str) -> u64 {
        self.get(path).await.unwrap().ok().json()["data"]["count"].as_u64().unwrap()
    }

    /// What exists at and below a path, with its number of children.
    pub(crate) async fn objects(&mut self, prefix: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        for _ in 0..1_000 {
            let page = self.get(&format!("/.fleet/objects?limit=1000&prefix={prefix}{cursor}")).await.unwrap();
            let page = page.ok().json();
            let item = |item: &Value| (item["path"].as_str().unwrap().to_owned(), item["children"].as_u64().unwrap());
            found.extend(page["items"].as_array().unwrap().iter().map(item));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
        panic!("the list does not end");
    }

    /// `headers` are lines.
    async fn send(&mut self, method: &str, target: &str, headers: &str, body: Option<&Value>) -> Result<Reply> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}Accept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        within(target, async {
            self.stream.write_all(request.as_bytes()).await?;
            self.receive().await
        })
        .await
    }

    async fn receive(&mut self) -> Result<Reply> {
        let mut status = 0;
        let mut length = 0;
        for line in 0..100 {
            let mut text = String::new();
            if self.stream.read_line(&mut text).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let text = text.trim_end();
            if line == 0 {
                status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(text);
            } else if text.is_empty() {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).await?;
                return Ok(Reply { status, body });
            } else if let Some(value) = text.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect(text);
            }
        }
        panic!("too many headers");
    }
}

/// One WebSocket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens it and reads its first state.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Result<Self> {
        Ok(Self::open_and_see(address, path).await?.0)
    }

    /// Opens it and gives its first state.
    pub(crate) async fn open_and_see(address: SocketAddr, path: &str) -> Result<(Self, Value)> {
        Self::open_as(address, path, "fleet.v1").await
    }

    /// The same, told only what changes.
    pub(crate) async fn open_for_changes(address: SocketAddr, path: &str) -> Result<Self> {
        Ok(Self::open_as(address, path, "fleet.v2").await?.0)
    }

    async fn open_as(address: SocketAddr, path: &str, version: &'static str) -> Result<(Self, Value)> {
        let mut socket = Self::upgrade(address, path, version).await?;
        let mut state = socket.next().await?;
        assert_eq!(state["type"], "state");
        Ok((socket, state["payload"].take()))
    }

    /// Opens it; nothing is read.
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Result<Self> {
        Self::upgrade(address, path, "fleet.v1").await
    }

    async fn upgrade(address: SocketAddr, path: &str, version: &'static str) -> Result<Self> {
        within("a socket", async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut request = format!("ws://{address}{path}").into_client_request().map_err(failed)?;
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(version));
            let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(failed)?;
            Ok(Self(socket))
        })
        .await
    }

    /// Sends messages at once.
    pub(crate) async fn send(&mut self, messages: impl IntoIterator<Item = Value>) -> Result<()> {
        within("sending", async {
            for message in messages {
                self.0.feed(Message::text(message.to_string())).await.map_err(failed)?;
            }
            self.0.flush().await.map_err(failed)
        })
        .await
    }

    /// The next frame. A close is an error.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        let text = self.text().await?;
        Ok(serde_json::from_str(&text).expect(&text))
    }

    /// The text of the next frame. A close is an error.
    pub(crate) async fn text(&mut self) -> Result<String> {
        within("a frame", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(close))) => return Err(Error::other(format!("closed: {close:?}"))),
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(error)) => return Err(failed(error)),
                    None => return Err(ErrorKind::UnexpectedEof.into()),
                }
            }
        })
        .await
    }

    /// The next answer to a message with an `id`.
    pub(crate) async fn answer(&mut self) -> Result<Value> {
        loop {
            let frame = self.next().await?;
            if frame.get("id").is_some() {
                return Ok(frame);
            }
        }
    }
}

fn failed(error: WsError) -> Error {
    match error {
        WsError::Io(error) => error,
        other => Error::other(other),
    }
}
