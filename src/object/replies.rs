//! What an object waits for: answers to calls, jobs and requests. Each is a row, so that it is answered exactly once: by
//! the other side, when its time is up, or, after a restart, with `interrupted`. Those that are asked in memory are none:
//! they go with the memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use super::attempt::Source;
use super::body::Body;
use super::class::Replied;
use super::commit::Run;
use super::deferred::Asker;
use super::errand::Errand;
use super::event::{Answered, Caller, Effect, Event};
use super::handle::json_of;
use super::instance::Input;
use super::namespace::{Inner, Slot};
use crate::limits::ANSWER_BYTES;
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::{self, Range, Space, Storage};

/// Where the rows are: behind it stands the number, so that all of them are one range.
const PREFIX: &str = "pending/";

/// One answer that is waited for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// Whether it is of a job or an outbound request, and not of a call.
    pub(super) job: bool,
    /// In milliseconds since the epoch; in memory, of the clock of [`Timeouts`](super::timeouts::Timeouts).
    pub(super) deadline: u64,
    /// The start of the server that is to answer.
    pub(super) start: u64,
    /// How many calls lie above the turn that asked.
    pub(super) hops: u8,
    /// JSON of whoever asked.
    pub(super) note: Box<str>,
    /// What is to answer, as people call it.
    #[serde(default)]
    pub(super) who: Box<str>,
}

/// The answers that one object waits for, as of its last turn.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rows: Questions,
    /// Those that are no rows.
    memory: Option<Box<Questions>>,
}

/// Questions that are kept in the same way.
#[derive(Debug, Default)]
struct Questions {
    waiting: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(u64, u64)>,
    jobs: usize,
}

impl Questions {
    fn insert(&mut self, id: u64, waiting: Waiting) {
        self.jobs += usize::from(waiting.job);
        self.deadlines.insert((waiting.deadline, id));
        self.waiting.insert(id, waiting);
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.jobs -= usize::from(waiting.job);
        self.deadlines.remove(&(waiting.deadline, id));
        Some(waiting)
    }

    fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn expired(&self, now: u64) -> impl Iterator<Item = (u64, &str)> {
        let expired = self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= now);
        expired.map(|(_, id)| (*id, self.waiting.get(id).map_or("", |waiting| &*waiting.who)))
    }
}

impl Pending {
    /// The answers that these rows are of.
    pub(super) fn load(path: &ObjectPath, rows: Vec<(Box<str>, Arc<[u8]>)>) -> Self {
        let mut pending = Self::default();
        for (key, value) in rows {
            let id = key.strip_prefix(PREFIX).and_then(|id| u64::from_str_radix(id, 16).ok());
            if let (Some(id), Ok(waiting)) = (id, rmp_serde::from_slice(&value)) {
                pending.insert(id, waiting);
            } else {
                tracing::error!(%path, key, "a pending answer cannot be read");
            }
        }
        pending
    }

    /// It has a row.
    fn insert(&mut self, id: u64, waiting: Waiting) {
        self.rows.insert(id, waiting);
    }

    /// Waits for an answer, in memory alone or also as a row.
    pub(super) fn ask(&mut self, id: u64, waiting: Waiting, in_memory: bool) {
        if in_memory {
            self.memory.get_or_insert_default().insert(id, waiting);
        } else {
            self.insert(id, waiting);
        }
    }

    /// Takes a question out; answers it, and whether it has a row.
    pub(super) fn remove(&mut self, id: u64) -> Option<(Waiting, bool)> {
        let Some(waiting) = self.rows.remove(id) else { return Some((self.memory.as_mut()?.remove(id)?, false)) };
        Some((waiting, true))
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.rows.waiting.contains_key(&id) || self.is_in_memory(id)
    }

