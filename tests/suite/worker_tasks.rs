//! WC4, WC5: tasks of a real manager over real sockets, with workers that are written here frame by frame.

mod crowd;

use serde_json::{Value, json};

use crate::harness::{Server, Socket, eventually};

const ROUTED: &str = "[routes]\n\"/jobs\" = \"fleet-manager\"\n";

/// A manager whose tasks go to connected workers, and whose retries do not make a test wait.
async fn start() -> Server {
    let server = Server::configured(ROUTED);
    let config = json!({"workerClass": "worker-connection", "maxConcurrentWorkers": 1_000,
                        "retryBackoff": {"initialMs": 1, "maxMs": 1}});
    server.call("/jobs", "updateConfig", config).await;
    server
}

async fn submit(server: &Server, tasks: u64) -> String {
    let tasks: Vec<_> =
        (0..tasks).map(|number| json!({"id": format!("t{number:04}"), "type": "x", "data": number})).collect();
    let batch = server.call("/jobs", "submitBatch", json!({"tasks": tasks})).await;
    batch["batchId"].as_str().unwrap().to_owned()
}

async fn batch(server: &Server, id: &str) -> Value {
    server.call("/jobs", "getBatchStatus", json!({"batchId": id})).await
}

async fn ends(server: &Server, id: &str, status: &str) {
    let mut last = Value::Null;
    eventually("the batch ends", async || {
        last = batch(server, id).await;
        last["status"] != "pending" && last["status"] != "processing"
    })
    .await;
    assert_eq!(last["status"], status, "{last}");
}

async fn results(server: &Server, id: &str) -> Vec<Value> {
    let page = server.call("/jobs", "getBatchResults", json!({"batchId": id, "limit": 1_000})).await;
    page["items"].as_array().unwrap().clone()
}

/// A worker that has said that it is ready.
async fn arrives(server: &Server, name: &str, capacity: u64, running: &[&str]) -> Socket {
    let mut socket = server.socket(&format!("/jobs/{name}")).await;
    socket.send(json!({"type": "ready", "payload": {"capacity": capacity, "running": running}})).await;
    socket
}

/// A worker that is welcome, before there is anything to do.
async fn worker(server: &Server, name: &str, capacity: u64, running: &[&str]) -> Socket {
    let mut socket = arrives(server, name, capacity, running).await;
    let welcome = next(&mut socket, "welcome").await;
    assert_eq!(welcome["workerId"], name);
    socket
}

/// The payload of the next frame, which must be of this type.
async fn next(socket: &mut Socket, kind: &str) -> Value {
    let mut frame = socket.json().await;
    assert_eq!(frame["type"], kind, "{frame}");
    frame["payload"].take()
}

/// The payload of the next frame of this type.
async fn wait_for(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let mut frame = socket.json().await;
        if frame["type"] == kind {
            return frame["payload"].take();
        }
    }
}

fn result_of(task: &Value) -> Value {
    let payload = json!({"taskId": task["taskId"], "token": task["token"], "success": true, "result": task["data"]});
    json!({"type": "result", "payload": payload})
}

/// Does every task that comes, until the batch has ended.
async fn work(socket: &mut Socket, server: &Server, id: &str) {
    let working = async {
        loop {
            let task = wait_for(socket, "task").await;
            socket.send(result_of(&task)).await;
        }
    };
    tokio::select! {
        () = ends(server, id, "completed") => {}
        () = working => {}
    }
}

