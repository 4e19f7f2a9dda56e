//! Every limit of the configuration, with its own clear error, and life after it.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::{
    Server, body, create, delete, error_of, eventually, increment, result, send_to, state, state_with, with_id,
};

/// An increment of exactly so many bytes.
fn padded(bytes: usize) -> String {
    let bare = json!({"type": "increment", "payload": ""}).to_string();
    json!({"type": "increment", "payload": "x".repeat(bytes - bare.len())}).to_string()
}

#[tokio::test]
async fn fx6_a_message_that_is_too_large_closes_its_socket_with_1009() {
    let server = Server::configured("limits.message_bytes = \"1 KiB\"");
    let mut socket = server.watch("/t").await;
    let mut other = server.watch("/t").await;
    socket.send_text(&padded(1_024)).await;
    socket.expect(state(1)).await;
    other.expect(state(1)).await;
    socket.send_text(&padded(1_025)).await;
    socket.expect_close(1009, "message too large; the limit is 1024 bytes").await;
    other.expect_nothing().await;
    other.send_frame(Message::Binary(vec![0; 1_025].into())).await;
    other.expect_close(1009, "message too large; the limit is 1024 bytes").await;
    assert_eq!(server.state("/t").await, body(1, &[]));
}

#[tokio::test]
async fn fx6_fragments_count_together() {
    let server = Server::configured("limits.message_bytes = \"1 KiB\"");
    let text = padded(1_024);
    let fragments = |text: &str| -> Vec<Message> {
        let parts: Vec<&[u8]> = text.as_bytes().chunks(100).collect();
        let last = parts.len() - 1;
        let code = |index| OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
        let frame =
            |(index, part): (usize, &&[u8])| Message::Frame(Frame::message(part.to_vec(), code(index), index == last));
        parts.iter().enumerate().map(frame).collect()
    };
    let mut socket = server.watch("/t").await;
    for frame in fragments(&text) {
        socket.send_frame(frame).await;
    }
    socket.expect(state(1)).await;
    for frame in fragments(&padded(1_025)) {
        socket.send_frame(frame).await;
    }
    socket.expect_close(1009, "message too large; the limit is 1024 bytes").await;
}

#[tokio::test]
async fn fx6_the_default_message_is_1_mib() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    socket.send_text(&padded(1 << 20)).await;
    socket.expect(state(1)).await;
    server
        .post("/t:increment")
        .body("application/json", format!("\"{}\"", "x".repeat((1 << 20) - 2)).as_bytes())
        .await
        .assert(200);
    socket.expect(state(2)).await;
    server.post("/t:increment").body("application/json", &vec![b' '; (1 << 20) + 1]).await.fails_saying(
        413,
        "1048576",
        "too_large",
    );
    socket.send_text(&padded((1 << 20) + 1)).await;
    socket.expect_close(1009, "message too large; the limit is 1048576 bytes").await;
}

