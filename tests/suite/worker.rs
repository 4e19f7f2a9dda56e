//! `worker`: an attempt at a task, spawned by a class that keeps the outcome of each; handlers that end when the test says so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::server::Builder;
use fleet::{Ask, Class, Error, ObjectName, ObjectPath, RawValue, Replied, Task, TaskHandler, Turn};
use fleet::{json as encode, read, unknown_method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::harness::{Server, eventually, within};

/// Spawns workers as it is told, and keeps what came of each.
#[derive(Default, Serialize, Deserialize)]
struct Parent {
    outcomes: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Spawn {
    worker: String,
    order: Value,
    /// Where, if not below this.
    at: Option<String>,
}

fn bad(error: impl std::fmt::Display) -> Error {
    Error::bad_request(error.to_string())
}

fn child(turn: &Turn<'_>, name: &str) -> Result<ObjectPath, Error> {
    Ok(turn.path().child(&ObjectName::parse(name).map_err(bad)?))
}

impl Class for Parent {
    const NAME: &'static str = "parent";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "spawn" => {
                let Spawn { worker, order, at } = read(payload)?;
                let path = match at {
                    Some(at) => ObjectPath::parse(&at).map_err(bad)?,
                    None => child(turn, &worker)?,
                };
                let ask = Ask::new().in_memory().spawn_as("worker").timeout(60_000).note(&worker);
                turn.call(&path, "run", &order, ask)?;
            }
            "cancel" => {
                let (path, token): (String, String) = read(payload)?;
                turn.tell(&ObjectPath::parse(&path).map_err(bad)?, &json!({"cancel": token}))?;
            }
            "outcomes" => return encode(&self.outcomes),
            other => return Err(unknown_method(other)),
        }
        encode(&())
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let outcome = match &reply.result {
            Ok(answer) => read(answer)?,
            Err(error) => json!({"error": error.to_string()}),
        };
        self.outcomes.insert(read(reply.note)?, outcome);
        Ok(())
    }
}

/// Of one test: opens gates, and counts what was begun and what was dropped.
struct Stage {
    gate: Semaphore,
    begun: AtomicUsize,
    dropped: AtomicUsize,
}

static STAGE: Stage = Stage { gate: Semaphore::const_new(0), begun: AtomicUsize::new(0), dropped: AtomicUsize::new(0) };
/// The tests that look at the stage take it one after the other.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits for the gate, and notices its end.
struct Gated;

struct Noticed;

