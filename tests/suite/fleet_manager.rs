//! FM1 to FM13: the fleet manager over real sockets, with workers in the process. What needs crashes, or workers elsewhere,
//! stands beside the code, in `src/class/fleet_manager/tests`.

mod deaf;
mod looked_at;
mod told;

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex};

use fleet::server::Builder;
use fleet::{Error, Task, json as encode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::{Server, eventually};

const AT: &str = "/jobs";

/// The gates that are open, and the tasks that have run, by what their data names.
static OPEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static RAN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static OPENED: LazyLock<Notify> = LazyLock::new(Notify::new);

fn builder() -> Builder {
    fleet::Server::builder()
        .route(AT, "fleet-manager")
        .task("flaky", async |task: Task| {
            if task.attempt <= task.read::<u32>()? {
                return Err(Error::conflict(format!("attempt {} fails", task.attempt)));
            }
            encode(&task.attempt)
        })
        .task("gate", async |task: Task| {
            let gate: String = task.read()?;
            loop {
                let opened = OPENED.notified();
                if OPEN.lock().unwrap().contains(&gate) {
                    return encode(&task.attempt);
                }
                opened.await;
            }
        })
        .task("note", async |task: Task| {
            RAN.lock().unwrap().push(task.read()?);
            encode(&())
        })
        .task("large", async |task: Task| encode(&"x".repeat(task.read()?)))
}

fn open(gate: &str) {
    OPEN.lock().unwrap().insert(gate.to_owned());
    OPENED.notify_waiters();
}

/// What has run of those whose data begins like this, in order.
fn ran(of: &str) -> Vec<String> {
    RAN.lock().unwrap().iter().filter(|ran| ran.starts_with(of)).cloned().collect()
}

fn task(id: &str, kind: &str, data: impl Into<Value>) -> Value {
    json!({"id": id, "type": kind, "data": data.into()})
}

/// A server whose manager retries quickly.
#[allow(clippy::needless_pass_by_value)] // Settings are written as they read.
async fn started(config: Value) -> Server {
    let server = Server::built(builder);
    server.call(AT, "updateConfig", json!({"retryBackoff": {"initialMs": 10, "maxMs": 50}})).await;
    server.call(AT, "updateConfig", config).await;
    server
}

async fn submit(server: &Server, tasks: Vec<Value>) -> String {
    let answer = server.call(AT, "submitBatch", json!({ "tasks": tasks })).await;
    answer["batchId"].as_str().unwrap().to_owned()
}

async fn status(server: &Server, batch: &str) -> Value {
    server.call(AT, "getBatchStatus", json!({ "batchId": batch })).await
}

async fn ended(server: &Server, batch: &str) -> Value {
    eventually("the batch ends", async || !status(server, batch).await["endedAt"].is_null()).await;
    status(server, batch).await
}

async fn results(server: &Server, batch: &str) -> Vec<Value> {
    let (mut items, mut query) = (Vec::new(), json!({"batchId": batch, "limit": 2}));
    loop {
        let page = server.call(AT, "getBatchResults", query.clone()).await;
        items.extend(page["items"].as_array().unwrap().clone());
        match page.get("cursor") {
            Some(cursor) => query["cursor"] = cursor.clone(),
            None => return items,
        }
    }
}

async fn stats(server: &Server) -> Value {
    server.call(AT, "getStats", json!({})).await
}

#[tokio::test]
async fn fm1_fm2_fm3_a_batch_is_done_and_its_results_are_listed_in_pages() {
    let server = started(json!({})).await;
    let batch = submit(&server, (0..5).map(|n| task(&format!("t{n}"), "echo", json!({"n": n}))).collect()).await;
    let status = ended(&server, &batch).await;
    let told = ["status", "totalTasks", "completedTasks", "failedTasks", "progress"].map(|key| status[key].clone());
    assert_eq!(told, [json!("completed"), json!(5), json!(5), json!(0), json!(1.0)]);
    let results = results(&server, &batch).await;
    let ids: BTreeSet<&str> = results.iter().map(|result| result["taskId"].as_str().unwrap()).collect();
    assert_eq!((results.len(), ids), (5, ["t0", "t1", "t2", "t3", "t4"].into()));
    for result in results {
        let n = result["taskId"].as_str().unwrap()[1..].parse::<u64>().unwrap();
        assert_eq!(
            (&result["success"], &result["result"], &result["attempts"]),
            (&json!(true), &json!({"n": n}), &json!(1))
        );
        assert!(result["duration"].is_u64() && result["timestamp"].is_u64() && result.get("error").is_none());
    }
    let missing = server.post(&format!("{AT}:getBatchStatus")).json(&json!({"batchId": "X"})).await;
    missing.fails(404, "Batch X not found", "not_found");
}

#[tokio::test]
async fn fm3_results_come_in_finishing_order_page_by_page_also_while_the_batch_runs() {
    let server = started(json!({"maxConcurrentWorkers": 4})).await;
    let gates: Vec<Value> = ["a", "b", "c", "d"].map(|id| task(id, "gate", format!("fm3 {id}"))).into();
    let batch = submit(&server, gates).await;
    let page = async |cursor: &Value| {
        let query = json!({"batchId": batch, "limit": 1, "cursor": cursor});
        server.call(AT, "getBatchResults", query).await
    };
    assert_eq!(page(&Value::Null).await, json!({"items": []}), "none has ended");
    for (done, id) in ["c", "a", "d"].into_iter().enumerate() {
        open(&format!("fm3 {id}"));
        eventually("it is done", async || status(&server, &batch).await["completedTasks"] == done + 1).await;
    }
    assert_eq!(status(&server, &batch).await["status"], "processing");
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    for _ in 0..2 {
        let mut page = page(&cursor).await;
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
        seen.push(page["items"][0]["taskId"].take());
        cursor = page["cursor"].take();
    }
    open("fm3 b");
    ended(&server, &batch).await;
    while !cursor.is_null() {
        let mut page = page(&cursor).await;
        seen.push(page["items"][0]["taskId"].take());
        cursor = page["cursor"].take();
    }
    assert_eq!(seen, ["c", "a", "d", "b"], "a page goes on where the last one ended, with what has ended since");
    let times: Vec<u64> =
        results(&server, &batch).await.iter().map(|result| result["timestamp"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn fm6_a_failed_task_is_really_retried_and_a_failing_one_ends_its_batch() {
    let server = started(json!({"maxRetries": 2})).await;
    let mut never = task("never", "flaky", 9);
    let batch = submit(&server, vec![task("late", "flaky", 2), never.clone()]).await;
    assert_eq!(ended(&server, &batch).await["status"], "partial");
    let results = results(&server, &batch).await;
    let of = |id: &str| results.iter().find(|result| result["taskId"] == id).unwrap();
    assert_eq!((&of("late")["success"], &of("late")["attempts"]), (&json!(true), &json!(3)));
    assert_eq!((&of("never")["error"], &of("never")["attempts"]), (&json!("attempt 3 fails"), &json!(3)));
    assert_eq!(stats(&server).await["retries"], 4);

    // A task's own number of retries goes before the manager's.
    never["retries"] = json!(0);
    let batch = submit(&server, vec![never]).await;
    assert_eq!(ended(&server, &batch).await["status"], "failed");
    let failed = server.call(AT, "getFailedTasks", json!({"batchId": batch})).await;
    let item = &failed["items"][0];
    assert_eq!((&item["id"], &item["error"], &item["data"]), (&json!("never"), &json!("attempt 1 fails"), &json!(9)));
    let again = server.call(AT, "resubmitFailed", json!({"batchId": batch})).await;
    assert_eq!(again["tasks"], 1);
    assert_eq!(ended(&server, again["batchId"].as_str().unwrap()).await["failedTasks"], 1);
    let unknown = json!({"batchId": batch, "taskIds": ["ghost"]});
    let refused = server.post(&format!("{AT}:resubmitFailed")).json(&unknown).await;
    refused.fails_saying(404, "task `ghost` is not among the failed tasks", "not_found");
}

#[tokio::test]
async fn fm5_priority_is_honoured_across_batches() {
    let server = started(json!({"maxConcurrentWorkers": 1})).await;
    let first = submit(&server, vec![task("gate", "gate", "fm5")]).await;
    let note = |id: &str, priority: i32| {
        let mut task = task(id, "note", format!("fm5 {id}"));
        task["priority"] = json!(priority);
        task
    };
    let low = submit(&server, vec![note("a", 0), note("b", -5), note("c", 7)]).await;
    let high = submit(&server, vec![note("d", 0), note("e", 7), note("f", 9)]).await;
    let waiting = server.call(AT, "listTasks", json!({"batchId": low, "state": "queued"})).await;
    let waiting: Vec<&str> =
        waiting["items"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(waiting, ["c", "a", "b"]);
    open("fm5");
    for batch in [&first, &low, &high] {
        assert_eq!(ended(&server, batch).await["status"], "completed");
    }
    assert_eq!(ran("fm5"), ["f", "c", "e", "a", "d", "b"].map(|id| format!("fm5 {id}")));
}

#[tokio::test]
async fn fm4_a_cancelled_batch_stays_cancelled_and_its_queued_tasks_never_run() {
    let server = started(json!({"maxConcurrentWorkers": 1})).await;
    let batch = submit(&server, vec![task("gate", "gate", "fm4"), task("n", "note", "fm4 never")]).await;
    eventually("it runs", async || status(&server, &batch).await["runningTasks"] == 1).await;
    let cancel = || server.call(AT, "cancelBatch", json!({"batchId": batch}));
    assert_eq!((cancel().await, cancel().await), (json!(true), json!(false)));
    assert_eq!(server.call(AT, "cancelBatch", json!({"batchId": "X"})).await, json!(false));
    open("fm4");
    let next = submit(&server, vec![task("m", "note", "fm4 later")]).await;
    assert_eq!(ended(&server, &next).await["status"], "completed");
    assert_eq!(ran("fm4"), ["fm4 later"]);
    let cancelled = status(&server, &batch).await;
    assert_eq!((&cancelled["status"], &cancelled["completedTasks"]), (&json!("cancelled"), &json!(0)));
    let total = stats(&server).await;
    assert_eq!(
        (&total["cancelledTasks"], &total["activeWorkers"], &total["queuedTasks"]),
        (&json!(2), &json!(0), &json!(0))
    );
}

#[tokio::test]
async fn fm7_time_outs_fire() {
    let server = started(json!({"workerTimeout": 50, "maxRetries": 1})).await;
    let mut own = task("own", "gate", "never opens");
    (own["timeout"], own["retries"]) = (json!(20), json!(0));
    let batch = submit(&server, vec![own, task("other", "gate", "never opens")]).await;
    assert_eq!(ended(&server, &batch).await["status"], "failed");
    let mut told: Vec<(Value, Value)> = results(&server, &batch)
        .await
        .iter()
        .map(|result| (result["error"].clone(), result["attempts"].clone()))
        .collect();
    told.sort_by_key(|(_, attempts)| attempts.as_u64());
    assert_eq!(told, [(json!("timed out after 20 ms"), json!(1)), (json!("timed out after 50 ms"), json!(2))]);
}

#[tokio::test]
async fn fm1_fm8_submitting_does_not_wait_for_the_batch_and_scaling_changes_a_running_one() {
    let server = started(json!({"maxConcurrentWorkers": 1})).await;
    let batch = submit(&server, (0..4).map(|n| task(&n.to_string(), "gate", "fm8")).collect()).await;
    let active = async |wanted: u64| {
        eventually("so many are active", async || stats(&server).await["activeWorkers"] == wanted).await;
    };
    active(1).await;
    server.call(AT, "scaleWorkers", json!({"count": 3})).await;
    active(3).await;
    let workers = server.call(AT, "getActiveWorkers", json!({})).await;
    assert_eq!((workers.as_array().unwrap().len(), &workers[0]["taskId"]), (3, &json!("0")));
    let worker = server.call(&format!("{AT}/{}", workers[0]["id"].as_str().unwrap()), "getStatus", json!({})).await;
    assert_eq!((&worker["status"], &worker["taskId"]), (&json!("processing"), &json!("0")));
    open("fm8");
    assert_eq!(ended(&server, &batch).await["status"], "completed");
    assert_eq!(server.call(AT, "getActiveWorkers", json!({})).await, json!([]));
    for (method, payload, text) in [
        ("scaleWorkers", json!({"count": 0}), "Worker count must be at least 1"),
        ("updateConfig", json!({"maxConcurrentWorkers": -1}), "Worker count must be at least 1"),
        (
            "scaleWorkers",
            json!({"count": 1_000_000_000}),
            "count is 1000000000; it must be a whole number from 1 to 4000",
        ),
        ("updateConfig", json!({"maxWorker": 1}), "unknown config key `maxWorker`; there are maxConcurrentWorkers,"),
        ("submitBatch", json!({"tasks": []}), "a batch must have at least one task"),
        ("submitBatch", json!({"tasks": [{"id": "a"}]}), "tasks[0] (`a`): type is missing"),
    ] {
        let refused = server.post(&format!("{AT}:{method}")).json(&payload).await;
        refused.fails_saying(400, text, "bad_request");
    }
    assert_eq!(stats(&server).await["totalBatches"], 1);
}

#[tokio::test]
async fn fm9_fm10_counters_survive_a_restart_and_what_ran_is_run_again() {
    let mut server = started(json!({"maxConcurrentWorkers": 2})).await;
    let done = submit(&server, vec![task("a", "echo", 1), task("b", "flaky", 1)]).await;
    ended(&server, &done).await;
    let batch = submit(&server, (0..3).map(|n| task(&n.to_string(), "gate", "fm10")).collect()).await;
    eventually("two run", async || status(&server, &batch).await["runningTasks"] == 2).await;
    let before = stats(&server).await;
    server.restart();
    let kept = ["totalBatches", "totalTasks", "completedTasks", "failedTasks", "retries"];
    let after = stats(&server).await;
    let counters =
        |stats: &Value| ["totalBatches", "totalTasks", "completedTasks", "failedTasks"].map(|key| stats[key].clone());
    assert_eq!(counters(&before), counters(&after), "{kept:?}");
    open("fm10");
    let ended = ended(&server, &batch).await;
    assert_eq!((&ended["status"], &ended["completedTasks"]), (&json!("completed"), &json!(3)));
    let mut attempts: Vec<u64> =
        results(&server, &batch).await.iter().map(|result| result["attempts"].as_u64().unwrap()).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2, 2], "what ran when the server ended has used up an attempt");
    assert_eq!(stats(&server).await["completedTasks"], 5);
}

#[tokio::test]
async fn fm10_what_an_orderly_stop_cuts_off_is_told_as_interrupted() {
    let mut server = started(json!({"maxRetries": 0})).await;
    let batch = submit(&server, vec![task("a", "gate", "never opens at all")]).await;
    eventually("it runs", async || status(&server, &batch).await["runningTasks"] == 1).await;
    server.restart();
    assert_eq!(ended(&server, &batch).await["status"], "failed");
    let result = &results(&server, &batch).await[0];
    let told = (&result["error"], &result["attempts"]);
    assert_eq!(told, (&json!("interrupted: the server was restarted, or its storage failed"), &json!(1)));
}

#[tokio::test]
async fn fm1_a_type_that_nobody_handles_waits_seen_as_such_and_fails_in_time() {
    let server = started(json!({})).await;
    let batch = submit(&server, vec![task("a", "alien", 1), task("b", "echo", 2)]).await;
    eventually("the other is done", async || status(&server, &batch).await["completedTasks"] == 1).await;
    let state = server.state(AT).await;
    assert_eq!((&state["class"], &state["queued"]), (&json!("fleet-manager"), &json!({"alien": 1})));
    assert_eq!(state["stats"]["unhandled"], json!({"alien": 1}));
    let told = status(&server, &batch).await["unhandled"].clone();
    assert_eq!((&told[0]["type"], &told[0]["tasks"], told.as_array().unwrap().len()), (&json!("alien"), &json!(1), 1));
    eventually("it is told for how long", async || {
        status(&server, &batch).await["unhandled"][0]["waited"].as_u64().unwrap() > 0
    })
    .await;
    let queued = server.call(AT, "listTasks", json!({"batchId": batch, "state": "queued"})).await;
    assert_eq!((&queued["items"][0]["id"], &queued["items"][0]["unhandled"]), (&json!("a"), &json!(true)));
    server.call(AT, "updateConfig", json!({"unhandledTimeout": 1})).await;
    assert_eq!(ended(&server, &batch).await["status"], "partial");
    assert_eq!(status(&server, &batch).await.get("unhandled"), None);
    let results = results(&server, &batch).await;
    let error = results.iter().find(|result| result["taskId"] == "a").unwrap()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("nobody handles tasks of type `alien`; it waited "), "{error}");
}

#[tokio::test]
async fn fm1_a_result_that_is_too_large_fails_its_task_with_the_bound() {
    let server = started(json!({"maxRetries": 0})).await;
    let batch = submit(&server, vec![task("a", "large", 2_000_000)]).await;
    assert_eq!(ended(&server, &batch).await["status"], "failed");
    let result = &results(&server, &batch).await[0];
    assert_eq!(result["error"], "the result is 2000002 bytes; the limit is 1040384");
}

#[tokio::test]
async fn fm1_the_same_idempotency_key_is_the_same_batch() {
    let server = started(json!({})).await;
    let submit = async |key: &str, tasks: Value| {
        let request = server.post(&format!("{AT}:submitBatch")).header("Idempotency-Key", key);
        request.json(&json!({ "tasks": tasks })).await.ok()
    };
    let small = json!([task("a", "echo", 1)]);
    let first = submit("order-1", small.clone()).await;
    assert_eq!(submit("order-1", small.clone()).await, first);
    assert_ne!(submit("order-2", small).await["batchId"], first["batchId"]);
    // One that takes several turns, twice at once.
    let large: Value = (0..12_000).map(|n| task(&n.to_string(), "alien", n)).collect();
    let (one, other) = tokio::join!(submit("order-3", large.clone()), submit("order-3", large));
    assert_eq!((&one["batchId"], &one["tasks"]), (&other["batchId"], &json!(12_000)));
    assert_eq!(stats(&server).await["totalTasks"], 12_002);
}

#[tokio::test]
async fn fm9_the_metrics_count_how_tasks_end() {
    let server = started(json!({"maxRetries": 1})).await;
    let batch = submit(&server, vec![task("a", "echo", 1), task("b", "flaky", 9)]).await;
    ended(&server, &batch).await;
    let text = server.get("/.fleet/metrics").await.assert(200).text();
    for line in [
        "fleet_tasks{status=\"submitted\"} 2",
        "fleet_tasks{status=\"completed\"} 1",
        "fleet_tasks{status=\"failed\"} 1",
        "fleet_task_retries_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    // As whoever operates it is told.
    let readme = include_str!("../../README.md");
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 15 && families.contains(&"fleet_tasks"), "{families:?}");
    for family in families {
        let is_told = [format!("`{family}`"), format!("`{family}{{")].iter().any(|name| readme.contains(name.as_str()));
        assert!(is_told, "{family} is not in the README");
    }
    let latency = &stats(&server).await["latency"];
    assert_eq!((&latency["echo"]["count"], &latency["flaky"]["count"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn fm11_it_scales_with_the_load_up_and_down() {
    let autoscale = json!({"enabled": true, "minWorkers": 1, "maxWorkers": 4, "intervalMs": 100});
    let server = started(json!({"maxConcurrentWorkers": 1, "autoscale": autoscale})).await;
    let batch = submit(&server, (0..10).map(|n| task(&n.to_string(), "gate", "fm11")).collect()).await;
    eventually("there are more workers", async || stats(&server).await["activeWorkers"] == 4).await;
    open("fm11");
    assert_eq!(ended(&server, &batch).await["status"], "completed");
    eventually("there are fewer", async || server.state(AT).await["config"]["maxConcurrentWorkers"] == 1).await;
}

#[tokio::test]
async fn fm10_a_coordinator_is_told_of_every_end_once() {
    let mut server = started(json!({"coordinator": "/results", "maxRetries": 1})).await;
    server.call("/", "createAgent", json!({"name": "results", "class": "coordinator"})).await;
    let batch = submit(&server, vec![task("a", "echo", 1), task("b", "flaky", 1), task("c", "flaky", 9)]).await;
    ended(&server, &batch).await;
    let told = async |server: &Server| server.call("/results", "getSummary", json!({})).await["totalResults"] == 3;
    eventually("all are told", async || told(&server).await).await;
    server.restart();
    let summary = server.call("/results", "getSummary", json!({})).await;
    assert_eq!((&summary["totalResults"], &summary["successCount"]), (&json!(3), &json!(2)));
    assert_eq!(stats(&server).await["unreported"], 0);
}

#[tokio::test]
async fn fm12_progress_is_pushed_and_a_refusal_over_a_socket_is_an_error_frame() {
    let server = started(json!({})).await;
    let mut socket = server.watch(AT).await;
    let tasks: Vec<Value> = (0..30).map(|n| task(&n.to_string(), "echo", n)).collect();
    socket.send(json!({"type": "submitBatch", "id": 1, "payload": {"tasks": tasks}})).await;
    let (mut batch, mut seen) = (Value::Null, Vec::new());
    while batch.is_null() || seen.last().is_none_or(|last: &Value| last["status"] != "completed") {
        let frame = socket.json().await;
        match frame["type"].as_str() {
            Some("result") => batch = frame["payload"]["batchId"].clone(),
            Some("batch") => seen.push(frame["payload"].clone()),
            _ => {}
        }
    }
    let done: Vec<u64> = seen.iter().map(|seen| seen["completedTasks"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done.last() == Some(&30) && seen.iter().all(|seen| seen["batchId"] == batch));
    assert_eq!(seen.last().unwrap()["progress"], 1.0);
    socket.send(json!({"type": "getBatchStatus", "id": 2, "payload": {"batchId": "X"}})).await;
    let refused = loop {
        let frame = socket.json().await;
        if frame["type"] == "error" {
            break frame;
        }
    };
    assert_eq!((&refused["id"], &refused["payload"]["error"]), (&json!(2), &json!("Batch X not found")));
}

#[tokio::test]
async fn fm13_what_is_not_to_be_kept_is_removed_and_the_totals_stay() {
    let server = started(json!({"retention": {"batches": 1}})).await;
    let old = submit(&server, vec![task("a", "echo", 1)]).await;
    ended(&server, &old).await;
    let new = submit(&server, vec![task("a", "echo", 1)]).await;
    ended(&server, &new).await;
    eventually("the old one is gone", async || {
        let listed = server.call(AT, "listBatches", json!({})).await;
        listed["items"].as_array().unwrap().iter().map(|batch| &batch["batchId"]).eq([&json!(new)])
    })
    .await;
    let gone = server.post(&format!("{AT}:getBatchResults")).json(&json!({"batchId": old})).await;
    gone.fails(404, &format!("Batch {old} not found"), "not_found");
    assert_eq!(stats(&server).await["totalBatches"], 2);
}

#[tokio::test]
async fn fm1_fm4_a_batch_of_many_turns_is_there_as_a_whole_and_goes_as_a_whole() {
    let server = started(json!({"maxConcurrentWorkers": 1})).await;
    let mut tasks: Vec<Value> = (0..20_000).map(|n| task(&n.to_string(), "gate", "never opens either")).collect();
    let batch = submit(&server, tasks.clone()).await;
    let told = status(&server, &batch).await;
    assert_eq!((&told["totalTasks"], &told["queuedTasks"]), (&json!(20_000), &json!(19_999)));
    assert_eq!(server.call(AT, "cancelBatch", json!({"batchId": batch})).await, json!(true));
    let next = submit(&server, vec![task("a", "echo", 1)]).await;
    assert_eq!(ended(&server, &next).await["status"], "completed", "nobody waits behind what is being removed");
    tasks[19_999]["id"] = json!("7");
    let refused = server.post(&format!("{AT}:submitBatch")).json(&json!({ "tasks": tasks })).await;
    refused.fails_saying(400, "duplicate task id `7` in the batch; nothing was stored", "bad_request");
    assert_eq!(stats(&server).await["totalTasks"], 20_001);
}
