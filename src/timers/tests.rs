//! Tests of timers: each timer by itself, cron against dates worked out by hand, and random histories against a model.

mod alarm;
mod cron;
mod properties;
mod rows;
mod schedules;

use super::*;

/// Rows as storage would hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Disk(pub(super) BTreeMap<Box<str>, Vec<u8>>);

impl Disk {
    /// Commits what a turn changed; answers the keys.
    pub(super) fn commit(&mut self, timers: &mut Timers) -> Vec<Box<str>> {
        let rows = timers.take_changes();
        let keys = rows.iter().map(|(key, _)| key.clone()).collect();
        for (key, value) in rows {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => assert!(self.0.remove(&key).is_some(), "{key} was not there"),
            }
        }
        keys
    }

    /// What the next incarnation finds.
    pub(super) fn load(&self) -> Timers {
        Timers::load(&self.0).unwrap()
    }
}

pub(super) fn every(ms: u64) -> Spec {
    Spec::every(ms).unwrap()
}

pub(super) fn once(at: u64) -> Spec {
    Spec::once(at).unwrap()
}

/// Timers with one schedule, `a`, registered at 0.
pub(super) fn with(spec: Spec) -> Timers {
    let mut timers = Timers::default();
    timers.schedule("a", spec, 0).unwrap();
    timers
}

/// A firing of `a` that succeeds in its turn.
pub(super) fn fire(timers: &mut Timers, now: u64) -> Option<Tick> {
    let tick = timers.begin("a", now)?;
    assert!(timers.finish("a", tick.started, now, Outcome::Done));
    Some(tick)
}
