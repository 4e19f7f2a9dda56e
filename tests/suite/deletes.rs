//! Deleting a subtree: all of it, at once, for good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Client, Server, body, change, create, delete, error, eventually, increment, message, send_to, state, state_with,
    with_id, within,
};

const DELETED: &str = "Agent deleted";

#[tokio::test]
async fn fp9_the_answer_is_ok_also_for_nothing() {
    let server = Server::start();
    server.increment("/a/b").await;
    for path in ["/a/b", "/a/b", "/a", "/never/was", "/"] {
        assert_eq!(server.delete(path).await.assert(200).text(), "OK", "{path}");
    }
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fp9_everything_below_goes_listed_or_not_and_nothing_beside() {
    let mut server = Server::start();
    server.create("/t", "a").await;
    server.create("/t/a", "listed").await;
    let below = ["/t/a", "/t/a/listed", "/t/a/unlisted", "/t/a/x/y/z", "/t/a/-", "/t/a/0"];
    let beside = ["/t", "/t/a-b", "/t/a0", "/t/A", "/t/ab", "/t/aa/a", "/a", "/ta", "/t-/a"];
    for path in below.iter().chain(&beside) {
        server.increment(path).await;
    }
    assert_eq!(server.delete("/t/a").await.assert(200).text(), "OK");
    let mut left: Vec<_> = beside.iter().map(ToString::to_string).collect();
    left.sort_by_key(|path| format!("{path}/"));
    assert_eq!(server.objects().await, left);
    for _ in 0..2 {
        for path in below {
            assert_eq!(server.state(path).await, body(0, &[]), "{path}");
        }
        for path in beside {
            assert_eq!(server.state(path).await, body(1, &[]), "{path}");
        }
        server.restart();
    }
    assert_eq!(server.objects().await, left);
}

#[tokio::test]
async fn fp9_sockets_of_the_whole_subtree_close() {
    let server = Server::start();
    server.create("/t", "a").await;
    server.increment("/t/a/wrote").await;
    let mut parent = server.watch("/t").await;
    let mut beside = server.watch("/t/a-b").await;
    let paths = ["/t/a", "/t/a", "/t/a/wrote", "/t/a/never-wrote", "/t/a/x/y/never-wrote"];
    let mut sockets = Vec::new();
    for path in paths {
        sockets.push(server.watch(path).await);
        sockets.push(server.watch_changes(path).await);
    }
    server.delete("/t/a").await.assert(200);
    for socket in &mut sockets {
        socket.expect_close(1000, DELETED).await;
    }
    parent.expect(state(0)).await;
    parent.expect_nothing().await;
    beside.expect_nothing().await;
    eventually("the closed sockets are forgotten", async || server.metrics().await.sockets() == 2).await;
}

#[tokio::test]
async fn fp9_the_parents_sockets_are_told() {
    let server = Server::start();
    for name in ["a", "b", "c"] {
        server.create("/t", name).await;
    }
    let mut whole = server.watch("/t").await;
    let mut changes = server.watch_changes("/t").await;
    server.delete("/t/b").await.assert(200);
    whole.expect(state_with(0, &["a", "c"])).await;
    changes.expect(change(json!({"removed": ["b"]}))).await;
    // What is not listed is nothing new.
    server.increment("/t/unlisted").await;
    server.delete("/t/unlisted").await.assert(200);
    server.delete("/t/b").await.assert(200);
    server.delete("/t/a/below").await.assert(200);
    whole.expect_nothing().await;
    changes.expect_nothing().await;
    assert_eq!(server.state("/t").await, body(0, &["a", "c"]));
}

#[tokio::test]
async fn fp9_delete_agent_is_the_same_through_the_parent() {
    let mut server = Server::start();
    server.create("/t", "a").await;
    server.create("/t/a", "b").await;
    server.increment("/t/a/b/c").await;
    let mut parent = server.watch("/t").await;
    let mut child = server.watch("/t/a").await;
    let mut unlisted = server.watch("/t/a/b/c/d").await;
    parent.send(delete("a")).await;
    parent.expect(state(0)).await;
    child.expect_close(1000, DELETED).await;
    unlisted.expect_close(1000, DELETED).await;
    assert_eq!(server.objects().await, ["/t"]);
    parent.send(delete("a")).await;
    parent.expect(error("Agent not found")).await;
    drop(parent);
    server.restart();
    assert_eq!(server.objects().await, ["/t"]);
    assert_eq!(server.state("/t/a/b/c").await, body(0, &[]));
}

#[tokio::test]
async fn fp9_the_root_takes_all_with_it() {
    let mut server = Server::start();
    for path in ["/", "/a", "/a/b", "/z"] {
        server.increment(path).await;
    }
    server.create("/", "a").await;
    let mut root = server.watch("/").await;
    let mut deep = server.watch("/never/wrote").await;
    server.delete("/").await.assert(200);
    root.expect_close(1000, DELETED).await;
    deep.expect_close(1000, DELETED).await;
    for _ in 0..2 {
        assert_eq!(server.objects().await, [""; 0]);
        assert_eq!(server.state("/").await, body(0, &[]));
        server.restart();
    }
}

#[tokio::test]
async fn fp9_what_a_socket_was_answered_comes_before_the_close() {
    let server = Server::start();
    let mut socket = server.watch("/a").await;
    for id in 1..=100 {
        socket.feed(&with_id(id, increment())).await;
    }
    socket.flush().await;
    // Whatever of them came first is answered, in order; the rest is not.
    server.delete("/a").await.assert(200);
    let mut answered = 0;
    loop {
        match socket.next().await.expect("a close frame").expect("a frame") {
            tokio_tungstenite::tungstenite::Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "result" {
                    answered += 1;
                    assert_eq!((&frame["id"], &frame["payload"]["count"]), (&json!(answered), &json!(answered)));
                }
            }
            tokio_tungstenite::tungstenite::Message::Close(frame) => {
                let frame = frame.unwrap();
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, DELETED));
                break;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(server.state("/a").await, body(0, &[]));
}

#[tokio::test]
async fn fp10_a_deleted_path_is_as_new() {
    let mut server = Server::start();
    server.create("/t", "a").await;
    server.create("/t/a", "old").await;
    server.increment("/t/a").await;
    server.increment("/t/a/old").await;
    server.delete("/t/a").await.assert(200);
    server.create("/t", "a").await;
    assert_eq!(server.state("/t/a").await, body(0, &[]));
    assert_eq!(server.state("/t/a/old").await, body(0, &[]));
    assert_eq!(server.create("/t/a", "old").await["path"], "/t/a/old", "it is nobody's name any more");
    server.create("/t/a", "new").await;
    assert_eq!(server.increment("/t/a").await, json!({"count": 1}));
    for _ in 0..2 {
        assert_eq!(server.state("/t").await, body(0, &["a"]));
        assert_eq!(server.state("/t/a").await, body(1, &["old", "new"]));
        assert_eq!(server.state("/t/a/old").await, body(0, &[]));
        assert_eq!(server.objects().await, ["/t", "/t/a", "/t/a/new", "/t/a/old"]);
        server.restart();
    }
}

#[tokio::test]
async fn fp10_again_and_again() {
    let mut server = Server::start();
    for round in 1..=30 {
        server.create("/t", "a").await;
        let mut socket = server.socket("/t/a").await;
        socket.expect(state(0)).await;
        for count in 1..=round {
            socket.send(increment()).await;
            socket.expect(state(count)).await;
        }
        server.increment("/t/a/deep/er").await;
        if round % 2 == 0 {
            server.delete("/t/a").await.assert(200);
        } else {
            server.call("/t", "deleteAgent", json!({"name": "a"})).await;
        }
        socket.expect_close(1000, DELETED).await;
        assert_eq!(server.objects().await, ["/t"]);
        if round % 10 == 0 {
            server.restart();
            assert_eq!(server.objects().await, ["/t"]);
        }
    }
}

#[tokio::test]
async fn fp10_no_late_message_reaches_the_new_one() {
    let server = Server::start();
    let mut parent = server.watch("/t").await;
    parent.send(create("a")).await;
    let mut old = server.watch("/t/a").await;
    for number in 0..50 {
        parent.feed(&with_id(number, send_to("a", number))).await;
    }
    parent.feed(&with_id("gone", delete("a"))).await;
    parent.feed(&with_id("back", create("a"))).await;
    parent.feed(&with_id("last", send_to("a", "new"))).await;
    parent.flush().await;
    let gone = json!({"type": "result", "id": "gone", "payload": {}});
    parent.until(&gone).await;
    let mut fresh = server.socket("/t/a").await;
    fresh.expect(state(0)).await;
    // Either it was there in time for the new message or not; what was for the old one is not for it.
    let (before, _) = fresh.ask(json!({"type": "nothing"})).await;
    assert!(before.is_empty() || before == [message("new", "t")], "{before:?}");
    let closed = old.until_closed().await;
    assert_eq!(closed, Some((1000, DELETED.to_owned())));
}

/// Increments until told to stop; the counts that were acknowledged.
async fn increment_until(client: Client, stop: Arc<AtomicBool>) -> Vec<u64> {
    let mut counts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = client.post("/t/a:increment").await;
        match answer.status {
            200 => counts.push(answer.json()["count"].as_u64().unwrap()),
            // It was in the mailbox of the deleted object.
            409 => drop(answer.fails_saying(409, "deleted", "conflict")),
            other => panic!("{other}"),
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp10_acknowledged_increments_are_of_the_old_or_of_the_new() {
    const DELETES: usize = 5;
    let mut server = Server::start();
    server.create("/t", "a").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(increment_until((*server).clone(), Arc::clone(&stop)));
    }
    for _ in 0..DELETES {
        eventually("some increments", async || server.state("/t/a").await["data"]["count"].as_u64() > Some(20)).await;
        server.delete("/t/a").await.assert(200);
    }
    eventually("some increments", async || server.state("/t/a").await["data"]["count"].as_u64() > Some(20)).await;
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<u64> = within("the clients", tasks.join_all()).await.concat();
    let mut times = BTreeMap::new();
    for count in counts {
        *times.entry(count).or_insert(0) += 1;
    }
    for _ in 0..2 {
        let last = server.state("/t/a").await["data"]["count"].as_u64().unwrap();
        assert!((1..=last).all(|count| times.contains_key(&count)), "every count of the last one was acknowledged");
        assert!(times.values().all(|times| *times <= DELETES + 1), "a count twice in one incarnation: {times:?}");
        server.restart();
    }
}

/// Creates and deletes at random below `/t`, with the given order of choices.
async fn create_and_delete(client: Client, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..60 {
        let name = ["a", "b"][random.usize(..2)];
        let request = match random.u8(..10) {
            0 => client.delete("/t"),
            1..=2 => client.delete(&format!("/t/{name}")),
            3 => client.post("/t:deleteAgent").json(&json!({"name": name})),
            4..=6 => client.post("/t:createAgent").json(&json!({"name": name})),
            7 => client.post(&format!("/t/{name}:createAgent")).json(&json!({"name": "kid"})),
            _ => client.post(&format!("/t/{name}/kid:increment")),
        };
        let answer = request.await;
        assert!([200, 404, 409].contains(&answer.status), "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp9_concurrent_deletes_and_creates_leave_a_tree_that_agrees_with_itself() {
    let mut server = Server::start();
    for seed in 0..4 {
        println!("seed {seed}");
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            tasks.spawn(create_and_delete((*server).clone(), seed * 100 + task));
        }
        within("the clients", tasks.join_all()).await;
        for _ in 0..2 {
            let objects = server.objects().await;
            for path in ["/t", "/t/a", "/t/b"] {
                for child in server.state(path).await["agents"].as_array().unwrap() {
                    let child = format!("{path}/{}", child.as_str().unwrap());
                    assert!(objects.contains(&child), "{child} is listed by its parent and not in {objects:?}");
                }
            }
            server.restart();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp9_concurrent_overlapping_deletes_all_succeed() {
    let mut server = Server::start();
    for round in 0..10 {
        for path in ["/t", "/t/a", "/t/a/b", "/t/a/b/c", "/t/x"] {
            server.increment(path).await;
        }
        let mut sockets = Vec::new();
        for path in ["/t", "/t/a", "/t/a/b/c", "/t/a/never"] {
            sockets.push(server.watch(path).await);
        }
        let mut tasks = JoinSet::new();
        for path in ["/t/a/b/c", "/t/a", "/t", "/t/a/b", "/t", "/t/x", "/"] {
            let request = server.delete(path);
            tasks.spawn(async move { request.await.assert(200).text() });
        }
        assert!(within("the deletes", tasks.join_all()).await.iter().all(|text| text == "OK"));
        for socket in &mut sockets {
            assert_eq!(socket.until_closed().await, Some((1000, DELETED.to_owned())), "round {round}");
        }
        assert_eq!(server.objects().await, [""; 0]);
    }
    server.restart();
    assert_eq!(server.objects().await, [""; 0]);
}

/// Opens sockets until told to stop; how each was closed.
async fn open_until(client: Client, stop: Arc<AtomicBool>) -> Vec<Option<(u16, String)>> {
    let mut ends = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut socket = client.socket("/t/a").await;
        socket.send(with_id(1, increment())).await;
        ends.push(socket.until_closed().await);
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp9_sockets_that_are_just_opening_close_the_same() {
    let server = Server::start();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        tasks.spawn(open_until((*server).clone(), Arc::clone(&stop)));
    }
    for _ in 0..200 {
        server.delete("/t").await.assert(200);
    }
    stop.store(true, Ordering::Relaxed);
    let last = async {
        // Whoever opened after the last of them waits for another.
        while !tasks.is_empty() {
            tokio::select! {
                _ = server.delete("/t") => {}
                Some(ends) = tasks.join_next() => {
                    assert!(ends.unwrap().into_iter().all(|end| end == Some((1000, DELETED.to_owned()))));
                }
            }
        }
    };
    within("the sockets", last).await;
}

#[tokio::test]
async fn fp9_a_large_subtree_goes_in_one_step() {
    let mut server = Server::start();
    let mut maker = server.upgrade("/big").protocols("fleet.v2").await.unwrap();
    maker.first_state().await;
    for number in 0..3_000 {
        maker.feed(&create(&format!("n{number}"))).await;
        if number % 100 == 99 {
            maker.flush().await;
            maker.ask(json!({"type": "nothing"})).await;
        }
    }
    let page = server.get("/.fleet/objects?prefix=/big&limit=1").await.ok();
    assert_eq!(page["items"][0]["children"], 3_000);
    server.delete("/big").await.assert(200);
    // Before anything of it can have been reaped, it is gone.
    assert_eq!(server.objects().await, [""; 0]);
    server.increment("/big/n7").await;
    server.restart();
    assert_eq!(server.objects().await, ["/big/n7"]);
    assert_eq!(server.state("/big").await, body(0, &[]));
}
