//! The alarm and the named schedules of one object: when each is due, and what follows when its handler is done.
//!
//! It is a plain value. Time is passed in as ms since the epoch and randomness as a number; it reads no clock, waits for
//! nothing and knows no storage. An object keeps one [`Timers`] in memory, and of an object without timers that is one empty
//! pointer.
//!
//! # How an object uses it
//!
//! Every change is made in a turn, and ends with it in one of two ways:
//! - the turn succeeds: [`Timers::take_changes`] gives the rows to write and [`Timers::next_wake`] the time to wake the
//!   object, both for the turn's own write set;
//! - the turn fails: [`Timers::undo`] takes back everything since the last of either.
//!
//! A wake-up asks for what is [`due`](Timers::due) and gives each a turn of its own, which begins with
//! [`fire_alarm`](Timers::fire_alarm) or [`begin`](Timers::begin): these ask again, as an earlier turn may have changed it.
//!
//! So an alarm fires at least once (AL2). Within the turn it is gone from memory, but its row goes only in the commit of that
//! turn: whoever crashes before it finds the alarm as it was, with the same count of retries, and after it the alarm has been
//! handled. The turn of a handler that fails is undone, which brings the alarm back, and a second write set holds what
//! [`retry_alarm`](Timers::retry_alarm) or `begin` and [`finish`](Timers::finish) then say. A panic is such a failure, too:
//! without a retry written down, the next incarnation would fire at once, and again.
//!
//! A handler whose work outlasts its turn leaves its firing open: it stays marked as running, in its row as well, until
//! `finish`. After a restart whatever was open must be finished as [`Outcome::Interrupted`].

mod alarm;
mod cron;
mod error;
mod schedule;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use alarm::{Alarm, Retry};
pub use error::Error;
pub use schedule::{Firing, Outcome, Schedule, Tick};
pub use spec::Spec;

use crate::limits::{LATEST_MS, SCHEDULE_NAME_CHARS, SCHEDULES};

/// What the keys of all rows begin with.
pub const PREFIX: &str = "timer/";
const ALARM: &str = "timer/alarm";
const SCHEDULE: &str = "timer/schedule/";

/// The alarm and the schedules of one object.
#[derive(Debug, Clone, Default)]
pub struct Timers(Option<Box<Inner>>);

#[derive(Debug, Clone, Default)]
struct Inner {
    alarm: Option<Alarm>,
    schedules: BTreeMap<Box<str>, Schedule>,
    before: Before,
}

/// What was changed since the rows were last written, as it was then.
#[derive(Debug, Clone, Default)]
struct Before {
    #[expect(clippy::option_option, reason = "unchanged, or changed from none or from some")]
    alarm: Option<Option<Alarm>>,
    schedules: BTreeMap<Box<str>, Option<Schedule>>,
}

/// Something that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// The alarm; [`Timers::fire_alarm`] takes it.
    Alarm {
        /// Since when, in ms since the epoch.
        at: u64,
    },
    /// A schedule; [`Timers::begin`] takes it.
    Schedule {
        /// Since when, in ms since the epoch.
        at: u64,
        /// Its name.
        name: Box<str>,
    },
}

/// A row to write: its key, and its value or `None` if it is to be deleted.
pub type Row = (Box<str>, Option<Vec<u8>>);

impl Timers {
    /// Reads the rows that [`Timers::take_changes`] gave, which are all that begin with [`PREFIX`].
    ///
    /// # Errors
    /// [`Error::Row`] for the first row that cannot be read.
    pub fn load<K: AsRef<str>, V: AsRef<[u8]>>(rows: impl IntoIterator<Item = (K, V)>) -> Result<Self, Error> {
        let mut timers = Self::default();
        for (key, value) in rows {
            let (key, value) = (key.as_ref(), value.as_ref());
            let inner = timers.0.get_or_insert_default();
            if key == ALARM {
                inner.alarm = Some(decode(key, value)?);
            } else if let Some(name) = key.strip_prefix(SCHEDULE) {
                inner.schedules.insert(name.into(), decode(key, value)?);
            } else {
                return Err(Error::Row { key: key.into(), detail: "no timer has such a key".into() });
            }
        }
        Ok(timers)
    }

