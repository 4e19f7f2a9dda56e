//! AL1 to AL3: the alarm against a model. An object notes, in the turn itself, what it did with its alarm and when that
//! fired. The notes go in the same commit as the alarm, so they must make sense on their own, whatever failed.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::*;
use super::history::{deletions, operations};
use crate::limits::{ALARM_JITTER_PERCENT, ALARM_RETRIES, ALARM_RETRY_MS, WAKE_AGAIN};
use crate::object::{Class, Error, Turn, json, read, unknown_method};

const PATHS: [&str; 3] = ["/a", "/a/b", "/c"];
/// Longer than all retries of an alarm take, with their jitter and with an object that must be told again of each.
const ALL_RETRIES_MS: u64 = 240_000;
/// How late a firing may be beside retries: its commit failed or its wake-up was lost, perhaps again, and each time the
/// object is told again.
const LATE_MS: u64 = 6 * 10_000;

/// What an object did, in order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Note {
    /// It set the alarm `mark`, which fails so many times before it works; the one before was due then.
    Set { mark: u64, now: u64, at: u64, failures: u32, before: Option<u64> },
    /// It deleted the alarm, and was told whether there was one.
    Deleted { now: u64, was: bool },
    /// The alarm's handler ran to its end.
    Fired { mark: Option<u64>, now: u64, retry: u32, alarm: Option<u64> },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Sleeper {
    notes: Vec<Note>,
    mark: Option<u64>,
    failures: u32,
}

impl Sleeper {
    fn set(&mut self, turn: &mut Turn<'_>, mark: u64, ms: i64, failures: u32) -> Result<(), Error> {
        let (now, before) = (turn.now(), turn.get_alarm());
        turn.set_alarm(now.saturating_add_signed(ms))?;
        let Some(at) = turn.get_alarm() else { return Err(Error::internal("the alarm was not set")) };
        self.notes.push(Note::Set { mark, now, at, failures, before });
        (self.mark, self.failures) = (Some(mark), failures);
        Ok(())
    }
}

impl Class for Sleeper {
    const NAME: &'static str = "sleeper";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "set" | "setAndFail" => {
                let (mark, ms, failures) = read(payload)?;
                self.set(turn, mark, ms, failures)?;
                if method == "setAndFail" {
                    return Err(Error::conflict("on purpose"));
                }
            }
            "deleteAlarm" => self.notes.push(Note::Deleted { now: turn.now(), was: turn.delete_alarm() }),
            "get" => return json(&(&self.notes, turn.get_alarm(), turn.now())),
            other => return Err(unknown_method(other)),
        }
        json(&())
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        let (mark, now, alarm) = (self.mark.take(), turn.now(), turn.get_alarm());
        self.notes.push(Note::Fired { mark, now, retry, alarm });
        if retry < self.failures {
            // Neither this nor the note stays.
            turn.set_alarm(now)?;
            return Err(Error::internal("on purpose"));
        }
        // Now and then another one follows, in the same turn.
        if let Some(mark) = mark.filter(|mark| mark % 5 == 0 && *mark < CHAINED) {
            self.set(turn, mark + CHAINED, 1_000, 0)?;
        }
        Ok(())
    }
}

/// What is added to the mark of an alarm that another one sets.
const CHAINED: u64 = 1_000_000;

/// Waits that so many failures bring at least.
fn retries_ms(failures: u32) -> u64 {
    (0..failures).map(|retry| ALARM_RETRY_MS << retry).sum()
}

/// And at most.
fn longest_retries_ms(failures: u32) -> u64 {
    (0..failures).map(|retry| (ALARM_RETRY_MS << retry) * (100 + ALARM_JITTER_PERCENT) / 100).sum()
}

/// An alarm that waits, as the model knows it.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    mark: u64,
    at: u64,
    failures: u32,
}

impl Waiting {
    /// Whether it may be given up by then, because it never works.
    fn may_be_dropped(self, now: u64) -> bool {
        self.failures > ALARM_RETRIES && now >= self.at + retries_ms(ALARM_RETRIES)
    }

    /// Whether its next try may be due then.
    fn may_be_due(self, at: u64) -> bool {
        at == self.at || (at >= self.at + retries_ms(1) && self.failures > 0)
    }
}

