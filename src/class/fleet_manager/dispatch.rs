//! Who is next, and who runs it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::FleetManager;
use super::assignment::Assignments;
use super::batch::Step;
use super::config::WorkerClass;
use super::ending::Note;
use super::keys;
use super::memory::{Room, Running};
use super::task::{Attempt, Executor, Task};
use super::window::Window;
use crate::limits::{QUEUE_SEEKS, SWEEP_ROWS, WINDOW_RANKS};
use crate::object::{Ask, Error, List, Turn};
use crate::path::{ObjectName, ObjectPath};

/// What a worker in this process is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    task_id: &'a str,
    attempt: u32,
    token: &'a str,
    r#type: &'a str,
    data: &'a RawValue,
    timeout: u64,
}

/// The task that is next, and who can run it.
struct Head {
    kind: Box<str>,
    rank: Box<str>,
    able: Able,
}

/// Who can run a task.
enum Able {
    /// A worker in this process, which is spawned for it.
    Here,
    /// The connected worker of this name.
    Connected(Box<str>),
}

impl FleetManager {
    /// Hands out tasks as long as there is room for more attempts.
    pub(super) fn dispatch(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let mut room = Room::of(SWEEP_ROWS);
        let mut assignments = Assignments::default();
        let kinds: Vec<Box<str>> = self.books.queued.keys().cloned().collect();
        while self.memory.attempts.len() < self.books.config.max_concurrent_workers {
            if room.is_spent() {
                self.memory.more = true;
                break;
            }
            let Some(head) = self.head(turn, &kinds)? else { break };
            if !self.begin(turn, &head, &mut assignments, &mut room)? {
                break;
            }
        }
        self.assign(turn, assignments)
    }

    /// Whether anybody handles a type, with or without room.
    pub(super) fn is_handled(&self, turn: &Turn<'_>, kind: &str) -> bool {
        let class = self.books.config.worker_class;
        (class != Some(WorkerClass::Worker) && self.memory.connections.handles(kind))
            || (class != Some(WorkerClass::WorkerConnection) && is_handled_here(turn, kind))
    }

    /// Who can run a task of a type now.
    fn able(&self, turn: &Turn<'_>, kind: &str) -> Option<Able> {
        let class = self.books.config.worker_class;
        let connected = if class == Some(WorkerClass::Worker) { None } else { self.memory.connections.pick(kind) };
        if let Some(name) = connected {
            return Some(Able::Connected(name.into()));
        }
        let here = class != Some(WorkerClass::WorkerConnection) && is_handled_here(turn, kind);
        here.then_some(Able::Here)
    }

    /// The lowest rank among those of these types that somebody can run.
    fn head(&mut self, turn: &mut Turn<'_>, kinds: &[Box<str>]) -> Result<Option<Head>, Error> {
        let mut head: Option<Head> = None;
        for kind in kinds {
            let Some(able) = self.able(turn, kind) else { continue };
            let Some(rank) = self.first(turn, kind)? else { continue };
            if head.as_ref().is_none_or(|head| rank < head.rank) {
                head = Some(Head { kind: kind.clone(), rank, able });
            }
        }
        Ok(head)
    }

    /// The lowest rank of a type.
    fn first(&mut self, turn: &mut Turn<'_>, kind: &str) -> Result<Option<Box<str>>, Error> {
        if self.memory.windows.get(kind).is_none_or(Window::is_spent) {
            let window = self.read_window(turn, kind)?;
            self.memory.windows.insert(kind.into(), window);
        }
        Ok(self.memory.windows.get(kind).and_then(Window::first).map(Into::into))
    }

