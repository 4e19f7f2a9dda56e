//! When somebody has waited long enough whom no row in storage wakes: objects that wait for answers in memory, and
//! whoever is owed an answer.
//!
//! One task sleeps until the first of them. Each object has at most one entry, for the first of its answers; one that comes
//! too early, because that answer came, is looked at and put off, which costs less than moving it with every answer.
//!
//! The times are milliseconds of a clock of its own: what is in memory alone outlives neither a restart nor a clock that is
//! set.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::body::Body;
use super::errand::Aside;
use super::event::Event;
use super::namespace::{Inner, Slot};
use crate::limits::{DELIVERY_TICK, LONGEST_WAIT};

/// Entries that are taken out before others get a turn.
const CHUNK: usize = 512;

/// A time, and the address of a slot, which keeps entries of one time apart.
type Key = (u64, usize);

type Queue = Mutex<BTreeMap<Key, Weak<Slot>>>;

pub(super) struct Timeouts {
    start: Instant,
    queue: Arc<Queue>,
    /// Until when the task sleeps; the highest while it does not.
    until: AtomicU64,
    noted: Notify,
}

/// An entry of the queue, for as long as it lives.
pub(super) struct Timeout {
    key: Key,
    queue: Arc<Queue>,
}

impl Drop for Timeout {
    fn drop(&mut self) {
        self.queue.lock().remove(&self.key);
    }
}

impl Timeouts {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), queue: Arc::default(), until: AtomicU64::new(u64::MAX), noted: Notify::new() }
    }

    pub(super) fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    /// The first whole millisecond at which so much time has passed.
    pub(super) fn after(&self, wait: Duration) -> u64 {
        self.now() + millis(wait) + 1
    }

    /// Whoever waits until then is noted elsewhere; the task looks there.
    pub(super) fn note(&self, at: u64) {
        if at < self.until.load(Ordering::Acquire) {
            self.until.fetch_min(at, Ordering::AcqRel);
            self.noted.notify_one();
        }
    }

    fn watch(&self, slot: &Arc<Slot>, at: u64) -> Key {
        let key = (at, Arc::as_ptr(slot) as usize);
        self.queue.lock().insert(key, Arc::downgrade(slot));
        self.note(at);
        key
    }

    fn due(&self, now: u64) -> Vec<Weak<Slot>> {
        let mut queue = self.queue.lock();
        let mut due = Vec::new();
        while let Some(entry) = queue.first_entry()
            && entry.key().0 <= now
            && due.len() < CHUNK
        {
            due.push(entry.remove());
        }
        due
    }

    fn first(&self) -> Option<u64> {
        self.queue.lock().first_key_value().map(|((at, _), _)| *at)
    }
}

impl Inner {
    /// Sees to it that the object looks when the first of its answers is due that it waits for in memory.
    pub(super) fn keep_timeout(&self, slot: &Arc<Slot>, body: &mut Body) {
        let Some(at) = body.stored.as_ref().and_then(|stored| stored.pending.next_timeout()) else { return };
        if body.timeout.as_ref().is_none_or(|timeout| timeout.key.0 > at) {
            let key = self.timeouts.watch(slot, at);
            body.timeout = Some(Timeout { key, queue: Arc::clone(&self.timeouts.queue) });
        }
    }

    /// Tells everybody whose time is up; answers whether there may be more.
    fn time_out(self: &Arc<Self>) -> bool {
        let due = self.timeouts.due(self.timeouts.now());
        let more = due.len() == CHUNK;
        for slot in due.iter().filter_map(Weak::upgrade) {
            if let Aside::Full(_) = self.post_to(&slot, Event::Overdue) {
                self.timeouts.watch(&slot, self.timeouts.after(DELIVERY_TICK));
            }
        }
        self.pay_overdue();
        more
    }
}

/// Ends waits whose time is up, for as long as it is polled.
pub(super) async fn run(namespace: Arc<Inner>) {
    let timeouts = &namespace.timeouts;
    loop {
        // A note that comes from here on is seen below, or ends the sleep at once.
        timeouts.until.store(u64::MAX, Ordering::Release);
        while namespace.time_out() {
            tokio::task::yield_now().await;
        }
        let next = timeouts.first().into_iter().chain(namespace.deferred.first()).min();
        let next = next.unwrap_or_else(|| timeouts.after(LONGEST_WAIT));
        timeouts.until.store(next, Ordering::Release);
        tokio::select! {
            () = sleep_until(timeouts.start + Duration::from_millis(next)) => {}
            () = timeouts.noted.notified() => {}
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
