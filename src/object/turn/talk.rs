//! What a turn says to other objects and to the world outside. None of it leaves before the turn's commit is durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Turn;
use super::ask::{Ask, check_wait};
use crate::limits::{
    CALL_HOPS, CALL_TIME, DEFERRED, DEFERRED_TIME, ERRANDS_PER_TURN, HOST_NAME_BYTES, JOB_TIME, JOBS_PER_OBJECT,
    MESSAGE_BYTES, WRITE_SET_BYTES,
};
use crate::object::Error;
use crate::object::deferred::{Asked, Deferred};
use crate::object::errand::Errand;
use crate::object::event::Effect;
use crate::object::jobs::Assignment;
use crate::object::outside;
use crate::object::replies::{self, Pending, Waiting};
use crate::object::services::Work;
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::{Backlog, Send, WriteSet};

/// What a turn has said so far, besides its effects.
#[derive(Debug, Default)]
pub(in crate::object) struct Said {
    /// Durable messages, each with the number of subtrees that the turn had deleted before it.
    sends: Vec<(Send, usize)>,
    sent_bytes: u64,
    /// Answers that are waited for.
    asked: Vec<Question>,
    /// Answers that are not waited for any more, and whether each has a row.
    cancelled: Vec<(u64, bool)>,
    /// The number of the answer that is owed, and for how long.
    pub(in crate::object) deferred: Option<(u64, Duration)>,
    errands: usize,
}

/// An answer that is waited for from here on.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) waiting: Waiting,
    /// What is written of it; nothing, if it is in memory alone.
    pub(super) row: Option<Arc<[u8]>>,
}

/// How much a turn had said at some moment.
pub(super) struct Mark {
    sends: usize,
    sent_bytes: u64,
    asked: usize,
    cancelled: usize,
    deferred: Option<(u64, Duration)>,
    errands: usize,
}

impl Said {
    pub(super) fn has_writes(&self) -> bool {
        !self.sends.is_empty()
            || self.asked.iter().any(|question| question.row.is_some())
            || self.cancelled.iter().any(|(_, is_row)| *is_row)
    }

    /// Whether anything is waited for from here on, or not any more.
    pub(in crate::object) fn has_questions(&self) -> bool {
        !self.asked.is_empty() || !self.cancelled.is_empty()
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.asked.push(question);
    }

    /// How many questions there are that are in memory, or that are not.
    pub(super) fn asked(&self, in_memory: bool) -> usize {
        self.asked.iter().filter(|question| question.row.is_none() == in_memory).count()
    }

    pub(super) fn mark(&self) -> Mark {
        let Self { sends, sent_bytes, asked, cancelled, deferred, errands } = self;
        let (sends, asked, cancelled) = (sends.len(), asked.len(), cancelled.len());
        Mark { sends, sent_bytes: *sent_bytes, asked, cancelled, deferred: *deferred, errands: *errands }
    }

    /// Takes back what was said since.
    pub(super) fn undo_to(&mut self, mark: &Mark) {
        self.sends.truncate(mark.sends);
        self.asked.truncate(mark.asked);
        self.cancelled.truncate(mark.cancelled);
        (self.sent_bytes, self.deferred, self.errands) = (mark.sent_bytes, mark.deferred, mark.errands);
    }

    /// How many rows it is.
    pub(super) fn rows(&self) -> usize {
        self.sends.len() + self.asked(false)
    }

    /// The durable messages that there are.
    pub(in crate::object) fn sends(&self) -> Backlog {
        Backlog { messages: self.sends.len() as u64, bytes: self.sent_bytes }
    }

    /// Adds the rows of what was said.
    pub(super) fn write(&mut self, set: &mut WriteSet) {
        for Question { id, row, .. } in &self.asked {
            set.rows.extend(row.iter().map(|row| (replies::key(*id), Some(Arc::clone(row)))));
        }
        set.rows.extend(self.cancelled.iter().filter(|(_, is_row)| *is_row).map(|(id, _)| (replies::key(*id), None)));
        let deleted = &set.deleted;
        // What was sent to a subtree before the turn deleted it is gone with it.
        let arrives = |(send, before): &(Send, usize)| !deleted[*before..].iter().any(|top| top.contains(&send.target));
        set.sends = std::mem::take(&mut self.sends).into_iter().filter(arrives).map(|(send, _)| send).collect();
    }

