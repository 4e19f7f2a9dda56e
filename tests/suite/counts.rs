//! Many at once: nothing is lost, nothing out of order.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Server, Socket, body, create, delete, increment, result, with_id, within};

/// Sends increments with so many in flight; the counts that came back, in the order of their ids.
async fn increments(mut socket: Socket, count: u64, in_flight: u64) -> Vec<u64> {
    let mut counts = Vec::new();
    for id in 0..count + in_flight {
        if id < count {
            socket.send(with_id(id, increment())).await;
        }
        if id >= in_flight {
            let frame = loop {
                let frame = socket.json().await;
                if frame["type"] != "state" && frame["type"] != "change" {
                    break frame;
                }
            };
            assert_eq!((&frame["type"], &frame["id"]), (&json!("result"), &json!(id - in_flight)));
            counts.push(frame["payload"]["count"].as_u64().unwrap());
        }
    }
    socket.close().await;
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp11_a_storm_of_50_sockets_with_16_in_flight_counts_exactly() {
    let mut server = Server::start();
    let mut watcher = server.watch("/hot").await;
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let socket = if number % 2 == 0 { server.watch("/hot").await } else { server.watch_changes("/hot").await };
        tasks.spawn(increments(socket, 100, 16));
    }
    let each = within("the storm", tasks.join_all()).await;
    assert!(each.iter().all(|counts| counts.is_sorted_by(|a, b| a < b)), "of one socket they are in order");
    let mut all = each.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=5_000).collect::<Vec<_>>(), "each count was given once");
    let before = watcher.until(&crate::harness::state(5_000)).await;
    let seen: Vec<_> = before.iter().map(|frame| frame["payload"]["data"]["count"].as_u64().unwrap()).collect();
    assert!(seen.is_sorted_by(|a, b| a < b), "a watcher sees it grow");
    server.restart();
    assert_eq!(server.state("/hot").await, body(5_000, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp11_sockets_and_requests_together() {
    let mut server = Server::start();
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(increments(server.watch("/hot").await, 50, 5));
        let client = (*server).clone();
        tasks.spawn(async move {
            let mut counts = Vec::new();
            for _ in 0..20 {
                counts.push(client.increment("/hot").await["count"].as_u64().unwrap());
            }
            counts
        });
    }
    let mut all = within("the clients", tasks.join_all()).await.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=700).collect::<Vec<_>>());
    server.restart();
    assert_eq!(server.state("/hot").await, body(700, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp11_many_paths_do_not_mix() {
    let mut server = Server::start();
    let mut tasks = JoinSet::new();
    for number in 0..40 {
        for _ in 0..2 {
            tasks.spawn(increments(server.watch(&format!("/p/{number}")).await, 25, 4));
        }
    }
    within("the clients", tasks.join_all()).await;
    for _ in 0..2 {
        for number in 0..40 {
            assert_eq!(server.state(&format!("/p/{number}")).await, body(50, &[]), "{number}");
        }
        server.restart();
    }
}

#[tokio::test]
async fn fp11_messages_of_one_socket_are_handled_in_order() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    let mut expected: Vec<Value> = Vec::new();
    for round in 0..100u64 {
        let name = format!("n{round}");
        for (step, message, answer) in [
            ("made", create(&name), json!({"name": name, "path": format!("/t/{name}")})),
            ("up", increment(), json!({"count": round + 1})),
            ("gone", delete(&name), json!({})),
        ] {
            let id = format!("{step} {round}");
            socket.feed(&with_id(id.clone(), message)).await;
            expected.push(result(id, answer));
        }
    }
    socket.flush().await;
    let mut results = Vec::new();
    while results.len() < expected.len() {
        let frame = socket.json().await;
        match frame["type"].as_str() {
            Some("state") => {}
            _ => results.push(frame),
        }
    }
    assert_eq!(results, expected);
}

#[tokio::test]
async fn fp11_messages_without_an_id_are_each_answered_by_their_own_state() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    for _ in 0..500 {
        socket.feed(&increment()).await;
    }
    socket.flush().await;
    for count in 1..=500 {
        socket.expect(crate::harness::state(count)).await;
    }
    socket.expect_nothing().await;
}
