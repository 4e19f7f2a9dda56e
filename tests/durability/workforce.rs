//! `kill -9` on a fleet manager at work, at random moments, again and again on one data directory: every task of every batch
//! that was acknowledged ends exactly once, the books equal a recount, and the coordinator hears of each end once.
//!
//! Who works: workers in the process, and connected ones, which live on when the server dies and come back with what they
//! were doing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Http;
use crate::server::Server;
use crate::worker::Worker;
use crate::{eventually, seeded};

const ROUNDS: u64 = 10;
const SUBMITTERS: usize = 3;
/// Batches that one of them submits between two kills.
const BATCHES: usize = 6;
const MOST_TASKS: usize = 24;
/// Longest time between a start and a kill.
const LIFE_MS: u64 = 700;
const WORKERS: usize = 2;
const MANAGER: &str = "/jobs";
const COORDINATOR: &str = "/results";
const RETRIES: u64 = 2;
/// Tasks of this size make a batch that is stored over several turns.
const LARGE_BYTES: usize = 500 << 10;
const LARGE_TASKS: usize = 14;

/// One batch: what was asked for, and what is known of it.
#[derive(Debug)]
struct Batch {
    key: String,
    tasks: Vec<Value>,
    /// Its id, once that was told.
    id: Option<String>,
    cancel: Cancel,
    /// Tasks that had ended when somebody looked.
    ended: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    Never,
    /// Nobody knows what came of it.
    Asked,
    /// It was cancelled, or had ended before.
    Answered(bool),
}

/// Submits batches, and watches them.
struct Submitter {
    name: usize,
    batches: Vec<Batch>,
    rng: fastrand::Rng,
}

impl Batch {
    async fn submit(&mut self, http: &mut Http) -> Result<()> {
        let reply = http.submit(MANAGER, &self.key, &json!({"tasks": self.tasks})).await?;
        let answer = reply.ok().json();
        let id = answer["batchId"].as_str().unwrap().to_owned();
        assert_eq!(answer["tasks"], self.tasks.len(), "{}", self.key);
        assert!(self.id.as_ref().is_none_or(|known| *known == id), "{} is {id}, and was {:?}", self.key, self.id);
        self.id = Some(id);
        Ok(())
    }

    async fn cancel(&mut self, http: &mut Http) -> Result<()> {
        if self.cancel == Cancel::Never {
            self.cancel = Cancel::Asked;
        }
        let reply = http.call(MANAGER, "cancelBatch", &json!({"batchId": self.id})).await?;
        self.cancel = Cancel::Answered(reply.ok().json().as_bool().unwrap());
        Ok(())
    }

    /// Looks at it: what was seen before is still so.
    async fn look(&mut self, http: &mut Http) -> Result<Value> {
        let status = http.call(MANAGER, "getBatchStatus", &json!({"batchId": self.id})).await?.ok().json();
        let number = |key: &str| status[key].as_u64().unwrap();
        assert_eq!(number("totalTasks"), self.tasks.len() as u64, "{status}");
        let ended = number("completedTasks") + number("failedTasks");
        assert!(ended >= self.ended, "{} tasks had ended: {status}", self.ended);
        let cancelled = status["status"] == "cancelled";
        match self.cancel {
            Cancel::Never => assert!(!cancelled, "{status}"),
            Cancel::Asked => {}
            Cancel::Answered(answer) => assert_eq!(cancelled, answer, "{status}"),
        }
        if !cancelled && !status["endedAt"].is_null() {
            assert_eq!(ended, number("totalTasks"), "{status}");
        }
        self.ended = ended;
        Ok(status)
    }
}

impl Submitter {
    async fn work(mut self, address: SocketAddr) -> Self {
        // How it ends is known: the server was killed.
        let _ = self.until_it_is_gone(address).await;
        self
    }

