//! Which objects may be asleep soon, by the time at which to look.
//!
//! # Why
//! A scan of all live objects would cost with their number every second. Here each has at most one entry, and is looked at
//! when its time has come; if it had an event meanwhile, it gets a later one.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::namespace::{Inner, Slot};
use crate::limits::HIBERNATE_AFTER;

/// How often the queue is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Objects that are put to sleep before others get a turn.
const CHUNK: usize = 512;

pub(super) struct Idle {
    start: Instant,
    queue: Mutex<BTreeMap<(u64, u64), Weak<Slot>>>,
}

impl Idle {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), queue: Mutex::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The slot rests, and had an event just now.
    pub(super) fn touch(&self, slot: &Arc<Slot>) {
        let now = self.now();
        slot.last_event.store(now, Ordering::Relaxed);
        if !slot.watched.swap(true, Ordering::Relaxed) {
            self.watch(slot, now);
        }
    }

    fn watch(&self, slot: &Arc<Slot>, last_event: u64) {
        let due = last_event + u64::try_from(HIBERNATE_AFTER.as_millis()).unwrap_or(u64::MAX);
        let identity = Arc::as_ptr(slot) as usize as u64;
        self.queue.lock().insert((due, identity), Arc::downgrade(slot));
    }

    fn due(&self) -> Vec<Weak<Slot>> {
        let now = self.now();
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

    fn look(&self, namespace: &Inner, slot: &Arc<Slot>) {
        slot.watched.store(false, Ordering::Relaxed);
        let last_event = slot.last_event.load(Ordering::Relaxed);
        let idle = self.now().saturating_sub(last_event);
        let asleep = u128::from(idle) >= HIBERNATE_AFTER.as_millis() && namespace.hibernate(slot);
        if !asleep && !slot.watched.swap(true, Ordering::Relaxed) {
            self.watch(slot, last_event.max(self.now().saturating_sub(9_000)));
        }
    }
}

/// Puts objects to sleep for as long as it is polled.
pub(super) async fn put_to_sleep(namespace: Arc<Inner>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        loop {
            let due = namespace.idle.due();
            let more = due.len() == CHUNK;
            due.iter().filter_map(Weak::upgrade).for_each(|slot| namespace.idle.look(&namespace, &slot));
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