    /// Reads the front of a queue, over the tasks of batches that are not published, not any more, or cancelled.
    fn read_window(&mut self, turn: &mut Turn<'_>, kind: &str) -> Result<Window, Error> {
        let queue = keys::queue(kind);
        let mut open: BTreeMap<String, bool> = BTreeMap::new();
        let mut ranks: Vec<Box<str>> = Vec::new();
        let mut from = queue.clone();
        for _ in 0..QUEUE_SEEKS {
            let list = List::new().prefix(queue.clone()).start(from.clone()).limit(WINDOW_RANKS);
            let page = turn.list::<IgnoredAny>(list)?;
            let mut over = None;
            for (key, _) in &page.items {
                let rank = &key[queue.len()..];
                let batch = keys::batch_of(rank);
                let is_open = if let Some(is_open) = open.get(batch) {
                    *is_open
                } else {
                    let is_open = self.is_open(turn, batch)?;
                    open.insert(batch.to_owned(), is_open);
                    is_open
                };
                if is_open {
                    over = None;
                    ranks.push(rank.into());
                } else {
                    over = Some(keys::behind(keys::group_of(rank)));
                }
            }
            from = match (page.cursor, over) {
                (None, _) => return Ok(Window::new(ranks, true)),
                (Some(_), Some(group)) => format!("{queue}{group}"),
                // `!` is a character before those of a rank: nothing lies between.
                (Some(cursor), None) => format!("{cursor}!"),
            };
            if !ranks.is_empty() {
                return Ok(Window::new(ranks, false));
            }
        }
        // Nothing yet; another turn looks again, when more of it has been swept.
        self.memory.more = true;
        Ok(Window::new(ranks, false))
    }

    /// Begins an attempt; answers whether others may follow.
    fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        head: &Head,
        assignments: &mut Assignments,
        room: &mut Room,
    ) -> Result<bool, Error> {
        let key = keys::queued(&head.kind, &head.rank);
        if let Some(window) = self.memory.windows.get_mut(&head.kind) {
            window.remove(&head.rank);
        }
        let Some(mut task) = turn.get::<Task>(&key)? else { return Ok(true) };
        if !self.is_open(turn, &task.batch)? {
            return Ok(true);
        }
        self.books.next_attempt += 1;
        let token = keys::token(self.books.next_attempt, turn.random());
        task.attempts += 1;
        let started = turn.now();
        let timeout = task.timeout.unwrap_or(self.books.config.worker_timeout);
        let deadline = started.saturating_add(timeout);
        let executor = match &head.able {
            Able::Here => order(turn, &task, &token, timeout).map(Executor::Process),
            Able::Connected(name) => {
                assignments.add(name, &token, &task, deadline).map(|()| Executor::Connection(name.clone()))
            }
        };
        let executor = match executor {
            Ok(executor) => executor,
            Err(error) => {
                // Too many questions, or too deep below others: a turn of the alarm's has neither above it.
                tracing::warn!(path = %turn.path(), %error, "a task waits: it cannot be handed out in this turn");
                self.memory.windows.remove(&head.kind);
                return Ok(false);
            }
        };
        room.take(2, task.bytes());
        turn.delete(&key)?;
        self.count(turn, &task.batch, &head.kind, Step::Begin)?;
        if let Executor::Connection(name) = &executor {
            self.memory.connections.give(name, &token);
        }
        let attempt = Attempt { task, started, deadline, executor };
        turn.put(&keys::run(&token), &attempt)?;
        let running = Running {
            task: attempt.task.id,
            kind: attempt.task.kind,
            batch: attempt.task.batch,
            attempt: attempt.task.attempts,
            started,
            deadline,
            executor: attempt.executor,
            accepted: false,
            progress: None,
        };
        self.memory.attempts.insert(&token, running);
        Ok(true)
    }
}

/// Whether a worker in this process can run tasks of a type.
fn is_handled_here(turn: &Turn<'_>, kind: &str) -> bool {
    kind == "http" || turn.has_job(&format!("task:{kind}"))
}

/// Asks a new worker in this process.
fn order(turn: &mut Turn<'_>, task: &Task, token: &str, timeout: u64) -> Result<u64, Error> {
    let worker = child(turn, &format!("w{token}"))?;
    let order =
        Order { task_id: &task.id, attempt: task.attempts, token, r#type: &task.kind, data: raw(&task.data)?, timeout };
    let ask = Ask::new().in_memory().spawn_as("worker").timeout(timeout).note(&Note::Run(token.into()));
    turn.call(&worker, "run", &order, ask)
}

/// The path of a child.
pub(super) fn child(turn: &Turn<'_>, name: &str) -> Result<ObjectPath, Error> {
    let name = ObjectName::parse(name).map_err(|error| Error::internal(format!("a worker's name: {error}")))?;
    Ok(turn.path().child(&name))
}

/// JSON that was stored.
pub(super) fn raw(text: &str) -> Result<&RawValue, Error> {
    serde_json::from_str(text).map_err(|error| Error::internal(format!("a stored value is no JSON: {error}")))
}
