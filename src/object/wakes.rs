//! Who is woken when: one task for all objects, which sleeps until the next wake time in storage.
//!
//! Due objects are read in chunks, each behind the one before, and at most [`WAKES_AT_ONCE`] of them are under way. A commit
//! that brings a wake time earlier than the one that is slept for ends the sleep; the task then waits until it is durable.
//!
//! # Why
//! Storage has the wake times anyway, in order. A second order of them in memory would grow with the number of sleeping
//! objects and would have to be read at the start.
//!
//! An object stays due in storage until the turn is committed, so the task remembers up to where it has told everybody.
//! What is then still due after [`WAKE_AGAIN`] is told again: being told too often is harmless, as the object alone knows.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::namespace::Inner;
use crate::limits::{WAKE_AGAIN, WAKE_CHUNK, WAKE_WAIT, WAKES_AT_ONCE};
use crate::path::ObjectPath;
use crate::storage::{self, Outcome, Seq};

/// What commits tell the task.
pub(super) struct Wakes {
    notes: Mutex<Notes>,
    noted: Notify,
    pub(super) places: Arc<Semaphore>,
}

/// Times are in ms since the epoch.
#[derive(Debug, Clone, Copy)]
struct Notes {
    /// Until when the task sleeps; the highest while it does not.
    until: u64,
    /// The earliest wake time that was noted since the task took the last notes.
    earliest: u64,
    /// The last write set with a wake time.
    seq: Seq,
}

impl Wakes {
    pub(super) fn new() -> Self {
        let notes = Notes { until: u64::MAX, earliest: u64::MAX, seq: Seq::NONE };
        let places = Arc::new(Semaphore::new(WAKES_AT_ONCE));
        Self { notes: Mutex::new(notes), noted: Notify::new(), places }
    }

    /// A place among those that are under way, when there is one.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// This write set holds a wake time.
    pub(super) fn note(&self, at: u64, seq: Seq) {
        let mut notes = self.notes.lock();
        notes.seq = notes.seq.max(seq);
        notes.earliest = notes.earliest.min(at);
        if at < notes.until {
            notes.until = at;
            drop(notes);
            self.noted.notify_one();
        }
    }

    /// Takes what was noted. The task is awake: from here on every time is before the one that it will sleep for.
    fn take(&self) -> Notes {
        let mut notes = self.notes.lock();
        let taken = *notes;
        (notes.until, notes.earliest) = (u64::MAX, u64::MAX);
        taken
    }

    /// Begins a sleep, unless an earlier time was noted.
    fn sleep(&self, until: u64) -> bool {
        let mut notes = self.notes.lock();
        let sleeps = notes.earliest >= until;
        if sleeps {
            notes.until = until;
        }
        sleeps
    }
}

/// Up to where everybody was told: a wake time, and of those with that time the last path, or none of them.
type Told = (u64, Option<ObjectPath>);

struct Task {
    namespace: Arc<Inner>,
    told: Told,
    /// When to look for those that were told and are still due.
    again: Option<Instant>,
}

/// Wakes objects for as long as it is polled.
pub(super) async fn fire(namespace: Arc<Inner>) {
    let mut task = Task { namespace, told: (0, None), again: None };
    loop {
        if task.round().await.is_err() {
            // Storage says why in the log, and may recover.
            tokio::time::sleep(WAKE_AGAIN).await;
            task.told = (0, None);
        }
    }
}

impl Task {
    /// Tells everybody who is due, then sleeps until somebody is.
    async fn round(&mut self) -> Result<(), super::Error> {
        let noted = self.namespace.wakes.take();
        if self.namespace.storage.outcome(noted.seq) == Outcome::Pending {
            self.tell_due().await?;
            self.decided(noted.seq).await;
        }
        if noted.earliest <= self.told.0 {
            // It came too late to be told with the others of its time.
            self.told = (noted.earliest, None);
        }
        self.tell_due().await?;
        if self.again.is_some_and(|at| at <= Instant::now()) {
            self.again = None;
            let until = ago(self.namespace.services.clock.now(), WAKE_AGAIN);
            self.tell((0, None), until).await?;
            if self.told.0 > until {
                // Those who were told since are not among them, and nobody else may be told for whom it would be asked again.
                self.again.get_or_insert_with(|| Instant::now() + WAKE_AGAIN);
            }
        }
        let next = self.after(&self.told, u64::MAX, 1)?.first().map_or(u64::MAX, |(_, at)| *at);
        if self.namespace.wakes.sleep(next) {
            let wait = Duration::from_millis(next.saturating_sub(self.namespace.services.clock.now())).min(WAKE_WAIT);
            let until = self.again.into_iter().fold(Instant::now() + wait, Instant::min);
            tokio::select! {
                () = sleep_until(until) => {}
                () = self.namespace.wakes.noted.notified() => {}
            }
        }
        Ok(())
    }

    async fn tell_due(&mut self) -> Result<(), super::Error> {
        self.told = self.tell(self.told.clone(), self.namespace.services.clock.now()).await?;
        Ok(())
    }

    /// Tells everybody after `told` whose time is at most `until`; answers the last.
    async fn tell(&mut self, mut told: Told, until: u64) -> Result<Told, super::Error> {
        loop {
            let due = self.after(&told, until, WAKE_CHUNK)?;
            let more = due.len() == WAKE_CHUNK;
            for (path, at) in due {
                let Some(place) = self.namespace.wakes.place().await else { return Ok(told) };
                self.again.get_or_insert_with(|| Instant::now() + WAKE_AGAIN);
                let (namespace, to) = (Arc::clone(&self.namespace), path.clone());
                self.namespace.spawn(async move { namespace.post_wake(&to, place) });
                told = (at, Some(path));
            }
            if !more {
                return Ok(told);
            }
            tokio::task::yield_now().await;
        }
    }

    fn after(&self, told: &Told, until: u64, limit: usize) -> Result<Vec<(ObjectPath, u64)>, storage::Error> {
        self.namespace.storage.due_after(told.0, told.1.as_ref(), until, limit)
    }

    async fn decided(&self, seq: Seq) {
        let storage = &self.namespace.storage;
        poll_fn(|context| match storage.wait(seq, context.waker()) {
            Outcome::Pending => Poll::Pending,
            Outcome::Durable | Outcome::Failed(_) => Poll::Ready(()),
        })
        .await;
    }
}

fn ago(now: u64, time: Duration) -> u64 {
    now.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn al2_a_note_is_kept_until_the_task_has_waited_for_its_commit() {
        let wakes = Wakes::new();
        wakes.note(70, Seq(1));
        let taken = wakes.take();
        assert_eq!((taken.earliest, taken.seq), (70, Seq(1)));
        // While the task looks for the next one: an earlier time has it look again.
        wakes.note(40, Seq(2));
        assert!(!wakes.sleep(70));
        assert_eq!(wakes.take().earliest, 40);
        assert!(wakes.sleep(40));
        // What is noted during a sleep that it does not end may not be durable when that is over.
        wakes.note(50, Seq(4));
        wakes.note(60, Seq(3));
        let taken = wakes.take();
        assert_eq!((taken.earliest, taken.seq), (50, Seq(4)));
        assert_eq!(wakes.take().earliest, u64::MAX);
    }
}
