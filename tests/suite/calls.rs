//! Methods over HTTP, and messages from outside.

use serde_json::json;

use crate::harness::{Server, body, message, state};

#[tokio::test]
async fn fx2_methods_answer_the_payload_of_the_result() {
    let server = Server::start();
    for (path, kid) in [("/t", "/t/kid"), ("/", "/kid"), ("/a/b/c", "/a/b/c/kid")] {
        assert_eq!(server.increment(path).await, json!({"count": 1}));
        assert_eq!(server.create(path, "kid").await, json!({"name": "kid", "path": kid}));
        let sent = server.call(path, "sendMessage", json!({"recipient": "kid", "message": "m"})).await;
        assert_eq!(sent, json!({"recipients": 1}));
        assert_eq!(server.call(path, "broadcast", json!({"message": "m"})).await, json!({"recipients": 1}));
        assert_eq!(server.call(path, "deleteAgent", json!({"name": "kid"})).await, json!({}));
        assert_eq!(server.state(path).await, body(1, &[]));
    }
}

#[tokio::test]
async fn fx2_an_empty_body_is_null_whatever_its_type() {
    let server = Server::start();
    server.post("/t:increment").await.assert(200);
    for kind in ["application/json", "text/plain", "image/png", "nonsense"] {
        server.post("/t:increment").body(kind, b"").await.assert(200);
    }
    server.post("/t:increment").header("Content-Length", "0").await.assert(200);
    server.post("/t:createAgent").await.fails(400, "Agent name required", "bad_request");
    assert_eq!(server.state("/t").await, body(6, &[]));
}

#[tokio::test]
async fn fx2_failures() {
    let server = Server::start();
    for unknown in ["/t:fly", "/:fly", "/t:", "/t:increment:increment", "/t:Increment"] {
        server.post(unknown).await.fails_saying(404, "", "not_found");
    }
    for bad in [&b"{"[..], b"nonsense", b"{\"name\":\"a\"} {}", b"\"\xff\"", b"{'name':'a'}"] {
        let answer = server.post("/t:createAgent").body("application/json", bad).await;
        answer.fails_saying(400, "JSON", "bad_request");
    }
    server.create("/t", "kid").await;
    server.post("/t:createAgent").json(&json!({"name": "kid"})).await.fails(409, "Agent already exists", "conflict");
    assert_eq!(server.objects().await, ["/t", "/t/kid"]);
}

#[tokio::test]
async fn fx2_a_chunked_body_is_a_body() {
    let server = Server::start();
    let request = server.post("/t:createAgent").header("Transfer-Encoding", "chunked");
    let chunks = b"5\r\n{\"nam\r\n9\r\ne\":\"kid\"}\r\n0\r\n\r\n";
    request.body("application/json", chunks).await.assert(200);
    assert_eq!(server.state("/t").await, body(0, &["kid"]));
}

#[tokio::test]
async fn fx9_json_must_be_said_to_be_json() {
    let server = Server::start();
    let text = br#"{"name":"kid"}"#;
    let delivery = br#"{"type":"message","payload":{"message":"m","sender":"s"}}"#;
    for target in ["/t:createAgent", "/t/_message"] {
        let bytes = if target.ends_with("_message") { &delivery[..] } else { text };
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
            "text/json",
            "",
        ] {
            let answer = server.post(target).body(kind, bytes).await;
            answer.fails_saying(415, "application/json", "unsupported_media_type");
        }
        let answer = server.post(target).untyped(bytes).await;
        answer.fails_saying(415, "application/json", "unsupported_media_type");
    }
    assert_eq!(server.objects().await, [""; 0]);
    server.post("/t:createAgent").body("Application/JSON; charset=utf-8", text).await.assert(200);
    server.post("/t/_message").body("application/json;charset=UTF-8", delivery).await.assert(200);
}

#[tokio::test]
async fn fp8_a_message_from_outside_at_every_depth() {
    let server = Server::start();
    for path in ["", "/a", "/a/b", "/a/b/c/d/e"] {
        let mut socket = server.watch(&format!("{path}/")).await;
        let delivery = json!({"type": "message", "payload": {"message": {"n": 1}, "sender": "boss"}});
        let answer = server.post(&format!("{path}/_message")).json(&delivery).await.assert(200);
        assert_eq!(answer.text(), r#"{"success":true}"#);
        socket.expect(message(json!({"n": 1}), "boss")).await;
        server.post(&format!("{path}//_message/")).json(&delivery).await.assert(200);
        socket.expect(message(json!({"n": 1}), "boss")).await;
        socket.expect_nothing().await;
    }
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fp8_another_type_is_refused() {
    let server = Server::start();
    let mut socket = server.watch("/a").await;
    for kind in [json!("increment"), json!("Message"), json!(""), json!(5), json!(null), json!(["message"])] {
        let delivery = json!({"type": kind, "payload": {"message": "m", "sender": "s"}});
        server.post("/a/_message").json(&delivery).await.fails(400, "Invalid message type", "bad_request");
    }
    let untyped = json!({"payload": {"message": "m", "sender": "s"}});
    server.post("/a/_message").json(&untyped).await.fails(400, "Invalid message type", "bad_request");
    for bad in [&b"{"[..], b"[]", b"5", b""] {
        let answer = server.post("/a/_message").body("application/json", bad).await;
        answer.fails_saying(400, "", "bad_request");
    }
    socket.expect_nothing().await;
}

#[tokio::test]
async fn fp8_a_message_to_nobody_succeeds_and_creates_nothing() {
    let server = Server::start();
    let delivery = json!({"type": "message", "payload": {"message": "m", "sender": "s"}});
    assert_eq!(server.post("/nobody/here/_message").json(&delivery).await.ok(), json!({"success": true}));
    let mut late = server.socket("/nobody/here").await;
    late.expect(state(0)).await;
    late.expect_nothing().await;
    assert_eq!(server.objects().await, [""; 0]);
}
