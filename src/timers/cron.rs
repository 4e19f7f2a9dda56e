//! Cron expressions in the time of a place.
//!
//! Five fields, or six with seconds first; `MON`, `JAN`, `L`, `W`, `#` and `@daily` are understood, and a day of the month
//! and a day of the week that are both given match if either does.
//!
//! When clocks change, it is as with Vixie cron. An expression that names one time of day (`30 2 * * *`) fires exactly once
//! that day: as soon as the clock has jumped over that time, and at the first of two such times. Any other one
//! (`*/15 * * * *`) follows the clock on the wall: nothing fires in an hour that is left out, and an hour that is repeated
//! has its ticks twice, so that what is due every quarter of an hour really is.

use croner::parser::{CronParser, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Error;
use crate::limits::{CRON_BYTES, LATEST_MS, ZONE_BYTES};

/// The calendar repeats itself every 400 years, and the search for a tick ends with the year 4999: so an expression, which
/// has no year, that has no tick after this (30 December 4599) has none at all. From today the search would take ten times
/// as long, and a turn waits for it.
pub(super) const LAST_CYCLE_MS: u64 = 82_994_630_400_000;

/// An expression and the time zone in which it is meant.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    pub(super) expression: Box<str>,
    pub(super) zone: Box<str>,
    pattern: croner::Cron,
    time_zone: TimeZone,
}

impl Cron {
    pub(super) fn parse(expression: &str, zone: &str) -> Result<Self, Error> {
        if expression.len() > CRON_BYTES {
            return Err(Error::CronLength(expression.len()));
        }
        if zone.len() > ZONE_BYTES {
            return Err(Error::ZoneLength(zone.len()));
        }
        let bad = |detail: String| Error::Cron { expression: expression.into(), detail: detail.into() };
        let pattern = CronParser::builder()
            .year(Year::Disallowed)
            .build()
            .parse(expression)
            .map_err(|error| bad(error.to_string()))?;
        let time_zone = TimeZone::get(zone).map_err(|_| Error::Zone(zone.into()))?;
        let zone = time_zone.iana_name().unwrap_or(zone).into();
        let cron = Self { expression: expression.trim().into(), zone, pattern, time_zone };
        cron.next(LAST_CYCLE_MS).map(|_| ()).ok_or_else(|| Error::Never(expression.into()))?;
        Ok(cron)
    }

    /// The first tick later than `after`, both in ms since the epoch.
    pub(super) fn next(&self, after: u64) -> Option<u64> {
        let after = Timestamp::from_millisecond(i64::try_from(after).ok()?).ok()?;
        let next = self.pattern.find_next_occurrence(&after.to_zoned(self.time_zone.clone()), false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok().filter(|at| *at <= LATEST_MS)
    }
}
