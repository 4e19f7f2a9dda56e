//! What can be asked of batches and tasks. Nothing here changes anything, and nothing costs more than its page.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::batch::{Batch, Status};
use super::dispatch::raw;
use super::keys;
use super::memory::Running;
use super::progress::View;
use super::sweep::rows_of_batch;
use super::task::{Task, TaskResult};
use super::{Books, FleetManager};
use crate::class::task::ResultView;
use crate::limits::{LIST_ROWS, PAGE_ITEMS, PAGE_ITEMS_DEFAULT, PAGE_LISTS, UNHANDLED_SHOWN};
use crate::object::{Error, List, Look, Turn, json, read};

/// A payload that names a batch.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct BatchId {
    pub(super) batch_id: String,
}

/// A payload that asks for a page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(super) struct Ask {
    #[serde(default)]
    batch_id: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    state: Option<State>,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Queued,
    Retrying,
    Running,
    Completed,
    Failed,
}

#[derive(Serialize)]
struct Page<T> {
    items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// A batch as it is told to whoever asks for it alone.
#[derive(Serialize)]
struct BatchView<'a> {
    #[serde(flatten)]
    view: View<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unhandled: Vec<Unhandled<'a>>,
}

/// Tasks that wait for somebody who handles their type.
#[derive(Serialize)]
struct Unhandled<'a> {
    r#type: &'a str,
    tasks: u64,
    /// For how long nobody has, in milliseconds.
    waited: u64,
}

impl<'a> BatchView<'a> {
    fn of(id: &'a str, batch: &'a Batch, books: &Books, now: u64) -> Self {
        let since = |kind: &str| books.unhandled.get(kind).copied();
        let unhandled = batch.queued.iter().filter_map(|(kind, tasks)| {
            let waited = now.saturating_sub(since(kind)?.max(batch.submitted_at));
            Some(Unhandled { r#type: kind, tasks: *tasks, waited })
        });
        let mut unhandled: Vec<_> = unhandled.collect();
        // Those that have waited longest first.
        unhandled.sort_by_key(|unhandled| std::cmp::Reverse(unhandled.waited));
        unhandled.truncate(UNHANDLED_SHOWN);
        Self { view: View::of(id, batch), unhandled }
    }
}

/// A task as it is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskView<'a> {
    id: &'a str,
    r#type: &'a str,
    data: &'a RawValue,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// When a task is tried again that waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<u64>,
    /// Whether nobody handles its type.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unhandled: bool,
}

impl<'a> TaskView<'a> {
    fn of(task: &'a Task) -> Result<Self, Error> {
        Ok(Self {
            id: &task.id,
            r#type: &task.kind,
            data: raw(&task.data)?,
            priority: task.priority,
            timeout: task.timeout,
            retries: task.retries,
            attempts: task.attempts,
            error: task.error.as_deref(),
            due: None,
            unhandled: false,
        })
    }
}

/// An attempt as it is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptView<'a> {
    id: &'a str,
    r#type: &'a str,
    attempt: u32,
    worker_id: String,
    started_at: u64,
    deadline: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a RawValue>,
}

impl Ask {
    /// # Errors
    /// `bad_request` for a limit that cannot be.
    fn batch(&self) -> Result<&str, Error> {
        self.batch_id.as_deref().ok_or_else(|| Error::bad_request("batchId is missing"))
    }

    fn limit(&self) -> Result<usize, Error> {
        let limit = self.limit.unwrap_or(PAGE_ITEMS_DEFAULT);
        if !(1..=PAGE_ITEMS).contains(&limit) {
            return Err(Error::bad_request(format!("limit is {limit}; it must be 1 to {PAGE_ITEMS}")));
        }
        Ok(limit)
    }

    /// Whether it says which page, and of how many items.
    pub(super) fn is_of_a_page(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }

    /// Rows under a prefix from its cursor on, which is what follows the prefix.
    pub(super) fn list(&self, prefix: &str) -> Result<List, Error> {
        let list = List::new().prefix(prefix).limit(self.limit()?);
        Ok(match &self.cursor {
            Some(cursor) => list.after(format!("{prefix}{cursor}")),
            None => list,
        })
    }
}

/// Rows of a list, and where it goes on.
struct Found<T> {
    rows: Vec<(String, T)>,
    after: Option<String>,
}