    /// How many rows they are.
    pub fn rows(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| u64::from(inner.alarm.is_some()) + inner.schedules.len() as u64)
    }

    /// The earliest time at which something is due, in ms since the epoch.
    pub fn next_wake(&self) -> Option<u64> {
        self.wakes().map(|(at, _)| at).min()
    }

    /// What is due now, the longest due first; of what is due since the same time, the alarm and then by name.
    pub fn due(&self, now: u64) -> Vec<Due> {
        let mut due: Vec<_> = self.wakes().filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        let named = |(at, name): (u64, Option<&str>)| match name {
            Some(name) => Due::Schedule { at, name: name.into() },
            None => Due::Alarm { at },
        };
        due.into_iter().map(named).collect()
    }

    /// The rows that changed since the last call (or since [`Timers::undo`] or [`Timers::load`]), for the write set of the
    /// turn that changed them. Each is written as a whole; what ended as it began is left out.
    pub fn take_changes(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        let Some(inner) = &mut self.0 else { return rows };
        let before = std::mem::take(&mut inner.before);
        if before.alarm.is_some_and(|before| before != inner.alarm) {
            rows.push((ALARM.into(), inner.alarm.as_ref().map(encode)));
        }
        for (name, before) in before.schedules {
            let schedule = inner.schedules.get(&name);
            if before.as_ref() != schedule {
                rows.push((format!("{SCHEDULE}{name}").into(), schedule.map(encode)));
            }
        }
        self.shed();
        rows
    }

    /// Takes back everything since the last [`Timers::take_changes`].
    pub fn undo(&mut self) {
        let Some(inner) = &mut self.0 else { return };
        let before = std::mem::take(&mut inner.before);
        if let Some(alarm) = before.alarm {
            inner.alarm = alarm;
        }
        for (name, schedule) in before.schedules {
            match schedule {
                Some(schedule) => drop(inner.schedules.insert(name, schedule)),
                None => drop(inner.schedules.remove(&name)),
            }
        }
        self.shed();
    }

    /// Each timer that will be due, with the name of a schedule or without one for the alarm.
    fn wakes(&self) -> impl Iterator<Item = (u64, Option<&str>)> {
        self.0.iter().flat_map(|inner| {
            let schedules = inner.schedules.iter().filter_map(|(name, one)| Some((one.wake()?, Some(&**name))));
            inner.alarm.map(|alarm| (alarm.at, None)).into_iter().chain(schedules)
        })
    }

    /// Gives the memory back when there is nothing left.
    fn shed(&mut self) {
        self.0.take_if(|inner| inner.alarm.is_none() && inner.schedules.is_empty());
    }
}

/// The alarm.
impl Timers {
    /// Sets the alarm to a time in ms since the epoch, in place of one that waits, a retry included. A time that is past is
    /// due now.
    ///
    /// # Errors
    /// [`Error::Late`].
    pub fn set_alarm(&mut self, at: u64) -> Result<(), Error> {
        if at > LATEST_MS {
            return Err(Error::Late(at));
        }
        self.0.get_or_insert_default().put_alarm(Some(Alarm { at, retry: 0 }));
        Ok(())
    }

    /// When the alarm is due, in ms since the epoch; `None` without one, and while its handler runs.
    pub fn alarm(&self) -> Option<u64> {
        self.0.as_ref()?.alarm.map(|alarm| alarm.at)
    }

    /// Deletes the alarm, a retry included, and says whether there was one.
    pub fn delete_alarm(&mut self) -> bool {
        let Some(inner) = self.0.as_mut().filter(|inner| inner.alarm.is_some()) else { return false };
        inner.put_alarm(None);
        true
    }

    /// Takes the alarm for its handler, if it is due.
    pub fn fire_alarm(&mut self, now: u64) -> Option<Alarm> {
        let inner = self.0.as_mut()?;
        let alarm = inner.alarm.filter(|alarm| alarm.at <= now)?;
        inner.put_alarm(None);
        Some(alarm)
    }

    /// Has an alarm tried again whose handler failed, after 2 s, 4 s, … 64 s and up to 25 % more; called after
    /// [`Timers::undo`] or, where the failed turn is kept, without it. `random` is any number.
    pub fn retry_alarm(&mut self, fired: Alarm, now: u64, random: u64) -> Retry {
        let inner = self.0.get_or_insert_default();
        if inner.alarm.is_some_and(|alarm| alarm != fired) {
            return Retry::Replaced;
        }
        let next = fired.after_failure(now, random);
        inner.put_alarm(next);
        next.map_or(Retry::Dropped, Retry::Waits)
    }
}

