//! Issue 4: the pages of workers: connections of external ones, and those within the server.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::accessibility::assert_accessible;
use crate::{Stage, Window, play, within};

const HTML: &str = r#"<img src="/nothing.png" onerror="document.title='caught'"><b id="bold">bold</b>"#;

/// An external worker: a socket, and whoever holds it.
struct Worker {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that have come, and that nobody has asked for yet.
    waiting: Vec<Value>,
}

impl Worker {
    async fn connect(stage: &Stage, path: &str) -> Self {
        let url = stage.server.url(path).replacen("http", "ws", 1);
        let (socket, _) = within("a worker connects", connect_async(url)).await.unwrap();
        Self { socket, waiting: Vec::new() }
    }

    /// Connects and takes so many tasks of a type.
    async fn ready(stage: &Stage, path: &str, capacity: u64, kind: &str) -> Self {
        let mut worker = Self::connect(stage, path).await;
        worker.say("ready", json!({ "capacity": capacity, "types": [kind] })).await;
        worker.hear("welcome").await;
        worker
    }

    async fn say(&mut self, kind: &str, payload: Value) {
        let frame = json!({ "type": kind, "payload": payload }).to_string();
        within("a worker speaks", self.socket.send(Message::text(frame))).await.unwrap();
    }

    /// The payload of the next frame of a type.
    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            if let Some(index) = self.waiting.iter().position(|frame| frame["type"] == kind) {
                return self.waiting.remove(index)["payload"].take();
            }
            let message = within(kind, self.socket.next()).await.unwrap().unwrap();
            if let Message::Text(text) = message {
                self.waiting.push(serde_json::from_str(&text).unwrap());
            }
        }
    }

    async fn answer(&mut self, task: &Value, outcome: Value) {
        let mut result = json!({ "taskId": task["taskId"], "token": task["token"] });
        result.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
        self.say("result", result).await;
        self.hear("ack").await;
    }
}

async fn manager(stage: &Stage) {
    stage.call("/", "createAgent", &json!({ "name": "jobs", "class": "fleet-manager" })).await;
}

