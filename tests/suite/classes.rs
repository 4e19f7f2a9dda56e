//! Classes of a user beside the built-in one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleet::server::Builder;
use fleet::{Class, Error, ObjectName, RawValue, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Server, body, eventually, within};

/// Counts, and keeps a row of each step.
#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

impl Class for Counter {
    const NAME: &'static str = "counter";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "add" => {
                self.count += 1;
                turn.put(&format!("step {}", self.count), &self.count)?;
                json(&self.count)
            }
            "get" => json(&self.count),
            other => Err(unknown_method(other)),
        }
    }
}

/// Creates children in every way.
#[derive(Default, Serialize, Deserialize)]
struct Parent;

impl Class for Parent {
    const NAME: &'static str = "parent";
    const CHILDREN: Option<&'static str> = Some("counter");

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "create" => {
                let name: String = read(payload)?;
                let name = ObjectName::parse(&name).map_err(|error| Error::bad_request(error.to_string()))?;
                json(turn.create_child(&name)?.as_str())
            }
            "createUnique" => json(turn.create_unique_child()?.as_str()),
            "children" => {
                let after: Option<String> = read(payload)?;
                let page = turn.children(after.as_deref())?.take(2);
                let page: Vec<_> = page.map(|child| (child.name.as_str(), child.class, child.sockets)).collect();
                json(&page)
            }
            other => Err(unknown_method(other)),
        }
    }
}

fn server() -> Builder {
    fleet::Server::builder().class::<Counter>().class::<Parent>().route("/parents/*", "parent")
}

/// The class that each object was stored with.
async fn classes(server: &Server) -> Vec<(String, String)> {
    let page = server.get("/.fleet/objects?limit=1000").await.ok();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(|item| (text(&item["path"]), text(&item["class"]))).collect()
}

#[tokio::test]
async fn an_agent_creates_a_child_of_a_class() {
    let mut server = Server::built(server);
    let created = server.call("/t", "createAgent", json!({"name": "bob", "class": "counter"})).await;
    assert_eq!(created, json!({"name": "bob", "path": "/t/bob"}));
    server.call("/t", "createAgent", json!({"name": "amy", "class": null})).await;
    for _ in 0..2 {
        server.call("/t/bob", "add", json!(null)).await;
        assert_eq!(
            classes(&server).await,
            [("/t", "agent"), ("/t/amy", "agent"), ("/t/bob", "counter")].map(|(a, b)| (a.into(), b.into()))
        );
        server.restart();
    }
    assert_eq!(server.call("/t/bob", "get", json!(null)).await, json!(2));
    let refused = server.post("/t:createAgent").json(&json!({"name": "eve", "class": "nothing"})).await;
    refused.fails_saying(400, "Unknown class: nothing; there are agent, coordinator, counter, ", "bad_request");
    let refused = server.post("/t:createAgent").json(&json!({"name": "eve", "class": 7})).await;
    refused.fails_saying(400, "Invalid class", "bad_request");
    assert_eq!(server.state("/t").await, body(0, &["bob", "amy"]));
}

#[tokio::test]
async fn a_path_that_exists_is_adopted_with_its_class() {
    let server = Server::built(server);
    server.increment("/t/bob").await;
    server.call("/t", "createAgent", json!({"name": "bob", "class": "counter"})).await;
    assert_eq!(server.increment("/t/bob").await, json!({"count": 2}));
    // One that was only looked at does not exist.
    let mut watcher = server.watch("/t/amy").await;
    server.call("/t", "createAgent", json!({"name": "amy", "class": "counter"})).await;
    let (_, answer) = watcher.ask(json!({"type": "add"})).await;
    assert_eq!(answer, json!(1));
    let found = classes(&server).await;
    assert_eq!(found[1..], [("/t/amy", "counter"), ("/t/bob", "agent")].map(|(a, b)| (a.into(), b.into())));
}

#[tokio::test]
async fn id1_a_class_creates_children_with_names_that_nobody_guesses() {
    let server = Server::built(server);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let path = server.call("/parents/a", "createUnique", json!(null)).await;
        let name = path.as_str().unwrap().strip_prefix("/parents/a/").unwrap().to_owned();
        assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        assert_eq!(
            server.call(path.as_str().unwrap(), "add", json!(null)).await,
            json!(1),
            "a counter, as CHILDREN says"
        );
        names.insert(name);
    }
    assert_eq!(names.len(), 10);
}

#[tokio::test]
async fn ob7_children_are_listed_with_class_and_sockets_without_waking_them() {
    let mut server = Server::start();
    server.increment("/parents/a/old").await;
    server.restart_built(self::server);
    for name in ["one", "two", "old", "three"] {
        server.call("/parents/a", "create", json!(name)).await;
    }
    let _sockets = (server.watch("/parents/a/two").await, server.watch("/parents/a/two").await);
    let awake = server.metrics().await.activations();
    let pages = [
        (json!(null), json!([["one", "counter", 0], ["two", "counter", 2]])),
        (json!("two"), json!([["old", "agent", 0], ["three", "counter", 0]])),
        (json!("three"), json!([])),
    ];
    for (after, page) in pages {
        assert_eq!(server.call("/parents/a", "children", after).await, page);
    }
    server.post("/parents/a:children").json(&json!("nobody")).await.fails(404, "Agent not found", "not_found");
    assert_eq!(server.metrics().await.activations(), awake);
}

