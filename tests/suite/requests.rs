//! What a class decides about the requests to its objects, and what it counts of them.

use bytes::Bytes;
use fleet::server::Builder;
use fleet::{Class, Error, RawValue, Turn, json, unknown_method};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinSet;

use crate::harness::{Client, Response, Server, body, eventually, read_response, within};

/// Takes large bodies, and says how long they were.
#[derive(Default, Serialize, Deserialize)]
struct Taker {
    taken: u64,
}

impl Class for Taker {
    const NAME: &'static str = "taker";
    const BODY_BYTES: Option<usize> = Some(100_000);
    const CHILDREN: Option<&'static str> = Some("helper");

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let fails = method == "takeAndFail";
        match method {
            "take" | "takeAndFail" => {
                self.taken += 1;
                turn.count("taken_total", &[("how", "call")], 1);
                turn.count("taken_bytes_total", &[], payload.get().len() as u64);
            }
            "countWrongly" => {
                turn.count("taken_total", &[("why", "call")], 1);
                turn.count("fleet_panics_total", &[], 1);
                let failed = turn.transaction(|turn| {
                    turn.count("taken_total", &[("how", "call")], 1_000);
                    Err::<(), _>(Error::conflict("on purpose"))
                });
                assert!(failed.is_err());
            }
            "key" => return json(&turn.idempotency_key()),
            other => return Err(unknown_method(other)),
        }
        if fails { Err(Error::conflict("on purpose")) } else { json(&payload.get().len()) }
    }

    fn fetch(&mut self, _: &mut Turn<'_>, request: &http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        Ok(http::Response::new(request.body().len().to_string().into()))
    }
}

/// A child of a taker.
#[derive(Default, Serialize, Deserialize)]
struct Helper;

impl Class for Helper {
    const NAME: &'static str = "helper";

    fn state(&mut self, _: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        json("helper")
    }
}

fn takers() -> Builder {
    fleet::Server::builder().class::<Taker>().class::<Helper>().route("/takers/**", "taker")
}

fn server() -> Server {
    Server::built_and_configured(takers, "limits.message_bytes = \"1 KiB\"")
}

/// A JSON text of so many bytes.
fn text(bytes: usize) -> Vec<u8> {
    format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(700) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

#[tokio::test]
async fn fx6_a_class_may_take_larger_bodies_than_others() {
    let server = server();
    for (target, kind) in [("/takers:take", "application/json"), ("/takers", "text/plain")] {
        for bytes in [1_024, 1_025, 99_999, 100_000] {
            let length = bytes.to_string();
            assert_eq!(server.post(target).body(kind, &text(bytes)).await.assert(200).text(), length);
            let request = server.post(target).header("Transfer-Encoding", "chunked").body(kind, &chunked(&text(bytes)));
            assert_eq!(request.await.assert(200).text(), length);
        }
        server.post(target).body(kind, &text(100_001)).await.fails_saying(413, "100000", "too_large");
        let request = server.post(target).header("Transfer-Encoding", "chunked").body(kind, &chunked(&text(100_001)));
        request.await.fails_saying(413, "100000", "too_large");
    }
    for broken in [&b"\"x"[..], b"\"\xff\"", b"1 2"] {
        let body = [&text(2_000)[..], broken].concat();
        let sent = server.post("/takers:take").body("application/json", &body).await;
        sent.fails_saying(400, "not valid JSON", "bad_request");
    }
    // Neither another class nor a message to the sockets is any larger for it.
    server.post("/t:increment").body("application/json", &text(1_025)).await.fails_saying(413, "1024", "too_large");
    let message = json!({"type": "message", "payload": {"message": "x".repeat(1_024), "sender": "s"}});
    server.post("/takers/_message").json(&message).await.fails_saying(413, "1024", "too_large");
}

/// Begins a large body; answers what is left to write, and reads the answer.
async fn begin(client: &Client, answers: &mut JoinSet<Response>) -> OwnedWriteHalf {
    let (mut read, mut write) = client.connect().await.into_split();
    let head = format!(
        "POST /takers:take HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\
         Connection: close\r\n\r\n\"",
        client.address()
    );
    write.write_all(head.as_bytes()).await.unwrap();
    answers.spawn(async move { read_response(&mut read, false).await });
    write
}

#[tokio::test]
async fn ob5_so_many_large_bodies_at_a_time() {
    let server = server();
    let (mut answers, mut begun) = (JoinSet::new(), Vec::new());
    for _ in 0..7 {
        begun.push(begin(&server, &mut answers).await);
    }
    for _ in 0..3 {
        let refused = within("a refusal", answers.join_next()).await.unwrap().unwrap();
        refused.fails_saying(503, "4 bodies of more than 1024 bytes", "overloaded");
    }
    server.post("/takers:take").body("application/json", &text(1_024)).await.assert(200);
    for write in &mut begun {
        // Those that were refused are closed.
        let _ = write.write_all(&[&b"x".repeat(1_998)[..], b"\""].concat()).await;
    }
    for _ in 0..4 {
        within("an answer", answers.join_next()).await.unwrap().unwrap().assert(200);
    }
    server.post("/takers:take").body("application/json", &text(1_025)).await.assert(200);
}

#[tokio::test]
async fn fm2_a_call_may_carry_an_idempotency_key() {
    let server = Server::built(takers);
    let key = async |key: &str| server.post("/takers:key").header("Idempotency-Key", key).await;
    assert_eq!(server.post("/takers:key").await.ok(), json!(null));
    let longest = "k".repeat(255);
    for good in ["8e03978e-40d5-43dd-bc93-6894a57f9324", "\"quoted\"", "~", &longest] {
        assert_eq!(key(good).await.ok(), json!(good));
    }
    for bad in ["", "two words", "\u{e9}", &"k".repeat(256)] {
        key(bad).await.fails_saying(400, "Idempotency-Key must be 1 to 255 visible ASCII characters", "bad_request");
    }
}

#[tokio::test]
async fn op3_a_class_counts_what_is_durable() {
    let server = Server::built(takers);
    for _ in 0..3 {
        server.post("/takers:take").json(&json!("four")).await.assert(200);
    }
    server.post("/takers:takeAndFail").await.fails(409, "on purpose", "conflict");
    server.post("/takers:countWrongly").await.assert(200);
    eventually("three are counted", async || server.metrics().await.value("taken_total{how=\"call\"}") >= 3).await;
    let metrics = server.metrics().await;
    assert_eq!(metrics.value("taken_total{how=\"call\"}"), 3);
    assert_eq!(metrics.value("taken_bytes_total"), 18);
    assert_eq!(metrics.value("fleet_panics_total"), 0);
}

#[tokio::test]
async fn a_child_that_nobody_created_has_the_class_that_its_parents_class_names() {
    let server = Server::built(takers);
    // The parent is routed; it need not be stored. Its route says otherwise of the child.
    assert_eq!(server.state("/takers/a").await, json!("helper"));
    server.post("/takers:take").await.assert(200);
    assert_eq!(server.state("/takers/a").await, json!("helper"));
    // A stored parent counts, wherever it is; and only the direct one.
    server.call("/t", "createAgent", json!({"name": "b", "class": "taker"})).await;
    assert_eq!(server.state("/t/b/c").await, json!("helper"));
    assert_eq!(server.state("/t/b/c/d").await, body(0, &[]));
    server.delete("/t/b").await.assert(200);
    assert_eq!(server.state("/t/b/c").await, body(0, &[]));
}
