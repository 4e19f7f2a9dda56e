//! What is due in an object: its alarm and its schedules.
//!
//! A turn changes them in memory, where a turn that fails takes its changes back; what a turn that succeeds leaves goes as
//! rows of the runtime into the same write set, with the one time at which the object is to be woken next.
//!
//! An [`Event::Wake`] runs the longest due, as a turn of its own, and comes back while there is more. So a wake-up too many
//! does nothing, and one that is lost is made up for by the next.
//!
//! # Why
//! A schedule begins and ends within one turn, and so cannot overlap with itself. While the object is busy its ticks wait,
//! however many, as one: the others are left out.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Error;
use super::attempt::Source;
use super::body::{Body, Stored};
use super::commit::{Changed, Run};
use super::event::Event;
use super::faults::{Delivery, Fault};
use super::inbox::Mail;
use super::instance::Input;
use super::namespace::{Inner, Slot};
use super::replies::{self, Pending};
use super::rows::Rows;
use super::slot::Posted;
use crate::clock::Clock;
use crate::path::ObjectPath;
use crate::storage::{Range, Record, Space, Storage, WriteSet};
use crate::timers::{Alarm, Due, Outcome, Retry, Timers};

impl Stored {
    /// What storage has of an object with this record.
    pub(super) fn load(
        storage: &Storage,
        path: &ObjectPath,
        record: Record,
        (exists, in_memory): (bool, bool),
    ) -> Result<Self, Error> {
        let (timers, pending) =
            if record.rows > 0 { load_runtime(storage, path)? } else { (Timers::default(), Pending::default()) };
        let runtime_rows = timers.rows() + pending.rows() as u64;
        let rows = Rows::load(storage, path, record.rows.saturating_sub(runtime_rows))?;
        let state_bytes = record.state.as_ref().map_or(0, |state| state.len());
        let mut stored = Self {
            record,
            state_bytes,
            exists,
            in_memory,
            looked: 0,
            children: None,
            rows,
            mail: Mail::default(),
            pending,
            timers,
            runtime_rows,
            wake: None,
        };
        stored.wake = stored.next_wake();
        Ok(stored)
    }

    /// Puts what has changed of the timers into the run, so that it is not taken back any more, and counts the rows of the
    /// runtime.
    pub(super) fn keep_timers(&mut self, run: &mut Run) {
        for (key, value) in self.timers.take_changes() {
            run.set.rows.insert((Space::Runtime, key), value.map(Into::into));
        }
        let rows = self.timers.rows() + self.pending.rows() as u64;
        if rows != self.runtime_rows {
            self.record.rows = self.record.rows.saturating_sub(self.runtime_rows) + rows;
            self.runtime_rows = rows;
            run.changed = run.changed.max(Changed::Record);
        }
    }

    /// Puts into a write set when the object is to be woken from now on, if that is new. A time that is past becomes now:
    /// nobody gets ahead of the others by asking for one long ago.
    pub(super) fn keep_wake(&mut self, set: &mut WriteSet, clock: &Clock) {
        let wake = self.next_wake();
        if wake != self.wake {
            self.wake = wake;
            set.wake = Some(wake.map(|at| at.max(clock.now())));
        }
    }

    fn next_wake(&self) -> Option<u64> {
        self.timers.next_wake().into_iter().chain(self.pending.next_deadline()).min()
    }
}

fn load_runtime(storage: &Storage, path: &ObjectPath) -> Result<(Timers, Pending), Error> {
    let (start, end) = (Bound::Unbounded, Bound::Unbounded);
    let all = Range { start, end, reverse: false, limit: usize::MAX, bytes: usize::MAX };
    let rows = storage.rows(path, Space::Runtime, &all)?;
    let (pending, timers): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| replies::is_row(key));
    Ok((Timers::load(timers)?, Pending::load(path, pending)))
}

