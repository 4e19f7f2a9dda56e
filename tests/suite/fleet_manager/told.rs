//! What the sockets of a manager are told, not more often than they can follow; and how many workers it may have.

use serde_json::{Value, json};

use super::{AT, open, started, submit, task};
use crate::harness::Socket;

/// Reads until a frame of a batch holds; all frames of batches up to that one.
async fn told(socket: &mut Socket, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let mut frame = socket.json().await;
        if frame["type"] != "batch" {
            continue;
        }
        told.push(frame["payload"].take());
        if holds(&told[told.len() - 1]) {
            return told;
        }
    }
}

#[tokio::test]
async fn fm12_a_batch_is_told_of_at_most_ten_times_a_second_and_its_end_always() {
    const TASKS: u64 = 300;
    let server = started(json!({})).await;
    let mut socket = server.watch(AT).await;
    let batch = submit(&server, (0..TASKS).map(|n| task(&n.to_string(), "sleep", json!({"ms": 5}))).collect()).await;
    let told = told(&mut socket, |batch| batch["status"] == "completed").await;
    let last = told.last().unwrap();
    assert_eq!((&last["batchId"], &last["completedTasks"]), (&json!(batch), &json!(TASKS)));
    let lasted = last["endedAt"].as_u64().unwrap() - last["submittedAt"].as_u64().unwrap();
    // One at once, one each 100 ms, and the end.
    let most = 2 + lasted / 100;
    assert!(told.len() as u64 <= most, "{} frames in {lasted} ms", told.len());
    assert!(most < TASKS, "each of its changes could have been told in {lasted} ms");
}

#[tokio::test]
async fn fm12_the_last_change_is_told_though_nothing_follows() {
    let server = started(json!({})).await;
    let mut socket = server.watch(AT).await;
    let mut tasks: Vec<Value> = (0..9).map(|n| task(&n.to_string(), "echo", n)).collect();
    tasks.push(task("gate", "gate", "fm12"));
    submit(&server, tasks).await;
    let seen = told(&mut socket, |batch| batch["completedTasks"] == 9).await;
    assert_eq!(seen.last().unwrap()["status"], "processing");
    open("fm12");
    let seen = told(&mut socket, |batch| batch["status"] == "completed").await;
    assert_eq!(seen.last().unwrap()["progress"], 1.0);
}

#[tokio::test]
async fn fm8_the_number_of_workers_has_bounds() {
    let server = started(json!({})).await;
    for count in [1, 4_000] {
        let config = server.call(AT, "scaleWorkers", json!({ "count": count })).await;
        assert_eq!(config["maxConcurrentWorkers"], count);
    }
    for (payload, text) in [
        (json!({"count": 4_001}), "count is 4001; it must be a whole number from 1 to 4000"),
        (json!({"count": 1.5}), "count is 1.5; it must be a whole number from 1 to 4000"),
        (json!({"count": "3"}), "count is \"3\"; it must be a whole number from 1 to 4000"),
        (json!({"count": -1}), "Worker count must be at least 1"),
        (json!({}), "scaleWorkers takes {\"count\": N}"),
        (json!(3), "scaleWorkers must be an object"),
    ] {
        let refused = server.post(&format!("{AT}:scaleWorkers")).json(&payload).await;
        refused.fails(400, text, "bad_request");
    }
    assert_eq!(server.state(AT).await["config"]["maxConcurrentWorkers"], 4_000, "what was refused changed nothing");
}
