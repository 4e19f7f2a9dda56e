//! A coordinator that cannot be told, as it does not listen and what waits for it has a bound.

use std::sync::atomic::{AtomicBool, Ordering};

use fleet::server::Builder;
use fleet::{Class, Error, RawValue, Turn, json as encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AT, builder, ended, results, stats, submit, task};
use crate::harness::{Server, eventually};

/// Whether a [`Deaf`] starts.
static LISTENS: AtomicBool = AtomicBool::new(false);

/// Counts what it is told, once it starts.
#[derive(Default, Serialize, Deserialize)]
struct Deaf(u64);

impl Class for Deaf {
    const NAME: &'static str = "deaf";

    fn activate(&mut self, _: &mut Turn<'_>) -> Result<(), Error> {
        if LISTENS.load(Ordering::SeqCst) { Ok(()) } else { Err(Error::conflict("not yet")) }
    }

    fn call(&mut self, _: &mut Turn<'_>, _: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        encode(&self.0)
    }

    fn message(&mut self, _: &mut Turn<'_>, _: &RawValue) -> Result<(), Error> {
        self.0 += 1;
        Ok(())
    }
}

fn with_deaf() -> Builder {
    builder().class::<Deaf>().route("/deaf", "deaf")
}

#[tokio::test]
async fn fm10_what_a_coordinator_cannot_be_told_is_counted_and_stays_with_its_batch() {
    // 64 MiB may wait, so that some of these have no room.
    const TASKS: u64 = 80;
    const BYTES: u64 = 1_000_000;
    let server = Server::built(with_deaf);
    server.call(AT, "updateConfig", json!({"coordinator": "/deaf", "maxConcurrentWorkers": 4})).await;
    let tasks = (0..TASKS).map(|n| task(&n.to_string(), "large", BYTES)).collect();
    let batch = submit(&server, tasks).await;
    let status = ended(&server, &batch).await;
    assert_eq!((&status["status"], &status["completedTasks"]), (&json!("completed"), &json!(TASKS)));
    let unreported = stats(&server).await["unreported"].as_u64().unwrap();
    assert!((1..TASKS / 2).contains(&unreported), "{unreported} of {TASKS} results were not told");
    let results = results(&server, &batch).await;
    let is_whole = |result: &Value| result["result"].as_str().is_some_and(|text| text.len() as u64 == BYTES);
    assert!(results.len() as u64 == TASKS && results.iter().all(is_whole));

    // Once it listens it hears of the others, and of what ends from then on.
    LISTENS.store(true, Ordering::SeqCst);
    let heard = async || server.call("/deaf", "count", json!({})).await.as_u64().unwrap();
    eventually("it hears of the others", async || heard().await == TASKS - unreported).await;
    let next = submit(&server, vec![task("next", "large", BYTES)]).await;
    ended(&server, &next).await;
    eventually("it hears of the next", async || heard().await == TASKS - unreported + 1).await;
    assert_eq!(stats(&server).await["unreported"], unreported);
}