impl Inner {
    /// Has an object look for what is due; its turns run here, unless somebody runs it.
    pub(super) fn post_wake(self: &Arc<Self>, path: &ObjectPath, place: OwnedSemaphorePermit) {
        match self.services.faults.of(Delivery::Wake) {
            // It is told again, as it stays due.
            Some(Fault::Lost) => return,
            Some(Fault::Again(after)) => {
                let path = path.clone();
                self.repeat(after, move |namespace| {
                    let place = Arc::clone(&namespace.wakes.places).try_acquire_owned();
                    if let Ok(place) = place {
                        namespace.post_wake(&path, place);
                    }
                });
            }
            Some(Fault::Full) | None => {}
        }
        let mut event = Event::Wake(place);
        loop {
            let slot = self.slot(path);
            if slot.waking.swap(true, Ordering::Relaxed) {
                return;
            }
            let room = event.room();
            let posted = slot.core.lock().post(event, room);
            match posted {
                Posted::Run(body) => return self.run(&slot, body),
                Posted::Queued => return,
                Posted::Full(_) => {
                    self.metrics.overloaded.inc();
                    return slot.waking.store(false, Ordering::Relaxed);
                }
                Posted::Gone(back) => {
                    self.forget(&slot);
                    event = back;
                }
            }
        }
    }

    /// Runs what is due for the longest time.
    pub(super) fn wake(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        place: OwnedSemaphorePermit,
    ) {
        let now = self.services.clock.now();
        self.answer_overdue(slot, body, run);
        if let Some(due) = first_due(body, now).filter(|_| !run.is_full()) {
            if let Err(error) = self.activate(slot, body, run) {
                tracing::warn!(path = %slot.path, %error, "what is due waits: the object cannot start");
                return;
            }
            match due {
                Due::Alarm { at } => self.alarm(slot, body, run, at, now),
                Due::Schedule { at, name } => self.scheduled(slot, body, run, at, &name, now),
            }
        }
        if first_due(body, self.services.clock.now()).is_some() && !slot.waking.swap(true, Ordering::Relaxed) {
            Self::post_later(slot, Event::Wake(place));
        }
    }

    fn alarm(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, at: u64, now: u64) {
        let Some(fired) = body.stored.as_mut().and_then(|stored| stored.timers.fire_alarm(now)) else { return };
        self.metrics.alarm_lag_seconds.observe(seconds(now.saturating_sub(at)));
        let result = self.attempt(slot, body, run, &mut Source::runtime(), Input::Alarm { retry: fired.retry });
        if let (Err(error), Some(stored)) = (result, &mut body.stored) {
            self.retry(&slot.path, stored, fired, &error);
            stored.keep_timers(run);
        }
    }

    /// The turn of an alarm has failed, and was taken back with what it said of the alarm.
    fn retry(&self, path: &ObjectPath, stored: &mut Stored, fired: Alarm, error: &Error) {
        self.metrics.alarms_failed.inc();
        let retry = fired.retry;
        match stored.timers.retry_alarm(fired, self.services.clock.now(), self.services.random.number()) {
            Retry::Waits(next) => tracing::warn!(%path, retry, %error, at = next.at, "an alarm failed; it is retried"),
            Retry::Replaced => tracing::warn!(%path, retry, %error, "an alarm failed; a newer one has replaced it"),
            Retry::Dropped => {
                self.metrics.alarms_dropped.inc();
                tracing::error!(%path, retry, %error, "an alarm failed for the last time; it is dropped");
            }
        }
    }

    fn scheduled(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, at: u64, name: &str, now: u64) {
        let Some(tick) = body.stored.as_mut().and_then(|stored| stored.timers.begin(name, now)) else { return };
        self.metrics.alarm_lag_seconds.observe(seconds(now.saturating_sub(at)));
        let result = self.attempt(slot, body, run, &mut Source::runtime(), Input::Scheduled(name));
        let Some(stored) = &mut body.stored else { return };
        let failure = result.err().map(Error::redacted);
        if let Some(error) = &failure {
            self.metrics.alarms_failed.inc();
            tracing::warn!(path = %slot.path, schedule = name, %error, "a schedule failed");
            // That it began was taken back with the turn.
            stored.timers.begin(name, now);
        }
        let outcome = failure.as_ref().map_or(Outcome::Done, |error| Outcome::Failed(error.message()));
        stored.timers.finish(name, tick.started, self.services.clock.now(), outcome);
        stored.keep_timers(run);
    }
}

fn first_due(body: &Body, now: u64) -> Option<Due> {
    body.stored.as_ref()?.timers.due(now).into_iter().next()
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
