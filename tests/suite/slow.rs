//! Slow readers: what merges, what does not, and what becomes of a socket that never reads.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Binary, Client, Server, broadcast, create, eventually, increment, result, state, state_with, with_id, within,
};

/// A path whose state is about 60 kB, so that a few frames fill a connection.
async fn wide(client: &Client, path: &str) -> Vec<String> {
    let mut socket = client.watch_changes(path).await;
    let names: Vec<String> = (0..2_000).map(|number| format!("a-rather-long-child-name-{number:05}")).collect();
    for names in names.chunks(200) {
        for name in names {
            socket.feed(&create(name)).await;
        }
        socket.flush().await;
        socket.ask(json!({"type": "nothing"})).await;
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx3_unsent_states_are_replaced_by_the_newest() {
    let server = Server::start();
    let names = wide(&server, "/w").await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // The first state is not replaced, though it is not read before the end.
    let mut slow = server.socket("/w").await;
    let mut busy = server.watch_changes("/w").await;
    for id in 1..=1_000 {
        busy.send(with_id(id, increment())).await;
        busy.until(&result(id, json!({"count": id}))).await;
    }
    slow.expect(state_with(0, &names)).await;
    let before = slow.until(&state_with(1_000, &names)).await;
    let seen: Vec<u64> = before.iter().map(|frame| frame["payload"]["data"]["count"].as_u64().unwrap()).collect();
    assert!(seen.is_sorted_by(|a, b| a < b), "they come in order");
    assert!(seen.len() < 900, "60 MB were kept for a socket that does not read: {} states", seen.len());
    slow.expect_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx3_the_state_that_is_an_answer_is_not_replaced() {
    const OWN: u64 = 200;
    const OTHERS: u64 = 300;
    let server = Server::start();
    let names = wide(&server, "/w").await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut slow, mut busy) = (server.watch("/w").await, server.watch_changes("/w").await);
    // Its own messages have no id, so each state is the only answer there is; others keep changing the state meanwhile.
    for _ in 0..OWN {
        slow.feed(&increment()).await;
    }
    slow.flush().await;
    let mut own: BTreeSet<u64> = (1..=OWN + OTHERS).collect();
    for _ in 0..OTHERS {
        let (_, result) = busy.ask(increment()).await;
        own.remove(&result["count"].as_u64().unwrap());
    }
    let last = state_with(OWN + OTHERS, &names);
    let mut frames = slow.until(&last).await;
    frames.push(last);
    let counts: Vec<u64> = frames.iter().map(|frame| frame["payload"]["data"]["count"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted(), "{counts:?}");
    let missing: Vec<_> = own.into_iter().filter(|count| !counts.contains(count)).collect();
    assert_eq!(missing, [0; 0], "messages that were not answered");
    assert!(counts.len() < 450, "states for others are kept for a socket that does not read: {}", counts.len());
    slow.expect_nothing().await;
}

#[tokio::test]
async fn fx3_with_an_id_the_state_precedes_the_result() {
    let server = Server::start();
    let mut one = server.watch("/t").await;
    let mut two = server.watch("/t").await;
    for round in 0..50u64 {
        one.send(with_id(round, increment())).await;
        two.send(with_id(round, increment())).await;
        for socket in [&mut one, &mut two] {
            let before = loop_until_result(socket, round).await;
            let (count, states) = before;
            // If the state of this turn was not replaced it came before; a newer one comes after or came already.
            assert!(states.iter().all(|state| *state <= count + 1), "{states:?} before the result {count}");
        }
    }
    let last = state(100);
    for socket in [&mut one, &mut two] {
        let (before, _) = socket.ask(json!({"type": "nothing"})).await;
        if let Some(newest) = before.last() {
            assert_eq!(*newest, last);
        }
    }
}

async fn loop_until_result(socket: &mut crate::harness::Socket, id: u64) -> (u64, Vec<u64>) {
    let mut states = Vec::new();
    loop {
        let frame = socket.json().await;
        if frame["type"] == "result" {
            assert_eq!(frame["id"], id);
            return (frame["payload"]["count"].as_u64().unwrap(), states);
        }
        states.push(frame["payload"]["data"]["count"].as_u64().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp7_a_slow_child_delays_nobody_and_ends_with_1013() {
    let server = Server::start();
    server.create("/t", "slow").await;
    server.create("/t", "quick").await;
    let mut slow = server.watch("/t/slow").await;
    let mut quick = server.watch("/t/quick").await;
    let mut parent = server.watch_changes("/t").await;
    // 256 KiB each: beyond what a connection holds and what is kept for one socket.
    let large = "x".repeat(256 << 10);
    for number in 0..120 {
        let text = format!("{number} {large}");
        parent.send(with_id(number, broadcast(text.clone()))).await;
        parent.expect(result(number, json!({"recipients": 2}))).await;
        quick.expect(crate::harness::message(text, "t")).await;
    }
    let end = slow.until_closed().await.expect("a close frame");
    assert_eq!(end.0, 1013, "{}", end.1);
    quick.expect_nothing().await;
    // It may come back at once.
    let mut again = server.watch("/t/slow").await;
    again.expect_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_messages_without_reading_are_all_answered_in_order() {
    const MESSAGES: u64 = 100_000;
    // Long ids, so that the answers do not fit into what a connection holds.
    let id = |number: u64| format!("{number:0>150}");
    let server = Binary::start(&[]).await;
    let mut socket = server.upgrade("/t").protocols("fleet.v2").receive_buffer(64 << 10).await.unwrap();
    socket.first_state().await;
    let (mut sending, mut receiving) = socket.into_stream().split();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        for number in 0..MESSAGES {
            let message = with_id(id(number), increment());
            sending.feed(Message::Text(message.to_string().into())).await.unwrap();
        }
        sending.flush().await.unwrap();
        sending
    });
    // The server stops reading long before it has all of them, stays responsive, and keeps little.
    let (mut handled, mut unchanged) = (0, 0);
    eventually("it stops reading", async || {
        let now = server.state("/t").await["data"]["count"].as_u64().unwrap();
        unchanged = if now > 0 && std::mem::replace(&mut handled, now) == now { unchanged + 1 } else { 0 };
        unchanged == 25
    })
    .await;
    assert!(handled < MESSAGES, "everything was read of a client that does not read");
    server.increment("/other").await;
    assert!(server.resident() < 100 << 10, "{} KiB", server.resident());
    let mut next = 0;
    while next < MESSAGES {
        let frame = within("an answer", receiving.next()).await.unwrap().unwrap();
        let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        if frame["type"] == "result" {
            assert_eq!((&frame["id"], &frame["payload"]["count"]), (&json!(id(next)), &json!(next + 1)));
            next += 1;
        }
    }
    drop(within("all of them are sent", tasks.join_all()).await);
    assert_eq!(server.state("/t").await["data"]["count"], MESSAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_given_up() {
    let server = Server::configured("server.ping_interval = \"300ms\"\nserver.ping_timeout = \"300ms\"");
    wide(&server, "/w").await;
    let _never = server.upgrade("/w").receive_buffer(4 << 10).await.unwrap();
    let _never_changes = server.upgrade("/w").protocols("fleet.v2").receive_buffer(4 << 10).await.unwrap();
    eventually("both are forgotten", async || server.metrics().await.sockets() == 0).await;
    server.increment("/w").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx7_a_client_that_reads_slowly_is_not_given_up() {
    const BYTES: usize = 11 * (700 << 10);
    let server = Server::configured("server.ping_interval = \"1s\"\nserver.ping_timeout = \"1500ms\"");
    server.create("/t", "kid").await;
    let mut slow = server.upgrade("/t/kid").receive_buffer(16 << 10).await.unwrap();
    slow.first_state().await;
    // For a client that takes 8 kB every 10 ms this is a matter of ten seconds, in which no pong can come.
    let text = "x".repeat(700 << 10);
    for _ in 0..11 {
        server.call("/t", "broadcast", json!({"message": text})).await;
    }
    let mut transport = slow.into_transport();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let (mut taken, mut bytes) = (0, [0; 8 << 10]);
    while taken < BYTES {
        tick.tick().await;
        let read = within("more", transport.read(&mut bytes)).await.unwrap();
        assert!(read > 0, "given up after {taken} bytes, although it took all it was sent");
        taken += read;
    }
}
