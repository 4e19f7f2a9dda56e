//! A fleet manager of a server, and batches of tasks for it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::histogram::Histogram;
use super::http::Http;
use super::meter::pause;
use crate::Result;

/// Attempts under way at once: enough that there is something to do during a commit. Their answers wait in the manager's mailbox
/// with everything else, so more of them make every look at it slower.
const ATTEMPTS: u32 = 200;
/// How often a batch is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Without any task that ends for so long, a batch is stuck.
const STUCK: Duration = Duration::from_secs(30);

pub(crate) struct Manager {
    http: Http,
    pub(crate) path: String,
}

/// How a batch is doing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) completed: u64,
    failed: u64,
    submitted_at: u64,
    ended_at: Option<u64>,
}

impl Manager {
    /// Creates one below a path, which is empty for the root.
    pub(crate) fn create(address: SocketAddr, parent: &str, name: &str) -> Result<Self> {
        let mut http = Http::connect(address)?;
        let body = serde_json::json!({"name": name, "class": "fleet-manager"}).to_string();
        let creator = if parent.is_empty() { "/" } else { parent };
        http.expect_ok("POST", &format!("{creator}:createAgent"), &body)?;
        let mut manager = Self { http, path: format!("{parent}/{name}") };
        let config = serde_json::json!({"maxConcurrentWorkers": ATTEMPTS, "maxBatchTasks": 1_000_000});
        manager.call("updateConfig", &config.to_string())?;
        Ok(manager)
    }

    /// One that is there already.
    pub(crate) fn at(address: SocketAddr, path: &str) -> Result<Self> {
        Ok(Self { http: Http::connect(address)?, path: path.to_owned() })
    }

    /// How many attempts may be under way at once.
    pub(crate) fn scale(&mut self, attempts: usize) -> Result<()> {
        self.call("scaleWorkers", &serde_json::json!({ "count": attempts }).to_string()).map(drop)
    }

    fn call(&mut self, method: &str, payload: &str) -> Result<String> {
        self.http.expect_ok("POST", &format!("{}:{method}", self.path), payload)
    }

    /// Submits a batch; gives its id, and the milliseconds until that was answered.
    pub(crate) fn submit(&mut self, tasks: &str) -> Result<(String, f64)> {
        let began = Instant::now();
        let answer = self.call("submitBatch", tasks)?;
        let time = began.elapsed().as_secs_f64() * 1e3;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok((answer["batchId"].as_str().ok_or("no batchId")?.to_owned(), time))
    }

    pub(crate) fn status(&mut self, batch: &str) -> Result<Status> {
        let answer = self.call("getBatchStatus", &serde_json::json!({"batchId": batch}).to_string())?;
        let status: Value = serde_json::from_str(&answer)?;
        let number = |key: &str| status[key].as_u64().ok_or_else(|| format!("no {key} in {answer}"));
        Ok(Status {
            completed: number("completedTasks")?,
            failed: number("failedTasks")?,
            submitted_at: number("submittedAt")?,
            ended_at: status["endedAt"].as_u64(),
        })
    }

    /// Looks at a batch until it has ended; each look is told of. Gives how long the looks took.
    pub(crate) fn watch(
        &mut self,
        batch: &str,
        mut look: impl FnMut(&Status) -> Result<()>,
    ) -> Result<(Status, Histogram)> {
        let mut latency = Histogram::new();
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let began = Instant::now();
            let status = self.status(batch)?;
            latency.record(began.elapsed());
            look(&status)?;
            if status.failed > 0 {
                return Err(format!("tasks failed: {status:?}").into());
            }
            if status.ended_at.is_some() {
                return Ok((status, latency));
            }
            if status.completed > last {
                (last, moved) = (status.completed, Instant::now());
            } else if moved.elapsed() > STUCK {
                return Err(format!("no task has ended for {STUCK:?}: {status:?}").into());
            }
            pause(LOOK);
        }
    }
}

impl Status {
    /// Tasks a second, of a batch that has ended.
    pub(crate) fn rate(&self) -> f64 {
        let ms = self.ended_at.unwrap_or(self.submitted_at) - self.submitted_at;
        self.completed as f64 / (ms.max(1) as f64 / 1e3)
    }
}

/// A batch of so many tasks, as text.
pub(crate) fn tasks(count: u64, kind: &str) -> String {
    let mut text = String::from(r#"{"tasks":["#);
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(text, r#"{comma}{{"id":"task-{number}","type":"{kind}","data":{{"n":{number}}}}}"#);
    }
    text + "]}"
}
