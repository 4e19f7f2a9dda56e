//! When a schedule ticks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use super::cron::Cron;
use crate::limits::{LATEST_MS, SCHEDULE_EVERY_MAX_MS, SCHEDULE_EVERY_MIN_MS};

/// When a schedule ticks: once, at an interval, or as a cron expression says. Checked when it is made, and when it is read:
/// `{"once":{"at":MS}}`, `{"every":{"ms":MS}}` or `{"cron":{"expression":"0 9 * * MON","zone":"Europe/Berlin"}}`, where the
/// zone may be left out and is then `UTC`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Spec(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Once(u64),
    Every(u64),
    Cron(Arc<Cron>),
}

/// A [`Spec`] as it is written down.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Once {
        at: u64,
    },
    Every {
        ms: u64,
    },
    Cron {
        expression: Box<str>,
        #[serde(default = "utc")]
        zone: Box<str>,
    },
}

fn utc() -> Box<str> {
    "UTC".into()
}

impl Spec {
    /// One tick, at a time in ms since the epoch; one that is past is due now.
    ///
    /// # Errors
    /// [`Error::Late`].
    pub fn once(at: u64) -> Result<Self, Error> {
        if at > LATEST_MS { Err(Error::Late(at)) } else { Ok(Self(Kind::Once(at))) }
    }

    /// A tick every so many ms, counted from when the schedule is registered. Late ticks do not shift those after them.
    ///
    /// # Errors
    /// [`Error::Interval`], if it is not 1 s to 366 days.
    pub fn every(ms: u64) -> Result<Self, Error> {
        let allowed = (SCHEDULE_EVERY_MIN_MS..=SCHEDULE_EVERY_MAX_MS).contains(&ms);
        if allowed { Ok(Self(Kind::Every(ms))) } else { Err(Error::Interval(ms)) }
    }

    /// A tick whenever a cron expression of five or six fields (seconds first) matches the clock of a time zone of the IANA
    /// database.
    ///
    /// A single time of day fires once a day also where the clock jumps over it (then right after the jump) or shows it
    /// twice (the first time); any other expression follows the clock.
    ///
    /// # Errors
    /// [`Error::Cron`], [`Error::CronLength`], [`Error::Never`], [`Error::Zone`] or [`Error::ZoneLength`].
    pub fn cron(expression: &str, zone: &str) -> Result<Self, Error> {
        Ok(Self(Kind::Cron(Arc::new(Cron::parse(expression, zone)?))))
    }

    /// The first tick of a schedule that is registered now.
    pub(super) fn first(&self, now: u64) -> Option<u64> {
        match &self.0 {
            Kind::Once(at) => Some(*at),
            Kind::Every(ms) => now.checked_add(*ms).filter(|at| *at <= LATEST_MS),
            Kind::Cron(cron) => cron.next(now),
        }
    }

    /// The first tick later than `now`, if `tick` was one. However many were missed in between, they are not made up for.
    pub(super) fn next(&self, tick: u64, now: u64) -> Option<u64> {
        match &self.0 {
            Kind::Once(_) => None,
            Kind::Every(ms) => {
                let missed = now.checked_sub(tick)? / ms;
                tick.checked_add((missed + 1) * ms).filter(|at| *at <= LATEST_MS)
            }
            Kind::Cron(cron) => cron.next(now),
        }
    }

    pub(super) fn is_once(&self) -> bool {
        matches!(self.0, Kind::Once(_))
    }
}

/// Two are equal if they are written the same.
impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Once(one), Kind::Once(other)) | (Kind::Every(one), Kind::Every(other)) => one == other,
            (Kind::Cron(one), Kind::Cron(other)) => one.expression == other.expression && one.zone == other.zone,
            _ => false,
        }
    }
}

impl Eq for Spec {}

impl From<Spec> for Written {
    fn from(spec: Spec) -> Self {
        match spec.0 {
            Kind::Once(at) => Self::Once { at },
            Kind::Every(ms) => Self::Every { ms },
            Kind::Cron(cron) => Self::Cron { expression: cron.expression.clone(), zone: cron.zone.clone() },
        }
    }
}

impl TryFrom<Written> for Spec {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self, Error> {
        match written {
            Written::Once { at } => Self::once(at),
            Written::Every { ms } => Self::every(ms),
            Written::Cron { expression, zone } => Self::cron(&expression, &zone),
        }
    }
}
