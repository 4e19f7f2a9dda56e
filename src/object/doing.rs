//! Turns that do not end: said once for each, while it lasts.
//!
//! # Why
//! A turn cannot be interrupted, and what would be said at its end is never said if there is none. The watch over long
//! turns (`pulse`) comes by now and then; all that a turn pays is that it leaves its name, which is a few plain stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::namespace::{Inner, Slot};
use super::slot::Life;
use crate::limits::ENDLESS_TURN;

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

    /// The last turn of which it was said that it does not end.
    #[cfg(test)]
    pub(super) fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    /// Whether the turn that runs was seen before, and was not said yet not to end.
    pub(super) fn lasts(&self) -> bool {
        let turn = self.turns.load(Ordering::Relaxed);
        self.seen.swap(turn, Ordering::Relaxed) == turn && self.said.swap(turn, Ordering::Relaxed) != turn
    }
}

impl Inner {
    /// Says of turns that go on and on that they do; answers whether any turn runs.
    pub(super) fn look_at_turns(&self) -> bool {
        // A slot that is locked at the moment is not in the middle of a turn.
        let runs =
            |slot: &Slot| slot.core.try_lock().is_some_and(|core| core.life() == Life::Alive && core.is_running());
        let running: Vec<Arc<Slot>> =
            self.slots.iter().filter(|slot| runs(slot)).map(|slot| Arc::clone(slot.value())).collect();
        for slot in running.iter().filter(|slot| slot.doing.lasts()) {
            let stored = self.storage.load(&slot.path).ok().flatten().map(|record| record.class);
            let class = stored.unwrap_or_else(|| self.registry.class_for(&slot.path));
            let (path, class, event) = (&slot.path, &*class, slot.doing.name());
            tracing::warn!(%path, class, event, "a turn has not ended for {ENDLESS_TURN:?}; its object does nothing else");
        }
        !running.is_empty()
    }
}
