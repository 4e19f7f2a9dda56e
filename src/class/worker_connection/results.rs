//! What came of tasks, on its way to the manager.
//!
//! One question about results is under way at a time. What the worker says meanwhile goes with the next one, in the order in
//! which it was said, and so does what the manager could not take: all of it at once or, of a turn that had enough, the rest.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::WorkerConnection;
use super::frames::{self, Ack, Outcome};
use super::reports::{Note, ask, is_passing};
use super::session::newest_session;
use crate::limits::{REPORT_AGAIN_MS, REPORT_BYTES, REPORT_QUESTION_BYTES, REPORTS, RESULTS_TOLD, TASK_BYTES};
use crate::object::{Error, Replied, Turn, read};
use crate::protocol::Code;

/// Results that the manager has not judged.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Those that it has yet to be told, the oldest first.
    waiting: VecDeque<Held>,
    /// The question under way, and what it is about.
    asked: Option<(u64, Vec<Held>)>,
    /// Bytes of both.
    bytes: usize,
    /// Until when the manager is left alone, which could not take what it was told.
    again: Option<u64>,
}

#[derive(Debug)]
struct Held {
    task: Box<str>,
    token: Box<str>,
    outcome: Box<RawValue>,
}

#[derive(Serialize)]
struct Told<'a> {
    results: Vec<&'a RawValue>,
}

/// The manager's answer: a verdict on each result that it came to, in their order.
#[derive(Deserialize)]
struct Judged {
    verdicts: Vec<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    accepted: bool,
    #[serde(default)]
    reason: Option<Box<str>>,
}

impl WorkerConnection {
    /// A task is over.
    pub(super) fn take_result(&mut self, turn: &mut Turn<'_>, mut outcome: Outcome<'_>) -> Result<(), Error> {
        if self.results.len() >= REPORTS || self.results.bytes >= REPORT_BYTES {
            let text =
                format!("too many results wait for the manager; the limits are {REPORTS} and {REPORT_BYTES} bytes");
            return Err(Error::new(Code::Overloaded, text));
        }
        let bytes = outcome.result.map_or(0, |result| result.get().len());
        if bytes > TASK_BYTES {
            (outcome.success, outcome.result) = (false, None);
            outcome.error = Some(format!("the result is {bytes} bytes; the limit is {TASK_BYTES}").into());
        }
        let encoded =
            to_raw_value(&outcome).map_err(|error| Error::internal(format!("a result cannot be encoded: {error}")))?;
        self.history.note(&outcome, turn.now());
        self.tasks.end(&outcome.token);
        self.results.bytes += encoded.get().len();
        let (task, token) = ((&*outcome.task_id).into(), (&*outcome.token).into());
        self.results.waiting.push_back(Held { task, token, outcome: encoded });
        self.tell_results(turn);
        Ok(())
    }

    /// Tells the manager of results, unless it is being told of some, or to be left alone.
    pub(super) fn tell_results(&mut self, turn: &mut Turn<'_>) {
        while let Some(told) = self.results.next_question(turn.now()) {
            let results = told.iter().map(|held| &*held.outcome).collect();
            match ask(turn, "workerResults", &Told { results }, &Note::Results) {
                Ok(id) => self.results.asked = Some((id, told)),
                Err(error) => self.refused(turn, told, &error),
            }
        }
    }

    /// The manager has answered a question about results.
    pub(super) fn judged(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) {
        // What is not known any more is sent again by the worker.
        let Some((_, told)) = self.results.asked.take_if(|(id, _)| *id == reply.id) else { return };
        match reply.result.as_ref().map_err(Clone::clone).and_then(|judged| read::<Judged>(judged)) {
            Ok(Judged { verdicts }) => {
                let mut told = told.into_iter();
                if verdicts.is_empty() {
                    self.results.pause(turn.now());
                }
                for (verdict, held) in verdicts.into_iter().zip(told.by_ref()) {
                    let refused = (!verdict.accepted).then(|| verdict.reason.as_deref().unwrap_or("refused"));
                    self.done(turn, &held, refused);
                }
                self.results.put_back(told.collect());
            }
            Err(error) => self.refused(turn, told, &error),
        }
        self.tell_results(turn);
        self.tell_state_again(turn);
        self.wake_for_reports(turn);
    }

    /// A question could not be put, or was not answered by verdicts.
    fn refused(&mut self, turn: &mut Turn<'_>, told: Vec<Held>, error: &Error) {
        if is_passing(error.code()) {
            self.results.pause(turn.now());
            self.results.put_back(told);
            return self.wake_for_reports(turn);
        }
        let error = error.clone().redacted();
        for held in told {
            self.done(turn, &held, Some(error.message()));
        }
    }

    /// Tells the worker what became of a result: it need not keep it any more.
    fn done(&mut self, turn: &mut Turn<'_>, held: &Held, refused: Option<&str>) {
        self.results.bytes -= held.outcome.get().len();
        if let Some(socket) = newest_session(turn) {
            let ack = Ack { task_id: &held.task, token: &held.token, accepted: refused.is_none(), reason: refused };
            turn.send_frame(socket, frames::frame("ack", &ack));
        }
    }
}

impl Results {
    fn len(&self) -> usize {
        self.waiting.len() + self.asked.as_ref().map_or(0, |(_, told)| told.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What results are held of.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        let told = self.asked.iter().flat_map(|(_, told)| told);
        told.chain(&self.waiting).map(|held| &*held.token)
    }

    /// When to tell the manager again.
    pub(super) fn next(&self) -> Option<u64> {
        self.again.filter(|_| !self.waiting.is_empty())
    }

    /// What to tell the manager of now: the oldest ones, as many as fit into one question.
    fn next_question(&mut self, now: u64) -> Option<Vec<Held>> {
        if self.asked.is_some() || self.waiting.is_empty() || self.again.is_some_and(|again| again > now) {
            return None;
        }
        self.again = None;
        let mut bytes = 0;
        let fits = |held: &&Held| {
            bytes += held.outcome.get().len();
            bytes <= REPORT_QUESTION_BYTES
        };
        // One that is larger goes alone.
        let count = self.waiting.iter().take(RESULTS_TOLD).take_while(fits).count().max(1);
        Some(self.waiting.drain(..count).collect())
    }

    /// Leaves the manager alone for a while.
    fn pause(&mut self, now: u64) {
        self.again = Some(now + REPORT_AGAIN_MS);
    }

    /// These are to be told again, before all others.
    fn put_back(&mut self, told: Vec<Held>) {
        told.into_iter().rev().for_each(|held| self.waiting.push_front(held));
    }
}
