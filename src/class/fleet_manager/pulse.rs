//! The one alarm of a manager: whatever is due is due there.
//!
//! While a batch is unfinished the alarm rings at least once a second, so that the manager is awake soon after a restart. It
//! never fails for ever: one that was run again too often is set anew, for an alarm that is dropped would leave tasks
//! waiting.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::FleetManager;
use super::batch::Step;
use super::config::Config;
use super::connections::Worker;
use super::ending::timed_out;
use super::keys;
use super::memory::{Memory, Room, Search};
use super::task::{Attempt, AttemptHead, Ending, Executor, Task};
use crate::limits::{ALARM_RETRIES, LIST_ROWS, PULSE_MS, SWEEP_ROWS, UNHANDLED_LOOK_MS};
use crate::object::{Error, List, Turn};

/// How long after a failure that would have been the last one the alarm is tried again, in ms.
const AFRESH_MS: u64 = 10_000;
const INTERRUPTED: &str = "interrupted: the server was restarted, or its storage failed";

impl FleetManager {
    /// Before the first event of each memory: what an earlier one left is looked at soon. Mostly the alarm that it has set
    /// sees to that, and nothing is written: so a manager can be read while its disk is full.
    pub(super) fn renew(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let soon = turn.now().saturating_add(PULSE_MS);
        let is_set = turn.get_alarm().is_some_and(|at| at <= soon);
        if !is_set && (self.books.open > 0 || any(turn, keys::STAGE)?) {
            let now = turn.now();
            turn.set_alarm(now)?;
        }
        Ok(())
    }

    /// Reads what is kept in memory, if it is not there.
    pub(super) fn recall(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        if self.memory.ready {
            return Ok(());
        }
        let told = (self.books.completed, self.books.failed);
        self.memory = Memory { next_removal: Some(0), more: self.books.open > 0, told, ..Memory::default() };
        let lease = turn.now().saturating_add(self.books.config.lease_timeout);
        each::<Worker>(turn, keys::WORKER, |name, worker| {
            self.memory.known += 1;
            if worker.connected {
                self.memory.connections.ready(name, worker.capacity, worker.types, lease);
            }
        })?;
        let mut here: Vec<(Box<str>, u64)> = Vec::new();
        each::<AttemptHead>(turn, keys::RUN, |token, head| {
            match &head.executor {
                Executor::Process(asked) => here.push((token.into(), *asked)),
                Executor::Connection(name) if !self.memory.connections.contains(name) => {
                    self.memory.doomed.push((token.into(), Ending::Failed(format!("worker {name} is gone").into())));
                }
                Executor::Connection(name) => self.memory.connections.give(name, token),
            }
            self.memory.attempts.insert(token, head.into());
        })?;
        let interrupted = here.into_iter().filter(|(_, asked)| !turn.waits_for(*asked));
        self.memory.doomed.extend(interrupted.map(|(token, _)| (token, Ending::Failed(INTERRUPTED.into()))));
        let first = turn.list::<IgnoredAny>(List::new().prefix(keys::RETRY).limit(1))?;
        self.memory.next_retry = first.items.first().map(|(key, _)| keys::due_of(key));
        self.memory.more |= any(turn, keys::SWEEP)?;
        self.drop_cut_off(turn)?;
        self.memory.ready = true;
        Ok(())
    }

    pub(super) fn pulse(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        if retry + 1 >= ALARM_RETRIES {
            let again = turn.now().saturating_add(AFRESH_MS);
            return turn.set_alarm(again);
        }
        self.recall(turn)?;
        self.memory.more = false;
        let mut room = Room::default();
        self.advance_staging(turn, &mut room)?;
        self.end_doomed(turn, &mut room)?;
        self.requeue_due(turn, &mut room)?;
        self.end_overdue(turn, &mut room)?;
        self.end_leases(turn, &mut room)?;
        self.give_up_unhandled(turn, &mut room)?;
        self.sweep(turn, &mut room)?;
        self.retire(turn, &mut room)?;
        self.autoscale(turn);
        self.tell_due(turn)?;
        self.settle(turn)
    }

