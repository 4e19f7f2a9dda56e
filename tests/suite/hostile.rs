//! Bad input: a clear error, nothing spawned, nothing stored, nobody else disturbed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Binary, Client, Server, error, eventually, exchange, increment, state, within};

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[tokio::test]
async fn fp5_binary_frames_are_an_error_and_the_connection_stays() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    for bytes in [&b""[..], b"\xff\xfe\x00", br#"{"type":"increment"}"#] {
        socket.send_frame(Message::Binary(bytes.to_vec().into())).await;
        socket.expect(error("Invalid message: binary frames are not supported here")).await;
    }
    socket.send(increment()).await;
    socket.expect(state(1)).await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_socket_alone() {
    let server = Server::start();
    let mut bystander = server.watch("/t").await;
    for (what, code, bytes) in [
        ("invalid UTF-8", 1007, frame(0x81, b"{\"type\":\"\xff\xfe\"}")),
        ("UTF-8 cut short", 1007, frame(0x81, b"\xe2\x82")),
        ("a surrogate", 1007, frame(0x81, b"\xed\xa0\x80")),
        ("no mask", 1002, vec![0x81, 2, b'{', b'}']),
        ("a reserved opcode", 1002, frame(0x83, b"x")),
        ("a reserved bit", 1002, frame(0xc1, b"{}")),
        ("a continuation of nothing", 1002, frame(0x80, b"x")),
        ("a text within a text", 1002, [frame(0x01, b"{"), frame(0x81, b"}")].concat()),
        ("a fragmented ping", 1002, frame(0x09, b"x")),
        ("a long ping", 1002, [&[0x89, 0xfe, 0, 200][..], &MASK, &[0; 200]].concat()),
    ] {
        let mut socket = server.watch("/t").await;
        socket.raw().write_all(&bytes).await.unwrap();
        let end = socket.until_closed().await;
        assert_eq!(end.map(|(code, _)| code), Some(code), "{what}");
    }
    // A frame that says it is larger than anything is not waited for.
    let mut socket = server.watch("/t").await;
    socket
        .raw()
        .write_all(&[&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &MASK].concat())
        .await
        .unwrap();
    assert_eq!(socket.until_closed().await.map(|(code, _)| code), Some(1009));
    bystander.expect_nothing().await;
    eventually("they are forgotten", async || server.metrics().await.sockets() == 1).await;
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn json_that_is_deep_or_odd_is_refused_or_taken_as_it_is() {
    let server = Server::start();
    server.create("/t", "kid").await;
    let mut socket = server.watch("/t").await;
    let mut kid = server.watch("/t/kid").await;
    for text in ["[".repeat(500_000), "{\"a\":".repeat(100_000), format!("{{\"type\":{}", "[".repeat(500_000))] {
        socket.send_text(&text).await;
        assert_eq!(socket.json().await["type"], "error");
    }
    server.post("/t:broadcast").body("application/json", "[".repeat(500_000).as_bytes()).await.fails_saying(
        400,
        "",
        "bad_request",
    );
    // A message may be any JSON, and nobody on the way has to understand it.
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    for any in [deep.as_str(), r#"{"a":1e400,"b":123456789012345678901234567890,"a":"\ud800"}"#] {
        socket.send_text(&format!(r#"{{"type":"broadcast","payload":{{"message":{any}}}}}"#)).await;
        assert_eq!(socket.json().await["type"], "state");
        assert!(kid.text().await == format!(r#"{{"type":"message","payload":{{"message":{any},"sender":"t"}}}}"#));
    }
    // A field twice is one field too many, or the last one counts; it is not both.
    socket.send_text(r#"{"type":"increment","type":"broadcast"}"#).await;
    assert_eq!(socket.json().await["type"], "error");
    kid.expect_nothing().await;
}

#[tokio::test]
async fn fp5_long_types_and_ids_do_not_come_back_whole() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    let long = "x".repeat(500_000);
    socket.send(json!({"type": long})).await;
    assert!(socket.text().await.len() < 1_000);
    socket.send(json!({"type": "increment", "id": long})).await;
    assert!(socket.text().await.len() < 1_000);
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn a_head_of_1_mib_is_refused() {
    let server = Server::start();
    let large = "x".repeat(1 << 20);
    for head in [
        format!("GET /t HTTP/1.1\r\nHost: localhost\r\nX-Large: {large}\r\n\r\n"),
        format!("GET /{large} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /t HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-Many: x\r\n".repeat(100_000)),
    ] {
        let mut stream = server.connect().await;
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        let asked = async {
            // It is not read to its end, and what is refused early may be cut off.
            let _ = write.write_all(head.as_bytes()).await;
            let _ = read.read_to_end(&mut answer).await;
        };
        within("the end", asked).await;
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1);
        assert!(matches!(status, None | Some("431" | "414" | "400")), "{answer}");
    }
    server.increment("/t").await;
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let server = Server::start();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS \r\n\r\n"[..],
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /t HTTP/9.9\r\n\r\n",
        b"GET /t\x00 HTTP/1.1\r\n\r\n",
        b"POST /t:increment HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /t:increment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /t:increment HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A connection with nothing sensible on it may be cut off.
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn a_bad_handshake_is_refused() {
    let server = Server::start();
    let ask = async |method: &str, version: &str, key: &str| {
        let request = format!(
            "{method} /t HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{version}{key}\r\n",
            server.address()
        );
        exchange(&mut server.connect().await, request.as_bytes()).await
    };
    let (version, key) = ("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    assert_eq!(ask("GET", version, key).await.status, 101);
    ask("GET", version, "").await.fails_saying(400, "handshake", "bad_request");
    ask("GET", "", key).await.fails_saying(400, "handshake", "bad_request");
    ask("POST", version, key).await.fails_saying(400, "handshake", "bad_request");
    let old = ask("GET", "Sec-WebSocket-Version: 8\r\n", key).await;
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    eventually("none is left", async || server.metrics().await.sockets() == 0).await;
}

/// Sends a piece at a time until the connection ends; how long that took, and what was answered.
async fn drip(client: Client, head: String, piece: &'static [u8]) -> (Duration, String) {
    let mut stream = client.connect().await;
    let began = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let dripping = async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        // Bounded by the reader's end: the connection is cut long before.
        for _ in 0..600 {
            tick.tick().await;
            if write.write_all(piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        // A reset is an end too.
        _ = read.read_to_end(&mut answer) => {}
        () = dripping => {}
        () = tokio::time::sleep(Duration::from_mins(1)) => panic!("a slow request is held for a minute"),
    }
    (began.elapsed(), String::from_utf8(answer).unwrap())
}

/// 10 s for a head, 30 s for a body; others are served meanwhile.
#[tokio::test]
async fn slow_loris_requests_are_cut_off() {
    let server = Server::start();
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let head = "GET /t HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned();
        let client = (*server).clone();
        tasks.spawn(async move {
            let (took, answer) = drip(client, head, b"x").await;
            assert!((9..25).contains(&took.as_secs()), "{took:?}");
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        });
        let head = "POST /t:increment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n";
        let client = (*server).clone();
        tasks.spawn(async move {
            let (took, answer) = drip(client, head.to_owned(), b" ").await;
            assert!((29..50).contains(&took.as_secs()), "{took:?}");
            assert!(answer.contains("the body took longer than 30s"), "{answer}");
        });
    }
    let mut count = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    while !tasks.is_empty() {
        tick.tick().await;
        count += 1;
        assert_eq!(server.increment("/t").await, json!({"count": count}));
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_stay_for_ever() {
    let server = Server::start();
    let mut silent = server.connect().await;
    let mut kept = server.connect().await;
    let request = b"GET /.fleet/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(exchange(&mut kept, request).await.status, 200);
    let mut rest = Vec::new();
    within("the end of a connection that says nothing", silent.read_to_end(&mut rest)).await.unwrap();
    within("the end of a connection that says nothing more", kept.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_descriptors_leave_the_server_serving() {
    // 100 descriptors, of which some are kept for files.
    let server = Binary::start_with_descriptors(100, &[]).await;
    server.increment("/before").await;
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    // They are in the way until they are gone, and then nothing is left of them.
    drop(silent);
    server.increment("/before").await;

    // As many sockets as there is room for; who does not fit waits.
    let mut sockets = Vec::new();
    while let Ok(Ok(mut socket)) =
        tokio::time::timeout(Duration::from_secs(2), server.upgrade("/t").into_future()).await
    {
        socket.first_state().await;
        sockets.push(socket);
        assert!(sockets.len() < 100, "more sockets than descriptors");
    }
    assert!(sockets.len() >= 10, "room for {} sockets only", sockets.len());
    // Those that are in are served, to the disk and back.
    let (_, answer) = sockets[0].ask(increment()).await;
    assert_eq!(answer, json!({"count": 1}));
    drop(sockets);
    for count in 3..=50 {
        assert_eq!(server.increment("/before").await, json!({"count": count}));
    }
    let ready = server.get("/.fleet/ready").await.ok();
    assert_eq!(ready, json!({"ready": true}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_on_one_object_is_answered_or_refused() {
    let server = Server::start();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let client = (*server).clone();
        tasks.spawn(async move {
            // Pipelined: all at once on one connection.
            let request = format!("POST /hot:increment HTTP/1.1\r\nHost: {}\r\n\r\n", client.address());
            let mut stream = client.connect().await;
            let (mut read, mut write) = stream.split();
            let sent = async { write.write_all(request.repeat(50).as_bytes()).await.unwrap() };
            let answered = async {
                let mut bytes = Vec::new();
                let mut acknowledged = 0;
                let mut rest = 50;
                while rest > 0 {
                    assert!(read.read_buf(&mut bytes).await.unwrap() > 0, "{rest} answers are missing");
                    while let Some(body) = take_response(&mut bytes) {
                        rest -= 1;
                        let body: Value = serde_json::from_slice(&body).unwrap();
                        acknowledged += u64::from(body.get("count").is_some());
                        assert!(body.get("count").is_some() || body["code"] == "overloaded", "{body}");
                    }
                }
                acknowledged
            };
            tokio::join!(sent, answered).1
        });
    }
    let acknowledged: u64 = within("the flood", tasks.join_all()).await.into_iter().sum();
    assert_eq!(server.state("/hot").await["data"]["count"], acknowledged);
}

/// Takes one whole response off the front; its body.
fn take_response(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_ascii_lowercase()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.parse().unwrap();
    if bytes.len() < end + length {
        return None;
    }
    let rest = bytes.split_off(end + length);
    let body = bytes.split_off(end);
    *bytes = rest;
    Some(body)
}