#[tokio::test]
async fn a_stored_class_that_is_gone_is_named() {
    let mut server = Server::built(server);
    server.call("/t", "createAgent", json!({"name": "bob", "class": "counter"})).await;
    server.call("/t/bob", "add", json!(null)).await;
    server.restart_built(fleet::Server::builder);
    let text = "class `counter` is not registered in this server";
    server.get("/t/bob").await.fails(503, text, "unavailable");
    server.post("/t/bob:add").await.fails(503, text, "unavailable");
    assert_eq!(server.state("/t").await, body(0, &["bob"]), "others do not mind");
    server.restart_built(self::server);
    assert_eq!(server.call("/t/bob", "add", json!(null)).await, json!(2), "and nothing was lost");
}

#[tokio::test]
async fn op4_the_metrics_of_a_class_are_those_of_the_server() {
    let server = Server::built(server);
    let idle = server.get("/.fleet/classes/counter/metrics").await.ok();
    let nothing = json!({"activeObjects": 0, "requestsPerSecond": 0.0, "cpuTimeP95": 0.0, "stateOperations": 0});
    assert_eq!(idle, nothing);
    for name in ["a", "b"] {
        server.call("/t", "createAgent", json!({"name": name, "class": "counter"})).await;
        for _ in 0..20 {
            server.call(&format!("/t/{name}"), "add", json!(null)).await;
        }
    }
    let counter = server.get("/.fleet/classes/counter/metrics").await.ok();
    let metrics = server.metrics().await;
    assert_eq!(counter["activeObjects"], json!(2));
    assert_eq!(metrics.value(r#"fleet_objects{class="counter",state="active"}"#), 2);
    assert_eq!(metrics.value(r#"fleet_events_total{class="counter"}"#), 40);
    // Each step writes a row and saves the state.
    assert_eq!(counter["stateOperations"], json!(80));
    assert_eq!(metrics.value(r#"fleet_state_operations_total{class="counter"}"#), 80);
    let (rate, p95) = (counter["requestsPerSecond"].as_f64().unwrap(), counter["cpuTimeP95"].as_f64().unwrap());
    // It began less than a minute ago, and took less than the time that a test may take.
    assert!(rate > 40.0 / 60.0 && rate <= 40.0, "{rate}");
    assert!(p95 > 0.0 && p95 < 30_000.0, "{p95}");
    assert_eq!(counter.as_object().unwrap().len(), 4);
    assert_eq!(server.get("/.fleet/classes/parent/metrics").await.ok(), nothing, "each class has its own");

    server.request("HEAD", "/.fleet/classes/agent/metrics").await.assert(200);
    let text = "class `nothing` is not registered in this server";
    server.get("/.fleet/classes/nothing/metrics").await.fails(404, text, "not_found");
    for method in ["POST", "DELETE", "PUT"] {
        let refused = server.request(method, "/.fleet/classes/counter/metrics").await;
        refused.fails_saying(405, method, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
}

static LOOPING: AtomicUsize = AtomicUsize::new(0);
static ENOUGH: AtomicBool = AtomicBool::new(false);

/// Keeps a core busy until the test has seen enough.
#[derive(Default, Serialize, Deserialize)]
struct Looping;

impl Class for Looping {
    const NAME: &'static str = "looping";

    fn call(&mut self, _: &mut Turn<'_>, _: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        LOOPING.fetch_add(1, Ordering::SeqCst);
        while !ENOUGH.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        LOOPING.fetch_sub(1, Ordering::SeqCst);
        json(&())
    }
}

/// Lets the loops end however the test does.
struct Loops;

impl Drop for Loops {
    fn drop(&mut self) {
        ENOUGH.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_handlers_that_loop_hold_up_nobody_else() {
    const LOOPS: usize = 8;
    let server = Server::built(|| fleet::Server::builder().class::<Looping>().route("/loops/*", "looping"));
    let loops = Loops;
    let mut calls = JoinSet::new();
    for number in 0..LOOPS {
        let client = (*server).clone();
        calls.spawn(async move { client.call(&format!("/loops/{number}"), "loop", json!(null)).await });
        eventually("it loops", async || LOOPING.load(Ordering::SeqCst) > number).await;
    }
    let mut socket = server.watch("/other/socket").await;
    for count in 1..=50u64 {
        let answer = server.increment(&format!("/other/{}", count % 5)).await;
        assert_eq!(answer["count"], json!(count.div_ceil(5)));
        socket.send(crate::harness::increment()).await;
        socket.expect(crate::harness::state(count)).await;
    }
    assert_eq!(LOOPING.load(Ordering::SeqCst), LOOPS, "each of them loops all the while");
    drop(loops);
    within("the loops", calls.join_all()).await;
}
