//! WebSockets of a class that speaks to them itself, over real connections.

use fleet::server::Builder;
use fleet::{Class, Closed, Error, Frame, RawValue, SocketId, Turn, json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::harness::{Server, Socket, eventually};

/// Keeps a log of what happens to its sockets, and echoes what they say.
#[derive(Default, Serialize, Deserialize)]
struct Echo {
    log: Vec<String>,
}

impl Echo {
    fn log(&mut self, turn: &Turn<'_>, socket: SocketId, what: &str) -> Result<(), Error> {
        let name: Option<String> = turn.attachment(socket)?;
        self.log.push(format!("{} {what}", name.unwrap_or_default()));
        Ok(())
    }
}

impl Class for Echo {
    const NAME: &'static str = "echo";
    const TELLS_STATE: bool = false;

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        turn.set_auto_response(Some(("ping", "pong")))
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "sockets" => json(&turn.socket_count()),
            _ => json(&self.log),
        }
    }

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        let request = turn.upgrade().ok_or_else(|| Error::bad_request("no request"))?;
        let header = request.headers().get("x-color").and_then(|value| value.to_str().ok()).unwrap_or("colorless");
        turn.attach(socket, request.uri().query().unwrap_or_default())?;
        self.log(turn, socket, &format!("opens, {header}"))
    }

    fn websocket_message(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) -> Result<(), Error> {
        if *frame == Frame::Text("leave".into()) {
            return turn.close_socket(socket, 4000, "as you wish");
        }
        turn.send_frame(socket, frame.clone());
        Ok(())
    }

    fn websocket_close(&mut self, turn: &mut Turn<'_>, socket: SocketId, closed: &Closed) -> Result<(), Error> {
        self.log(turn, socket, &format!("closes {} {}", closed.code, closed.reason))
    }

    fn websocket_error(&mut self, turn: &mut Turn<'_>, socket: SocketId, _: &str) -> Result<(), Error> {
        self.log(turn, socket, "breaks")
    }
}

fn server() -> Builder {
    fleet::Server::builder().class::<Echo>().route("/echo", "echo")
}

async fn open(server: &Server, name: &str) -> Socket {
    server.upgrade(&format!("/echo?{name}")).header("x-color", "red").await.unwrap()
}

async fn log(server: &Server) -> Vec<String> {
    serde_json::from_value(server.call("/echo", "log", json!(null)).await).unwrap()
}

/// What has been logged after the opening of the only socket.
async fn logged(server: &Server, lines: &[&str]) {
    eventually(&format!("{lines:?}"), async || log(server).await.len() > lines.len()).await;
    let log = log(server).await;
    assert_eq!(log[0], "ann opens, red");
    assert_eq!(log[1..], *lines);
}

#[tokio::test]
async fn ws1_a_close_has_the_code_and_reason_of_the_peer() {
    let server = Server::built(server);
    let mut ann = open(&server, "ann").await;
    ann.send_frame(Message::Close(Some(CloseFrame { code: 4321.into(), reason: "bye".into() }))).await;
    logged(&server, &["ann closes 4321 bye"]).await;
}

#[tokio::test]
async fn ws1_a_close_without_a_code_is_1005() {
    let server = Server::built(server);
    open(&server, "ann").await.close().await;
    logged(&server, &["ann closes 1005 "]).await;
}

#[tokio::test]
async fn ws1_a_peer_that_vanishes_is_an_error_and_1006() {
    let server = Server::built(server);
    drop(open(&server, "ann").await);
    logged(&server, &["ann breaks", "ann closes 1006 "]).await;
}

#[tokio::test]
async fn ws1_a_violation_of_the_protocol_is_an_error_and_1006() {
    let server = Server::built(server);
    let mut ann = open(&server, "ann").await;
    // A frame of a client must be masked.
    ann.raw().write_all(&[0x81, 0x01, b'x']).await.unwrap();
    assert_eq!(ann.until_closed().await.map(|(code, _)| code), Some(1002));
    drop(ann);
    logged(&server, &["ann breaks", "ann closes 1006 "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ws1_after_a_restart_there_are_no_sockets() {
    let mut server = Server::built(server);
    let mut ann = open(&server, "ann").await;
    eventually("joined", async || server.call("/echo", "sockets", json!(null)).await == json!(1)).await;
    let mut reader = JoinSet::new();
    reader.spawn(async move { ann.expect_close(1001, "the server is shutting down").await });
    server.restart();
    reader.join_all().await;
    assert_eq!(server.call("/echo", "sockets", json!(null)).await, json!(0));
}

#[tokio::test]
async fn ws3_ws4_frames_of_both_kinds_come_back_in_order() {
    let server = Server::built(server);
    let mut ann = open(&server, "ann").await;
    for number in 0..2_000 {
        let text = if number % 7 == 0 { "ping".to_owned() } else { number.to_string() };
        ann.send_text(&text).await;
    }
    for number in 0..2_000 {
        let expected = if number % 7 == 0 { "pong".to_owned() } else { number.to_string() };
        assert_eq!(ann.text().await, expected);
    }
    ann.send_frame(Message::Binary(vec![0, 255].into())).await;
    assert_eq!(ann.next().await.unwrap().unwrap(), Message::Binary(vec![0, 255].into()));
    ann.send_text("leave").await;
    ann.expect_close(4000, "as you wish").await;
    logged(&server, &["ann closes 4000 as you wish"]).await;
}

#[tokio::test]
async fn ws4_a_class_that_takes_no_binary_frames_refuses_them() {
    let server = Server::built(server);
    let mut agent = server.socket("/agent").await;
    agent.first_state().await;
    agent.send_frame(Message::Binary(vec![1].into())).await;
    let refused: Value = agent.json().await;
    assert_eq!(refused["payload"]["error"], "Invalid message: binary frames are not supported here");
}
