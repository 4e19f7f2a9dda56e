//! What exists, and what looking leaves behind: nothing.

use serde_json::{Value, json};

use crate::harness::{Server, broadcast, create, error, eventually, send_to, state};

#[tokio::test]
async fn fx4_items_say_path_class_children_and_sockets() {
    let server = Server::start();
    server.create("/t", "a").await;
    server.create("/t", "b").await;
    server.increment("/").await;
    let _one = server.watch("/t/a").await;
    let _two = server.watch_changes("/t/a").await;
    let _nobody = server.watch("/t/never-wrote").await;
    let answer = server.get("/.fleet/objects").await.assert(200);
    let item = |path: &str, children: u64, sockets: u64| json!({"path": path, "class": "agent", "children": children, "sockets": sockets});
    let items = [item("/", 0, 0), item("/t", 2, 0), item("/t/a", 0, 2), item("/t/b", 0, 0)];
    assert_eq!(answer.json(), json!({"items": items}));
    assert!(answer.text().starts_with(r#"{"items":[{"path":"/","class":"agent","children":0,"sockets":0},"#));
}

#[tokio::test]
async fn fx4_a_prefix_is_a_subtree() {
    let server = Server::start();
    for path in ["/", "/t", "/t/a", "/t/a/b", "/t-1", "/tt", "/T", "/0"] {
        server.increment(path).await;
    }
    let list = async |query: &str| -> Vec<String> {
        let page = server.get(&format!("/.fleet/objects{query}")).await.ok();
        page["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list("?prefix=/t").await, ["/t", "/t/a", "/t/a/b"]);
    assert_eq!(list("?prefix=%2Ft%2Fa").await, ["/t/a", "/t/a/b"]);
    assert_eq!(list("?prefix=/t/").await, ["/t", "/t/a", "/t/a/b"]);
    assert_eq!(list("?prefix=/nothing").await, [""; 0]);
    assert_eq!(list("?prefix=/").await, list("").await);
    assert_eq!(list("").await, ["/", "/0", "/T", "/t-1", "/t", "/t/a", "/t/a/b", "/tt"]);
}

#[tokio::test]
async fn fx4_pages_join_to_the_whole() {
    let mut server = Server::start();
    for number in 0..25 {
        server.create("/t", &format!("n{number}")).await;
        server.increment(&format!("/t/n{number}/x")).await;
    }
    server.increment("/u").await;
    let whole: Vec<_> = server.objects().await.into_iter().filter(|path| path != "/u").collect();
    assert_eq!(whole.len(), 51);
    for limit in [1, 2, 7, 50, 51, 1_000] {
        let (mut joined, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = server.get(&format!("/.fleet/objects?prefix=/t&limit={limit}{cursor}")).await.ok();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit && pages < 100, "limit {limit}");
            joined.extend(items.iter().map(|item| item["path"].as_str().unwrap().to_owned()));
            pages += 1;
            match page.get("cursor") {
                Some(Value::String(next)) => cursor = format!("&cursor={next}"),
                Some(other) => panic!("{other}"),
                None => break,
            }
        }
        assert_eq!(joined, whole, "limit {limit}");
        assert_eq!(pages, 51usize.div_ceil(limit), "limit {limit}");
    }
    // A cursor is good across a restart, and when what it names is gone.
    let page = server.get("/.fleet/objects?prefix=/t&limit=10").await.ok();
    let cursor = page["cursor"].as_str().unwrap();
    server.delete(page["items"][9]["path"].as_str().unwrap()).await.assert(200);
    server.restart();
    let next = server.get(&format!("/.fleet/objects?prefix=/t&limit=1000&cursor={cursor}")).await.ok();
    let left = server.get("/.fleet/objects?prefix=/t&limit=1000").await.ok();
    assert_eq!(next["items"].as_array().unwrap()[..], left["items"].as_array().unwrap()[9..]);
}

#[tokio::test]
async fn fx4_bad_questions_are_refused() {
    let server = Server::start();
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=",
        "prefix=/a.b",
        "prefix=/a%20b",
        "cursor=/%25",
        "page=2",
        "limit=1&limit=2",
    ] {
        server.get(&format!("/.fleet/objects?{bad}")).await.fails_saying(400, "", "bad_request");
    }
    server.get("/.fleet/objects?limit=1001").await.fails_saying(400, "1000", "bad_request");
    server.post("/.fleet/objects").await.fails_saying(405, "POST", "method_not_allowed");
}

#[tokio::test]
async fn fx4_listing_wakes_nobody() {
    let mut server = Server::start();
    for number in 0..20 {
        server.create("/t", &format!("n{number}")).await;
    }
    server.restart();
    assert_eq!(server.objects().await.len(), 21);
    let metrics = server.metrics().await;
    assert_eq!((metrics.activations(), metrics.active()), (0, 0));
}

#[tokio::test]
async fn looking_creates_nothing() {
    let mut server = Server::start();
    let delivery = json!({"type": "message", "payload": {"message": "m", "sender": "s"}});
    for path in ["/", "/t", "/t/a/b", "/x-1"] {
        server.state(path).await;
        server.request("GET", path).await.assert(200);
        server.request("HEAD", path).header("Accept", "application/json").await.assert(200);
        server.request("OPTIONS", path).await.assert(405);
        server.post(path).body("text/plain", b"hello").await.assert(405);
        server.request("PUT", path).await.assert(405);
        server.post(&format!("{path}/_message")).json(&delivery).await.assert(200);
        server.post(&format!("{path}:fly")).await.assert(404);
        server.post(&format!("{path}:createAgent")).json(&json!({"name": "a b"})).await.assert(400);
        server.post(&format!("{path}:deleteAgent")).json(&json!({"name": "a"})).await.assert(404);
        server.post(&format!("{path}:sendMessage")).json(&json!({"recipient": "a", "message": 1})).await.assert(404);
        server.call(path, "broadcast", json!({"message": 1})).await;
        server.delete(path).await.assert(200);
        server.get(&format!("/.fleet/objects?prefix={path}")).await.assert(200);
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.active(), metrics.asleep(), metrics.sockets()), (0, 0, 0));
    assert_eq!(server.objects().await, [""; 0]);
    server.restart();
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn looking_through_a_socket_creates_nothing() {
    let server = Server::start();
    for path in ["/", "/t", "/t/a"] {
        let mut socket = server.watch(path).await;
        socket.send(send_to("a", 1)).await;
        socket.expect(error("Recipient not found")).await;
        socket.send(create("a b")).await;
        socket.expect(error("Invalid agent name")).await;
        socket.send(broadcast(1)).await;
        socket.expect(state(0)).await;
        assert_eq!(server.metrics().await.sockets(), 1);
        socket.close().await;
    }
    // Nothing tells when the server has forgotten a socket that is gone.
    eventually("all is as before", async || {
        let metrics = server.metrics().await;
        (metrics.active(), metrics.asleep(), metrics.sockets()) == (0, 0, 0)
    })
    .await;
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn what_a_parent_lists_exists() {
    let mut server = Server::start();
    server.create("/t", "kid").await;
    for _ in 0..2 {
        assert_eq!(server.objects().await, ["/t", "/t/kid"]);
        server.restart();
    }
}