#[tokio::test]
async fn fx6_a_body_that_is_too_large_is_413() {
    let server = Server::configured("limits.message_bytes = \"1 KiB\"");
    let fits = format!("\"{}\"", "x".repeat(1_022));
    server.post("/t:increment").body("application/json", fits.as_bytes()).await.assert(200);
    let delivery = json!({"type": "message", "payload": {"message": "x".repeat(1_024), "sender": "s"}}).to_string();
    for (target, body) in
        [("/t:increment", vec![b' '; 1_025]), ("/t/_message", delivery.into_bytes()), ("/t", vec![0; 1_025])]
    {
        server.post(target).body("application/json", &body).await.fails_saying(413, "1024", "too_large");
        // Nor does it have to be sent at all, if it says how long it would be.
        let announced =
            server.post(target).header("Content-Type", "application/json").header("Content-Length", "999999999");
        announced.untyped(b"").await.fails_saying(413, "1024", "too_large");
        // And a chunked one says nothing.
        let mut chunks = Vec::new();
        for _ in 0..11 {
            chunks.extend_from_slice(b"64\r\n");
            chunks.extend_from_slice(&[b' '; 100]);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        let chunked = server.post(target).header("Transfer-Encoding", "chunked").body("application/json", &chunks);
        chunked.await.fails_saying(413, "1024", "too_large");
    }
    assert_eq!(server.state("/t").await, body(1, &[]));
}

#[tokio::test]
async fn fx6_children_per_object() {
    let server = Server::configured("limits.children_per_object = 2");
    let mut socket = server.watch("/t").await;
    for name in ["a", "b"] {
        socket.send(create(name)).await;
        socket.json().await;
    }
    let text = "children limit reached: /t has 2 children; the limit is 2";
    socket.send(with_id(1, create("c"))).await;
    socket.expect(error_of(1, text, "conflict")).await;
    server.post("/t:createAgent").json(&json!({"name": "c"})).await.fails(409, text, "conflict");
    // The name is looked at first, and other objects have their own.
    socket.send(with_id(2, create("a"))).await;
    socket.expect(error_of(2, "Agent already exists", "conflict")).await;
    server.create("/t/a", "c").await;
    socket.send(with_id(3, delete("a"))).await;
    socket.expect(state_with(0, &["b"])).await;
    socket.expect(result(3, json!({}))).await;
    socket.send(create("c")).await;
    socket.expect(state_with(0, &["b", "c"])).await;
    assert_eq!(server.objects().await, ["/t", "/t/b", "/t/c"]);
}

#[tokio::test]
async fn fx6_sockets_per_object() {
    let server = Server::configured("limits.sockets_per_object = 2");
    let one = server.watch("/t").await;
    let mut two = server.watch("/t").await;
    let refused = server.upgrade("/t").await.err().unwrap();
    refused.saying(503, "sockets limit reached: /t has 2 open sockets already", "unavailable");
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    let _elsewhere = server.watch("/u").await;
    server.increment("/t").await;
    two.expect(state(1)).await;
    one.close().await;
    eventually("its place is free", async || server.upgrade("/t").await.is_ok()).await;
    two.expect_nothing().await;
}

#[tokio::test]
async fn fx6_sockets_of_the_server() {
    let server = Server::configured("limits.sockets = 2");
    let one = server.watch("/a").await;
    let _two = server.watch("/b").await;
    for path in ["/a", "/c"] {
        let refused = server.upgrade(path).await.err().unwrap();
        refused.saying(503, "sockets limit reached: the server has 2 open sockets already", "unavailable");
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
    }
    assert_eq!(server.state("/c").await, body(0, &[]), "requests are still answered");
    drop(one);
    eventually("its place is free", async || server.upgrade("/c").await.is_ok()).await;
}

#[tokio::test]
async fn fx6_a_refused_socket_takes_no_place() {
    let server = Server::configured("limits.sockets_per_object = 1\nlimits.sockets = 2");
    let _one = server.watch("/a").await;
    for _ in 0..10 {
        server.upgrade("/a").await.err().unwrap().saying(503, "/a has 1 open sockets already", "unavailable");
    }
    let _two = server.watch("/b").await;
}

#[tokio::test]
async fn fx6_storage_per_object() {
    let mut server = Server::configured("limits.storage_per_object = \"1 KiB\"");
    let mut socket = server.watch_changes("/t").await;
    let mut names = Vec::new();
    let refused = loop {
        assert!(names.len() < 100, "the limit is not there");
        let name = format!("child-{}", names.len());
        socket.send(with_id(names.len(), create(&name))).await;
        let answer = loop {
            let frame = socket.json().await;
            if frame["id"] == names.len() {
                break frame;
            }
        };
        if answer["type"] == "error" {
            break answer["payload"].clone();
        }
        names.push(name);
    };
    assert_eq!(refused["code"], "storage_full");
    let text = refused["error"].as_str().unwrap();
    assert!(text.starts_with("storage full: /t would hold ") && text.ends_with("the limit is 1024"), "{text}");
    let answer = server.post("/t:createAgent").json(&json!({"name": "one-more"})).await;
    answer.fails_saying(507, "storage full: /t", "storage_full");
    // What was refused left nothing behind, neither in memory nor on the disk.
    let listed: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(server.state("/t").await, body(0, &listed));
    socket.send(with_id("still", send_to("child-0", "there"))).await;
    socket.expect(result("still", json!({"recipients": 1}))).await;
    drop(socket);
    server.restart();
    assert_eq!(server.state("/t").await, body(0, &listed));
    server.post("/t:createAgent").json(&json!({"name": "one-more"})).await.fails_saying(
        507,
        "storage full",
        "storage_full",
    );
    server.delete("/t/child-0").await.assert(200);
    server.create("/t", "child-n").await;
    server.create("/u", "child").await;
}

#[tokio::test]
async fn fx6_objects() {
    let mut server = Server::configured("limits.objects = 3");
    for path in ["/a", "/b"] {
        server.increment(path).await;
    }
    server.create("/a", "kid").await;
    for _ in 0..2 {
        let text = "objects limit reached: there are 3 objects already";
        server.post("/c:increment").await.fails(409, text, "conflict");
        server.post("/a:createAgent").json(&json!({"name": "other"})).await.fails(409, text, "conflict");
        let mut socket = server.watch("/c").await;
        socket.send(with_id(1, increment())).await;
        socket.expect(error_of(1, text, "conflict")).await;
        assert_eq!(server.state("/c").await, body(0, &[]));
        assert_eq!(server.state("/a").await["agents"], json!(["kid"]));
        server.increment("/a/kid").await;
        assert_eq!(server.objects().await, ["/a", "/a/kid", "/b"]);
        drop(socket);
        server.restart();
    }
    server.delete("/a").await.assert(200);
    // Their rows count until they are reaped.
    eventually("there is room", async || server.post("/c:increment").await.status == 200).await;
    server.increment("/d").await;
    server.post("/e:increment").await.assert(409);
}

#[tokio::test]
async fn fx6_each_limit_has_its_key() {
    for key in
        ["message_bytes", "children_per_object", "sockets_per_object", "storage_per_object", "objects", "sockets"]
    {
        let table: Value = serde_json::to_value(fleet::config::Config::default().limits).unwrap();
        assert!(table.get(key).is_some(), "{key}");
        assert_eq!(table.as_object().unwrap().len(), 6);
    }
}