    /// Sets the alarm for whatever is due next, unless it rings before.
    pub(super) fn arm(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let now = turn.now();
        let memory = &self.memory;
        let Config { autoscale, max_concurrent_workers, .. } = &self.books.config;
        let is_scaling = self.books.open > 0 || *max_concurrent_workers > autoscale.min_workers;
        let pulse = (self.books.open > 0).then_some(now + PULSE_MS);
        let next = [
            memory.more.then_some(now),
            pulse,
            memory.next_retry,
            memory.next_removal,
            memory.attempts.next_deadline(),
            memory.connections.next_lease(),
            memory.pushes.next(),
            (autoscale.enabled && is_scaling).then_some(memory.next_scaling),
        ];
        let Some(next) = next.into_iter().flatten().min().map(|at| at.max(now)) else { return Ok(()) };
        if turn.get_alarm().is_some_and(|at| at <= next) {
            return Ok(());
        }
        turn.set_alarm(next)
    }

    /// Ends attempts that are over.
    pub(super) fn end_doomed(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        while !room.is_spent()
            && let Some((token, ending)) = self.memory.doomed.pop()
        {
            let written = turn.get::<Attempt>(&keys::run(&token))?.map_or(0, |attempt| attempt.task.bytes());
            room.take(4, 2 * written);
            self.end(turn, &token, ending)?;
        }
        self.memory.more |= !self.memory.doomed.is_empty();
        Ok(())
    }

    /// Queues the tasks whose wait is over.
    fn requeue_due(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        let now = turn.now();
        while self.memory.next_retry.is_some_and(|due| due <= now) {
            if room.is_spent() {
                self.memory.more = true;
                return Ok(());
            }
            let limit = (room.rows() / 2).clamp(1, SWEEP_ROWS / 8);
            let page = turn.list::<Task>(List::new().prefix(keys::RETRY).limit(limit))?;
            self.memory.next_retry =
                page.items.last().filter(|_| page.cursor.is_some()).map(|(key, _)| keys::due_of(key));
            for (key, task) in page.items {
                let due = keys::due_of(&key);
                if due > now || room.is_spent() {
                    self.memory.next_retry = Some(due);
                    break;
                }
                turn.delete(&key)?;
                room.take(2, task.bytes());
                if self.is_open(turn, &task.batch)? {
                    let rank = task.rank();
                    turn.put(&keys::queued(&task.kind, &rank), &task)?;
                    self.count(turn, &task.batch, &task.kind, Step::Requeue)?;
                    self.queue_grew(&task.kind, &rank);
                }
            }
        }
        Ok(())
    }

    /// Ends the attempts whose time is up.
    fn end_overdue(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        let overdue = self.memory.attempts.overdue(turn.now());
        self.stop_all(turn, &overdue)?;
        for token in overdue {
            if let Some(running) = self.memory.attempts.get(&token) {
                let error = timed_out(running.deadline.saturating_sub(running.started));
                self.memory.doomed.push((token, Ending::Failed(error)));
            }
        }
        self.end_doomed(turn, room)
    }

    /// Workers that were not heard of in time are gone.
    fn end_leases(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        let now = turn.now();
        while let Some(name) = self.memory.connections.expired(now) {
            self.lose(turn, &name, &format!("worker {name} was not heard of within its lease"), room)?;
        }
        Ok(())
    }

    /// Notes since when nobody handles types of which tasks wait.
    pub(super) fn note_unhandled(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        let mut unhandled = std::mem::take(&mut self.books.unhandled);
        unhandled.retain(|kind, _| self.books.queued.contains_key(kind) && !self.is_handled(turn, kind));
        for kind in self.books.queued.keys() {
            if !unhandled.contains_key(kind) && !self.is_handled(turn, kind) {
                unhandled.insert(kind.clone(), now);
            }
        }
        self.memory.searches.retain(|kind, _| unhandled.contains_key(kind));
        self.books.unhandled = unhandled;
    }

