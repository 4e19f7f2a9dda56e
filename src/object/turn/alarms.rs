//! The object's alarm and its schedules. All times are in ms since the epoch.

use super::Turn;
use crate::object::Error;
use crate::timers::{Schedule, Spec, Timers};

/// When a schedule ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When<'a> {
    /// Once, at this time in ms since the epoch; now, if it is past.
    Once(u64),
    /// Every so many ms from now on: 1 s to 366 days. A late tick does not shift those after it.
    Every(u64),
    /// Whenever the clock of a time zone matches.
    Cron {
        /// Five fields (minute, hour, day, month, weekday), or six with the second before them: `0 9 * * MON`.
        expression: &'a str,
        /// A name of the IANA database, such as `Europe/Berlin` or `UTC`.
        time_zone: &'a str,
    },
}

/// The alarm: one per object, run at least once and never early. If [`Class::alarm`](crate::Class::alarm) fails it is run
/// again after 2 s, 4 s, … 64 s (and up to a quarter more), then dropped.
impl Turn<'_> {
    /// Sets the alarm, in place of one that waits, also of one that is to be retried. A time that is past becomes now.
    ///
    /// # Errors
    /// `bad_request` for a time after the year 9999, and in an object that lives in memory alone.
    pub fn set_alarm(&mut self, at: u64) -> Result<(), Error> {
        self.check_written("set_alarm")?;
        let at = at.max(self.now());
        Ok(self.timers().set_alarm(at)?)
    }

    /// When the alarm is due; `None` without one, and while its handler runs.
    pub fn get_alarm(&self) -> Option<u64> {
        self.stored.timers.alarm()
    }

    /// Deletes the alarm, also one that is to be retried; answers whether there was one.
    pub fn delete_alarm(&mut self) -> bool {
        self.timers().delete_alarm()
    }
}

/// Schedules: up to 256 per object, each with a name of 1 to 128 characters. What is due runs
/// [`Class::scheduled`](crate::Class::scheduled), once for however many ticks were missed, and never early. A run that fails
/// is not run again before its next tick; the last 16 are remembered.
impl Turn<'_> {
    /// Registers a schedule. Under a name that is taken it changes that schedule, which keeps its history and stays paused;
    /// the same again changes nothing, so that [`Class::activate`](crate::Class::activate) may register what is needed.
    ///
    /// ```
    /// # use fleet::{Error, Turn, When};
    /// fn activate(turn: &mut Turn<'_>) -> Result<(), Error> {
    ///     turn.set_schedule("sync", When::Every(60_000))?;
    ///     turn.set_schedule("report", When::Cron { expression: "0 9 * * MON", time_zone: "Europe/Berlin" })
    /// }
    /// ```
    ///
    /// # Errors
    /// `bad_request` for what cannot be a name, an interval, an expression or a time zone, and in an object that lives in
    /// memory alone; `conflict` when the object has as
    /// many schedules as it may.
    pub fn set_schedule(&mut self, name: &str, when: When<'_>) -> Result<(), Error> {
        self.check_written("set_schedule")?;
        let spec = match when {
            When::Once(at) => Spec::once(at)?,
            When::Every(ms) => Spec::every(ms)?,
            When::Cron { expression, time_zone } => Spec::cron(expression, time_zone)?,
        };
        let now = self.now();
        Ok(self.timers().schedule(name, spec, now)?)
    }

    /// Deletes a schedule and its history; answers whether there was one.
    pub fn delete_schedule(&mut self, name: &str) -> bool {
        self.timers().delete(name)
    }

    /// Holds back the ticks of a schedule.
    ///
    /// # Errors
    /// `not_found`.
    pub fn pause_schedule(&mut self, name: &str) -> Result<(), Error> {
        Ok(self.timers().pause(name)?)
    }

    /// Lets a paused schedule tick again. The ticks of the pause are left out, but for one that is the only one.
    ///
    /// # Errors
    /// `not_found`.
    pub fn resume_schedule(&mut self, name: &str) -> Result<(), Error> {
        let now = self.now();
        Ok(self.timers().resume(name, now)?)
    }

    /// Runs a schedule after this turn, also one that is paused or over; its ticks stay as they are.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it is running.
    pub fn run_schedule_now(&mut self, name: &str) -> Result<(), Error> {
        let now = self.now();
        Ok(self.timers().run_now(name, now)?)
    }

    /// A schedule: its next tick, whether it is paused, its last runs.
    pub fn schedule(&self, name: &str) -> Option<&Schedule> {
        self.stored.timers.get(name)
    }

    /// Every schedule, by name.
    pub fn schedules(&self) -> impl Iterator<Item = (&str, &Schedule)> {
        self.stored.timers.schedules()
    }

    /// For a change.
    fn timers(&mut self) -> &mut Timers {
        self.draft.timers = true;
        &mut self.stored.timers
    }
}
