//! How a batch is doing, for whoever does not wait for its manager.

use serde_json::json;

use super::{AT, open, started, status, submit, task};
use crate::harness::eventually;

#[tokio::test]
async fn fm2_who_looks_at_a_batch_sees_what_a_turn_answers() {
    let server = started(json!({"maxConcurrentWorkers": 2})).await;
    let tasks = vec![
        task("ended", "echo", 1),
        task("runs", "gate", "fm2"),
        task("waits", "nobody's", 1),
        task("waits too", "nobody's", 1),
    ];
    let batch = submit(&server, tasks).await;
    let is_so = async || {
        let status = status(&server, &batch).await;
        status["completedTasks"] == 1 && status["runningTasks"] == 1
    };
    eventually("one has ended and one runs", is_so).await;
    let mut socket = server.watch(AT).await;
    for ended in [false, true] {
        socket.send(json!({"type": "getBatchStatus", "id": "a turn", "payload": {"batchId": batch}})).await;
        let mut turn = loop {
            let frame = socket.json().await;
            if frame["id"] == "a turn" {
                break frame["payload"].clone();
            }
        };
        let mut look = status(&server, &batch).await;
        assert_eq!((&look["status"], look["endedAt"].is_u64()), (&turn["status"], ended));
        if !ended {
            for status in [&mut turn, &mut look] {
                assert!(status["unhandled"][0]["waited"].take().is_u64(), "{status}");
            }
            assert_eq!(look["unhandled"], json!([{"type": "nobody's", "tasks": 2, "waited": null}]));
            server.call(AT, "cancelBatch", json!({ "batchId": batch })).await;
        }
        assert_eq!(look, turn);
    }
    open("fm2");
}
