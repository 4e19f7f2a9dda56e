//! What the turns of one run add to the metrics of their class.
//!
//! # Why
//! The metrics of a class are a few words of memory that every core writes: added to after each turn, they cost more than a
//! short turn does. So a run adds them up, and pays once.

use std::sync::Arc;
use std::time::Duration;

use prometheus::local::LocalHistogram;

use super::instance::Definition;

/// Counted and not yet added; it is when it is dropped.
pub(super) struct Tally {
    definition: Arc<Definition>,
    events: u64,
    operations: u64,
    /// How long the first turn took, in seconds.
    first: Option<f64>,
    /// The turns after it.
    more: Option<LocalHistogram>,
}

impl Tally {
    pub(super) fn new(definition: &Arc<Definition>) -> Self {
        Self { definition: Arc::clone(definition), events: 0, operations: 0, first: None, more: None }
    }

    /// A turn took this long.
    pub(super) fn turn(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        match self.first {
            None => self.first = Some(seconds),
            Some(_) => self.more.get_or_insert_with(|| self.definition.turn_seconds.local()).observe(seconds),
        }
    }

    /// So many events were handled.
    pub(super) fn events(&mut self, count: u64) {
        self.events += count;
    }

    /// So many rows were read or written, or states saved.
    pub(super) fn operations(&mut self, count: u64) {
        self.operations += count;
    }

    /// Adds what was counted.
    pub(super) fn flush(&mut self) {
        let Some(first) = self.first.take() else { return };
        match self.more.take() {
            None => self.definition.turn_seconds.observe(first),
            Some(more) => {
                more.observe(first);
                more.flush();
            }
        }
        self.definition.events.inc_by(std::mem::take(&mut self.events));
        self.definition.state_operations.inc_by(std::mem::take(&mut self.operations));
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.flush();
    }
}
