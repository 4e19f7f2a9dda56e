//! The handlers that every server has. Tasks of type `http` have none: their worker asks for the request itself.

use std::time::Duration;

use serde::Deserialize;

use crate::class::{Task, TaskHandler};
use crate::object::{Error, json};

/// Answers the task's data.
pub(super) struct Echo;

impl TaskHandler for Echo {
    async fn run(&self, task: Task) -> Result<Vec<u8>, Error> {
        json(&task.data)
    }
}

/// Waits for as long as the task says, and answers that.
pub(super) struct Sleep;

impl TaskHandler for Sleep {
    async fn run(&self, task: Task) -> Result<Vec<u8>, Error> {
        #[derive(Deserialize)]
        #[serde(expecting = "{\"ms\": N}")]
        struct Data {
            ms: u64,
        }
        let Data { ms } = task.read()?;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        json(&serde_json::json!({"ms": ms}))
    }
}