    /// Fails tasks that have waited too long for somebody who handles their type.
    fn give_up_unhandled(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        self.note_unhandled(turn);
        let now = turn.now();
        let timeout = self.books.config.unhandled_timeout;
        for (kind, since) in self.books.unhandled.clone() {
            let searched = self.memory.searches.get(&kind).map_or(0, |search| search.at);
            let at = searched.max(since.saturating_add(timeout));
            if at <= now && !room.is_spent() {
                self.give_up(turn, &kind, since, room)?;
            }
        }
        Ok(())
    }

    /// Looks through some of the queue of a type.
    fn give_up(&mut self, turn: &mut Turn<'_>, kind: &str, since: u64, room: &mut Room) -> Result<(), Error> {
        let (now, timeout) = (turn.now(), self.books.config.unhandled_timeout);
        let after = self.memory.searches.get_mut(kind).and_then(|search| search.after.take());
        let limit = (room.rows() / 3).clamp(1, SWEEP_ROWS / 4);
        let mut list = List::new().prefix(keys::queue(kind)).limit(limit);
        if let Some(after) = after {
            list = list.after(after);
        }
        let page = turn.list::<Task>(list)?;
        let mut after = page.cursor;
        for (key, task) in page.items {
            let Some(held) = self.held(turn, &task.batch)? else { continue };
            if held.value.ended_at.is_some() {
                continue;
            }
            let waited = now.saturating_sub(held.value.submitted_at.max(since));
            if waited < timeout {
                continue;
            }
            if room.is_spent() {
                break;
            }
            room.take(3, 2 * task.bytes());
            after = after.map(|_| key.clone());
            turn.delete(&key)?;
            let rank = task.rank();
            if let Some(window) = self.memory.windows.get_mut(kind) {
                window.remove(&rank);
            }
            let error = format!("nobody handles tasks of type `{kind}`; it waited {waited} ms");
            let task = Task { error: Some(error.into()), ..task };
            self.conclude(turn, &task, Step::GiveUp, None, "", 0)?;
        }
        self.memory.more |= after.is_some();
        let pause = timeout.min(UNHANDLED_LOOK_MS);
        let at = if after.is_some() { now } else { now.saturating_add(pause) };
        self.memory.searches.insert(kind.into(), Search { after, at });
        Ok(())
    }

    fn autoscale(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        let autoscale = self.books.config.autoscale;
        if !autoscale.enabled || self.memory.next_scaling > now {
            return;
        }
        self.memory.next_scaling = now.saturating_add(autoscale.interval_ms);
        let handled = self.books.queued.iter().filter(|(kind, _)| self.is_handled(turn, kind));
        let pending = handled.map(|(_, count)| count).sum();
        let config = &mut self.books.config;
        config.max_concurrent_workers = autoscale.target(config.max_concurrent_workers, pending);
    }
}

/// Whether there is a row under a prefix.
fn any(turn: &mut Turn<'_>, prefix: &str) -> Result<bool, Error> {
    Ok(!turn.list::<IgnoredAny>(List::new().prefix(prefix).limit(1))?.items.is_empty())
}

/// Every row under a prefix, by what follows it.
fn each<T: DeserializeOwned>(turn: &mut Turn<'_>, prefix: &str, mut seen: impl FnMut(&str, T)) -> Result<(), Error> {
    let mut list = List::new().prefix(prefix).limit(LIST_ROWS);
    loop {
        let page = turn.list::<T>(list)?;
        for (key, value) in page.items {
            seen(&key[prefix.len()..], value);
        }
        let Some(cursor) = page.cursor else { return Ok(()) };
        list = List::new().prefix(prefix).limit(LIST_ROWS).after(cursor);
    }
}
