//! A WebSocket's client.

use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::{HeaderName, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{frames, within};

/// An upgrade that is asked for when it is awaited.
pub(crate) struct Opening {
    address: SocketAddr,
    target: String,
    headers: Vec<(HeaderName, String)>,
    receive_buffer: Option<u32>,
}

/// An open WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The subprotocol that the server chose.
    pub(crate) protocol: Option<String>,
    /// For messages of the harness itself.
    next_id: u64,
}

/// The answer to an upgrade that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) retry_after: Option<String>,
}

impl Opening {
    pub(super) fn new(address: SocketAddr, target: &str) -> Self {
        Self { address, target: target.to_owned(), headers: Vec::new(), receive_buffer: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.parse().unwrap(), value.to_owned()));
        self
    }

    /// Lets the kernel keep only about so many bytes that were not read.
    pub(crate) fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Offers subprotocols, separated by commas.
    pub(crate) fn protocols(self, offered: &str) -> Self {
        self.header(SEC_WEBSOCKET_PROTOCOL.as_str(), offered)
    }

    async fn open(self) -> Result<Socket, Refused> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{}{}", self.address, self.target).into_client_request().unwrap();
        for (name, value) in self.headers {
            request.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
                let protocol = protocol.map(|protocol| protocol.to_str().unwrap().to_owned());
                Ok(Socket { stream, protocol, next_id: 0 })
            }
            Err(Error::Http(response)) => {
                let body = serde_json::from_slice(response.body().as_deref().unwrap_or_default());
                let retry_after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
                Err(Refused { status: response.status().as_u16(), body: body.unwrap_or_default(), retry_after })
            }
            Err(error) => panic!("the upgrade failed: {error}"),
        }
    }
}

impl IntoFuture for Opening {
    type Output = Result<Socket, Refused>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { within("an upgrade", self.open()).await })
    }
}

impl Refused {
    /// Asserts what was answered, and gives the text.
    #[track_caller]
    pub(crate) fn saying(&self, status: u16, part: &str, code: &str) -> String {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        let text = self.body["error"].as_str().unwrap();
        assert!(text.contains(part), "{text}");
        text.to_owned()
    }
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(Message::Text(text.into())).await;
    }

    pub(crate) async fn send_frame(&mut self, message: Message) {
        within("sending", self.stream.send(message)).await.expect("the socket is open");
    }

    /// Sends without flushing, which a later send does.
    pub(crate) async fn feed(&mut self, message: &Value) {
        within("sending", self.stream.feed(Message::Text(message.to_string().into()))).await.unwrap();
    }

    pub(crate) async fn flush(&mut self) {
        within("sending", self.stream.flush()).await.unwrap();
    }

    /// The transport, for what no WebSocket would send.
    pub(crate) fn raw(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    /// Whatever comes next, pings included.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        within("a frame", self.stream.next()).await
    }

    /// The text of the next frame.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a text frame, got {other:?}"),
            }
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next frame must be this one.
    pub(crate) async fn expect(&mut self, frame: Value) {
        assert_eq!(self.json().await, frame);
    }

    /// The first frame of a socket: its payload.
    pub(crate) async fn first_state(&mut self) -> Value {
        let mut frame = self.json().await;
        assert_eq!(frame["type"], "state");
        frame["payload"].take()
    }

    /// Reads until that frame has come; everything that came before it.
    pub(crate) async fn until(&mut self, frame: &Value) -> Vec<Value> {
        let mut before = Vec::new();
        loop {
            let next = self.json().await;
            if next == *frame {
                return before;
            }
            assert!(before.len() < 1_000_000, "the frame does not come");
            before.push(next);
        }
    }

    /// Sends a message with an id and waits for its answer; everything that came before it, and its payload.
    pub(crate) async fn ask(&mut self, message: Value) -> (Vec<Value>, Value) {
        self.next_id += 1;
        let id = Value::from(format!("ask-{}", self.next_id));
        self.send(frames::with_id(id.clone(), message)).await;
        let mut before = Vec::new();
        loop {
            let mut next = self.json().await;
            if next["id"] == id {
                return (before, next["payload"].take());
            }
            before.push(next);
        }
    }

    /// Nothing was to be read but what has been: whatever had been sent would come before the answer to a question.
    pub(crate) async fn expect_nothing(&mut self) {
        let (before, _) = self.ask(serde_json::json!({"type": "nothing-of-the-kind"})).await;
        assert_eq!(before, Vec::<Value>::new());
    }

    /// The server closes the socket with this code and reason, after nothing else.
    pub(crate) async fn expect_close(&mut self, code: u16, reason: &str) {
        let frame = closing(&mut self.stream, |frame| panic!("expected a close, got {frame}")).await;
        let frame = frame.expect("a close frame");
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
        self.expect_end().await;
    }

    /// How the server closes the socket, whatever comes before that. `None`: it was cut off.
    pub(crate) async fn until_closed(&mut self) -> Option<(u16, String)> {
        let frame = closing(&mut self.stream, drop).await?;
        Some((frame.code.into(), frame.reason.as_str().to_owned()))
    }

    /// The connection ends.
    pub(crate) async fn expect_end(&mut self) {
        match self.next().await {
            None | Some(Err(_)) => {}
            Some(Ok(frame)) => panic!("expected the end, got {frame}"),
        }
    }

    /// The whole stream, for whoever reads and writes apart.
    pub(crate) fn into_stream(self) -> WebSocketStream<TcpStream> {
        self.stream
    }

    /// The transport alone; what was read and not taken is lost.
    pub(crate) fn into_transport(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Closes the socket as a good client does.
    pub(crate) async fn close(mut self) {
        within("closing", self.stream.close(None)).await.unwrap();
        while let Some(Ok(_)) = self.next().await {}
    }
}

/// Reads until the close frame; `None` when the connection ends without one.
async fn closing(stream: &mut WebSocketStream<TcpStream>, mut skipped: impl FnMut(Message)) -> Option<CloseFrame> {
    loop {
        match within("a close frame", stream.next()).await {
            Some(Ok(Message::Close(frame))) => return frame,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(frame)) => skipped(frame),
            Some(Err(_)) | None => return None,
        }
    }
}
