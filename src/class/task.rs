//! What does tasks: handlers that the owner of a server has registered, each for tasks of one type.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::object::{Error, read};

/// One attempt at a task, as its handler gets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Task {
    /// The task's id, which is its own within its batch.
    pub id: String,
    /// The task's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which attempt it is, from 1 on. The ones before may have done some of it, or all.
    pub attempt: u32,
    /// What the task is about: JSON, `null` if the task has none.
    pub data: Box<RawValue>,
    /// The time that the attempt has, in milliseconds.
    pub timeout: u64,
}

impl Task {
    /// What the task is about, as a type.
    ///
    /// # Errors
    /// `bad_request` that says what is wrong where.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(&self.data)
    }
}

/// How a task has ended, as everybody is told it: by a manager, by a coordinator, and by the one to the other.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResultView<'a> {
    pub(super) task_id: &'a str,
    pub(super) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    /// In milliseconds.
    pub(super) duration: Number,
    /// In milliseconds since the epoch.
    pub(super) timestamp: u64,
    pub(super) attempts: u32,
    pub(super) worker_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_type: Option<&'a str>,
}

/// Does tasks of one type; registered with [`Builder::task`](crate::server::Builder::task).
///
/// ```
/// use std::time::Duration;
///
/// use fleet::{Error, Server, Task, TaskHandler, json};
///
/// struct Resize {
///     largest: u32,
/// }
///
/// impl TaskHandler for Resize {
///     async fn run(&self, task: Task) -> Result<Vec<u8>, Error> {
///         let width: u32 = task.read()?;
///         tokio::time::sleep(Duration::from_millis(10)).await;
///         json(&width.min(self.largest))
///     }
/// }
///
/// let builder = Server::builder()
///     .task("resize", Resize { largest: 4_000 })
///     // A closure will do, too.
///     .task("double", async |task: Task| json(&(2 * task.read::<u64>()?)));
/// ```
pub trait TaskHandler: Send + Sync + 'static {
    /// Does one attempt, and answers its result as JSON text (see [`json`](crate::json)), of at most 1 MiB.
    ///
    /// It runs beside every turn, on the runtime of the server: work that holds its thread for long belongs on one of its
    /// own (`tokio::task::spawn_blocking`). When the attempt is cancelled or its time is over, the future is dropped; so
    /// whatever it has begun should end when it is.
    ///
    /// # Errors
    /// Why the attempt failed; its text is the `error` of the task's result. That of an
    /// [internal](Error::internal) error, or of a panic, is in the server's log only.
    fn run(&self, task: Task) -> impl Future<Output = Result<Vec<u8>, Error>> + Send;
}

impl<F, R> TaskHandler for F
where
    F: Fn(Task) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<u8>, Error>> + Send,
{
    fn run(&self, task: Task) -> impl Future<Output = Result<Vec<u8>, Error>> + Send {
        self(task)
    }
}

/// The job that does tasks of a type.
pub(crate) fn job(kind: &str) -> String {
    format!("task:{kind}")
}