impl Ask {
    /// A page of those rows under a prefix that are wanted, however many others lie between: it is full unless there are no
    /// more, or as many were looked at as one call may look at.
    fn search<T: DeserializeOwned>(
        &self,
        turn: &mut Turn<'_>,
        prefix: &str,
        wanted: impl Fn(&str, &T) -> bool,
    ) -> Result<Found<T>, Error> {
        let limit = self.limit()?;
        let mut list = self.list(prefix)?;
        let mut found = Found { rows: Vec::new(), after: None };
        // The first list is as long as the page, which is enough if nothing lies between.
        let mut length = limit;
        for _ in 0..PAGE_LISTS {
            let page = turn.list::<T>(list)?;
            let is_cut = page.items.len() < length;
            for (key, row) in page.items.into_iter().filter(|(key, row)| wanted(key, row)) {
                if found.rows.len() == limit {
                    found.after = found.rows.last().map(|(key, _)| key.clone());
                    return Ok(found);
                }
                found.rows.push((key, row));
            }
            found.after = page.cursor;
            let Some(after) = found.after.as_ref().filter(|_| !is_cut && found.rows.len() < limit) else { break };
            length = LIST_ROWS;
            list = List::new().prefix(prefix).limit(length).after(after.clone());
        }
        Ok(found)
    }
}

/// A result as it is told.
pub(super) fn result_view(result: &TaskResult) -> Result<ResultView<'_>, Error> {
    Ok(ResultView {
        task_id: &result.id,
        success: result.success,
        result: result.result.as_deref().map(raw).transpose()?,
        error: result.error.as_deref(),
        duration: result.duration.into(),
        timestamp: result.timestamp,
        attempts: result.attempts,
        worker_id: &result.worker,
        task_type: None,
    })
}

/// A page's cursor without what all its keys begin with.
pub(super) fn cursor(prefix: &str, key: Option<String>) -> Option<String> {
    key.and_then(|key| key.strip_prefix(prefix).map(str::to_owned))
}

/// Reads a payload of named fields; an empty one has none of them.
pub(super) fn fields<T: DeserializeOwned>(payload: &RawValue) -> Result<T, Error> {
    if payload.get() == "null" {
        return serde_json::from_str("{}").map_err(|error| Error::bad_request(format!("invalid payload: {error}")));
    }
    read(payload)
}

impl FleetManager {
    pub(super) fn batch_status(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let BatchId { batch_id } = fields(payload)?;
        let now = turn.now();
        let batch = self.known(turn, &batch_id)?.value.clone();
        json(&BatchView::of(&batch_id, &batch, &self.books, now))
    }

    pub(super) fn batch_results(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let ask: Ask = fields(payload)?;
        self.known(turn, ask.batch()?)?;
        let prefix = keys::results(ask.batch()?);
        let page = turn.list::<TaskResult>(ask.list(&prefix)?)?;
        let items = page.items.iter().map(|(_, result)| result_view(result)).collect::<Result<_, _>>()?;
        json(&Page { items, cursor: cursor(&prefix, page.cursor) })
    }

    pub(super) fn failed_tasks(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let ask: Ask = fields(payload)?;
        self.known(turn, ask.batch()?)?;
        list_failed(turn, &ask)
    }

    /// The tasks of a batch in one state. Where those lie among others, what is looked at for a page has a bound: behind that
    /// the page is short, even empty, and has a cursor.
    pub(super) fn list_tasks(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let ask: Ask = fields(payload)?;
        ask.limit()?;
        let batch = self.known(turn, ask.batch()?)?.value.clone();
        let state = ask.state.ok_or_else(|| {
            Error::bad_request("listTasks needs a state: queued, retrying, running, completed or failed")
        })?;
        match state {
            State::Completed => list_completed(turn, &ask),
            State::Failed => list_failed(turn, &ask),
            _ if batch.status() == Status::Cancelled => json(&Page::<()> { items: Vec::new(), cursor: None }),
            State::Queued => self.list_queued(turn, &ask, &batch),
            State::Retrying => list_retrying(turn, &ask),
            State::Running => self.list_running(&ask),
        }
    }