#[tokio::test]
async fn wc5_tasks_come_with_all_that_is_known_of_them_and_end_by_their_results() {
    let server = start().await;
    let mut socket = worker(&server, "w1", 1, &[]).await;
    let id = submit(&server, 2).await;
    let first = next(&mut socket, "task").await;
    assert_eq!((&first["taskId"], &first["type"], &first["data"]), (&json!("t0000"), &json!("x"), &json!(0)));
    assert_eq!(first["attempt"], 1);
    assert!(first["deadline"].as_u64() > Some(1_700_000_000_000), "{first}");
    let status = server.call("/jobs/w1", "status", json!({})).await;
    assert_eq!((&status["connected"], &status["currentTasks"]), (&json!(true), &json!(["t0000"])));

    // Of somebody else, and long over: neither counts.
    let mut stale = result_of(&first);
    stale["payload"]["token"] = json!("stale");
    socket.send(stale).await;
    let ack = next(&mut socket, "ack").await;
    assert_eq!((&ack["token"], &ack["accepted"]), (&json!("stale"), &json!(false)));
    assert!(ack["reason"].as_str().unwrap().contains("stale token"), "{ack}");
    assert_eq!(batch(&server, &id).await["completedTasks"], 0);

    socket.send(result_of(&first)).await;
    // The next task and the acknowledgement are not in an order.
    let (mut ack, mut second) = (Value::Null, Value::Null);
    while ack.is_null() || second.is_null() {
        let mut frame = socket.json().await;
        match frame["type"].as_str() {
            Some("ack") => ack = frame["payload"].take(),
            Some("task") => second = frame["payload"].take(),
            _ => panic!("{frame}"),
        }
    }
    assert_eq!(ack, json!({"taskId": "t0000", "token": first["token"], "accepted": true}));
    assert_eq!(second["taskId"], "t0001");
    // Once more is not twice.
    socket.send(result_of(&first)).await;
    assert_eq!(next(&mut socket, "ack").await["accepted"], json!(false));
    let failed = json!({"taskId": second["taskId"], "token": second["token"], "success": false, "error": "no luck"});
    socket.send(json!({"type": "result", "payload": failed})).await;
    let again = wait_for(&mut socket, "task").await;
    assert_eq!((&again["taskId"], &again["attempt"]), (&json!("t0001"), &json!(2)));
    socket.send(result_of(&again)).await;
    ends(&server, &id, "completed").await;
    let results = results(&server, &id).await;
    let told = |number: usize| (&results[number]["taskId"], &results[number]["attempts"], &results[number]["workerId"]);
    assert_eq!(told(0), (&json!("t0000"), &json!(1), &json!("w1")));
    assert_eq!(told(1), (&json!("t0001"), &json!(2), &json!("w1")));
}

#[tokio::test]
async fn wc5_a_worker_never_has_more_than_its_capacity() {
    let server = start().await;
    let mut socket = worker(&server, "w1", 3, &[]).await;
    let id = submit(&server, 60).await;
    let (mut held, mut most, mut done) = (Vec::new(), 0, 0);
    while done < 60 {
        let mut frame = socket.json().await;
        if frame["type"] == "task" {
            held.push(frame["payload"].take());
            most = most.max(held.len());
            assert!(held.len() <= 3, "{held:?}");
        }
        if held.len() == 3 || done + held.len() == 60 {
            socket.send(result_of(&held.remove(0))).await;
            done += 1;
        }
    }
    assert_eq!(most, 3);
    ends(&server, &id, "completed").await;
}

