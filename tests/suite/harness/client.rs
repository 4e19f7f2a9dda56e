//! HTTP as it is on the wire: one request a connection, nothing normalised on the way.

use std::net::SocketAddr;
use std::pin::Pin;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::metrics::Metrics;
use super::socket::{Opening, Socket};
use super::within;

/// Whoever talks to a server.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
}

/// A request that is sent when it is awaited.
pub(crate) struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A bare connection.
    pub(crate) async fn connect(&self) -> TcpStream {
        within("connecting", TcpStream::connect(self.address)).await.unwrap()
    }

    /// Any request.
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        let (method, target) = (method.to_owned(), target.to_owned());
        Request { address: self.address, method, target, headers: Vec::new(), body: None }
    }

    /// `GET`, with JSON preferred.
    pub(crate) fn get(&self, target: &str) -> Request {
        self.request("GET", target).header("Accept", "application/json")
    }

    /// `POST` without a body.
    pub(crate) fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// `DELETE`.
    pub(crate) fn delete(&self, target: &str) -> Request {
        self.request("DELETE", target)
    }

    /// The state of an object.
    pub(crate) async fn state(&self, path: &str) -> Value {
        self.get(path).await.ok()
    }

    /// Calls a method and takes its result.
    pub(crate) async fn call(&self, path: &str, method: &str, payload: Value) -> Value {
        self.post(&format!("{path}:{method}")).json(&payload).await.ok()
    }

    /// Increments the count of an object.
    pub(crate) async fn increment(&self, path: &str) -> Value {
        self.post(&format!("{path}:increment")).await.ok()
    }

    /// Creates a child.
    pub(crate) async fn create(&self, path: &str, name: &str) -> Value {
        self.call(path, "createAgent", serde_json::json!({"name": name})).await
    }

    /// Every object that exists, by path.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let page = self.get("/.fleet/objects?limit=1000").await.ok();
        assert!(page.get("cursor").is_none(), "more than a page");
        page["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    }

    /// What is counted.
    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::new(self.get("/.fleet/metrics").await.assert(200).text())
    }

    /// A connection whose upgrade is done, for whoever speaks for itself from there on.
    pub(crate) async fn raw_socket(&self, target: &str, more: &str) -> (TcpStream, Response) {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n",
            self.address
        );
        let mut stream = self.connect().await;
        let response = exchange(&mut stream, head.as_bytes()).await;
        (stream, response)
    }

    /// A WebSocket that is opened when it is awaited.
    pub(crate) fn upgrade(&self, target: &str) -> Opening {
        Opening::new(self.address, target)
    }

    /// A new WebSocket, which has not read its first state yet.
    pub(crate) async fn socket(&self, target: &str) -> Socket {
        self.upgrade(target).await.expect("the server accepts the upgrade")
    }

    /// A WebSocket that has read its first state.
    pub(crate) async fn watch(&self, target: &str) -> Socket {
        let mut socket = self.socket(target).await;
        socket.first_state().await;
        socket
    }

    /// The same with `fleet.v2`.
    pub(crate) async fn watch_changes(&self, target: &str) -> Socket {
        let mut socket = self.upgrade(target).protocols("fleet.v2").await.expect("the server accepts the upgrade");
        socket.first_state().await;
        socket
    }
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends this JSON.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().as_bytes())
    }

    /// Sends this body.
    pub(crate) fn body(self, kind: &str, body: &[u8]) -> Self {
        let mut request = self.header("Content-Type", kind);
        request.body = Some(body.to_vec());
        request
    }

    /// Sends this body without saying what it is.
    pub(crate) fn untyped(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    async fn send(self) -> Response {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let given = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut put = |name: &str, value: &str| {
            head.extend([name, ": ", value, "\r\n"]);
        };
        if !given("Host") {
            put("Host", &self.address.to_string());
        }
        if !given("Connection") {
            put("Connection", "close");
        }
        self.headers.iter().for_each(|(name, value)| put(name, value));
        if let Some(body) = &self.body
            && !given("Content-Length")
            && !given("Transfer-Encoding")
        {
            put("Content-Length", &body.len().to_string());
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), self.body.as_deref().unwrap_or_default()].concat();
        let (mut read, mut write) = stream.split();
        let is_head = self.method == "HEAD";
        // The answer may come before all is sent, and then nothing more is taken.
        let sent = async {
            let _ = write.write_all(&bytes).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            response = read_response(&mut read, is_head) => response,
            () = sent => unreachable!(),
        }
    }
}

impl IntoFuture for Request {
    type Output = Response;
    type IntoFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let what = format!("{} {:.80}", self.method, self.target);
            within(&what, self.send()).await
        })
    }
}

/// Sends these bytes and reads one response.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Response {
    within("a response", async {
        stream.write_all(request).await.unwrap();
        read_response(stream, false).await
    })
    .await
}

/// Reads one response.
pub(crate) async fn read_response(stream: &mut (impl tokio::io::AsyncRead + Unpin), is_head: bool) -> Response {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read_buf(&mut bytes).await.expect("the head of a response");
        assert!(read > 0, "the connection ended within a head: {:?}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: bytes };
    let length = match response.header("content-length").map(str::parse) {
        _ if is_head || status == 304 || status == 101 => 0usize,
        Some(length) => length.unwrap(),
        None => usize::MAX,
    };
    while response.body.len() < length {
        match stream.read_buf(&mut response.body).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => panic!("the body of a response: {error}"),
        }
    }
    response
}

impl Response {
    #[track_caller]
    pub(crate) fn assert(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Asserts a failure with exactly this body.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, text: &str, code: &str) {
        assert_eq!((self.status, self.json()), (status, super::failure(text, code)));
    }

    /// Asserts a failure whose text contains this, and gives the text.
    #[track_caller]
    pub(crate) fn fails_saying(&self, status: u16, part: &str, code: &str) -> String {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{body}");
        let text = body["error"].as_str().unwrap();
        assert!(text.contains(part), "{text}");
        text.to_owned()
    }

    /// The JSON of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        self.assert(200).json()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}
