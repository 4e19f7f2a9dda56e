//! What became of each write set, and who waits to hear it: the output gate.
//!
//! Numbers are decided in order, so one atomic says how far; the few ranges that failed are remembered for ever, merged.
//!
//! # Why
//! Every acknowledged effect asks the gate, so the answer "durable" takes no lock. Wakers are called outside the lock:
//! what they wake may come straight back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

use super::{CommitError, Outcome, Seq};

#[derive(Debug)]
pub(super) struct Gate {
    /// Every number up to this one is durable or failed.
    decided: AtomicU64,
    /// The highest number that failed; written before `decided`.
    last_failed: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Ascending and disjoint.
    failed: Vec<Failure>,
    waiting: BTreeMap<u64, Vec<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    first: u64,
    last: u64,
    error: CommitError,
}

impl Gate {
    /// Everything up to `decided` was durable before this process began.
    pub(super) fn new(decided: u64) -> Self {
        Self { decided: AtomicU64::new(decided), last_failed: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(super) fn outcome(&self, seq: Seq) -> Outcome {
        if seq.0 > self.decided.load(Ordering::Acquire) {
            return Outcome::Pending;
        }
        if seq == Seq::NONE || seq.0 > self.last_failed.load(Ordering::Acquire) {
            return Outcome::Durable;
        }
        self.state.lock().failure(seq.0).map_or(Outcome::Durable, Outcome::Failed)
    }

    pub(super) fn wait(&self, seq: Seq, waker: &Waker) -> Outcome {
        let outcome = self.outcome(seq);
        if outcome != Outcome::Pending {
            return outcome;
        }
        let mut state = self.state.lock();
        // The writer decides first and then locks: whoever sees Pending here is registered before it collects.
        if seq.0 <= self.decided.load(Ordering::Acquire) {
            return state.failure(seq.0).map_or(Outcome::Durable, Outcome::Failed);
        }
        state.waiting.entry(seq.0).or_default().push(waker.clone());
        Outcome::Pending
    }

    /// The first number that is not decided.
    pub(super) fn next(&self) -> u64 {
        self.decided.load(Ordering::Acquire) + 1
    }

    /// Every number up to `seq` that has not failed is durable.
    pub(super) fn durable(&self, seq: u64) {
        self.decided.store(seq, Ordering::Release);
        let due = self.state.lock().due(seq);
        wake(due);
    }

    /// The numbers `first..=last` failed. The caller wakes with [`wake`] once it holds no lock.
    pub(super) fn fail(&self, first: u64, last: u64, error: CommitError) -> Due {
        let mut state = self.state.lock();
        match state.failed.last_mut() {
            Some(previous) if previous.last + 1 == first && previous.error == error => previous.last = last,
            _ => state.failed.push(Failure { first, last, error }),
        }
        self.last_failed.store(last, Ordering::Release);
        self.decided.store(last, Ordering::Release);
        state.due(last)
    }
}

impl State {
    fn failure(&self, seq: u64) -> Option<CommitError> {
        let index = self.failed.partition_point(|failure| failure.last < seq);
        self.failed.get(index).filter(|failure| failure.first <= seq).map(|failure| failure.error)
    }

    fn due(&mut self, seq: u64) -> Due {
        let later = self.waiting.split_off(&(seq + 1));
        Due(std::mem::replace(&mut self.waiting, later))
    }
}

/// Wakers whose number has been decided.
#[derive(Debug)]
#[must_use = "whoever waits would wait for ever"]
pub(super) struct Due(BTreeMap<u64, Vec<Waker>>);

/// A waker that ends this thread's [`thread::park`].
pub(super) fn unpark() -> Waker {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    Arc::new(Unpark(thread::current())).into()
}

/// Wakes them, in the order of their numbers.
pub(super) fn wake(due: Due) {
    due.0.into_values().flatten().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn waiters_are_woken_once_and_only_when_their_number_is_decided() {
        let gate = Gate::new(10);
        let counts: Vec<Arc<Count>> = (0..3).map(|_| Arc::default()).collect();
        for (index, count) in counts.iter().enumerate() {
            assert_eq!(gate.wait(Seq(11 + index as u64), &count.clone().into()), Outcome::Pending);
        }
        let woken = || counts.iter().map(|count| count.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
        gate.durable(11);
        assert_eq!(woken(), [1, 0, 0]);
        gate.durable(12);
        assert_eq!(woken(), [1, 1, 0]);
        wake(gate.fail(13, 20, CommitError::Full));
        assert_eq!(woken(), [1, 1, 1]);
        assert_eq!(gate.wait(Seq(13), Waker::noop()), Outcome::Failed(CommitError::Full));
    }

    #[test]
    fn failures_are_known_for_ever_and_merged() {
        let gate = Gate::new(0);
        gate.durable(4);
        wake(gate.fail(5, 7, CommitError::Unknown));
        wake(gate.fail(8, 9, CommitError::Unknown));
        gate.durable(12);
        wake(gate.fail(13, 13, CommitError::Full));
        gate.durable(20);
        assert_eq!(gate.state.lock().failed.len(), 2);
        let outcome = |seq| gate.outcome(Seq(seq));
        for durable in [0, 1, 4, 10, 12, 14, 20] {
            assert_eq!(outcome(durable), Outcome::Durable, "{durable}");
        }
        for failed in 5..=9 {
            assert_eq!(outcome(failed), Outcome::Failed(CommitError::Unknown), "{failed}");
        }
        assert_eq!(outcome(13), Outcome::Failed(CommitError::Full));
        assert_eq!(outcome(21), Outcome::Pending);
    }
}
