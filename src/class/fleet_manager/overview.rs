//! The books as a whole, and the workers: what is seen of a manager.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::RawValue;

use super::FleetManager;
use super::batch::Batch;
use super::config::Config;
use super::connections::Worker;
use super::dispatch::raw;
use super::keys;
use super::latency::{Latency, Percentiles};
use super::progress::View;
use super::reads::{Ask, cursor, fields};
use super::task::Executor;
use crate::limits::{LIST_ROWS, STATE_BATCHES, STATE_WORKERS};
use crate::object::{Class, Error, List, Turn, json};

/// A worker as it is told: one attempt in this process, or a connected one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerInfo {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<Box<str>>,
    status: &'static str,
    spawned_at: u64,
}

/// A connected worker as it is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerView<'a> {
    id: &'a str,
    connected: bool,
    capacity: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<&'a BTreeSet<Box<str>>>,
    sessions: u64,
    /// Ids of tasks, as the connection itself tells them: all workers together have no more than the manager runs at once.
    current_tasks: Vec<&'a str>,
    last_connected_at: u64,
    last_disconnected_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_at: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    total_batches: u64,
    total_tasks: u64,
    completed_tasks: u64,
    failed_tasks: u64,
    cancelled_tasks: u64,
    queued_tasks: u64,
    running_tasks: u64,
    retrying_tasks: u64,
    active_workers: u64,
    connected_workers: usize,
    open_batches: u64,
    retries: u64,
    unreported: u64,
    /// Tasks that wait for somebody who handles their type.
    unhandled: BTreeMap<&'a str, u64>,
    latency: BTreeMap<String, Percentiles>,
}

#[derive(Serialize)]
struct Overview<'a> {
    class: &'static str,
    config: &'a Config,
    stats: Stats<'a>,
    batches: Vec<View<'a>>,
    workers: Vec<WorkerInfo>,
    queued: &'a BTreeMap<Box<str>, u64>,
}

#[derive(Serialize)]
struct Workers<'a> {
    workers: Vec<WorkerView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl FleetManager {
    /// The state of a manager.
    pub(super) fn overview(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        let latency = latency(turn)?;
        let newest = List::new().prefix(keys::BATCH).reverse().limit(STATE_BATCHES);
        let batches = turn.list::<Batch>(newest)?.items;
        let batches = batches.iter().map(|(key, batch)| View::of(&key[keys::BATCH.len()..], batch)).collect();
        let workers = self.worker_infos(turn, STATE_WORKERS)?;
        json(&Overview {
            class: Self::NAME,
            config: &self.books.config,
            stats: self.stats_of(latency),
            batches,
            workers,
            queued: &self.books.queued,
        })
    }

    pub(super) fn stats(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        let latency = latency(turn)?;
        json(&self.stats_of(latency))
    }

    fn stats_of(&self, latency: BTreeMap<String, Percentiles>) -> Stats<'_> {
        let books = &self.books;
        let unhandled = books.queued.iter().filter(|(kind, _)| books.unhandled.contains_key(*kind));
        Stats {
            total_batches: books.batches,
            total_tasks: books.tasks,
            completed_tasks: books.completed,
            failed_tasks: books.failed,
            cancelled_tasks: books.cancelled,
            queued_tasks: books.queued.values().sum(),
            running_tasks: self.memory.attempts.len(),
            retrying_tasks: books.retrying,
            active_workers: self.memory.attempts.len(),
            connected_workers: self.memory.connections.iter().count(),
            open_batches: books.open,
            retries: books.retries,
            unreported: books.unreported,
            unhandled: unhandled.map(|(kind, count)| (&**kind, *count)).collect(),
            latency,
        }
    }

    pub(super) fn active_workers(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        json(&self.worker_infos(turn, usize::MAX)?)
    }

    fn worker_infos(&self, turn: &mut Turn<'_>, most: usize) -> Result<Vec<WorkerInfo>, Error> {
        let attempts = self.memory.attempts.iter().take(most).map(|(token, running)| {
            let is_active = running.accepted || matches!(running.executor, Executor::Process(_));
            WorkerInfo {
                id: running.executor.worker(token),
                task_id: Some(running.task.clone()),
                status: if is_active { "active" } else { "spawning" },
                spawned_at: running.started,
            }
        });
        let mut workers: Vec<WorkerInfo> = attempts.collect();
        let idle =
            self.memory.connections.iter().filter(|(name, _)| self.memory.connections.tokens(name).next().is_none());
        for (name, _) in idle.take(most - workers.len().min(most)) {
            let spawned_at = turn.get::<Worker>(&keys::worker(name))?.map_or(0, |worker| worker.ready_at);
            workers.push(WorkerInfo { id: name.to_owned(), task_id: None, status: "active", spawned_at });
        }
        Ok(workers)
    }

    /// The connected workers that are known, all of them unless a page is asked for, without waking any.
    pub(super) fn worker_status(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let ask: Ask = fields(payload)?;
        let (mut rows, mut list) = (Vec::new(), ask.list(keys::WORKER)?);
        let after = loop {
            let page = turn.list::<Worker>(list)?;
            rows.extend(page.items);
            match page.cursor {
                Some(after) if !ask.is_of_a_page() => {
                    list = List::new().prefix(keys::WORKER).limit(LIST_ROWS).after(after);
                }
                after => break after,
            }
        };
        let workers = rows.iter().map(|(key, worker)| self.worker_view(&key[keys::WORKER.len()..], worker));
        json(&Workers { workers: workers.collect::<Result<_, _>>()?, cursor: cursor(keys::WORKER, after) })
    }

    fn worker_view<'a>(&'a self, id: &'a str, worker: &'a Worker) -> Result<WorkerView<'a>, Error> {
        let attempts = self.memory.connections.tokens(id).filter_map(|token| self.memory.attempts.get(token));
        Ok(WorkerView {
            id,
            connected: self.memory.connections.contains(id),
            capacity: worker.capacity,
            types: worker.types.as_ref(),
            sessions: worker.sessions,
            current_tasks: attempts.map(|running| &*running.task).collect(),
            last_connected_at: worker.ready_at,
            last_disconnected_at: worker.gone_at,
            metrics: worker.metrics.as_deref().map(raw).transpose()?,
            metrics_at: worker.metrics_at,
        })
    }
}

/// Percentiles by type.
fn latency(turn: &mut Turn<'_>) -> Result<BTreeMap<String, Percentiles>, Error> {
    let page = turn.list::<Latency>(List::new().prefix(keys::LATENCY).limit(LIST_ROWS))?;
    let told = page.items.iter().map(|(key, latency)| (keys::kind_of_latency(key), latency.percentiles()));
    Ok(told.collect())
}
