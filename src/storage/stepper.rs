//! The writer without a thread: each commit happens when it is told to, and ends as it is told to.
//!
//! Everything else is as in a server: the same database, statements, tombstones and recovery. So what a simulation finds
//! true of storage is true of storage.

use std::time::{Duration, Instant};

use super::batch::Batch;
use super::queue::{Failure, Mode};
use super::writer::Writer;
use super::{CommitError, gate};

/// How a commit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is durable.
    Durable,
    /// It fails with its outcome unknown, and was not applied.
    Lost,
    /// It fails with its outcome unknown, and was applied.
    Applied,
}

/// Commits write sets of a [`Storage::stepped`](super::Storage::stepped), one batch at a time. Dropping it leaves what is
/// queued undone, as a crash does.
#[derive(Debug)]
pub struct Stepper(Writer);

impl Stepper {
    pub(super) fn new(mut writer: Writer) -> Self {
        // Time does not pass here: what has failed is tried again with the next step.
        writer.probe_interval = Duration::ZERO;
        Self(writer)
    }

    /// How many write sets are queued.
    pub fn waiting(&self) -> usize {
        self.0.shared.queue.len()
    }

    /// Commits the first `most` write sets that are queued as one batch, if there are any, then reaps a little. Whoever
    /// waits for them is woken.
    pub fn step(&mut self, most: usize, fate: Fate) {
        let writer = &mut self.0;
        let sets = writer.shared.queue.take_some(most);
        if !sets.is_empty() {
            let batch = Batch::coalesce(sets);
            let written = match fate {
                Fate::Lost => Err(rusqlite::Error::InvalidQuery),
                Fate::Durable | Fate::Applied => writer.write(&batch),
            };
            let written = written.and_then(|objects| match fate {
                Fate::Applied => Err(rusqlite::Error::InvalidQuery),
                Fate::Durable | Fate::Lost => Ok(objects),
            });
            writer.decide(&batch, written, Instant::now());
        }
        writer.recover_if_due();
        writer.reap();
    }
}

impl Drop for Stepper {
    /// Whoever still waits is let go: it may hold the storage itself.
    fn drop(&mut self) {
        let shared = &self.0.shared;
        shared.queue.close();
        let failure = Failure {
            first: Some(shared.gate.next()),
            outcome: CommitError::Unknown,
            mode: Mode::Damaged,
            reason: "the simulated process has died".to_owned(),
        };
        let (due, _) = shared.queue.fail(failure, &shared.gate, &shared.tombstones);
        due.into_iter().for_each(gate::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::super::tests::{path, put};
    use super::super::{Options, Outcome, Seq, Storage};
    use super::*;
    use crate::metrics::Metrics;

    fn open(dir: &tempfile::TempDir) -> (Storage, Stepper) {
        let options = Options { data_dir: dir.path().to_owned(), sync: false, ..Options::default() };
        Storage::stepped(options, &Metrics::new()).unwrap()
    }

    fn state(storage: &Storage, at: &str) -> Option<String> {
        let state = storage.load(&path(at)).unwrap()?.state?;
        Some(String::from_utf8(state.to_vec()).unwrap())
    }

    #[test]
    fn commits_happen_when_they_are_told_to_and_a_crash_undoes_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let (storage, mut stepper) = open(&dir);
        let first = storage.commit(put("/a", "1"), Seq::NONE).unwrap();
        let second = storage.commit(put("/a", "2"), first).unwrap();
        assert_eq!((stepper.waiting(), storage.wait(first, Waker::noop())), (2, Outcome::Pending));
        stepper.step(1, Fate::Durable);
        assert_eq!((storage.outcome(first), storage.outcome(second)), (Outcome::Durable, Outcome::Pending));
        drop(stepper);
        drop(storage);
        assert_eq!(state(&open(&dir).0, "/a").as_deref(), Some("1"));
    }

    #[test]
    fn a_failed_commit_takes_the_queue_with_it_and_the_next_step_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let (storage, mut stepper) = open(&dir);
        for (fate, kept) in [(Fate::Lost, None), (Fate::Applied, Some("1"))] {
            let first = storage.commit(put("/a", "1"), Seq::NONE).unwrap();
            let second = storage.commit(put("/b", "2"), Seq::NONE).unwrap();
            stepper.step(1, fate);
            for seq in [first, second] {
                assert_eq!(storage.outcome(seq), Outcome::Failed(CommitError::Unknown));
            }
            assert_eq!(state(&storage, "/a").as_deref(), kept);
            assert_eq!(state(&storage, "/b"), None);
            stepper.step(1, Fate::Durable);
            assert!(storage.status().ready);
        }
        let third = storage.commit(put("/b", "3"), Seq::NONE).unwrap();
        stepper.step(9, Fate::Durable);
        assert_eq!(storage.outcome(third), Outcome::Durable);
        assert_eq!(state(&storage, "/b").as_deref(), Some("3"));
    }
}
