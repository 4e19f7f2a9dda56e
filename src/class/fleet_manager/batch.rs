//! The counters of one batch, and what each step of a task does to them.
//!
//! A task is queued, then running; from there it ends, waits for a retry, or goes back. The counters are those of tasks,
//! never of attempts, and always add up to the total.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One batch: how many of its tasks are where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) total: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) running: u64,
    pub(super) retrying: u64,
    /// By type.
    pub(super) queued: BTreeMap<Box<str>, u64>,
    /// Whether any task was ever handed out.
    pub(super) started: bool,
    pub(super) cancelled: bool,
    pub(super) submitted_at: u64,
    pub(super) ended_at: Option<u64>,
    /// The idempotency key that it was submitted under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Box<str>>,
}

/// How a batch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Pending,
    Processing,
    Completed,
    Failed,
    Partial,
    Cancelled,
}

/// What happens to one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An attempt begins.
    Begin,
    /// The attempt never began: it is queued again.
    Return,
    /// The attempt failed, and another follows later.
    Wait,
    /// The wait is over: it is queued again.
    Requeue,
    /// The attempt succeeded.
    Complete,
    /// The attempt failed for good.
    Fail,
    /// It fails without having been tried.
    GiveUp,
}

impl Batch {
    /// A batch of tasks that are all queued: how many there are of each type.
    pub(super) fn new(queued: BTreeMap<Box<str>, u64>, submitted_at: u64, key: Option<Box<str>>) -> Self {
        Self { total: queued.values().sum(), queued, submitted_at, key, ..Self::default() }
    }

    /// Takes a step of a task of this type. A batch that has ended takes none; nor does one whose books do not have such
    /// a task. Answers whether it was taken.
    pub(super) fn step(&mut self, step: Step, kind: &str, now: u64) -> bool {
        if self.ended_at.is_some() || !self.leave(step, kind) {
            return false;
        }
        match step {
            Step::Begin => (self.running, self.started) = (self.running + 1, true),
            Step::Return | Step::Requeue => *self.queued.entry(kind.into()).or_default() += 1,
            Step::Wait => self.retrying += 1,
            Step::Complete => self.completed += 1,
            Step::Fail | Step::GiveUp => self.failed += 1,
        }
        if self.ended() == self.total {
            self.ended_at = Some(now);
        }
        true
    }

    /// Takes a task from where it is before a step.
    fn leave(&mut self, step: Step, kind: &str) -> bool {
        let from = match step {
            Step::Begin | Step::GiveUp => return self.leave_queue(kind),
            Step::Return | Step::Wait | Step::Complete | Step::Fail => &mut self.running,
            Step::Requeue => &mut self.retrying,
        };
        let there = *from > 0;
        *from = from.saturating_sub(1);
        there
    }

    fn leave_queue(&mut self, kind: &str) -> bool {
        let Some(count) = self.queued.get_mut(kind) else { return false };
        *count -= 1;
        if *count == 0 {
            self.queued.remove(kind);
        }
        true
    }

    /// Ends it before its tasks have; answers how many were cut off, or `None` if it had ended already.
    pub(super) fn cancel(&mut self, now: u64) -> Option<u64> {
        if self.ended_at.is_some() {
            return None;
        }
        let open = self.total - self.ended();
        (self.cancelled, self.ended_at) = (true, Some(now));
        (self.running, self.retrying) = (0, 0);
        self.queued.clear();
        Some(open)
    }

    /// Tasks that have an end.
    pub(super) fn ended(&self) -> u64 {
        self.completed + self.failed
    }

    pub(super) fn waiting(&self) -> u64 {
        self.queued.values().sum()
    }

    pub(super) fn status(&self) -> Status {
        match (self.ended_at, self.completed, self.failed) {
            _ if self.cancelled => Status::Cancelled,
            (None, ..) if self.started || self.ended() > 0 => Status::Processing,
            (None, ..) => Status::Pending,
            (Some(_), _, 0) => Status::Completed,
            (Some(_), 0, _) => Status::Failed,
            (Some(_), ..) => Status::Partial,
        }
    }

    /// From 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share of at most 1,000,000 tasks")]
    pub(super) fn progress(&self) -> f64 {
        self.ended() as f64 / self.total.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [&str; 2] = ["a", "b"];

    /// Where one task is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Place {
        Queued,
        Running,
        Retrying,
        Completed,
        Failed,
    }

