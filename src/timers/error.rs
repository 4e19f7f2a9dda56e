//! Why a timer cannot be had as asked, in words that name the thing and the bound.

use crate::limits::{
    CRON_BYTES, LATEST_MS, SCHEDULE_EVERY_MAX_MS, SCHEDULE_EVERY_MIN_MS, SCHEDULE_NAME_CHARS, SCHEDULES, ZONE_BYTES,
};

/// What is wrong. All but [`Error::Row`] are the caller's doing and may be shown to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A time that no calendar reaches.
    #[error("the time is {0} ms since the epoch; the limit is {LATEST_MS} (the year 9999)")]
    Late(u64),
    /// The name is empty, too long (its characters are given), or has control characters.
    #[error(
        "the name of a schedule has {0} characters; \
         it must have 1 to {SCHEDULE_NAME_CHARS} and no control characters"
    )]
    Name(usize),
    /// The object has as many schedules as it may, and none of them is over.
    #[error("no room for another schedule: an object has at most {SCHEDULES}; delete one first")]
    Full,
    /// There is no such schedule.
    #[error("there is no schedule `{0}`")]
    Unknown(Box<str>),
    /// The schedule cannot be run now, because it runs.
    #[error("schedule `{0}` is running")]
    Running(Box<str>),
    /// The interval is out of bounds.
    #[error("the interval is {0} ms; it must be {SCHEDULE_EVERY_MIN_MS} to {SCHEDULE_EVERY_MAX_MS}")]
    Interval(u64),
    /// The expression is longer than [`CRON_BYTES`]; its bytes are given.
    #[error("the cron expression is {0} bytes; the limit is {CRON_BYTES}")]
    CronLength(usize),
    /// The expression cannot be read.
    #[error("`{expression}` is not a cron expression of five or six fields: {detail}")]
    Cron {
        /// What was given.
        expression: Box<str>,
        /// What is wrong with it.
        detail: Box<str>,
    },
    /// The expression names a date that no calendar has, such as the 30th of February.
    #[error("`{0}` never comes: no date matches it")]
    Never(Box<str>),
    /// The name of the time zone is longer than [`ZONE_BYTES`]; its bytes are given.
    #[error("the name of the time zone is {0} bytes; the limit is {ZONE_BYTES}")]
    ZoneLength(usize),
    /// The time zone is not known.
    #[error("`{0}` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`")]
    Zone(Box<str>),
    /// A stored row cannot be read.
    #[error("row `{key}` cannot be read: {detail}")]
    Row {
        /// Its key.
        key: Box<str>,
        /// What is wrong with it.
        detail: Box<str>,
    },
}