impl Drop for Noticed {
    fn drop(&mut self) {
        STAGE.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl TaskHandler for Gated {
    async fn run(&self, task: Task) -> Result<Vec<u8>, Error> {
        let _noticed = Noticed;
        STAGE.begun.fetch_add(1, Ordering::SeqCst);
        STAGE.gate.acquire().await.map_err(bad)?.forget();
        encode(&task)
    }
}

fn built() -> Builder {
    fleet::Server::builder()
        .class::<Parent>()
        .route("/p", "parent")
        .route("/q", "parent")
        .route("/idle", "worker")
        .task("gated", Gated)
        .task("fails", async |task: Task| Err(Error::conflict(task.read::<String>()?)))
        .task("panics", async |_| panic!("on purpose"))
        .task("breaks", async |_| Err(Error::internal("a secret")))
        .task("mumbles", async |_| Ok(b"no json".to_vec()))
}

#[expect(clippy::needless_pass_by_value, reason = "as `json!` makes it")]
fn order(kind: &str, data: Value) -> Value {
    json!({"taskId": "t1", "attempt": 2, "token": "k1", "type": kind, "data": data, "timeout": 30_000})
}

async fn spawn(server: &Server, worker: &str, order: Value) {
    server.call("/p", "spawn", json!({"worker": worker, "order": order})).await;
}

async fn outcome(server: &Server, worker: &str) -> Value {
    let outcomes = async || server.call("/p", "outcomes", json!(null)).await;
    eventually("an outcome", async || outcomes().await.get(worker).is_some()).await;
    outcomes().await[worker].take()
}

/// Spawns a worker and waits for what comes of it.
async fn done(server: &Server, worker: &str, order: Value) -> Value {
    spawn(server, worker, order).await;
    outcome(server, worker).await
}

async fn status(server: &Server, path: &str) -> Value {
    server.call(path, "getStatus", json!(null)).await
}

/// How many workers are in memory.
async fn workers(server: &Server) -> u64 {
    server.metrics().await.value(r#"fleet_objects{class="worker",state="active"}"#)
}

async fn begun(count: usize) {
    eventually("the handler has begun", async || STAGE.begun.load(Ordering::SeqCst) == count).await;
}

#[tokio::test]
async fn worker_built_in_echo_and_sleep() {
    let server = Server::built(built);
    let data = json!({"b": [1, 2.5, null], "a": "ä"});
    assert_eq!(done(&server, "e", order("echo", data.clone())).await, json!({"result": data}));
    let mut bare = order("echo", json!(null));
    bare.as_object_mut().unwrap().remove("data");
    assert_eq!(done(&server, "n", bare).await, json!({"result": null}));
    let began = Instant::now();
    assert_eq!(done(&server, "s", order("sleep", json!({"ms": 200}))).await, json!({"result": {"ms": 200}}));
    assert!(began.elapsed() >= Duration::from_millis(200));
    let refused = done(&server, "x", order("sleep", json!("long"))).await;
    let error = refused["error"].as_str().unwrap();
    assert!(error.starts_with("invalid payload: ") && error.contains(r#"expected {"ms": N}"#), "{refused}");
}

#[tokio::test]
async fn worker_get_status_while_it_runs_and_afterwards() {
    let _turn = TURN.lock().await;
    let server = Server::built(built);
    assert_eq!(status(&server, "/idle").await, json!({"class": "worker", "status": "idle"}));
    let began = STAGE.begun.load(Ordering::SeqCst);
    let mut stays = order("gated", json!(7));
    stays["selfDestructDelayMs"] = json!(60_000);
    spawn(&server, "w1", stays).await;
    begun(began + 1).await;
    let mut running = status(&server, "/p/w1").await;
    assert_eq!(server.state("/p/w1").await, running);
    let started = running["startedAt"].take().as_u64().unwrap();
    let wanted = json!({"class": "worker", "status": "processing", "taskId": "t1", "type": "gated", "startedAt": null});
    assert_eq!(running, wanted);
    let mut viewer = server.watch("/p/w1").await;
    STAGE.gate.add_permits(1);
    let task = json!({"id": "t1", "type": "gated", "attempt": 2, "data": 7, "timeout": 30_000});
    assert_eq!(outcome(&server, "w1").await, json!({"result": task}));
    let mut ended = status(&server, "/p/w1").await;
    viewer.expect(json!({"type": "state", "payload": ended})).await;
    let completed = ended["completedAt"].take().as_u64().unwrap();
    assert!(ended["startedAt"].as_u64() == Some(started) && completed >= started, "{ended}");
    assert_eq!(ended["status"], json!("completed"));

    let mut failing = order("fails", json!("no disk"));
    failing["selfDestructDelayMs"] = json!(60_000);
    assert_eq!(done(&server, "w2", failing).await, json!({"error": "no disk"}));
    let ended = status(&server, "/p/w2").await;
    assert!(ended["status"] == "failed" && ended["completedAt"].is_u64(), "{ended}");
    assert_eq!(status(&server, "/idle").await["status"], json!("idle"), "each is its own");
}

#[tokio::test]
async fn worker_only_its_parent_gives_it_a_task_and_only_one() {
    let _turn = TURN.lock().await;
    let server = Server::built(built);
    let began = STAGE.begun.load(Ordering::SeqCst);
    let only = "only the object above a worker gives it a task";
    server.post("/idle:run").json(&order("echo", json!(1))).await.fails(403, only, "forbidden");
    spawn(&server, "w1", order("gated", json!(1))).await;
    begun(began + 1).await;
    server.post("/p/w1:run").json(&order("echo", json!(1))).await.fails(403, only, "forbidden");
    let aside = json!({"worker": "aside", "at": "/p/w1", "order": order("echo", json!(1))});
    server.call("/q", "spawn", aside).await;
    let refused = async || server.call("/q", "outcomes", json!(null)).await["aside"].take();
    eventually("a refusal", async || !refused().await.is_null()).await;
    assert_eq!(refused().await, json!({"error": only}));
    let again = json!({"worker": "again", "at": "/p/w1", "order": order("echo", json!(1))});
    server.call("/p", "spawn", again).await;
    assert_eq!(outcome(&server, "again").await, json!({"error": "this worker has a task already; each is for one"}));
    server.post("/p/w1:stay").json(&json!(1)).await.fails(404, "Unknown message type: stay", "not_found");
    STAGE.gate.add_permits(1);
    assert_eq!(outcome(&server, "w1").await["result"]["data"], json!(1));
}

#[tokio::test]
async fn worker_a_handler_that_fails_panics_or_mumbles_is_an_error() {
    let server = Server::built(built);
    let error = async |worker: &str, kind: &str, data: Value| {
        done(&server, worker, order(kind, data)).await["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(error("f", "fails", json!("no disk")).await, "no disk");
    for kind in ["panics", "breaks", "mumbles"] {
        let text = error(kind, kind, json!(null)).await;
        assert!(text.starts_with("internal error; the log has it under "), "{kind}: {text}");
    }
    let nobody = "no handler is registered for tasks of type `unheard`";
    assert_eq!(error("u", "unheard", json!(null)).await, nobody);
    assert_eq!(done(&server, "e", order("echo", json!(1))).await, json!({"result": 1}), "the server does not mind");
}

#[tokio::test]
async fn worker_an_order_that_cannot_be_is_refused() {
    let server = Server::built(built);
    for (worker, field, value, text) in [
        ("a", "token", json!(null), "invalid payload: "),
        ("b", "timeout", json!(0), "timeout is 0 ms; it must be 1 to 86400000"),
        ("c", "timeout", json!(86_400_001), "timeout is 86400001 ms; it must be 1 to 86400000"),
    ] {
        let mut order = order("echo", json!(1));
        order[field] = value;
        let found = done(&server, worker, order).await;
        assert!(found["error"].as_str().unwrap().starts_with(text), "{found}");
    }
    let mut longest = order("echo", json!(1));
    longest["timeout"] = json!(86_400_000);
    assert_eq!(done(&server, "d", longest).await, json!({"result": 1}));
}

#[tokio::test]
async fn worker_a_handler_that_takes_too_long_is_dropped() {
    let _turn = TURN.lock().await;
    let server = Server::built(built);
    let dropped = STAGE.dropped.load(Ordering::SeqCst);
    let mut short = order("gated", json!(1));
    short["timeout"] = json!(50);
    let outcome = done(&server, "w1", short).await;
    assert!(outcome["error"].as_str().unwrap().starts_with("timed out: "), "{outcome}");
    eventually("it is dropped", async || STAGE.dropped.load(Ordering::SeqCst) == dropped + 1).await;
}

#[tokio::test]
async fn worker_cancellation_drops_the_handler() {
    let _turn = TURN.lock().await;
    let server = Server::built(built);
    let (began, dropped) = (STAGE.begun.load(Ordering::SeqCst), STAGE.dropped.load(Ordering::SeqCst));
    spawn(&server, "w1", order("gated", json!(1))).await;
    begun(began + 1).await;
    // The wrong token, and somebody else: what they say is a message like others.
    let mut viewer = server.watch("/p/w1").await;
    server.call("/p", "cancel", json!(["/p/w1", "k0"])).await;
    server.call("/q", "cancel", json!(["/p/w1", "k1"])).await;
    let said = viewer.json().await;
    assert_eq!((&said["type"], &said["payload"]["sender"]), (&json!("message"), &json!("q")), "{said}");
    assert_eq!(status(&server, "/p/w1").await["status"], json!("processing"));
    assert_eq!(STAGE.dropped.load(Ordering::SeqCst), dropped);
    drop(viewer);
    server.call("/p", "cancel", json!(["/p/w1", "k1"])).await;
    assert_eq!(outcome(&server, "w1").await, json!({"error": "cancelled: the task is not wanted any more"}));
    eventually("it is dropped", async || STAGE.dropped.load(Ordering::SeqCst) == dropped + 1).await;
    eventually("the worker is gone", async || workers(&server).await == 0).await;
    // Too late is no harm.
    server.call("/p", "cancel", json!(["/p/w1", "k1"])).await;
}

#[tokio::test]
async fn worker_deleting_its_parent_ends_it() {
    let _turn = TURN.lock().await;
    let server = Server::built(built);
    let (began, dropped) = (STAGE.begun.load(Ordering::SeqCst), STAGE.dropped.load(Ordering::SeqCst));
    spawn(&server, "w1", order("gated", json!(1))).await;
    begun(began + 1).await;
    server.delete("/p").await.assert(200);
    eventually("it is dropped", async || STAGE.dropped.load(Ordering::SeqCst) == dropped + 1).await;
    eventually("the worker is gone", async || workers(&server).await == 0).await;
}

/// How long a worker with this delay was there, from before it was spawned until it was gone.
async fn stayed(server: &Server, worker: &str, delay: u64) -> Duration {
    let mut order = order("echo", json!(1));
    order["selfDestructDelayMs"] = json!(delay);
    let began = Instant::now();
    done(server, worker, order).await;
    let seen = server.post(&format!("/p/{worker}:getStatus")).await;
    // Only if it was asked in time: a busy machine may be late, but nothing may be early.
    if began.elapsed() < Duration::from_millis(delay) {
        assert_eq!(seen.ok()["status"], json!("completed"));
    }
    eventually("it is gone", async || workers(server).await == 0).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(delay), "{took:?}");
    took
}

#[tokio::test]
async fn worker_self_destruct_delay_ms() {
    let server = Server::built(built);
    for delay in [0, 1_000] {
        // Without any doing of its own it would take ten seconds, every time.
        let mut soon = false;
        for attempt in 0..3 {
            soon = soon || stayed(&server, &format!("w{delay}-{attempt}"), delay).await < Duration::from_secs(9);
        }
        assert!(soon, "{delay}");
    }
}

#[tokio::test]
async fn worker_writes_nothing() {
    let _turn = TURN.lock().await;
    let mut server = Server::built(built);
    let began = STAGE.begun.load(Ordering::SeqCst);
    for number in 0..20 {
        spawn(&server, &format!("w{number}"), order("gated", json!(number))).await;
    }
    begun(began + 20).await;
    assert_eq!(server.objects().await, [""; 0], "the parent has nothing to say yet either");
    STAGE.gate.add_permits(20);
    for number in 0..20 {
        assert_eq!(outcome(&server, &format!("w{number}")).await["result"]["data"], json!(number));
    }
    assert_eq!(server.objects().await, ["/p"]);
    assert_eq!(server.metrics().await.value(r#"fleet_state_operations_total{class="worker"}"#), 0);
    server.restart();
    assert_eq!(server.objects().await, ["/p"]);
    server.post("/p/w1:getStatus").await.fails(404, "Unknown message type: getStatus", "not_found");
}

/// Answers one request after the other, and keeps them.
async fn serve(answers: Vec<&'static str>) -> (String, JoinSet<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/do?a=1", listener.local_addr().unwrap());
    let mut served = JoinSet::new();
    served.spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !is_whole(&request) {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0, "{}", String::from_utf8_lossy(&request));
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            requests.push(String::from_utf8(request).unwrap());
        }
        requests
    });
    (url, served)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn reaching() -> Server {
    Server::built_and_configured(built, "[outbound]\nallow = [\"127.0.0.1\"]\n")
}

#[tokio::test]
async fn worker_http_posts_the_task_and_takes_the_answer() {
    let server = reaching();
    let (url, web) = serve(vec![
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"ok\": 1}\n",
        "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n007",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue",
    ])
    .await;
    assert_eq!(done(&server, "a", order("http", json!({"url": url}))).await, json!({"result": {"ok": 1}}));
    let put = json!({"url": url, "method": "PUT", "headers": {"x-key": "k"}, "body": {"a": 2, "b": 1}});
    assert_eq!(done(&server, "b", order("http", put)).await, json!({"result": "007"}));
    let text = json!({"url": url, "body": "as it is", "headers": {"Content-Type": "text/csv"}});
    assert_eq!(done(&server, "c", order("http", text)).await, json!({"result": "hello"}));
    assert_eq!(done(&server, "d", order("http", json!({"url": url, "method": "GET"}))).await, json!({"result": null}));
    assert_eq!(done(&server, "e", order("http", json!({"url": url, "body": "x"}))).await, json!({"result": true}));
    let requests = within("the requests", web.join_all()).await.remove(0);
    let parts: Vec<_> = requests.iter().map(|request| request.split_once("\r\n\r\n").unwrap()).collect();
    for (index, line, kind) in [
        (0, "POST /do?a=1 HTTP/1.1", "application/json"),
        (1, "PUT /do?a=1 HTTP/1.1", "application/json"),
        (2, "POST /do?a=1 HTTP/1.1", "text/csv"),
        (4, "POST /do?a=1 HTTP/1.1", "text/plain; charset=utf-8"),
    ] {
        let head = parts[index].0;
        assert!(head.starts_with(line) && head.contains(&format!("content-type: {kind}")), "{head}");
        assert_eq!(head.matches("content-type").count(), 1, "{head}");
    }
    assert!(parts[1].0.contains("x-key: k"), "{}", parts[1].0);
    assert!(parts[3].0.starts_with("GET ") && !parts[3].0.contains("content-type"), "{}", parts[3].0);
    let sent: Value = serde_json::from_str(parts[0].1).unwrap();
    assert_eq!(sent, json!({"id": "t1", "type": "http", "attempt": 2, "data": {"url": url}, "timeout": 30_000}));
    assert_eq!([parts[1].1, parts[2].1, parts[3].1], [r#"{"a":2,"b":1}"#, "as it is", ""]);
}

#[tokio::test]
async fn worker_http_failures_are_errors() {
    let server = reaching();
    let (url, web) = serve(vec![
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\n not now",
        "HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n",
    ])
    .await;
    let error = async |worker: &str, data: Value| {
        done(&server, worker, order("http", data)).await["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(error("a", json!({"url": url})).await, "the answer is 503 Service Unavailable: not now");
    assert_eq!(error("b", json!({"url": url})).await, "the answer is 302 Found");
    within("the requests", web.join_all()).await.remove(0);
    assert!(error("c", json!({"url": url})).await.contains("cannot"), "nobody listens there any more");
    assert!(error("d", json!({})).await.contains("missing field `url`"));
    assert!(error("e", json!({"url": url, "retry": 1})).await.contains("unknown field `retry`"));
    assert_eq!(error("f", json!({"url": url, "method": "A B"})).await, "the method of the task cannot be: `A B`");
    let header = json!({"url": url, "headers": {"a b": "c"}});
    assert_eq!(error("g", header).await, "a header of the task cannot be: `a b`");
    let value = json!({"url": url, "headers": {"a": "b\nc"}});
    assert_eq!(error("h", value).await, "the value of a header of the task cannot be: `a`");
    assert!(error("i", json!({"url": "http://a b/"})).await.starts_with("the url of the task cannot be"));
}

#[tokio::test]
async fn worker_http_goes_only_where_outbound_lets_it() {
    let server = Server::built(built);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let outcome = done(&server, "a", order("http", json!({"url": url}))).await;
    let text = outcome["error"].as_str().unwrap();
    assert!(text.contains("127.0.0.1") && text.contains("outbound"), "{text}");
    let came = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(came.is_err(), "nobody connected");
}