    pub(super) fn is_in_memory(&self, id: u64) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.waiting.contains_key(&id))
    }

    /// How many are rows.
    pub(super) fn rows(&self) -> usize {
        self.rows.waiting.len()
    }

    /// How many are in memory alone.
    pub(super) fn in_memory(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.waiting.len())
    }

    pub(super) fn waits_in_memory(&self) -> bool {
        self.in_memory() > 0
    }

    /// How many of them are jobs.
    pub(super) fn jobs(&self) -> usize {
        self.rows.jobs + self.memory.as_ref().map_or(0, |memory| memory.jobs)
    }

    /// When the first of the rows has waited long enough, in milliseconds since the epoch.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.rows.next_deadline()
    }

    /// When the first of those in memory has waited long enough, in milliseconds of [`Timeouts`](super::timeouts::Timeouts).
    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.memory.as_ref()?.next_deadline()
    }

    /// Those whose time is up, the first one first: rows by the clock, the others by that of the timeouts. With who was to
    /// answer.
    pub(super) fn expired(&self, clock: u64, timeouts: u64) -> impl Iterator<Item = (u64, &str)> {
        let memory = self.memory.iter().flat_map(move |memory| memory.expired(timeouts));
        self.rows.expired(clock).chain(memory)
    }

    /// Those that an earlier start of the server was to answer, and nobody will. With who was to answer.
    pub(super) fn interrupted(&self, start: u64) -> impl Iterator<Item = (u64, &str)> {
        let interrupted = self.rows.waiting.iter().filter(move |(_, waiting)| waiting.start != start);
        interrupted.map(|(id, waiting)| (*id, &*waiting.who))
    }

    /// Takes over what another memory of the object waits for.
    pub(super) fn keep_memory(&mut self, other: Self) {
        self.memory = other.memory;
    }

    /// The jobs that are forgotten with the memory.
    pub(super) fn forgotten_jobs(self) -> Vec<u64> {
        let memory = self.memory.map_or_else(BTreeMap::new, |memory| memory.waiting);
        memory.into_iter().filter(|(_, waiting)| waiting.job).map(|(id, _)| id).collect()
    }
}

/// Whether an object waits for any answer, as far as storage knows.
pub(super) fn any_pending(storage: &Storage, path: &ObjectPath) -> Result<bool, storage::Error> {
    // `0` is the character after `/`.
    let (start, end) = (Bound::Included(PREFIX.into()), Bound::Excluded("pending0".into()));
    let range = Range { start, end, reverse: false, limit: 1, bytes: usize::MAX };
    Ok(!storage.rows(path, Space::Runtime, &range)?.is_empty())
}

/// The row of a number.
pub(super) fn key(id: u64) -> (Space, Box<str>) {
    (Space::Runtime, format!("{PREFIX}{id:x}").into())
}

/// Whether a row of the runtime is that of an answer.
pub(super) fn is_row(key: &str) -> bool {
    key.starts_with(PREFIX)
}

impl Inner {
    /// A method is called by a request or by another object.
    pub(super) fn called(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        (method, payload): (&str, &RawValue),
        asker: Asker,
    ) {
        let key = asker.key();
        let mut source = Source { hops: asker.hops(), may_defer: true, key, ..Source::new(asker.caller()) };
        let result = self.attempt(slot, body, run, &mut source, Input::Call(method, payload)).and_then(json_of);
        let result = match asker {
            // What is too long for an object need not wait for it.
            Asker::Object(_) => result.and_then(|answer| check_length(&answer).map(|()| answer)),
            Asker::Edge(..) => result,
        };
        let deferred = source.deferred;
        match deferred.filter(|_| result.is_ok()) {
            Some((id, wait)) => {
                let until = self.timeouts.after(wait);
                match self.deferred.insert(&slot.path, id, asker, until) {
                    None => run.effects.push(Effect::Errand(Errand::Owe(id))),
                    Some(asker) => run.effects.push(asker.answer(Err(Error::stopping()))),
                }
                self.timeouts.note(until);
            }
            None => run.effects.push(asker.answer(result)),
        }
    }