/// Named schedules.
impl Timers {
    /// Registers a schedule. Under a name that is taken it changes that schedule, which keeps its history and stays paused;
    /// the same specification again changes nothing, so that an object may register what it needs at each start.
    ///
    /// One that is over (its only tick has been) stays listed, but makes room for a new one when the object has as many as
    /// it may.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Full`].
    pub fn schedule(&mut self, name: &str, spec: Spec, now: u64) -> Result<(), Error> {
        check_name(name)?;
        let inner = self.0.get_or_insert_default();
        if let Some(known) = inner.schedules.get(name) {
            if known.spec != spec {
                inner.touch(name)?.respecify(spec, now);
            }
            return Ok(());
        }
        if inner.schedules.len() >= SCHEDULES {
            let over = inner.schedules.iter().filter(|(_, one)| one.is_over()).min_by_key(|(_, one)| one.last());
            let name = over.map(|(name, _)| name.clone()).ok_or(Error::Full)?;
            inner.remove(&name);
        }
        inner.before.schedules.entry(name.into()).or_insert(None);
        inner.schedules.insert(name.into(), Schedule::new(spec, now));
        Ok(())
    }

    /// All schedules, by name.
    pub fn schedules(&self) -> impl Iterator<Item = (&str, &Schedule)> {
        self.0.iter().flat_map(|inner| inner.schedules.iter().map(|(name, schedule)| (&**name, schedule)))
    }

    /// The schedule of a name.
    pub fn get(&self, name: &str) -> Option<&Schedule> {
        self.0.as_ref()?.schedules.get(name)
    }

    /// Begins a firing, if the schedule is due: however many ticks it missed, once. It is then running, and falls due again
    /// only after [`Timers::finish`].
    pub fn begin(&mut self, name: &str, now: u64) -> Option<Tick> {
        self.get(name)?.wake().filter(|at| *at <= now)?;
        self.touch(name).ok()?.begin(now)
    }

    /// Ends the firing that began at `started`, and says whether it was open: the schedule may have been deleted meanwhile.
    /// A tick that fell due while it ran is skipped.
    pub fn finish(&mut self, name: &str, started: u64, now: u64, outcome: Outcome<'_>) -> bool {
        let open = self.get(name).is_some_and(|schedule| schedule.running == Some(started));
        if open && let Ok(schedule) = self.touch(name) {
            schedule.finish(started, now, outcome);
        }
        open
    }

    /// Holds back the ticks of a schedule; one that runs goes on.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn pause(&mut self, name: &str) -> Result<(), Error> {
        self.touch(name)?.paused = true;
        Ok(())
    }

    /// Lets a paused schedule tick again. The ticks of the pause are left out; only one that is its only one is due now.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn resume(&mut self, name: &str, now: u64) -> Result<(), Error> {
        let schedule = self.touch(name)?;
        if schedule.paused {
            schedule.resume(now);
        }
        Ok(())
    }

    /// Makes a schedule due now, also one that is paused or over; its ticks stay as they are.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Running`].
    pub fn run_now(&mut self, name: &str, now: u64) -> Result<(), Error> {
        let schedule = self.touch(name)?;
        if schedule.running.is_some() {
            return Err(Error::Running(name.into()));
        }
        schedule.asked.get_or_insert(now);
        Ok(())
    }

    /// Deletes a schedule with its history, and says whether there was one. Its work, if it runs, goes on.
    pub fn delete(&mut self, name: &str) -> bool {
        self.0.as_mut().is_some_and(|inner| inner.remove(name))
    }

    fn touch(&mut self, name: &str) -> Result<&mut Schedule, Error> {
        match &mut self.0 {
            Some(inner) => inner.touch(name),
            None => Err(unknown(name)),
        }
    }
}

impl Inner {
    fn put_alarm(&mut self, alarm: Option<Alarm>) {
        self.before.alarm.get_or_insert(self.alarm);
        self.alarm = alarm;
    }

    /// A schedule that is about to change.
    fn touch(&mut self, name: &str) -> Result<&mut Schedule, Error> {
        let schedule = self.schedules.get_mut(name).ok_or_else(|| unknown(name))?;
        self.before.schedules.entry(name.into()).or_insert_with(|| Some(schedule.clone()));
        Ok(schedule)
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some((name, schedule)) = self.schedules.remove_entry(name) else { return false };
        self.before.schedules.entry(name).or_insert(Some(schedule));
        true
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let chars = name.chars().count();
    let allowed = (1..=SCHEDULE_NAME_CHARS).contains(&chars) && !name.chars().any(char::is_control);
    if allowed { Ok(()) } else { Err(Error::Name(chars)) }
}

/// The error for a name that no schedule has; of a text that cannot be one, only its beginning.
fn unknown(name: &str) -> Error {
    Error::Unknown(name.chars().take(SCHEDULE_NAME_CHARS).collect::<String>().into())
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers, texts and flags are JSON")
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| Error::Row { key: key.into(), detail: error.to_string().into() })
}