    /// What the object waits for from here on.
    pub(in crate::object) fn settle(self, pending: &mut Pending) {
        for Question { id, waiting, row } in self.asked {
            pending.ask(id, waiting, row.is_none());
        }
        for (id, _) in self.cancelled {
            pending.remove(id);
        }
    }
}

impl Turn<'_> {
    /// Sends a message, at most once: its class's [`Class::message`](crate::Class::message) gets it, and the object is woken
    /// for it. It is dropped when the target's mailbox is full, and when the server ends before it is handled.
    ///
    /// # Errors
    /// `too_large` for a message of more than 1 MiB, and for more than 10,000 messages and calls in one turn.
    pub fn tell<T: Serialize + ?Sized>(&mut self, to: &ObjectPath, message: &T) -> Result<(), Error> {
        let message = encode("the message", message)?;
        self.count_errand()?;
        self.draft.effects.push(Effect::Errand(Errand::Tell { to: to.clone(), message }));
        Ok(())
    }

    /// Sends a message, effectively once: it is written with this turn, and it goes with the turn that handled it, whatever
    /// happens in between. Messages of one object to another are handled in their order.
    ///
    /// A message whose handler fails or panics counts as handled, with a line in the log: one that always failed would
    /// hold up those behind it for ever. Deleting either object takes the messages between them that were sent before.
    ///
    /// # Errors
    /// `too_large` for a message of more than 1 MiB or a turn that writes too much, `bad_request` from an object that lives
    /// in memory alone, `overloaded` when 10,000 messages or 64 MiB of this object wait (`outbox full`); storage that cannot
    /// be read.
    pub fn send<T: Serialize + ?Sized>(&mut self, to: &ObjectPath, message: &T) -> Result<(), Error> {
        self.check_written("send")?;
        let message: Box<str> = encode("the message", message)?.into();
        let mut sent = self.draft.said.sends();
        sent += Backlog { messages: 1, bytes: message.len() as u64 };
        self.stored.mail.admit(&self.namespace.storage, self.path, sent)?;
        self.draft.count_row(self.path, message.len())?;
        self.draft.said.sent_bytes = sent.bytes;
        let news = self.draft.said.sends.last().is_none_or(|(send, _)| send.target != *to);
        self.draft
            .said
            .sends
            .push((Send { target: to.clone(), message: message.into_boxed_bytes().into() }, self.draft.deleted.len()));
        if news {
            self.draft.effects.push(Effect::Errand(Errand::Mail(to.clone())));
        }
        Ok(())
    }

    /// Calls a method of another object. Its answer comes as [`Class::replied`](crate::Class::replied) in a later turn,
    /// exactly once; the number that this answers recognises it. Instead of an answer there may be an error: that of the
    /// other side, `overloaded` (its mailbox was full), `deleted`, `timed out`, or `interrupted` (the server was restarted).
    ///
    /// ```
    /// # use fleet::{Ask, Error, ObjectPath, Turn};
    /// fn reserve(turn: &mut Turn<'_>, stock: &ObjectPath, order: u64) -> Result<(), Error> {
    ///     turn.call(stock, "reserve", &3, Ask::new().timeout(5_000).note(&order))?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// `too_large` for a payload of more than 1 MiB, `bad_request` for a time or a note that cannot be, `overloaded` when
    /// the object waits for 1,000 answers, `conflict` when 32 calls lie above this one (`too many hops`). `bad_request` for
    /// a class of [`Ask::spawn_as`] that is not registered.
    pub fn call<T: Serialize + ?Sized>(
        &mut self,
        to: &ObjectPath,
        method: &str,
        payload: &T,
        ask: Ask,
    ) -> Result<u64, Error> {
        if self.hops >= CALL_HOPS {
            let text = format!("too many hops: this call lies below {CALL_HOPS} others; the limit is that");
            return Err(Error::conflict(text));
        }
        let payload = encode("the payload", payload)?;
        self.count_errand()?;
        let spawn = ask.class.as_deref().map(|class| self.class_number(class)).transpose()?;
        let (id, _) = self.ask(to.to_string(), ask, CALL_TIME, false)?;
        let asked = Asked { caller: self.path.clone(), id, hops: self.hops + 1, spawn };
        let call = Errand::Call { to: to.clone(), method: method.into(), payload, asked };
        self.draft.effects.push(Effect::Errand(call));
        Ok(id)
    }

    /// Starts a job that the server has registered (see [`Jobs`](crate::Jobs)), once this turn is durable. Its answer comes
    /// as that of a [`Turn::call`] does; a job that a crash ended is `interrupted`.
    ///
    /// # Errors
    /// `not_found` when there is no such job, `overloaded` when the object has 256 jobs and requests under way or the server
    /// 4,096, and else as [`Turn::call`].
    pub fn run<T: Serialize + ?Sized>(&mut self, job: &str, input: &T, ask: Ask) -> Result<u64, Error> {
        let input = encode("the input", input)?;
        let work = self.namespace.services.jobs.work(job, input)?;
        self.start(format!("job `{job}`"), work, ask)
    }

    /// Whether the server has registered a job of that name.
    pub fn has_job(&self, name: &str) -> bool {
        self.namespace.services.jobs.has(name)
    }

    /// Sends a request to another server, once this turn is durable. The response comes as the answer of a [`Turn::call`]
    /// does, whatever its status; [`response`](crate::response) reads it.
    ///
    /// ```
    /// # use fleet::{Ask, Error, Turn};
    /// fn notify(turn: &mut Turn<'_>) -> Result<(), Error> {
    ///     let request = http::Request::post("https://example.org/hook").body("{}".into());
    ///     let request = request.map_err(|error| Error::bad_request(error.to_string()))?;
    ///     turn.http(request, Ask::new()).map(drop)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Turn::run`].
    pub fn http(&mut self, request: http::Request<Bytes>, ask: Ask) -> Result<u64, Error> {
        if request.body().len() > MESSAGE_BYTES {
            return Err(too_long("the body", request.body().len()));
        }
        let http = self.namespace.services.http.clone();
        // Nothing else of an address is for others to read.
        let host: String = request.uri().host().unwrap_or("a server").chars().take(HOST_NAME_BYTES).collect();
        self.start(host, Box::new(move || Box::pin(async move { outside::encode(&http.send(request).await?) })), ask)
    }

    /// Whether the object waits for the answer to this question of an earlier turn, or of this one. One in memory is
    /// forgotten with the memory.
    pub fn waits_for(&self, id: u64) -> bool {
        let (said, pending) = (&self.draft.said, &self.stored.pending);
        let asked = pending.contains(id) || said.asked.iter().any(|question| question.id == id);
        asked && !said.cancelled.iter().any(|(cancelled, _)| *cancelled == id)
    }

    /// Stops waiting for an answer: it will not come, and a job is dropped wherever it is. Answers whether it was waited
    /// for.
    pub fn cancel(&mut self, id: u64) -> bool {
        let (said, pending) = (&mut self.draft.said, &self.stored.pending);
        let just_now = said.asked.iter().find(|question| question.id == id).map(|question| question.row.is_some());
        let asked = just_now.or_else(|| pending.contains(id).then(|| !pending.is_in_memory(id)));
        let Some(is_row) = asked.filter(|is_row| !said.cancelled.contains(&(id, *is_row))) else { return false };
        said.cancelled.push((id, is_row));
        self.draft.effects.push(Effect::Errand(Errand::Cancel(id)));
        true
    }

    /// Says that the answer to the call that is being handled comes later, from [`Turn::answer_deferred`]; what the handler
    /// answers now is ignored. Whoever called waits, for 5 minutes at most. While the server runs, hibernation changes
    /// nothing; when it stops, and when the object is deleted, the caller gets an error.
    ///
    /// # Errors
    /// `bad_request` unless a request or another object has called a method, `conflict` for a second time in the same turn,
    /// `overloaded` when the object owes 1,000 answers.
    pub fn defer(&mut self) -> Result<Deferred, Error> {
        self.owe(DEFERRED_TIME)
    }

    /// As [`Turn::defer`], but whoever called waits for so many milliseconds at most: 1 to 86,400,000.
    ///
    /// # Errors
    /// As [`Turn::defer`]; `bad_request` for a time that cannot be.
    pub fn defer_for(&mut self, milliseconds: u64) -> Result<Deferred, Error> {
        let time = Duration::from_millis(milliseconds);
        check_wait(time)?;
        self.owe(time)
    }

    fn owe(&mut self, time: Duration) -> Result<Deferred, Error> {
        if !self.may_defer {
            return Err(Error::bad_request("defer: only a call over HTTP or of another object is answered later"));
        }
        if self.draft.said.deferred.is_some() {
            return Err(Error::conflict("defer: the answer to this call is deferred already"));
        }
        if self.namespace.deferred.count(self.path) >= DEFERRED {
            let text = format!("deferred limit reached: {} owes {DEFERRED} answers; the limit is that", self.path);
            return Err(Error::new(Code::Overloaded, text));
        }
        let id = self.number();
        self.draft.said.deferred = Some((id, time));
        Ok(Deferred(id))
    }

    /// Gives an answer that was deferred, as JSON text or an error; answers whether anybody still waits for it.
    pub fn answer_deferred(&mut self, deferred: &Deferred, result: Result<Vec<u8>, Error>) -> bool {
        let Deferred(id) = *deferred;
        let just_now = self.draft.said.deferred.is_some_and(|(deferred, _)| deferred == id);
        let owed = just_now || self.namespace.deferred.contains(self.path, id);
        if owed {
            self.draft.effects.push(Effect::Errand(Errand::Pay(id, result.map_err(Error::of_deferred))));
        }
        owed
    }

    fn start(&mut self, who: String, work: Work, ask: Ask) -> Result<u64, Error> {
        let asked = self.draft.said.asked.iter().filter(|question| question.waiting.job).count();
        if self.stored.pending.jobs() + asked >= JOBS_PER_OBJECT {
            let text = format!("jobs limit reached: {} has {JOBS_PER_OBJECT} under way; the limit is that", self.path);
            return Err(Error::refused(Code::Overloaded, text));
        }
        let place = self.namespace.jobs.place()?;
        self.count_errand()?;
        let (id, timeout) = self.ask(who.clone(), ask, JOB_TIME, true)?;
        let assignment = Assignment { id, who: who.into(), work, timeout, place };
        self.draft.effects.push(Effect::Errand(Errand::Start(assignment)));
        Ok(id)
    }

    /// A number that nothing else has: what comes too late, or from before a restart, must not meet another's. It is short
    /// enough to be exact in every JSON.
    pub(super) fn number(&mut self) -> u64 {
        self.random() >> 11
    }

    /// Counts what goes out towards the bound of a turn.
    pub(super) fn count_errand(&mut self) -> Result<(), Error> {
        if self.draft.said.errands >= ERRANDS_PER_TURN {
            let text = format!(
                "one turn of {} sends more than {ERRANDS_PER_TURN} messages; send less in each of several",
                self.path
            );
            return Err(Error::new(Code::TooLarge, text));
        }
        self.draft.said.errands += 1;
        Ok(())
    }
}

impl super::Draft {
    /// Counts what is no row of the class towards the bounds of a turn.
    pub(super) fn count_row(&mut self, path: &ObjectPath, bytes: usize) -> Result<(), Error> {
        self.check_rows(path, 1)?;
        if self.row_bytes + bytes > WRITE_SET_BYTES {
            return Err(super::storage::too_much(path, &format!("more than {WRITE_SET_BYTES} bytes")));
        }
        self.row_bytes += bytes;
        Ok(())
    }
}

fn encode<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<Box<RawValue>, Error> {
    let encoded = to_raw_value(value).map_err(|error| unwritable(what, &error))?;
    match encoded.get().len() {
        0..=MESSAGE_BYTES => Ok(encoded),
        length => Err(too_long(what, length)),
    }
}

fn too_long(what: &str, length: usize) -> Error {
    Error::new(Code::TooLarge, format!("{what} is {length} bytes; the limit is {MESSAGE_BYTES}"))
}

pub(super) fn unwritable(what: &str, error: &serde_json::Error) -> Error {
    Error::internal(format!("{what} cannot be encoded as JSON: {error}"))
}
