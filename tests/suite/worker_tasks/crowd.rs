//! Many workers with many tasks each, that report as fast as they can: everybody else is served all the same.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, select_all};

use super::*;

const WORKERS: u64 = 60;
const CAPACITY: u64 = 20;
/// More at once than a mailbox takes of anybody, several times over.
const TASKS: u64 = 3 * WORKERS * CAPACITY;
/// Others who ask something, and how often each of them does.
const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

/// Batches that the manager stores in one long turn each, of tasks that nobody does.
async fn keep_busy(server: &Server) {
    let tasks: Vec<_> = (0..16_000).map(|number| json!({"id": number.to_string(), "type": "nobody's"})).collect();
    let mut socket = server.socket("/jobs").await;
    for _ in 0..3 {
        socket.send(json!({"type": "submitBatch", "payload": {"tasks": tasks}})).await;
    }
    // It is closed only behind them.
    socket.close().await;
}

/// Does every task that comes, and counts the results that are acknowledged.
async fn work_on(socket: &mut Socket, accepted: &AtomicU64) {
    loop {
        let mut frame = socket.json().await;
        let payload = frame["payload"].take();
        match frame["type"].as_str() {
            Some("task") => socket.send(result_of(&payload)).await,
            Some("ack") if payload["accepted"] == true => drop(accepted.fetch_add(1, Ordering::Relaxed)),
            _ => panic!("{frame} {payload}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wc5_fm9_nobody_is_refused_while_many_workers_report_at_once() {
    let server = start().await;
    server.call("/jobs", "updateConfig", json!({"maxConcurrentWorkers": 4_000})).await;
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let types = json!({"capacity": CAPACITY, "types": ["x"]});
        let mut socket = server.socket(&format!("/jobs/w{number}")).await;
        socket.send(json!({"type": "ready", "payload": types})).await;
        next(&mut socket, "welcome").await;
        workers.push((socket, Vec::new()));
    }
    let id = submit(&server, TASKS).await;
    for (socket, tasks) in &mut workers {
        for _ in 0..CAPACITY {
            tasks.push(next(socket, "task").await);
        }
    }
    // While the manager is at something else, all that is under way is done.
    let accepted = AtomicU64::new(0);
    let calling = join_all((0..CALLERS).map(async |_| {
        let mut pause = tokio::time::interval(PAUSE);
        while accepted.load(Ordering::Relaxed) < TASKS {
            pause.tick().await;
            // One that is refused fails here.
            batch(&server, &id).await;
        }
    }));
    let working = async {
        let reported = join_all(workers.iter_mut().map(async |(socket, tasks)| {
            for task in tasks.iter() {
                socket.feed(&result_of(task)).await;
            }
            socket.flush().await;
        }));
        tokio::join!(keep_busy(&server), reported);
        let working = workers.iter_mut().map(|(socket, _)| Box::pin(work_on(socket, &accepted)));
        select_all(working).await;
    };
    tokio::select! {
        _ = calling => {}
        () = working => {}
    }
    let ended = batch(&server, &id).await;
    assert_eq!((&ended["status"], &ended["completedTasks"]), (&json!("completed"), &json!(TASKS)), "{ended}");
    let stats = server.call("/jobs", "getStats", json!({})).await;
    assert_eq!(
        (&stats["completedTasks"], &stats["failedTasks"], &stats["runningTasks"]),
        (&json!(TASKS), &json!(0), &json!(0))
    );
    let (mut ids, mut page) = (BTreeSet::new(), json!({"batchId": id, "limit": 1_000}));
    loop {
        let answer = server.call("/jobs", "getBatchResults", page.clone()).await;
        for result in answer["items"].as_array().unwrap() {
            assert_eq!((&result["success"], &result["attempts"]), (&json!(true), &json!(1)), "{result}");
            assert!(ids.insert(result["taskId"].to_string()), "{result}");
        }
        let Some(cursor) = answer.get("cursor") else { break };
        page["cursor"] = cursor.clone();
    }
    assert_eq!(ids.len() as u64, TASKS);
}
