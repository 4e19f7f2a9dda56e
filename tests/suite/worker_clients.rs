//! WC6: the clients in `examples/`, as they are, against a real server.
//!
//! They need Python 3.11 and Node 20. Where one is missing its tests say so and pass; with `CI` in the environment they fail.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Once;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::harness::{Server, eventually, within};

const ROUTED: &str = "[routes]\n\"/jobs\" = \"fleet-manager\"\n";

/// A client, and how it is run.
pub(crate) struct Language {
    name: &'static str,
    command: &'static [&'static str],
    /// What succeeds where it can be run.
    probe: &'static [&'static str],
    missing: &'static str,
    said: Once,
}

pub(crate) static PYTHON: Language = Language {
    name: "python",
    command: &["python3", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/worker.py")],
    probe: &["python3", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
    missing: "examples/worker.py is not tested: python3 of at least 3.11 is not installed",
    said: Once::new(),
};

static NODE: Language = Language {
    name: "node",
    command: &["node", "--experimental-websocket", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/worker.mjs")],
    probe: &["node", "--experimental-websocket", "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"],
    missing: "examples/worker.mjs is not tested: node of at least 20 is not installed",
    said: Once::new(),
};

impl Language {
    /// Whether it is installed; if not that is said once.
    pub(crate) async fn is_here(&self) -> bool {
        let mut probe = Command::new(self.probe[0]);
        probe.args(&self.probe[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if probe.status().await.is_ok_and(|status| status.success()) {
            return true;
        }
        assert!(std::env::var_os("CI").is_none(), "{}", self.missing);
        // Not by `eprintln`, which is shown for tests that fail only.
        self.said.call_once(|| drop(writeln!(std::io::stderr(), "{}", self.missing)));
        false
    }

    /// Starts a worker of that name, which is killed when it is dropped.
    fn start(&self, server: &Server, name: &str, capacity: u64, token: &str) -> Child {
        let mut command = Command::new(self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("FLEET_WORKER", format!("ws://{}/jobs/{name}", server.address()));
        command.env("FLEET_CAPACITY", capacity.to_string()).env("FLEET_TOKEN", token);
        command.kill_on_drop(true).spawn().unwrap()
    }
}

/// A manager whose tasks go to connected workers, and whose retries do not make a test wait.
async fn start() -> Server {
    let server = Server::configured(ROUTED);
    configure(&server, json!({})).await;
    server
}

async fn configure(server: &Server, more: Value) {
    let mut config = json!({"workerClass": "worker-connection", "maxConcurrentWorkers": 100, "heartbeatInterval": 500,
                            "leaseTimeout": 20_000, "retryBackoff": {"initialMs": 1, "maxMs": 1}});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.call("/jobs", "updateConfig", config).await;
}

async fn submit(server: &Server, tasks: Vec<Value>) -> String {
    let batch = server.call("/jobs", "submitBatch", json!({"tasks": tasks})).await;
    batch["batchId"].as_str().unwrap().to_owned()
}

fn tasks(count: u64, task: impl Fn(u64) -> (&'static str, Value)) -> Vec<Value> {
    let numbered = |number| {
        let (kind, data) = task(number);
        json!({"id": format!("t{number:03}"), "type": kind, "data": data})
    };
    (0..count).map(numbered).collect()
}

async fn ends(server: &Server, id: &str, status: &str) -> Vec<Value> {
    let mut last = Value::Null;
    eventually("the batch ends", async || {
        last = server.call("/jobs", "getBatchStatus", json!({"batchId": id})).await;
        last["status"] != "pending" && last["status"] != "processing"
    })
    .await;
    assert_eq!(last["status"], status, "{last}");
    let page = server.call("/jobs", "getBatchResults", json!({"batchId": id, "limit": 1_000})).await;
    let mut results = page["items"].as_array().unwrap().clone();
    results.sort_by_key(|result| result["taskId"].as_str().unwrap().to_owned());
    results
}

/// Waits until a worker of that name is ready.
async fn is_ready(server: &Server, name: &str) {
    eventually("a worker is ready", async || {
        let status = server.call("/jobs", "status", json!({})).await;
        let workers = status["workers"].as_array().unwrap();
        workers.iter().any(|worker| worker["id"] == name && worker["connected"] == true)
    })
    .await;
}

/// Waits until a worker has so many tasks.
async fn has(server: &Server, name: &str, count: usize) {
    eventually("a worker has its tasks", async || {
        let status = server.call(&format!("/jobs/{name}"), "status", json!({})).await;
        status["currentTasks"].as_array().unwrap().len() == count
    })
    .await;
}

/// The same for each client that can be run here.
async fn each(test: impl AsyncFn(&'static Language)) {
    for language in [&PYTHON, &NODE] {
        if language.is_here().await {
            test(language).await;
        }
    }
}

#[tokio::test]
async fn wc6_a_batch_completes() {
    each(async |language| {
        let server = start().await;
        let _worker = language.start(&server, "w1", 8, "");
        let url = format!("http://{}/.fleet/health", server.address());
        let mut given = tasks(60, |number| match number % 3 {
            0 => ("echo", json!({"number": number, "text": "ä \u{1f980} \"quoted\""})),
            1 => ("sha256", json!({"url": url})),
            _ => ("sleep", json!({"ms": 10})),
        });
        // A frame of each kind of length.
        for (number, length) in [(0, 120), (3, 2_000), (6, 100_000)] {
            given[number]["data"] = json!("x".repeat(length));
        }
        given.push(json!({"id": "wrong", "type": "sha256", "data": {"url": "nonsense"}, "retries": 0}));
        let id = submit(&server, given.clone()).await;
        let results = ends(&server, &id, "partial").await;
        assert_eq!(results.len(), 61);
        for (task, result) in given.iter().zip(&results).take(60) {
            let expected = match task["type"].as_str() {
                Some("echo") => task["data"].clone(),
                // What `health` answers.
                Some("sha256") => results[1]["result"].clone(),
                _ => json!(null),
            };
            assert_eq!((&result["success"], &result["result"]), (&json!(true), &expected), "{}", language.name);
            assert_eq!((&result["attempts"], &result["workerId"]), (&json!(1), &json!("w1")));
        }
        let hash = results[1]["result"].as_str().unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        assert_eq!(results[60]["success"], false);
        assert!(results[60]["error"].as_str().is_some_and(|error| !error.is_empty()), "{}", results[60]);
        eventually("its metrics are seen", async || {
            let status = server.call("/jobs", "status", json!({})).await;
            status["workers"][0]["metrics"]["running"] == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn wc6_what_a_worker_had_that_is_killed_is_done_by_others() {
    each(async |language| {
        let server = start().await;
        let mut killed = language.start(&server, "w2", 4, "");
        is_ready(&server, "w2").await;
        let id =
            submit(&server, tasks(12, |number| ("sleep", json!({"ms": if number < 4 { 3_000 } else { 10 }})))).await;
        has(&server, "w2", 4).await;
        killed.kill().await.unwrap();
        let _other = language.start(&server, "w3", 4, "");
        let results = ends(&server, &id, "completed").await;
        assert_eq!(results.len(), 12);
        let by_other = results.iter().filter(|result| result["workerId"] == "w3").count();
        assert!(by_other >= 8, "{}: {results:?}", language.name);
    })
    .await;
}

#[tokio::test]
async fn wc6_a_worker_connects_again_and_goes_on_with_what_it_does() {
    each(async |language| {
        let mut server = start().await;
        let _worker = language.start(&server, "w1", 4, "");
        is_ready(&server, "w1").await;
        let id = submit(&server, tasks(4, |_| ("sleep", json!({"ms": 5_000})))).await;
        has(&server, "w1", 4).await;
        // The manager has been told that they were taken, before it is asked for anything else.
        eventually("they are under way", async || {
            let page = server.call("/jobs", "listTasks", json!({"batchId": id, "state": "running"})).await;
            page["items"].as_array().unwrap().len() == 4
        })
        .await;
        server.restart_in_place();
        let results = ends(&server, &id, "completed").await;
        let attempts: Vec<_> = results.iter().map(|result| &result["attempts"]).collect();
        assert_eq!(attempts, vec![&json!(1); 4], "{}: none was begun twice", language.name);
    })
    .await;
}

#[tokio::test]
async fn wc6_a_worker_stops_what_is_cancelled() {
    each(async |language| {
        let server = start().await;
        let _worker = language.start(&server, "w1", 1, "");
        is_ready(&server, "w1").await;
        let id = submit(&server, tasks(3, |_| ("sleep", json!({"ms": 600_000})))).await;
        has(&server, "w1", 1).await;
        assert_eq!(server.call("/jobs", "cancelBatch", json!({"batchId": id})).await, json!(true));
        let id = submit(&server, tasks(3, |number| ("echo", json!(number)))).await;
        ends(&server, &id, "completed").await;
        eventually("it runs nothing any more", async || {
            let status = server.call("/jobs", "status", json!({})).await;
            status["workers"][0]["metrics"]["running"] == 0
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn wc6_a_worker_shows_its_token_and_ends_when_it_is_refused() {
    const TOKEN: &str = "a long random text";
    let auth = "[auth]\nenabled = true\n[[auth.tokens]]\ntoken = \"sesame\"\npath = \"/jobs\"\nscopes = [\"write\"]\n";
    each(async |language| {
        let server = Server::configured(&format!("{ROUTED}{auth}"));
        configure(&server, json!({})).await;
        let _worker = language.start(&server, "w1", 2, "sesame");
        let id = submit(&server, tasks(5, |number| ("echo", json!(number)))).await;
        ends(&server, &id, "completed").await;
        let mut refused = language.start(&server, "w2", 2, TOKEN);
        let status = within("its end", refused.wait()).await.unwrap();
        let mut said = String::new();
        refused.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("4401") && said.contains("the token is not valid"), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
    })
    .await;
}

#[test]
fn wc6_the_clients_are_short_and_need_no_packages() {
    for (name, text) in [
        ("worker.py", include_str!("../../examples/worker.py")),
        ("worker.mjs", include_str!("../../examples/worker.mjs")),
    ] {
        assert!(text.lines().count() < 100, "{name} has {} lines", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{name} has a line of more than 120 characters");
    }
}
