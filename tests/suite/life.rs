//! Pings, and how a server ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Binary, Server, body, eventually, exchange, finished, increment, state, with_id, within};

const QUICK: &str = "server.ping_interval = \"200ms\"\nserver.ping_timeout = \"400ms\"";

#[tokio::test]
async fn fx7_an_idle_socket_is_pinged_and_lives_while_it_answers() {
    let server = Server::configured(QUICK);
    let mut socket = server.watch("/t").await;
    // Reading is answering: the client's pong goes out with the next read.
    for _ in 0..6 {
        match socket.next().await {
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("expected a ping, got {other:?}"),
        }
    }
    socket.send(increment()).await;
    socket.expect(state(1)).await;
}

#[tokio::test]
async fn fx7_a_socket_that_does_not_answer_is_closed_and_forgotten() {
    let server = Server::configured(QUICK);
    let (mut stream, response) = server.raw_socket("/t", "").await;
    assert_eq!(response.status, 101);
    let began = Instant::now();
    // It does read, and sees the ping, and says nothing.
    let mut bytes = Vec::new();
    within("the end", stream.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.windows(2).any(|two| two == [0x89, 0]), "a ping: {bytes:?}");
    assert!(began.elapsed() > Duration::from_millis(500), "it had its time");
    eventually("it is forgotten", async || server.metrics().await.sockets() == 0).await;
    let mut next = server.watch("/t").await;
    next.expect_nothing().await;
}

#[tokio::test]
async fn fx7_whoever_talks_is_not_pinged() {
    let server = Server::configured("server.ping_interval = \"2s\"");
    let mut socket = server.watch("/t").await;
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_millis(2_500) {
        count += 1;
        socket.send(increment()).await;
        match socket.next().await {
            Some(Ok(Message::Text(text))) => assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), state(count)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn fx7_a_ping_of_the_client_is_answered() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    socket.send_frame(Message::Ping(b"hello"[..].into())).await;
    match socket.next().await {
        Some(Ok(Message::Pong(payload))) => assert_eq!(payload, b"hello"[..]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fx7_a_socket_that_goes_is_forgotten_whichever_way() {
    let server = Server::start();
    server.watch("/t").await.close().await;
    drop(server.watch("/t").await);
    let reset = server.watch("/t").await.into_transport();
    reset.set_zero_linger().unwrap();
    drop(reset);
    let mut half = server.watch("/t").await.into_transport();
    half.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    within("the server's end", half.read_to_end(&mut bytes)).await.unwrap();
    eventually("all are forgotten", async || server.metrics().await.sockets() == 0).await;
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fx7_a_signal_closes_sockets_with_1001_and_ends_with_status_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Binary::start(&[]).await;
        let mut idle = server.watch("/t").await;
        let mut changes = server.watch_changes("/u/v").await;
        let mut kept = server.connect().await;
        let request = format!("GET /.fleet/ready HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
        assert_eq!(exchange(&mut kept, request.as_bytes()).await.status, 200);
        let began = Instant::now();
        server.signal(signal).await;
        idle.expect_close(1001, "the server is shutting down").await;
        changes.expect_close(1001, "the server is shutting down").await;
        assert_eq!(within("the end of an idle connection", kept.read(&mut [0])).await.unwrap(), 0);
        assert_eq!(server.ended().await.code(), Some(0), "{signal}");
        assert!(began.elapsed() < Duration::from_secs(9), "it needed its grace time with nothing left to do");
        assert!(TcpStream::connect(server.address()).await.is_err(), "the port is free");
    }
}

#[tokio::test]
async fn fx7_what_was_begun_is_finished_and_kept() {
    let mut server = Binary::start(&[]).await;
    let mut socket = server.watch_changes("/t").await;
    for id in 1..=200 {
        socket.feed(&with_id(id, increment())).await;
    }
    socket.flush().await;
    server.signal("TERM").await;
    // Whatever was read before the signal is answered, and only then the socket closes.
    let mut answered = 0;
    loop {
        match socket.next().await.expect("a close frame").expect("a frame") {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "result" {
                    answered += 1;
                    assert_eq!(frame["payload"]["count"], answered);
                }
            }
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.unwrap().code), 1001);
                break;
            }
            other => panic!("{other}"),
        }
    }
    drop(socket);
    assert_eq!(server.ended().await.code(), Some(0));
    let again = server.again().await;
    assert_eq!(again.state("/t").await, body(answered, &[]));
}

/// A request whose body does not come, which nothing but the grace time ends soon.
async fn stuck(server: &Binary) -> TcpStream {
    let mut stream = server.connect().await;
    let head = format!(
        "POST /t:increment HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\
         Expect: 100-continue\r\n\r\n",
        server.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server has begun to wait for it.
    let mut answer = [0; 25];
    within("100 Continue", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn fx7_the_grace_time_bounds_the_shutdown() {
    let mut server = Binary::start(&[("FLEET_SERVER__SHUTDOWN_GRACE", "1s")]).await;
    let _stuck = stuck(&server).await;
    let mut socket = server.watch("/t").await;
    let began = Instant::now();
    server.signal("TERM").await;
    socket.expect_close(1001, "the server is shutting down").await;
    assert_eq!(server.ended().await.code(), Some(0));
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let log = server.logged().await;
    assert!(log.contains("grace"), "{log}");
}

#[tokio::test]
async fn fx7_a_second_signal_ends_it_at_once() {
    let mut server = Binary::start(&[("FLEET_SERVER__SHUTDOWN_GRACE", "10min")]).await;
    let _stuck = stuck(&server).await;
    let mut socket = server.watch("/t").await;
    server.increment("/kept").await;
    server.signal("TERM").await;
    socket.expect_close(1001, "the server is shutting down").await;
    server.signal("INT").await;
    server.ended().await;
    let again = server.again().await;
    assert_eq!(again.state("/kept").await, body(1, &[]));
}

#[tokio::test]
async fn fx7_while_it_stops_nothing_new_is_begun() {
    let mut server = Binary::start(&[("FLEET_SERVER__SHUTDOWN_GRACE", "3s")]).await;
    let mut stuck = stuck(&server).await;
    let mut socket = server.watch("/t").await;
    server.signal("TERM").await;
    socket.expect_close(1001, "the server is shutting down").await;
    assert!(TcpStream::connect(server.address()).await.is_err(), "it accepts connections");
    // What was begun is still served.
    stuck.write_all(b"{\"a\":\"bc\"}").await.unwrap();
    let answer = within("the answer", crate::harness::read_response(&mut stuck, false)).await;
    assert_eq!(answer.ok(), json!({"count": 1}));
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn fx7_a_second_server_on_one_data_directory_is_refused() {
    let server = Binary::start(&[]).await;
    server.increment("/t").await;
    let (status, log) = finished(server.directory()).await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.starts_with("fleet: another server (pid ") && log.contains("uses the data directory"), "{log}");
    assert_eq!(server.increment("/t").await, json!({"count": 2}));
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut server = Server::start();
    server.create("/t", "a").await;
    for count in 1..=5 {
        assert_eq!(server.increment("/t/a").await, json!({"count": count}));
        server.restart();
    }
    assert_eq!(server.state("/t").await, body(0, &["a"]));
    assert_eq!(server.state("/t/a").await, body(5, &[]));
    // Sockets of the old server are told.
    let mut socket = server.watch("/t").await;
    server.begin_stop();
    socket.expect_close(1001, "the server is shutting down").await;
}