    impl Place {
        fn after(self, step: Step) -> Option<Self> {
            Some(match (self, step) {
                (Self::Queued, Step::Begin) => Self::Running,
                (Self::Queued, Step::GiveUp) | (Self::Running, Step::Fail) => Self::Failed,
                (Self::Running, Step::Return) | (Self::Retrying, Step::Requeue) => Self::Queued,
                (Self::Running, Step::Wait) => Self::Retrying,
                (Self::Running, Step::Complete) => Self::Completed,
                _ => return None,
            })
        }
    }

    fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
        use Step::{Begin, Complete, Fail, GiveUp, Requeue, Return, Wait};
        let step = prop::sample::select(vec![Begin, Begin, Return, Wait, Requeue, Complete, Fail, GiveUp]);
        prop::collection::vec((0..6_usize, step), 0..60)
    }

    /// Two of each three are of one type.
    fn kind(task: usize) -> &'static str {
        KINDS[usize::from(task % 3 == 2)]
    }

    fn batch(tasks: usize) -> Batch {
        let mut queued = BTreeMap::new();
        (0..tasks).for_each(|task| *queued.entry(kind(task).into()).or_default() += 1);
        Batch::new(queued, 1, None)
    }

    proptest! {
        #[test]
        fn fm2_fm9_counters_equal_a_recount_and_each_task_ends_once(steps in steps(), cancel_at in 0..90_usize) {
            let mut batch = batch(6);
            let mut places = [Place::Queued; 6];
            for (index, (task, step)) in steps.into_iter().enumerate() {
                if index == cancel_at {
                    let open = places.iter().filter(|place| !matches!(place, Place::Completed | Place::Failed)).count() as u64;
                    let was_open = batch.ended_at.is_none();
                    prop_assert_eq!(batch.cancel(9), was_open.then_some(open));
                    let before = batch.clone();
                    prop_assert!(!batch.step(Step::Complete, "a", 10), "a late result changes nothing");
                    prop_assert_eq!(before, batch);
                    return Ok(());
                }
                let Some(next) = places[task].after(step) else { continue };
                prop_assert!(batch.step(step, kind(task), 5));
                places[task] = next;
                let count = |wanted: Place| places.iter().filter(|place| **place == wanted).count() as u64;
                prop_assert_eq!(batch.completed, count(Place::Completed));
                prop_assert_eq!(batch.failed, count(Place::Failed));
                prop_assert_eq!(batch.running, count(Place::Running));
                prop_assert_eq!(batch.retrying, count(Place::Retrying));
                prop_assert_eq!(batch.waiting(), count(Place::Queued));
                prop_assert_eq!(batch.ended_at.is_some(), batch.ended() == batch.total);
                let status = batch.status();
                let expected = match (batch.ended() == 6, count(Place::Completed), count(Place::Failed)) {
                    (true, 6, _) => vec![Status::Completed],
                    (true, 0, _) => vec![Status::Failed],
                    (true, ..) => vec![Status::Partial],
                    (false, ..) => vec![Status::Processing, Status::Pending],
                };
                prop_assert!(expected.contains(&status), "{status:?}");
                prop_assert!((0.0..=1.0).contains(&batch.progress()));
            }
        }

        #[test]
        fn fm10_a_step_of_a_task_that_is_not_there_changes_nothing(step in steps()) {
            let mut empty = Batch::new(BTreeMap::from([("a".into(), 1)]), 1, None);
            prop_assert!(empty.step(Step::Begin, "a", 2) && empty.step(Step::Complete, "a", 3));
            let ended = empty.clone();
            for (task, step) in step {
                prop_assert!(!empty.step(step, kind(task), 4));
            }
            prop_assert_eq!(ended, empty);
        }
    }

    #[test]
    fn fm2_a_batch_is_pending_until_a_task_is_handed_out() {
        let mut batch = batch(2);
        assert_eq!(batch.status(), Status::Pending);
        assert!(!batch.step(Step::Complete, "a", 2), "nothing is running");
        batch.step(Step::Begin, "a", 2);
        assert_eq!(batch.status(), Status::Processing);
        batch.step(Step::Return, "a", 2);
        assert_eq!(batch.status(), Status::Processing);
        assert_eq!(batch.cancel(5), Some(2));
        assert_eq!((batch.status(), batch.cancel(6)), (Status::Cancelled, None));
    }
}
