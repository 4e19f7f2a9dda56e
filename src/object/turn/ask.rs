//! Questions: how long an object waits for an answer, and what it remembers until it comes.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::Turn;
use super::talk::{Question, unwritable};
use crate::limits::{IN_MEMORY_ASKS, LONGEST_WAIT, NOTE_BYTES, PENDING};
use crate::object::Error;
use crate::object::replies::Waiting;
use crate::protocol::Code;

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
    in_memory: bool,
    pub(super) class: Option<Cow<'static, str>>,
}

impl Ask {
    /// The usual time (30 s for a call, 60 s for a job or a request), and `null` as the note.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait, in milliseconds: 1 to 86,400,000.
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

    /// The question is kept in memory alone: it costs no write, and while it waits the object does not hibernate. It is
    /// forgotten with the memory, by a panic, a commit that fails, or a restart: then no answer comes, a job is dropped, and
    /// what comes late is ignored. [`Class::activate`](crate::Class::activate) is the place to find that out.
    ///
    /// An object may wait for 10,000 such answers, instead of 1,000.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// For a [`Turn::call`]: the class of the called object if nothing is stored at its path and nothing lives there, instead
    /// of the one that its path says. It has that class for as long as it is in memory, and if it is stored, for good.
    #[must_use]
    pub fn spawn_as(mut self, class: impl Into<Cow<'static, str>>) -> Self {
        self.class = Some(class.into());
        self
    }
}

impl Turn<'_> {
    /// Waits for the answer of `who`: its number, and for how long.
    pub(super) fn ask(&mut self, who: String, ask: Ask, usual: Duration, job: bool) -> Result<(u64, Duration), Error> {
        let in_memory = ask.in_memory || self.stored.in_memory;
        self.check_questions(in_memory)?;
        if job && ask.class.is_some() {
            return Err(Error::bad_request("spawn_as: only an object that is called has a class"));
        }
        let timeout = ask.timeout.map_or(usual, Duration::from_millis);
        check_wait(timeout)?;
        let note = ask.note.unwrap_or_else(|| to_raw_value(&())).map_err(|error| unwritable("the note", &error))?;
        let note: Box<str> = note.into();
        if note.len() > NOTE_BYTES {
            return Err(Error::bad_request(format!("the note is {} bytes; the limit is {NOTE_BYTES}", note.len())));
        }
        let (id, start, hops, who) = (self.number(), self.namespace.start, self.hops, who.into_boxed_str());
        if in_memory {
            let waiting = Waiting { job, deadline: self.namespace.timeouts.after(timeout), start, hops, note, who };
            self.draft.said.ask(Question { id, waiting, row: None });
            return Ok((id, timeout));
        }
        self.draft.count_row(self.path, note.len() + who.len())?;
        let deadline = self.now().saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let waiting = Waiting { job, deadline, start, hops, note, who };
        let row = rmp_serde::to_vec(&waiting)
            .map_err(|error| Error::internal(format!("a pending answer cannot be encoded: {error}")))?;
        self.draft.said.ask(Question { id, waiting, row: Some(row.into()) });
        Ok((id, timeout))
    }

    fn check_questions(&self, in_memory: bool) -> Result<(), Error> {
        let (pending, asked) = (&self.stored.pending, self.draft.said.asked(in_memory));
        let full = |limit: usize, what: &str| {
            let text = format!("{what} limit reached: {} waits for {limit} answers; the limit is that", self.path);
            Err(Error::new(Code::Overloaded, text))
        };
        if in_memory && pending.in_memory() + asked >= IN_MEMORY_ASKS {
            return full(IN_MEMORY_ASKS, "in-memory");
        }
        if !in_memory && pending.rows() + asked >= PENDING {
            return full(PENDING, "pending");
        }
        Ok(())
    }
}

/// Whether anybody may wait for so long.
pub(super) fn check_wait(time: Duration) -> Result<(), Error> {
    if time.is_zero() || time > LONGEST_WAIT {
        let (given, most) = (time.as_millis(), LONGEST_WAIT.as_millis());
        return Err(Error::bad_request(format!("timeout is {given} ms; it must be 1 to {most}")));
    }
    Ok(())
}