/// Follows the notes of one object; answers the alarm that waits after the last.
fn follow(notes: &[Note]) -> Result<Option<Waiting>, String> {
    let (mut waiting, mut then): (Option<Waiting>, u64) = (None, 0);
    for note in notes {
        let wrong = |what: &str| Err(format!("{what}: {note:?}, where {waiting:?} waits"));
        let (Note::Set { now, .. } | Note::Deleted { now, .. } | Note::Fired { now, .. }) = *note;
        if now < then {
            return wrong("time went back");
        }
        then = now;
        waiting = match (*note, waiting) {
            (Note::Set { before: Some(before), .. }, Some(one)) if !one.may_be_due(before) => {
                return wrong("another alarm was there");
            }
            (Note::Set { before: Some(_), .. } | Note::Deleted { was: true, .. }, None) => {
                return wrong("an alarm was there that nobody set");
            }
            (Note::Set { before: None, .. } | Note::Deleted { was: false, .. }, Some(one))
                if !one.may_be_dropped(now) =>
            {
                return wrong("the alarm was lost");
            }
            (Note::Set { at, now, .. }, _) if at < now => return wrong("an alarm for the past is not for now"),
            (Note::Set { mark, at, failures, .. }, _) => Some(Waiting { mark, at, failures }),
            (Note::Deleted { .. }, _) => None,
            (Note::Fired { .. }, None) => return wrong("an alarm fired that nobody set"),
            (Note::Fired { mark, now, retry, alarm }, Some(one)) => {
                if mark != Some(one.mark) || retry != one.failures || alarm.is_some() {
                    return wrong("another alarm fired");
                }
                if now < one.at + retries_ms(retry) {
                    return wrong("it fired early");
                }
                if now > one.at + longest_retries_ms(retry) + LATE_MS {
                    return wrong("it fired late");
                }
                None
            }
        };
    }
    Ok(waiting)
}

fn draw() -> impl FnMut(&mut Random) -> Step {
    let mut mark = 0;
    move |random| {
        mark += 1;
        let path = *random.pick(&PATHS);
        match random.below(26) {
            24 => Step::Lose,
            25 => Step::Repeat,
            0 => Step::Crash,
            1 => Step::CommitFails,
            2..=5 => Step::Pass { ms: 1 + random.below(5_000) },
            6 => Step::Pass { ms: 1 + random.below(100_000) },
            7 | 8 => Step::Settle,
            9 => Step::delete(path),
            10 | 11 => Step::call(path, "deleteAlarm", ()),
            12 => Step::call(path, "setAndFail", (mark, 10, 0)),
            13 => Step::call(path, "set", (mark, -5_000, 0)),
            14..=16 => Step::call(path, "set", (mark, random.below(3_000), 1 + random.below(7))),
            _ => Step::call(path, "set", (mark, random.below(20_000), 0)),
        }
    }
}

/// What an acknowledged call set is in the notes unless the object was deleted since; what was deleted is in none.
fn sets_are_noted(world: &World<'_>, path: &str, notes: &[Note]) -> Result<(), String> {
    let operations = operations(world);
    let deletions = deletions(&operations);
    for operation in &operations {
        let Some((at, "set" | "setAndFail", payload)) = operation.call() else { continue };
        if at != path {
            continue;
        }
        let asked = payload[0].as_u64().unwrap_or(0);
        let count = notes.iter().filter(|note| matches!(note, Note::Set { mark, .. } if *mark == asked)).count();
        let gone = deletions.iter().any(|deletion| deletion.took(path, operation));
        let may_be_gone = deletions.iter().any(|deletion| deletion.may_have_taken(path, operation));
        let wrong = match count {
            0 => operation.happened() && !may_be_gone,
            1 => gone || !operation.may_have_happened(),
            _ => true,
        };
        if wrong {
            return Err(format!(
                "{path} has set alarm {asked} {count} times: {:?}, deleted: {gone}",
                operation.outcome
            ));
        }
    }
    Ok(())
}

fn alarms_are_right(world: &World<'_>) -> Result<(), String> {
    for path in PATHS {
        let found = world.call(path, "get", ())?;
        let (notes, alarm, now): (Vec<Note>, Option<u64>, u64) =
            serde_json::from_value(found).map_err(|error| error.to_string())?;
        sets_are_noted(world, path, &notes)?;
        let waiting = follow(&notes).map_err(|error| format!("{path}: {error}"))?;
        let right = match (waiting, alarm) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(one), None) => one.may_be_dropped(now),
            (Some(one), Some(at)) => one.may_be_due(at) && now <= one.at + longest_retries_ms(one.failures) + LATE_MS,
        };
        if !right {
            return Err(format!("{path}: the alarm is at {alarm:?} at {now}, and should be {waiting:?}"));
        }
    }
    Ok(())
}

#[test]
fn al1_al2_al3_alarms_fire_once_they_are_due_and_until_they_work_whatever_fails() {
    assert!(u128::from(LATE_MS) >= 3 * WAKE_AGAIN.as_millis());
    assert!(longest_retries_ms(ALARM_RETRIES) + LATE_MS < ALL_RETRIES_MS);
    Simulation::seeds(super::seeds(1_000), |seed| {
        Simulation::new(seed)
            .class::<Sleeper>()
            .steps(60, draw())
            .step(Step::Pass { ms: ALL_RETRIES_MS })
            .step(if seed % 2 == 0 { Step::Settle } else { Step::Crash })
            .check(alarms_are_right)
    });
}

/// The alarm is told for the first time, then for its retry within the time after which it would be told again: that is
/// another time to be told again.
#[test]
fn al2_a_retry_whose_commit_fails_soon_after_the_first_try_fires() {
    Simulation::seeds(0..20, |seed| {
        Simulation::new(seed)
            .class::<Sleeper>()
            .step(Step::call("/a", "set", (1, 100, 1)))
            .step(Step::Pass { ms: 1_500 })
            .step(Step::CommitFails)
            .step(Step::Pass { ms: ALL_RETRIES_MS })
            .check(alarms_are_right)
    });
}