async fn submit(stage: &Stage, ids: &[&str], kind: &str) -> String {
    let tasks: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "type": kind, "data": HTML })).collect();
    let answer = stage.call("/jobs", "submitBatch", &json!({ "tasks": tasks })).await;
    answer["batchId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

const CURRENT: &str = "all('#current-tasks > li').map((task) => task.dataset.task).sort().join()";

fn fact(name: &str) -> String {
    format!(
        "all('#presence-facts > div').find((fact) => fact.firstChild.textContent === '{name}')?.lastChild.textContent"
    )
}

async fn until_fact(window: &Window, name: &str, value: &str) {
    window.until(&format!("{name}: {value}"), &format!("{} === '{value}'", fact(name))).await;
}

#[tokio::test]
async fn issue4_wc1_the_page_of_a_connection_follows_its_worker_and_is_no_session() {
    play(async |stage| {
        manager(stage).await;
        let window = stage.open("/jobs/w1").await;
        window.until_text("#presence", "Not connected").await;
        until_fact(&window, "Sessions", "0").await;

        let mut worker = Worker::ready(stage, "/jobs/w1", 2, "render").await;
        window.until_text("#presence", "Connected").await;
        until_fact(&window, "Sessions", "1").await;
        until_fact(&window, "Capacity", "2").await;
        until_fact(&window, "Types", "render").await;
        assert_eq!(window.value("text('#snippet-socket')").await, "", "nobody is told to connect");

        submit(stage, &["<b id=bold>a</b>", "b", "c"], "render").await;
        let first = worker.hear("task").await;
        let second = worker.hear("task").await;
        window.until("two tasks", &format!("{CURRENT} === '<b id=bold>a</b>,b'")).await;
        assert_eq!(window.value("all('main img, #bold').length").await, 0, "as text");
        worker.answer(&first, json!({ "success": true, "result": 1 })).await;
        worker.hear("task").await;
        window.until("the next one", &format!("{CURRENT} === 'b,c'")).await;
        let last = "all('#history > li').map((task) => task.dataset.task).join()";
        window.until("what it did", &format!("{last} === '<b id=bold>a</b>'")).await;
        worker.answer(&second, json!({ "success": false, "error": HTML })).await;
        window.until("and what it failed at", &format!("text('#history .error') === {}", json!(HTML))).await;
        worker.say("heartbeat", json!({ "metrics": { "cpu": 0.5, "host": HTML } })).await;
        window.until("what it measures", "text('#metrics').includes('\"cpu\": 0.5')").await;
        drop(worker);
        window.until_text("#presence", "Not connected").await;
        window.until("it has nothing", &format!("{CURRENT} === '' && shown('#current-none')")).await;
        window.until("the log tells", "entries('event')[0] === 'not connected'").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_wc1_a_worker_is_told_from_the_page() {
    play(async |stage| {
        manager(stage).await;
        let window = stage.open("/jobs/w1").await;
        window.submit("#send-message", "too early", "#send").await;
        window.until("it is not there", "text('#send-note').startsWith('offline')").await;
        window.click("#send-queue").await;
        window.click("#send").await;
        window.until_text("#send-note", "Kept until it connects").await;
        let mut worker = Worker::ready(stage, "/jobs/w1", 1, "render").await;
        assert_eq!(worker.hear("message").await["message"], "too early", "it was kept");
        window.until_text("#presence", "Connected").await;
        window.submit("#send-message", r#"{"level":3}"#, "#send").await;
        window.until_text("#send-note", "Sent").await;
        assert_eq!(worker.hear("message").await["message"], json!({ "level": 3 }));
        for command in ["start", "stop"] {
            window.click(&format!("#{command}")).await;
            worker.hear(command).await;
        }
        let told = stage.console().await;
        assert_eq!(told.iter().find(|line| !line.contains("409 (Conflict)")), None, "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn issue4_wc4_the_managers_page_shows_its_workers_and_what_they_do() {
    play(async |stage| {
        manager(stage).await;
        let mut worker = Worker::ready(stage, "/jobs/w1", 4, "render").await;
        let idle = Worker::ready(stage, "/jobs/w2", 1, "other").await;
        let window = stage.open("/jobs").await;
        window.until_text("#workers-count", "2 connected").await;
        submit(stage, &["a", "b", "c"], "render").await;
        let first = worker.hear("task").await;
        let facts = |name: &str| format!("text(\"#workers > li[data-worker='{name}'] .label\")");
        window.until("three", &format!("{} === '3 of 4 tasks'", facts("w1"))).await;
        window.until("none", &format!("{} === '0 of 1 task'", facts("w2"))).await;
        worker.answer(&first, json!({ "success": true, "result": { "html": HTML } })).await;
        window.until("two", &format!("{} === '2 of 4 tasks'", facts("w1"))).await;
        drop(idle);
        window.until("it is gone", &format!("{} === 'not connected'", facts("w2"))).await;
        window.until_text("#workers-count", "1 connected").await;
        window.click("#workers > li[data-worker='w1'] a").await;
        window.until("its page opens", "location.pathname === '/jobs/w1' && text('#presence') === 'Connected'").await;
    })
    .await;
}

#[tokio::test]
async fn issue4_wc4_many_workers_are_shown_a_part_at_a_time() {
    // More than are read at once.
    const WORKERS: usize = 620;
    play(async |stage| {
        manager(stage).await;
        // They say nothing after `ready`, and are to stay until all of them are there.
        stage.call("/jobs", "updateConfig", &json!({ "leaseTimeout": 600_000 })).await;
        let mut workers = Vec::new();
        for n in 0..WORKERS {
            workers.push(Worker::ready(stage, &format!("/jobs/w{n:03}"), 2, "render").await);
        }
        let window = stage.open("/jobs").await;
        window.until_text("#workers-count", "620 connected").await;
        submit(stage, &["a"], "render").await;
        let listed = |count: usize| format!("all('#workers > li').length === {count}");
        for shown in [12, 112, 212, 312, 412, 512, 612] {
            window.until("so many", &listed(shown)).await;
            window.until_text("#workers-more", "Show 100 more").await;
            window.click("#workers-more").await;
        }
        window.until("all", &format!("{} && !shown('#workers-more')", listed(WORKERS))).await;
        let names = "all('#workers > li').map((worker) => worker.dataset.worker)";
        assert_eq!(window.value(&format!("new Set({names}).size")).await, WORKERS);
        window
            .until(
                "its task",
                "all('#workers .label').filter((facts) => facts.textContent === '1 of 2 tasks').length === 1",
            )
            .await;
    })
    .await;
}

#[tokio::test]
async fn issue4_a_worker_within_the_server_is_there_until_its_attempt_is_over() {
    play(async |stage| {
        manager(stage).await;
        let tasks = json!({ "tasks": [{ "id": "long", "type": "sleep", "data": { "ms": 60_000 } }] });
        let batch = stage.call("/jobs", "submitBatch", &tasks).await;
        let manager = stage.open("/jobs").await;
        manager.until("it runs", "all('#workers > li').length === 1").await;
        let path = manager.value("one('#workers a').pathname").await;
        let window = stage.open(path.as_str().unwrap()).await;
        window.until_text("#worker-status", "processing").await;
        assert_eq!(window.value("text('#worker-facts').includes('long')").await, true);
        assert_accessible(&window, "a worker within the server").await;
        stage.call("/jobs", "cancelBatch", &json!({ "batchId": batch["batchId"] })).await;
        window.until_text("#worker-status", "gone").await;
        assert_eq!(window.value("shown('#worker-gone')").await, true);
    })
    .await;
}

#[tokio::test]
async fn issue4_axe_finds_nothing_in_the_page_of_a_connection() {
    play(async |stage| {
        manager(stage).await;
        let window = stage.open("/jobs/w1").await;
        window.until_text("#presence", "Not connected").await;
        assert_accessible(&window, "a worker that is away").await;
        let mut worker = Worker::ready(stage, "/jobs/w1", 2, "render").await;
        submit(stage, &["a", &"long-".repeat(20)], "render").await;
        worker.hear("task").await;
        worker.say("heartbeat", json!({ "metrics": { "cpu": 0.5 } })).await;
        window.until("all is shown", "all('#current-tasks > li').length === 2 && shown('#metrics')").await;
        window.click("#current-tasks .toggle").await;
        assert_accessible(&window, "a worker that is there").await;
    })
    .await;
}
