//! Turns that do not end: said once for each, while it lasts.
//!
//! # Why
//! A turn cannot be interrupted, and what would be said at its end is never said if there is none. The queue of objects
//! that may sleep comes by anyway; all that a turn pays is that it leaves its name, which is a few plain stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::namespace::{Inner, Slot};
use super::slot::Life;

/// Words of a name: what is longer is cut.
const WORDS: usize = 4;

/// The turn of a slot. Only its runner writes it, except for what was noticed.
#[derive(Debug, Default)]
pub(super) struct Doing {
    /// How many turns began.
    turns: AtomicU64,
    name: [AtomicU64; WORDS],
    /// The turn that was seen last, and whether it was said that it does not end.
    seen: AtomicU64,
    said: AtomicU64,
}

impl Doing {
    /// A turn begins.
    pub(super) fn begin(&self, name: &str) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns + 1, Ordering::Relaxed);
        let mut chunks = name.as_bytes().chunks(8);
        for word in &self.name {
            let mut bytes = [0; 8];
            let chunk = chunks.next().unwrap_or_default();
            bytes[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    pub(super) fn name(&self) -> String {
        let bytes: Vec<u8> = self.name.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    /// Whether the turn that runs was seen before, and it was not said yet that it does not end.
    fn lasts(&self) -> bool {
        let turn = self.turns.load(Ordering::Relaxed);
        self.seen.swap(turn, Ordering::Relaxed) == turn && self.said.swap(turn, Ordering::Relaxed) != turn
    }
}

impl Inner {
    /// Says of a turn that goes on and on that it does; its slot had no event for this long. Answers whether it did.
    pub(super) fn notice(&self, slot: &Arc<Slot>, busy: Duration) -> bool {
        // Nobody has the body of a slot that rests, or waits for storage.
        let runs = {
            let mut core = slot.core.lock();
            core.life() == Life::Alive && core.body_mut().is_none()
        };
        if !runs || !slot.doing.lasts() {
            return false;
        }
        let stored = self.storage.load(&slot.path).ok().flatten().map(|record| record.class);
        let class = stored.unwrap_or_else(|| self.registry.class_for(&slot.path));
        let (class, event) = (&*class, slot.doing.name());
        tracing::warn!(path = %slot.path, class, event, ?busy, "a turn does not end; its object does nothing else");
        true
    }
}
