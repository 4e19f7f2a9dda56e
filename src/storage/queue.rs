//! The one first-in-first-out queue that every write set passes through on its way to the writer.
//!
//! The lock of the queue is what orders things: the number of a write set, the visibility of its deletions and, when a
//! commit has failed, the refusal of whatever builds on it. Order of locks: queue, then gate, tombstones or presence.
//!
//! # Why
//! Committing never waits. Whoever produces write sets asks [`Queue::admit`] *before* it runs a turn, so what is queued
//! may pass the bound only by the turns that were already running.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::gate::{Due, Gate};
use super::presence::Presence;
use super::tombstones::Tombstones;
use super::{CommitError, Outcome, Seq, Space, WriteSet};
use crate::limits::{BATCH_BYTES, BATCH_ROWS, WRITER_QUEUE_BYTES, WRITER_QUEUE_SETS};

/// What storage accepts at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Everything.
    Open,
    /// Only what deletes: the disk is full.
    DeletesOnly,
    /// Nothing, until the database can be written again.
    Down,
    /// Nothing, until a person has looked: the integrity check found damage.
    Damaged,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    /// Whether a bound is reached; only a hint, so that [`Queue::admit`] takes no lock while there is room.
    crowded: AtomicBool,
}

#[derive(Debug)]
struct State {
    next: u64,
    sets: VecDeque<Numbered>,
    rows: usize,
    bytes: usize,
    waiting_for_room: Vec<Waker>,
    mode: Mode,
    reason: Option<String>,
    /// The writer is to look up although there is no write set.
    nudged: bool,
    closing: bool,
}

/// A write set with its number.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) seq: u64,
    pub(super) set: WriteSet,
    /// Whether its object is certain not to be stored yet.
    pub(super) new: bool,
    rows: usize,
    bytes: usize,
}

/// What the writer is to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// Commit these; there is at least one.
    Batch(VecDeque<Numbered>),
    /// Nothing was queued in the time given.
    Nothing,
    /// Everything is committed and nothing more will come.
    Closed,
}

/// A commit that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The first number of the batch; `None` if it was not a batch that failed.
    pub(super) first: Option<u64>,
    /// What its write sets are told.
    pub(super) outcome: CommitError,
    /// What is accepted from here on.
    pub(super) mode: Mode,
    /// Why not everything.
    pub(super) reason: String,
}

impl Queue {
    /// Numbers continue after `last`.
    pub(super) fn new(last: u64) -> Self {
        Self {
            state: Mutex::new(State {
                next: last + 1,
                sets: VecDeque::new(),
                rows: 0,
                bytes: 0,
                waiting_for_room: Vec::new(),
                mode: Mode::Open,
                reason: None,
                nudged: false,
                closing: false,
            }),
            work: Condvar::new(),
            crowded: AtomicBool::new(false),
        }
    }

    /// See [`Storage::commit`](super::Storage::commit).
    pub(super) fn commit(
        &self,
        set: WriteSet,
        after: Seq,
        gate: &Gate,
        tombstones: &Tombstones,
        presence: &Presence,
    ) -> Result<Seq, CommitError> {
        let (rows, bytes) = (set.rows(), set.bytes());
        let mut state = self.state.lock();
        if let Outcome::Failed(error) = gate.outcome(after) {
            return Err(error);
        }
        match state.mode {
            Mode::DeletesOnly if set.deleted.is_empty() && !set.clear => return Err(CommitError::Full),
            Mode::Down | Mode::Damaged => return Err(CommitError::Unknown),
            _ if state.closing => return Err(CommitError::Unknown),
            Mode::Open | Mode::DeletesOnly => {}
        }
        let seq = state.next;
        state.next += 1;
        tombstones.publish(seq, &set.deleted);
        if set.clear {
            tombstones.publish(seq, &[Space::User.place(&set.path)]);
        }
        let new = set.record.is_some() && presence.note(&set.path);
        for child in set.children.values().flatten() {
            presence.note(&set.path.child(&child.name));
        }
        state.rows += rows;
        state.bytes += bytes;
        state.sets.push_back(Numbered { seq, set, new, rows, bytes });
        if state.is_crowded() {
            self.crowded.store(true, Ordering::Release);
        }
        drop(state);
        self.work.notify_one();
        Ok(Seq(seq))
    }

    /// See [`Storage::admit`](super::Storage::admit).
    pub(super) fn admit(&self, waker: &Waker) -> bool {
        if !self.crowded.load(Ordering::Acquire) {
            return true;
        }
        let mut state = self.state.lock();
        let room = !state.is_crowded();
        if !room {
            state.waiting_for_room.push(waker.clone());
        }
        room
    }

