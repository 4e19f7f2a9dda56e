//! What the sockets of a manager are told of its batches: at most 10 frames a second for each, and the last one always.

use std::collections::BTreeMap;

use serde::Serialize;

use super::FleetManager;
use super::batch::{Batch, Status};
use crate::limits::PROGRESS_MS;
use crate::object::{Error, Turn, json};
use crate::protocol::Frame;

/// When a batch was told of last, and when it is to be told of again.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    last: BTreeMap<Box<str>, u64>,
    due: BTreeMap<Box<str>, u64>,
}

impl Pushes {
    /// A batch has changed: whether it is to be told now.
    fn is_now(&mut self, batch: &str, ended: bool, now: u64) -> bool {
        if ended {
            self.last.remove(batch);
            self.due.remove(batch);
            return true;
        }
        let next = self.last.get(batch).map_or(0, |last| last + PROGRESS_MS);
        if now < next {
            self.due.insert(batch.into(), next);
            return false;
        }
        self.due.remove(batch);
        self.last.insert(batch.into(), now);
        true
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.due.values().min().copied()
    }

    fn take_due(&mut self, now: u64) -> Vec<Box<str>> {
        let due: Vec<_> = self.due.iter().filter(|(_, at)| **at <= now).map(|(batch, _)| batch.clone()).collect();
        self.due.retain(|_, at| *at > now);
        due
    }
}

/// How a batch is doing, as its readers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    batch_id: &'a str,
    status: Status,
    total_tasks: u64,
    completed_tasks: u64,
    failed_tasks: u64,
    queued_tasks: u64,
    running_tasks: u64,
    retrying_tasks: u64,
    progress: f64,
    submitted_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<u64>,
}

impl<'a> View<'a> {
    pub(super) fn of(id: &'a str, batch: &Batch) -> Self {
        Self {
            batch_id: id,
            status: batch.status(),
            total_tasks: batch.total,
            completed_tasks: batch.completed,
            failed_tasks: batch.failed,
            queued_tasks: batch.waiting(),
            running_tasks: batch.running,
            retrying_tasks: batch.retrying,
            progress: batch.progress(),
            submitted_at: batch.submitted_at,
            ended_at: batch.ended_at,
        }
    }
}

#[derive(Serialize)]
struct Told<'a> {
    r#type: &'static str,
    payload: View<'a>,
}

impl FleetManager {
    /// Tells of a batch that has changed, now or a little later.
    pub(super) fn tell_progress(&mut self, turn: &mut Turn<'_>, id: &str) -> Result<(), Error> {
        if turn.socket_count() == 0 {
            self.memory.pushes = Pushes::default();
            return Ok(());
        }
        let now = turn.now();
        let Some(held) = self.memory.batches.get(id) else { return Ok(()) };
        if self.memory.pushes.is_now(id, held.value.ended_at.is_some(), now) {
            let frame = json(&Told { r#type: "batch", payload: View::of(id, &held.value) })?;
            turn.send_all(Frame::Text(frame.into()));
        }
        Ok(())
    }

    /// Tells of the batches that have changed since they were told of.
    pub(super) fn tell_due(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let now = turn.now();
        for id in self.memory.pushes.take_due(now) {
            if self.held(turn, &id)?.is_some() {
                self.tell_progress(turn, &id)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fm12_a_batch_is_told_of_ten_times_a_second_and_its_last_change_always(
            gaps in prop::collection::vec(0..60_u64, 1..100),
        ) {
            let (mut pushes, mut now, mut told) = (Pushes::default(), 1_000, Vec::new());
            for gap in gaps {
                let next = now + gap;
                // The alarm rings in between.
                while let Some(at) = pushes.next().filter(|at| *at <= next) {
                    prop_assert_eq!(pushes.take_due(at).len(), 1);
                    prop_assert!(pushes.is_now("b", false, at));
                    told.push(at);
                }
                now = next;
                if pushes.is_now("b", false, now) {
                    told.push(now);
                }
                prop_assert!(told.last() == Some(&now) || pushes.next().is_some(), "a change is told, or will be");
            }
            prop_assert!(told.windows(2).all(|pair| pair[1] - pair[0] >= PROGRESS_MS));
            prop_assert!(pushes.is_now("b", true, now));
            prop_assert!(pushes.last.is_empty() && pushes.due.is_empty());
        }
    }
}
