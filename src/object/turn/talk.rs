//! What a turn says to other objects and to the world outside. None of it leaves before the turn's commit is durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Turn;
use crate::limits::{
    CALL_HOPS, CALL_TIME, DEFERRED, ERRANDS_PER_TURN, HOST_NAME_BYTES, JOB_TIME, JOBS_PER_OBJECT, LONGEST_WAIT,
    MESSAGE_BYTES, NOTE_BYTES, PENDING, WRITE_SET_BYTES,
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

/// How long to wait for an answer, and what to remember of the question.
///
/// ```
/// use fleet::Ask;
///
/// let ask = Ask::new().timeout(5_000).note(&"order 17");
/// ```
#[derive(Debug, Default)]
pub struct Ask {
    /// In milliseconds.
    timeout: Option<u64>,
    note: Option<Result<Box<RawValue>, serde_json::Error>>,
}

impl Ask {
    /// The usual time (30 s for a call, 60 s for a job or a request), and `null` as the note.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait, in milliseconds: 1 to 3,600,000.
    #[must_use]
    pub fn timeout(mut self, milliseconds: u64) -> Self {
        self.timeout = Some(milliseconds);
        self
    }

    /// What [`Replied`](crate::Replied) is to say beside the answer, at most 4 KiB of JSON: the turn that gets the answer
    /// may be long after this one, and after a restart.
    #[must_use]
    pub fn note<T: Serialize + ?Sized>(mut self, note: &T) -> Self {
        self.note = Some(to_raw_value(note));
        self
    }
}

/// What a turn has said so far, besides its effects.
#[derive(Debug, Default)]
pub(in crate::object) struct Said {
    /// Durable messages, each with the number of subtrees that the turn had deleted before it.
    sends: Vec<(Send, usize)>,
    sent_bytes: u64,
    /// Answers that are waited for, each with its row.
    asked: Vec<(u64, Waiting, Arc<[u8]>)>,
    /// Answers that are not waited for any more.
    cancelled: Vec<u64>,
    pub(in crate::object) deferred: Option<u64>,
    errands: usize,
}

/// How much a turn had said at some moment.
pub(super) struct Mark {
    sends: usize,
    sent_bytes: u64,
    asked: usize,
    cancelled: usize,
    deferred: Option<u64>,
    errands: usize,
}

impl Said {
    pub(super) fn has_writes(&self) -> bool {
        !self.sends.is_empty() || !self.asked.is_empty() || !self.cancelled.is_empty()
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
        self.sends.len() + self.asked.len()
    }

    /// The durable messages that there are.
    pub(in crate::object) fn sends(&self) -> Backlog {
        Backlog { messages: self.sends.len() as u64, bytes: self.sent_bytes }
    }

    /// Adds the rows of what was said.
    pub(super) fn write(&mut self, set: &mut WriteSet) {
        set.rows.extend(self.asked.iter().map(|(id, _, row)| (replies::key(*id), Some(Arc::clone(row)))));
        set.rows.extend(self.cancelled.iter().map(|id| (replies::key(*id), None)));
        let deleted = &set.deleted;
        // What was sent to a subtree before the turn deleted it is gone with it.
        let arrives = |(send, before): &(Send, usize)| !deleted[*before..].iter().any(|top| top.contains(&send.target));
        set.sends = std::mem::take(&mut self.sends).into_iter().filter(arrives).map(|(send, _)| send).collect();
    }

    /// What the object waits for from here on.
    pub(in crate::object) fn settle(self, pending: &mut Pending) {
        self.asked.into_iter().for_each(|(id, waiting, _)| pending.insert(id, waiting));
        for id in self.cancelled {
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
    /// `too_large` for a message of more than 1 MiB or a turn that writes too much, `overloaded` when 10,000 messages or
    /// 64 MiB of this object wait (`outbox full`); storage that cannot be read.
    pub fn send<T: Serialize + ?Sized>(&mut self, to: &ObjectPath, message: &T) -> Result<(), Error> {
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
    /// the object waits for 1,000 answers, `conflict` when 32 calls lie above this one (`too many hops`).
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
        let (id, _) = self.ask(to.to_string(), ask, CALL_TIME, false)?;
        let asked = Asked { caller: self.path.clone(), id, hops: self.hops + 1 };
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

    /// Stops waiting for an answer: it will not come, and a job is dropped wherever it is. Answers whether it was waited
    /// for.
    pub fn cancel(&mut self, id: u64) -> bool {
        let said = &mut self.draft.said;
        let asked = said.asked.iter().any(|(asked, ..)| *asked == id) || self.stored.pending.contains(id);
        if !asked || said.cancelled.contains(&id) {
            return false;
        }
        said.cancelled.push(id);
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
        self.draft.said.deferred = Some(id);
        Ok(Deferred(id))
    }

    /// Gives an answer that was deferred, as JSON text or an error; answers whether anybody still waits for it.
    pub fn answer_deferred(&mut self, deferred: &Deferred, result: Result<Vec<u8>, Error>) -> bool {
        let Deferred(id) = *deferred;
        let owed = self.draft.said.deferred == Some(id) || self.namespace.deferred.contains(self.path, id);
        if owed {
            self.draft.effects.push(Effect::Errand(Errand::Pay(id, result)));
        }
        owed
    }

    fn start(&mut self, who: String, work: Work, ask: Ask) -> Result<u64, Error> {
        let asked = self.draft.said.asked.iter().filter(|(_, waiting, _)| waiting.job).count();
        if self.stored.pending.jobs() + asked >= JOBS_PER_OBJECT {
            let text = format!("jobs limit reached: {} has {JOBS_PER_OBJECT} under way; the limit is that", self.path);
            return Err(Error::new(Code::Overloaded, text));
        }
        let place = self.namespace.jobs.place()?;
        self.count_errand()?;
        let (id, timeout) = self.ask(who.clone(), ask, JOB_TIME, true)?;
        let assignment = Assignment { id, who: who.into(), work, timeout, place };
        self.draft.effects.push(Effect::Errand(Errand::Start(assignment)));
        Ok(id)
    }

    /// Waits for the answer of `who`: its number, and for how long.
    fn ask(&mut self, who: String, ask: Ask, usual: Duration, job: bool) -> Result<(u64, Duration), Error> {
        let said = &self.draft.said;
        if self.stored.pending.len() + said.asked.len() >= PENDING {
            let text = format!("pending limit reached: {} waits for {PENDING} answers; the limit is that", self.path);
            return Err(Error::new(Code::Overloaded, text));
        }
        let timeout = ask.timeout.map_or(usual, Duration::from_millis);
        if timeout.is_zero() || timeout > LONGEST_WAIT {
            let (given, most) = (timeout.as_millis(), LONGEST_WAIT.as_millis());
            return Err(Error::bad_request(format!("timeout is {given} ms; it must be 1 to {most}")));
        }
        let note = ask.note.unwrap_or_else(|| to_raw_value(&())).map_err(|error| unwritable("the note", &error))?;
        let note: Box<str> = note.into();
        if note.len() > NOTE_BYTES {
            return Err(Error::bad_request(format!("the note is {} bytes; the limit is {NOTE_BYTES}", note.len())));
        }
        self.draft.count_row(self.path, note.len() + who.len())?;
        let (id, start, hops) = (self.number(), self.namespace.start, self.hops);
        let deadline = self.now().saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let waiting = Waiting { job, deadline, start, hops, note, who: who.into() };
        let row = rmp_serde::to_vec(&waiting)
            .map_err(|error| Error::internal(format!("a pending answer cannot be encoded: {error}")))?;
        self.draft.said.asked.push((id, waiting, row.into()));
        Ok((id, timeout))
    }

    /// A number that nothing else has: what comes too late, or from before a restart, must not meet another's. It is short
    /// enough to be exact in every JSON.
    fn number(&mut self) -> u64 {
        self.random() >> 11
    }

    /// Counts what goes out towards the bound of a turn.
    fn count_errand(&mut self) -> Result<(), Error> {
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
    fn count_row(&mut self, path: &ObjectPath, bytes: usize) -> Result<(), Error> {
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

fn unwritable(what: &str, error: &serde_json::Error) -> Error {
    Error::internal(format!("{what} cannot be encoded as JSON: {error}"))
}