    /// Waits for work: for ever, or no longer than this.
    pub(super) fn take(&self, patience: Option<Duration>) -> Work {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut state = self.state.lock();
        loop {
            if !state.sets.is_empty() {
                return Work::Batch(state.take_batch());
            }
            if state.closing {
                return Work::Closed;
            }
            let expired = match deadline {
                _ if state.nudged => true,
                Some(deadline) => self.work.wait_until(&mut state, deadline).timed_out() && state.sets.is_empty(),
                None => {
                    self.work.wait(&mut state);
                    false
                }
            };
            if expired && !state.closing {
                state.nudged = false;
                return Work::Nothing;
            }
        }
    }

    /// The first write sets that are queued, at most so many; none if there are none.
    pub(super) fn take_some(&self, most: usize) -> VecDeque<Numbered> {
        let mut state = self.state.lock();
        let count = state.sets.len().min(most);
        let some: VecDeque<_> = state.sets.drain(..count).collect();
        state.rows -= some.iter().map(|set| set.rows).sum::<usize>();
        state.bytes -= some.iter().map(|set| set.bytes).sum::<usize>();
        some
    }

    /// How many write sets are queued.
    pub(super) fn len(&self) -> usize {
        self.state.lock().sets.len()
    }

    /// A batch has been decided: whoever waits for room is woken if there is some.
    pub(super) fn batch_ended(&self) {
        let mut state = self.state.lock();
        if state.is_crowded() {
            return;
        }
        self.crowded.store(false, Ordering::Release);
        let wakers = std::mem::take(&mut state.waiting_for_room);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A batch has failed, and with it everything queued behind it; from here on only what the mode says is accepted.
    /// Answers whom to wake, and what was accepted before.
    pub(super) fn fail(&self, failure: Failure, gate: &Gate, tombstones: &Tombstones) -> (Option<Due>, Mode) {
        let mut state = self.state.lock();
        let before = state.mode;
        let dropped = std::mem::take(&mut state.sets);
        (state.rows, state.bytes) = (0, 0);
        state.set_mode(failure.mode, Some(failure.reason));
        tombstones.withdraw();
        let first = failure.first.or(dropped.front().map(|numbered| numbered.seq));
        let first = first.filter(|first| *first < state.next);
        let due = first.map(|first| gate.fail(first, state.next - 1, failure.outcome));
        drop(state);
        (due, before)
    }

    /// Changes what is accepted, and says why not everything.
    pub(super) fn set_mode(&self, mode: Mode, reason: Option<String>) {
        self.state.lock().set_mode(mode, reason);
    }

    /// What is accepted.
    pub(super) fn mode(&self) -> Mode {
        self.state.lock().mode
    }

    /// What is accepted, and why not everything.
    pub(super) fn status(&self) -> (Mode, Option<String>) {
        let state = self.state.lock();
        (state.mode, state.reason.clone())
    }

    /// Makes the writer look up from waiting.
    pub(super) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.work.notify_one();
    }

    /// The last number given.
    pub(super) fn last(&self) -> u64 {
        self.state.lock().next - 1
    }

    /// Nothing more is accepted; what is queued will be committed.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_all();
    }
}

impl State {
    /// Damage stays, whatever comes after it.
    fn set_mode(&mut self, mode: Mode, reason: Option<String>) {
        if self.mode != Mode::Damaged {
            (self.mode, self.reason) = (mode, reason);
        }
    }

    fn is_crowded(&self) -> bool {
        self.sets.len() >= WRITER_QUEUE_SETS || self.bytes >= WRITER_QUEUE_BYTES
    }

    fn take_batch(&mut self) -> VecDeque<Numbered> {
        if self.rows <= BATCH_ROWS && self.bytes <= BATCH_BYTES {
            (self.rows, self.bytes) = (0, 0);
            return std::mem::take(&mut self.sets);
        }
        let (mut rows, mut bytes) = (0, 0);
        let mut batch = VecDeque::new();
        while let Some(next) = self.sets.pop_front() {
            rows += next.rows;
            bytes += next.bytes;
            if !batch.is_empty() && (rows > BATCH_ROWS || bytes > BATCH_BYTES) {
                self.sets.push_front(next);
                break;
            }
            self.rows -= next.rows;
            self.bytes -= next.bytes;
            batch.push_back(next);
        }
        batch
    }
}
