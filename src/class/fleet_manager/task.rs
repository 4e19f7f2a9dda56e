//! One task: its row, how an attempt at it can end, and what follows.

use serde::{Deserialize, Serialize};

use super::config::Backoff;
use super::keys;

/// A task, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) id: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) priority: i32,
    pub(super) batch: Box<str>,
    /// Its place in the batch.
    pub(super) n: u32,
    /// In milliseconds, if it is not the manager's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<u64>,
    /// How often it is retried, if not as often as the manager does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retries: Option<u32>,
    /// JSON.
    pub(super) data: Box<str>,
    /// Attempts that were begun.
    #[serde(default)]
    pub(super) attempts: u32,
    /// The error of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Box<str>>,
}

/// An attempt that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) task: Task,
    pub(super) started: u64,
    pub(super) deadline: u64,
    pub(super) executor: Executor,
}

/// Who runs an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Executor {
    /// A worker in this process, which was asked this question.
    Process(u64),
    /// A connected worker of this name.
    Connection(Box<str>),
}

impl Executor {
    /// What the worker is called: the name of a child.
    pub(super) fn worker(&self, token: &str) -> String {
        match self {
            Self::Process(_) => format!("w{token}"),
            Self::Connection(name) => name.to_string(),
        }
    }
}

/// What there is to know of an attempt without its task's data.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AttemptHead {
    pub(super) task: TaskHead,
    pub(super) started: u64,
    pub(super) deadline: u64,
    pub(super) executor: Executor,
}

/// What there is to know of a task without its data.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TaskHead {
    pub(super) id: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) batch: Box<str>,
    #[serde(default)]
    pub(super) attempts: u32,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TaskResult {
    pub(super) id: Box<str>,
    pub(super) success: bool,
    /// JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Box<str>>,
    pub(super) duration: u64,
    pub(super) timestamp: u64,
    pub(super) attempts: u32,
    pub(super) worker: Box<str>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// With this JSON.
    Done(Box<str>),
    Failed(Box<str>),
    /// It never began, for want of a worker: it costs no attempt.
    NotBegun,
    /// There was no room to begin it: it costs no attempt, and is tried again later.
    NoRoom,
}

/// What becomes of a task after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Complete,
    Retry,
    Fail,
    /// Back to its place in the queue.
    Queue,
    /// Back to the queue, a little later.
    Later,
}

impl Ending {
    /// What follows for a task that was begun so often, and may be retried so often.
    pub(super) fn next(&self, attempts: u32, retries: u32) -> Next {
        match self {
            Self::Done(_) => Next::Complete,
            Self::Failed(_) if attempts <= retries => Next::Retry,
            Self::Failed(_) => Next::Fail,
            Self::NotBegun => Next::Queue,
            Self::NoRoom => Next::Later,
        }
    }
}

impl Task {
    /// Its place in the queue of its type.
    pub(super) fn rank(&self) -> String {
        keys::rank(self.priority, &self.batch, self.n)
    }

    /// What its row takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.data.len() + self.error.as_ref().map_or(0, |error| error.len()) + 256
    }
}

impl Backoff {
    /// How long to wait before the attempt after so many, in milliseconds: doubling up to the longest, and up to a quarter
    /// more, so that tasks that failed together do not return together.
    pub(super) fn wait(&self, attempts: u32, random: u64) -> u64 {
        let doublings = attempts.saturating_sub(1).min(32);
        let wait = self.initial_ms.saturating_mul(1 << doublings).min(self.max_ms);
        wait + random % (wait / 4 + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fm6_the_wait_doubles_up_to_its_cap_with_a_quarter_of_jitter(attempts in 1..100_u32, random in any::<u64>()) {
            let backoff = Backoff { initial_ms: 1_000, max_ms: 30_000 };
            let plain = 1_000_u64.checked_shl(attempts - 1).filter(|_| attempts < 40).unwrap_or(30_000).min(30_000);
            let wait = backoff.wait(attempts, random);
            prop_assert!(wait >= plain && wait <= plain + plain / 4, "{wait}");
        }

        #[test]
        fn fm6_attempts_are_at_most_retries_and_one(retries in 0..20_u32) {
            let failed = Ending::Failed("x".into());
            let mut attempts = 1;
            while failed.next(attempts, retries) == Next::Retry {
                attempts += 1;
            }
            prop_assert_eq!(attempts, retries + 1);
            prop_assert_eq!(failed.next(attempts, retries), Next::Fail);
        }
    }

    #[test]
    fn fm6_the_first_retry_comes_after_a_second() {
        let backoff = Backoff { initial_ms: 1_000, max_ms: 30_000 };
        let waits: Vec<u64> = (1..=7).map(|attempts| backoff.wait(attempts, 0)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn fm10_the_head_of_an_attempt_is_read_from_its_row() {
        let task = Task {
            id: "t".into(),
            kind: "echo".into(),
            priority: -3,
            batch: "b".into(),
            n: 7,
            timeout: None,
            retries: Some(2),
            data: "{}".into(),
            attempts: 1,
            error: None,
        };
        let executor = Executor::Connection("w1".into());
        let attempt = Attempt { task, started: 1, deadline: 2, executor };
        let row = rmp_serde::to_vec_named(&attempt).unwrap();
        let head: AttemptHead = rmp_serde::from_slice(&row).unwrap();
        assert_eq!((&*head.task.id, head.task.attempts, head.deadline), ("t", 1, 2));
        assert_eq!(rmp_serde::from_slice::<Attempt>(&row).unwrap(), attempt);
    }
}