    async fn until_it_is_gone(&mut self, address: SocketAddr) -> Result<()> {
        let mut http = Http::connect(address).await?;
        for _ in 0..BATCHES {
            let batch = self.batch();
            self.batches.push(batch);
            self.batches.last_mut().unwrap().submit(&mut http).await?;
            let index = self.rng.usize(..self.batches.len());
            let some = &mut self.batches[index];
            if self.rng.u8(..8) == 0 && some.cancel == Cancel::Never {
                some.cancel(&mut http).await?;
            }
        }
        loop {
            let index = self.rng.usize(..self.batches.len());
            self.batches[index].look(&mut http).await?;
            http.call(MANAGER, "getStats", &json!({})).await?.ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn batch(&mut self) -> Batch {
        let key = format!("{}-{}", self.name, self.batches.len());
        let tasks = if self.rng.u8(..24) == 0 {
            let data = json!({"ms": 1, "ballast": "x".repeat(LARGE_BYTES)});
            (0..LARGE_TASKS).map(|n| json!({"id": format!("{key}-{n}"), "type": "sleep", "data": data})).collect()
        } else {
            (0..self.rng.usize(1..=MOST_TASKS)).map(|n| self.task(&format!("{key}-{n}"))).collect()
        };
        Batch { key, tasks, id: None, cancel: Cancel::Never, ended: 0 }
    }

    fn task(&mut self, id: &str) -> Value {
        let (kind, data) = match self.rng.u8(..10) {
            0..4 => ("echo", json!({"of": id})),
            4 => ("sleep", json!({"ms": self.rng.u64(..40)})),
            // Nothing in this network may be reached.
            5 => ("http", json!({"url": "http://127.0.0.1:9/"})),
            _ => ("away", json!({"of": id, "fails": self.rng.u64(..8) == 0})),
        };
        json!({"id": id, "type": kind, "data": data, "priority": self.rng.i32(-2..=2)})
    }
}

/// Every item of a list.
pub(crate) async fn items(http: &mut Http, path: &str, method: &str, mut payload: Value) -> Vec<Value> {
    let mut items = Vec::new();
    payload["limit"] = json!(100);
    loop {
        let page = http.call(path, method, &payload).await.unwrap().ok().json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page.get("cursor") {
            Some(cursor) => payload["cursor"] = cursor.clone(),
            None => return items,
        }
    }
}

async fn stats(http: &mut Http) -> Value {
    http.call(MANAGER, "getStats", &json!({})).await.unwrap().ok().json()
}

/// Everything that was acknowledged is there; what was not is there as a whole or not at all. Then all of it is.
async fn check(http: &mut Http, submitters: &mut [Submitter]) {
    let found = items(http, MANAGER, "listBatches", json!({})).await;
    let mut there: BTreeMap<String, u64> = found
        .iter()
        .map(|batch| (batch["batchId"].as_str().unwrap().to_owned(), batch["totalTasks"].as_u64().unwrap()))
        .collect();
    let (known, unknown): (Vec<&mut Batch>, Vec<&mut Batch>) =
        submitters.iter_mut().flat_map(|submitter| &mut submitter.batches).partition(|batch| batch.id.is_some());
    for batch in known {
        there.remove(batch.id.as_ref().unwrap()).expect("an acknowledged batch is there");
        batch.look(http).await.unwrap();
        if batch.cancel == Cancel::Asked {
            batch.cancel(http).await.unwrap();
            // Whether this call did it or the one that was cut off.
            let status = http.call(MANAGER, "getBatchStatus", &json!({"batchId": batch.id})).await.unwrap().ok().json();
            batch.cancel = Cancel::Answered(status["status"] == "cancelled");
        }
    }
    for batch in unknown {
        batch.submit(http).await.unwrap();
        if let Some(total) = there.remove(batch.id.as_ref().unwrap()) {
            assert_eq!(total, batch.tasks.len() as u64, "{} was there, but not as a whole", batch.key);
        }
    }
    assert!(there.is_empty(), "nobody submitted {there:?}");
}

/// What all batches say together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    batches: u64,
    tasks: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// Counts the results of a batch, each of which is one that its task can have.
async fn recount(http: &mut Http, batch: &mut Batch, sum: &mut Sum, ended: &mut BTreeSet<String>) {
    let status = batch.look(http).await.unwrap();
    let tasks: BTreeMap<&str, &Value> = batch.tasks.iter().map(|task| (task["id"].as_str().unwrap(), task)).collect();
    let results = items(http, MANAGER, "getBatchResults", json!({"batchId": batch.id})).await;
    let mut completed = 0;
    for result in &results {
        let id = result["taskId"].as_str().unwrap();
        let task = tasks.get(id).unwrap_or_else(|| panic!("{id} is no task of {}", batch.key));
        assert!(ended.insert(id.to_owned()), "{id} ended twice");
        let attempts = result["attempts"].as_u64().unwrap();
        assert!((1..=RETRIES + 1).contains(&attempts), "{result}");
        if result["success"] == true {
            completed += 1;
            let expected =
                if task["type"] == "sleep" { json!({"ms": task["data"]["ms"]}) } else { task["data"].clone() };
            assert_eq!(result["result"], expected, "{id}");
        } else {
            assert_eq!(attempts, RETRIES + 1, "it was retried: {result}");
            assert!(result["error"].is_string(), "{result}");
        }
        let never = task["type"] == "http" || task["data"]["fails"] == true;
        assert!(!never || result["success"] == false, "{result}");
    }
    let failed = results.len() as u64 - completed;
    assert_eq!((&status["completedTasks"], &status["failedTasks"]), (&json!(completed), &json!(failed)), "{status}");
    let open = tasks.len() as u64 - completed - failed;
    let is_cancelled = status["status"] == "cancelled";
    assert!(is_cancelled || open == 0, "{open} tasks have no result: {status}");
    sum.batches += 1;
    sum.tasks += tasks.len() as u64;
    sum.completed += completed;
    sum.failed += failed;
    sum.cancelled += open;
}

/// The books, when nothing is under way.
async fn audit(http: &mut Http, submitters: &mut [Submitter]) {
    let (mut sum, mut ended) = (Sum::default(), BTreeSet::new());
    for batch in submitters.iter_mut().flat_map(|submitter| &mut submitter.batches) {
        recount(http, batch, &mut sum, &mut ended).await;
    }
    let stats = stats(http).await;
    let number = |key: &str| stats[key].as_u64().unwrap();
    let told = Sum {
        batches: number("totalBatches"),
        tasks: number("totalTasks"),
        completed: number("completedTasks"),
        failed: number("failedTasks"),
        cancelled: number("cancelledTasks"),
    };
    println!("{sum:?}, {} retries", number("retries"));
    assert_eq!(told, sum);
    for key in ["queuedTasks", "runningTasks", "retryingTasks", "activeWorkers", "openBatches", "unreported"] {
        assert_eq!(number(key), 0, "{key}: {stats}");
    }
    let mut heard = BTreeSet::new();
    for result in items(http, COORDINATOR, "getResults", json!({})).await {
        let id = result["taskId"].as_str().unwrap().to_owned();
        assert!(heard.insert(id), "the coordinator was told twice of {result}");
    }
    assert_eq!(heard, ended, "the coordinator knows what ended");
}

/// What is left in the files.
fn check_files(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("fleet.db")).unwrap();
    let text = |sql: &str| database.query_row(sql, (), |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    for place in ["task/", "retry/", "try/", "stage/", "sweep/", "pending/"] {
        let count = text(&format!("SELECT CAST(count(*) AS TEXT) FROM rows WHERE key LIKE '{place}%'"));
        assert_eq!(count, "0", "rows under {place}");
    }
    assert_eq!(text("SELECT CAST(count(*) AS TEXT) FROM sends"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fm10_every_task_ends_once_however_often_the_server_is_killed() {
    let mut rng = seeded();
    let directory = tempfile::tempdir().unwrap();
    let mut submitters: Vec<Submitter> =
        (0..SUBMITTERS).map(|name| Submitter { name, batches: Vec::new(), rng: rng.fork() }).collect();
    let mut workers: Vec<Worker> =
        (0..WORKERS).map(|number| Worker::new(format!("{MANAGER}/away{number}"), rng.fork())).collect();
    for round in 0..=ROUNDS {
        let server = Server::start(directory.path()).await;
        let mut http = server.http().await;
        if round == 0 {
            for (name, class) in [("jobs", "fleet-manager"), ("results", "coordinator")] {
                http.call("/", "createAgent", &json!({"name": name, "class": class})).await.unwrap().ok();
            }
            let config = json!({
                "maxConcurrentWorkers": 20, "maxRetries": RETRIES, "retryBackoff": {"initialMs": 10, "maxMs": 40},
                "coordinator": COORDINATOR, "heartbeatInterval": 500, "leaseTimeout": 2_000, "workerTimeout": 5_000,
            });
            http.call(MANAGER, "updateConfig", &config).await.unwrap().ok();
        }
        check(&mut http, &mut submitters).await;
        let said = stats(&mut http).await;
        println!("round {round}: {} of {} tasks completed", said["completedTasks"], said["totalTasks"]);
        let mut working = JoinSet::new();
        for worker in workers {
            working.spawn(worker.work(server.address()));
        }
        if round == ROUNDS {
            eventually("all tasks end", async || stats(&mut http).await["openBatches"] == 0).await;
            let stats = stats(&mut http).await;
            let ended = stats["completedTasks"].as_u64().unwrap() + stats["failedTasks"].as_u64().unwrap();
            eventually("the coordinator hears of all", async || {
                http.call(COORDINATOR, "getCount", &json!({})).await.unwrap().ok().json() == ended
            })
            .await;
            audit(&mut http, &mut submitters).await;
            server.kill().await;
            working.join_all().await;
            break;
        }
        let mut submitting = JoinSet::new();
        for submitter in submitters {
            submitting.spawn(submitter.work(server.address()));
        }
        tokio::time::sleep(Duration::from_micros(rng.u64(..LIFE_MS * 1_000))).await;
        server.kill().await;
        submitters = submitting.join_all().await;
        workers = working.join_all().await;
        submitters.sort_by_key(|submitter| submitter.name);
        workers.sort_by(|a, b| a.path.cmp(&b.path));
    }
    check_files(directory.path());
}
