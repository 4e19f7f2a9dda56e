//! Why an object did not do what was asked: what the caller is told, and nothing of what lies inside.

use std::borrow::Cow;
use std::fmt;

use crate::auth;
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage;
use crate::timers;

/// A failure that its caller may see: a code to act on and a text that names the thing and the bound.
///
/// A handler that returns it has its turn dropped: nothing it changed or sent remains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: Code,
    message: Cow<'static, str>,
    /// What the runtime says beside the text. It never leaves the process.
    cause: Option<Cause>,
}

/// What kept a question from its answer, other than whoever was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Refused,
    TimedOut,
    Stopping,
}

impl Error {
    /// A failure of any kind.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), cause: None }
    }

    /// What was asked is malformed.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The state forbids it: it exists already, or a limit is reached.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// Something of ours is broken; the text is for the log and never for the caller.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The object's mailbox is full.
    pub(crate) fn overloaded(path: &ObjectPath) -> Self {
        Self::refused(Code::Overloaded, format!("overloaded: {path} has too many requests waiting; try again"))
    }

    /// There was no room to begin with it.
    pub(crate) fn refused(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, message).because(Cause::Refused)
    }

    /// The object went away between the request and its turn.
    pub(crate) fn deleted() -> Self {
        Self::conflict("deleted: the object was deleted before it came to this request")
    }

    /// The object was taken out of memory for a deletion that then failed; the request did nothing.
    pub(crate) fn dropped() -> Self {
        Self::refused(Code::Unavailable, "storage failed before the object came to this request; try again")
    }

    /// The object's class panicked in this turn.
    pub(crate) fn panicked() -> Self {
        Self::internal("the handler panicked")
    }

    /// This one did not answer in time.
    pub(crate) fn timed_out(who: impl fmt::Display) -> Self {
        let text = format!("timed out: {who} gave no answer in the time given; it may have been done");
        Self::new(Code::Unavailable, text).because(Cause::TimedOut)
    }

    /// The server ended before this one answered.
    pub(crate) fn interrupted(who: impl fmt::Display) -> Self {
        let text = format!("interrupted: the server was restarted before {who} gave an answer; it may have been done");
        Self::new(Code::Unavailable, text)
    }

    /// The object that was to answer has lost what it knew of the question.
    pub(crate) fn forgotten() -> Self {
        Self::new(Code::Unavailable, "forgotten: the object lost its memory before it answered; it may have been done")
    }

    /// The server is ending.
    pub(crate) fn stopping() -> Self {
        Self::new(Code::Unavailable, "the server is stopping; try again").because(Cause::Stopping)
    }

    fn because(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// As the failure of a job that it ended, whatever the reason was there.
    pub(crate) fn of_job(self) -> Self {
        Self { cause: None, ..self }
    }

    /// As an answer that comes later: whoever gives it has begun.
    pub(crate) fn of_deferred(self) -> Self {
        Self { cause: self.cause.filter(|cause| *cause != Cause::Refused), ..self }
    }

    /// The kind of failure.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the runtime refused what was asked before anything of it began, for want of room: the mailbox was full, or
    /// there was no place for a job. It can be asked again, and nothing was done twice. It stays true of what a handler
    /// answers that fails with it, as nothing of such a turn remains.
    pub fn never_began(&self) -> bool {
        self.cause == Some(Cause::Refused)
    }

    /// Whether the time to wait ended before there was an answer. It may have been done, or be under way.
    pub fn is_timeout(&self) -> bool {
        self.cause == Some(Cause::TimedOut)
    }

    /// Whether there is no answer because the server is stopping. It may have been done.
    pub fn is_stopping(&self) -> bool {
        self.cause == Some(Cause::Stopping)
    }

    /// Gives an internal failure a number, writes its text under that number into the log, and leaves only the number in
    /// what the caller sees.
    #[must_use]
    pub fn redacted(self) -> Self {
        if self.code != Code::Internal {
            return self;
        }
        let id = format!("{:016x}", fastrand::u64(..));
        tracing::error!(id, error = %self.message, "internal error");
        Self::internal(format!("internal error; the log has it under {id}"))
    }
}

impl From<storage::CommitError> for Error {
    fn from(error: storage::CommitError) -> Self {
        let code = match error {
            storage::CommitError::Full => Code::StorageFull,
            storage::CommitError::Unknown => Code::CommitUnknown,
        };
        Self::new(code, error.to_string())
    }
}

impl From<timers::Error> for Error {
    fn from(error: timers::Error) -> Self {
        let code = match error {
            timers::Error::Unknown(_) => Code::NotFound,
            timers::Error::Full | timers::Error::Running(_) => Code::Conflict,
            timers::Error::Row { .. } => Code::Internal,
            timers::Error::Late(_)
            | timers::Error::Name(_)
            | timers::Error::Interval(_)
            | timers::Error::CronLength(_)
            | timers::Error::Cron { .. }
            | timers::Error::Never(_)
            | timers::Error::ZoneLength(_)
            | timers::Error::Zone(_) => Code::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<auth::Error> for Error {
    fn from(error: auth::Error) -> Self {
        Self::new(Code::Unauthorized, error.to_string())
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        tracing::error!(%error, "storage cannot be read");
        Self::new(Code::Unavailable, "storage cannot be read at the moment; try again")
    }
}