    /// The queued tasks of a batch, type by type.
    fn list_queued(&self, turn: &mut Turn<'_>, ask: &Ask, batch: &Batch) -> Result<Vec<u8>, Error> {
        let limit = ask.limit()?;
        let from = ask.cursor.as_ref().map(|cursor| format!("{}{cursor}", keys::QUEUE)).unwrap_or_default();
        let mut queues: Vec<(String, &str)> = batch.queued.keys().map(|kind| (keys::queue(kind), &**kind)).collect();
        queues.retain(|(queue, _)| from.starts_with(queue) || *queue > from);
        queues.sort_unstable();
        let (mut tasks, mut next) = (Vec::new(), None);
        for (queue, kind) in queues {
            if tasks.len() == limit {
                next = Some(queue);
                break;
            }
            let after = from.starts_with(&queue).then(|| from.clone());
            let found = rows_of_batch::<Task>(turn, kind, ask.batch()?, after, limit - tasks.len())?;
            tasks.extend(found.rows.into_iter().map(|(_, task)| task));
            if found.after.is_some() {
                next = found.after;
                break;
            }
        }
        let unhandled = |task: &Task| self.books.unhandled.contains_key(&task.kind);
        let items = tasks.iter().map(|task| Ok(TaskView { unhandled: unhandled(task), ..TaskView::of(task)? }));
        let items = items.collect::<Result<_, Error>>()?;
        json(&Page { items, cursor: cursor(keys::QUEUE, next) })
    }

    fn list_running(&self, ask: &Ask) -> Result<Vec<u8>, Error> {
        let limit = ask.limit()?;
        let batch = ask.batch()?;
        let after = self.memory.attempts.after(ask.cursor.as_deref().unwrap_or_default());
        let mut found = after.filter(|(_, running)| &*running.batch == batch);
        let page: Vec<(&str, &Running)> = found.by_ref().take(limit).collect();
        let cursor = found.next().and(page.last()).map(|(token, _)| (*token).to_owned());
        let items = page.iter().map(|(token, running)| AttemptView::of(token, running)).collect();
        json(&Page { items, cursor })
    }
}

impl<'a> AttemptView<'a> {
    fn of(token: &str, running: &'a Running) -> Self {
        Self {
            id: &running.task,
            r#type: &running.kind,
            attempt: running.attempt,
            worker_id: running.executor.worker(token),
            started_at: running.started,
            deadline: running.deadline,
            progress: running.progress.as_deref(),
        }
    }
}

/// How a batch was doing when that was last durable.
pub(super) fn look_at_batch(look: &Look<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    let BatchId { batch_id } = fields(payload)?;
    let batch = if keys::is_batch_id(&batch_id) { look.get::<Batch>(&keys::batch(&batch_id))? } else { None };
    let batch = batch.ok_or_else(|| unknown_batch(&batch_id))?;
    let manager: FleetManager = look.value()?;
    json(&BatchView::of(&batch_id, &batch, &manager.books, look.now()))
}

pub(super) fn unknown_batch(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    Error::not_found(format!("Batch {shown} not found"))
}

pub(super) fn list_batches(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    let ask: Ask = fields(payload)?;
    let mut list = List::new().prefix(keys::BATCH).reverse().limit(ask.limit()?);
    if let Some(cursor) = &ask.cursor {
        list = list.after(keys::batch(cursor));
    }
    let page = turn.list::<Batch>(list)?;
    let items = page.items.iter().map(|(key, batch)| View::of(&key[keys::BATCH.len()..], batch)).collect();
    json(&Page { items, cursor: cursor(keys::BATCH, page.cursor) })
}

fn list_completed(turn: &mut Turn<'_>, ask: &Ask) -> Result<Vec<u8>, Error> {
    let prefix = keys::results(ask.batch()?);
    let found = ask.search::<TaskResult>(turn, &prefix, |_, result| result.success)?;
    let items = found.rows.iter().map(|(_, result)| result_view(result)).collect::<Result<_, _>>()?;
    json(&Page { items, cursor: cursor(&prefix, found.after) })
}

fn list_failed(turn: &mut Turn<'_>, ask: &Ask) -> Result<Vec<u8>, Error> {
    let prefix = keys::failures(ask.batch()?);
    let page = turn.list::<Task>(ask.list(&prefix)?)?;
    let items = page.items.iter().map(|(_, task)| TaskView::of(task)).collect::<Result<_, _>>()?;
    json(&Page { items, cursor: cursor(&prefix, page.cursor) })
}

/// The tasks of a batch that wait for a retry. They lie among those of others.
fn list_retrying(turn: &mut Turn<'_>, ask: &Ask) -> Result<Vec<u8>, Error> {
    let batch = ask.batch()?;
    let found = ask.search::<Task>(turn, keys::RETRY, |_, task| &*task.batch == batch)?;
    let items =
        found.rows.iter().map(|(key, task)| Ok(TaskView { due: Some(keys::due_of(key)), ..TaskView::of(task)? }));
    json(&Page { items: items.collect::<Result<_, Error>>()?, cursor: cursor(keys::RETRY, found.after) })
}