    /// Answers came. Only the first one to a question counts.
    pub(super) fn replied(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        mut answers: Vec<Answered>,
    ) {
        answers.retain(|(id, _)| body.stored.as_ref().is_some_and(|stored| stored.pending.contains(*id)));
        if answers.is_empty() {
            return;
        }
        if let Err(error) = self.activate(slot, body, run) {
            // It hears of it at the deadline, when it may be able to start.
            return tracing::warn!(path = %slot.path, %error, "an answer came to an object that cannot start");
        }
        let Some(stored) = &mut body.stored else { return };
        let mut heard = Vec::with_capacity(answers.len());
        for (id, result) in answers {
            let Some((waiting, is_row)) = stored.pending.remove(id) else { continue };
            if is_row {
                run.set.rows.insert(key(id), None);
                stored.keep_timers(run);
            }
            heard.push((id, waiting, result));
        }
        let hops = heard.iter().map(|(_, waiting, _)| waiting.hops).max().unwrap_or_default();
        let replies: Result<Vec<_>, Error> =
            heard.iter().map(|(id, waiting, result)| reply(*id, waiting, result)).collect();
        let failed = match &replies {
            Ok(replies) => match self.deliver(slot, body, run, hops, replies) {
                // A turn of its own for each, so that none goes down with another.
                Err(_) if replies.len() > 1 && !run.spoiled => {
                    let alone = |reply| self.deliver(slot, body, run, hops, std::slice::from_ref(reply)).err();
                    replies.iter().filter_map(alone).collect()
                }
                result => result.err().into_iter().collect(),
            },
            Err(error) => vec![error.clone()],
        };
        for error in failed {
            self.undelivered(slot, body, &error, "an answer");
        }
    }

    fn deliver(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        hops: u8,
        replies: &[Replied<'_>],
    ) -> Result<(), Error> {
        let mut source = Source { hops, ..Source::new(Caller::Runtime) };
        self.attempt(slot, body, run, &mut source, Input::Replied(replies)).map(drop)
    }

    /// Answers what nobody else will: whose time is up, and what an earlier start of the server was to answer.
    pub(super) fn answer_overdue(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        let now = self.services.clock.now();
        // It has come out of the queue, or is not needed any more; the end of the run makes another.
        body.timeout = None;
        let Some(stored) = &body.stored else { return };
        let interrupted = stored.pending.interrupted(self.start).map(|(id, who)| (id, Error::interrupted(who)));
        let expired = stored.pending.expired(now, self.timeouts.now()).map(|(id, who)| (id, Error::timed_out(who)));
        let overdue: Vec<_> = interrupted.chain(expired).collect();
        for (id, error) in overdue {
            if run.is_full() {
                return Self::post_later(slot, Event::Overdue);
            }
            self.jobs.cancel(&slot.path, id);
            self.replied(slot, body, run, vec![(id, Err(error))]);
        }
    }
}

/// What a class is told of an answer.
fn reply<'a>(id: u64, waiting: &'a Waiting, result: &'a Result<Vec<u8>, Error>) -> Result<Replied<'a>, Error> {
    let note = serde_json::from_str(&waiting.note)
        .map_err(|error| Error::internal(format!("a note cannot be read: {error}")))?;
    let result = result.as_deref().map_err(Clone::clone).and_then(as_json);
    Ok(Replied { id, note, result })
}

/// Adds to an answer those behind it that its class takes in the same turn: as many as it likes to, and only what its
/// memory alone waits for, which a panic would take from it anyway.
pub(super) fn gather(body: &Body, answers: &mut Vec<Answered>, events: &mut VecDeque<Event>) {
    let (Some(stored), Some(live)) = (&body.stored, &body.live) else { return };
    let of_memory = |answers: &[Answered]| answers.iter().all(|(id, _)| stored.pending.is_in_memory(*id));
    while answers.len() < live.definition.replies
        && of_memory(&answers[answers.len() - 1..])
        && let Some(Event::Replied(next)) = events.front_mut()
        && of_memory(next)
    {
        answers.append(next);
        events.pop_front();
    }
}

fn check_length(answer: &[u8]) -> Result<(), Error> {
    match answer.len() {
        0..=ANSWER_BYTES => Ok(()),
        length => Err(Error::new(Code::TooLarge, format!("the answer is {length} bytes; the limit is {ANSWER_BYTES}"))),
    }
}

fn as_json(answer: &[u8]) -> Result<&RawValue, Error> {
    check_length(answer)?;
    serde_json::from_slice(answer).map_err(|error| Error::internal(format!("the answer is no JSON: {error}")))
}