#[tokio::test]
async fn wc5_what_a_worker_has_that_vanishes_is_done_by_others() {
    let server = start().await;
    let mut lost = worker(&server, "w1", 3, &[]).await;
    let id = submit(&server, 5).await;
    for _ in 0..3 {
        next(&mut lost, "task").await;
    }
    let mut other = arrives(&server, "w2", 10, &[]).await;
    drop(lost);
    work(&mut other, &server, &id).await;
    let mut results = results(&server, &id).await;
    results.sort_by_key(|result| result["taskId"].as_str().unwrap().to_owned());
    let attempts: Vec<_> = results.iter().map(|result| result["attempts"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [2, 2, 2, 1, 1], "being lost uses up an attempt");
    assert!(results.iter().all(|result| result["workerId"] == "w2"), "{results:?}");
    let status = server.call("/jobs", "status", json!({})).await;
    let connected: Vec<_> = status["workers"].as_array().unwrap().iter().map(|worker| &worker["connected"]).collect();
    assert_eq!(connected, [&json!(false), &json!(true)], "{status}");
}

#[tokio::test]
async fn wc5_a_worker_that_comes_back_within_its_lease_goes_on() {
    let mut server = start().await;
    let mut socket = worker(&server, "w1", 2, &[]).await;
    let id = submit(&server, 2).await;
    let (first, second) = (next(&mut socket, "task").await, next(&mut socket, "task").await);
    eventually("both are under way", async || batch(&server, &id).await["status"] == "processing").await;
    server.restart();
    // Its connection is gone, what it does is not; of the second it knows nothing any more.
    let mut socket = arrives(&server, "w1", 2, &[first["token"].as_str().unwrap()]).await;
    socket.send(result_of(&first)).await;
    let mut again = Value::Null;
    let mut accepted = Value::Null;
    while again.is_null() || accepted.is_null() {
        let mut frame = socket.json().await;
        match frame["type"].as_str() {
            Some("ack") => accepted = frame["payload"]["accepted"].take(),
            Some("task") => again = frame["payload"].take(),
            _ => {}
        }
    }
    assert_eq!((accepted, &again["taskId"], &again["attempt"]), (json!(true), &second["taskId"], &json!(2)));
    socket.send(result_of(&again)).await;
    ends(&server, &id, "completed").await;
    let results = results(&server, &id).await;
    assert_eq!((&results[0]["taskId"], &results[0]["attempts"]), (&first["taskId"], &json!(1)));
}

#[tokio::test]
async fn wc5_a_worker_that_says_nothing_loses_its_tasks_when_its_lease_ends() {
    let server = start().await;
    server.call("/jobs", "updateConfig", json!({"heartbeatInterval": 100, "leaseTimeout": 300})).await;
    let mut silent = worker(&server, "w1", 1, &[]).await;
    let id = submit(&server, 1).await;
    let task = next(&mut silent, "task").await;
    // Its socket stays open; it is another that gets the task.
    let mut other = server.socket("/jobs/w2").await;
    other.send(json!({"type": "ready", "payload": {"capacity": 1}})).await;
    let again = loop {
        other.send(json!({"type": "heartbeat", "id": 1, "payload": {"metrics": {"load": 1}}})).await;
        let mut frame = other.json().await;
        match frame["type"].as_str() {
            Some("task") => break frame["payload"].take(),
            // It would otherwise be as silent as the first.
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    assert_eq!((&again["taskId"], &again["attempt"]), (&task["taskId"], &json!(2)));
    silent.send(result_of(&task)).await;
    let ack = wait_for(&mut silent, "ack").await;
    assert_eq!((&ack["token"], &ack["accepted"]), (&task["token"], &json!(false)));
    other.send(result_of(&again)).await;
    ends(&server, &id, "completed").await;
    let status = server.call("/jobs", "status", json!({})).await;
    let workers = status["workers"].as_array().unwrap();
    let other = workers.iter().find(|worker| worker["id"] == "w2").unwrap();
    assert_eq!(other["metrics"], json!({"load": 1}), "{status}");
    assert!(other["metricsAt"].as_u64().is_some(), "{status}");
}

#[tokio::test]
async fn wc3_a_worker_that_connects_anew_before_the_old_socket_is_gone_loses_nothing() {
    let server = start().await;
    let mut old = worker(&server, "w1", 2, &[]).await;
    let id = submit(&server, 3).await;
    let (first, second) = (next(&mut old, "task").await, next(&mut old, "task").await);
    let tokens = [first["token"].as_str().unwrap(), second["token"].as_str().unwrap()];
    let mut new = arrives(&server, "w1", 2, &tokens).await;
    wait_for(&mut new, "welcome").await;
    // A result may come by either; what follows goes to the newer one.
    old.send(result_of(&first)).await;
    let third = wait_for(&mut new, "task").await;
    assert_eq!(third["taskId"], "t0002");
    old.close().await;
    new.send(result_of(&second)).await;
    new.send(result_of(&third)).await;
    ends(&server, &id, "completed").await;
    assert!(results(&server, &id).await.iter().all(|result| result["attempts"] == 1));
}

#[tokio::test]
async fn wc5_a_worker_is_told_what_was_cancelled_and_its_room_is_free() {
    let server = start().await;
    let mut socket = worker(&server, "w1", 1, &[]).await;
    let id = submit(&server, 3).await;
    let task = next(&mut socket, "task").await;
    assert_eq!(server.call("/jobs", "cancelBatch", json!({"batchId": id})).await, json!(true));
    let cancel = wait_for(&mut socket, "cancel").await;
    assert_eq!(cancel, json!({"taskId": task["taskId"], "token": task["token"]}));
    socket.send(result_of(&task)).await;
    assert_eq!(wait_for(&mut socket, "ack").await["accepted"], json!(false));
    let id = submit(&server, 1).await;
    work(&mut socket, &server, &id).await;
}
