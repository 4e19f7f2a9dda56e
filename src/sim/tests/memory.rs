//! OB4, CO2: objects and questions that live in memory alone, with crashes and failed commits anywhere between.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::*;
use crate::object::{Ask, Class, Deferred, Error, Replied, Turn, json, read, unknown_method};
use crate::path::{ObjectName, ObjectPath};

/// Asks objects that live for a moment, and books each answer; what it waits for is only in memory.
#[derive(Default, Serialize, Deserialize)]
struct Asker {
    asked: u64,
    /// The notes of the answers.
    answered: Vec<u64>,
}

impl Class for Asker {
    const NAME: &'static str = "asker";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "ask" | "askAndFail" => {
                self.asked += 1;
                let name = ObjectName::of_number(self.asked.into());
                let ask = Ask::new().in_memory().spawn_as("brief").timeout(5_000).note(&self.asked);
                turn.call(&turn.path().child(&name), "echo", &self.asked, ask)?;
                if method == "askAndFail" {
                    return Err(Error::conflict("on purpose"));
                }
                json(&self.asked)
            }
            "panic" => panic!("on purpose"),
            "get" => json(&(self.asked, &self.answered)),
            other => Err(unknown_method(other)),
        }
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let note: u64 = read(reply.note)?;
        if reply.result.as_ref().is_ok_and(|answer| answer.get() != note.to_string()) {
            return Err(Error::internal("the answer to another question"));
        }
        self.answered.push(note);
        Ok(())
    }
}

/// Answers in a later turn, and is gone.
#[derive(Default, Serialize, Deserialize)]
struct Brief {
    owed: Option<(Deferred, u64)>,
}

impl Class for Brief {
    const NAME: &'static str = "brief";
    const IN_MEMORY: bool = true;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "echo" => {
                self.owed = Some((turn.defer_for(60_000)?, read(payload)?));
                let me: ObjectPath = turn.path().clone();
                turn.tell(&me, &())?;
                json(&())
            }
            other => Err(unknown_method(other)),
        }
    }

    fn message(&mut self, turn: &mut Turn<'_>, _: &RawValue) -> Result<(), Error> {
        if let Some((owed, number)) = self.owed.take() {
            turn.answer_deferred(&owed, json(&number));
        }
        turn.hibernate();
        Ok(())
    }
}

fn simulation(seed: u64, faults: bool) -> Simulation {
    Simulation::new(seed)
        .class::<Asker>()
        .class::<Brief>()
        .steps(60, move |random| match random.below(if faults { 24 } else { 18 }) {
            18 | 19 => Step::CommitFails,
            20 => Step::Crash,
            21 | 22 => Step::call("/a", "panic", ()),
            23 => Step::delete("/a/00000000000000000000000000000003"),
            16 | 17 => Step::Pass { ms: random.below(12_000) },
            15 => Step::Settle,
            14 => Step::call("/a", "askAndFail", ()),
            _ => Step::call("/a", "ask", ()),
        })
        .step(Step::Settle)
        .step(Step::Pass { ms: 70_000 })
        .check(move |world| {
            let read = |value: Value| serde_json::from_value(value).map_err(|error| error.to_string());
            let (asked, mut answered): (u64, Vec<u64>) = read(world.call("/a", "get", ())?)?;
            let before = answered.len();
            answered.sort_unstable();
            answered.dedup();
            if answered.len() != before {
                return Err(format!("{before} answers to {} questions", answered.len()));
            }
            if !faults && answered.len() as u64 != asked {
                return Err(format!("{asked} were asked, {before} answered"));
            }
            match world.objects("/")?.as_slice() {
                [] => Ok(()),
                [one] if one == "/a" => Ok(()),
                objects => Err(format!("{objects:?} are stored")),
            }
        })
}

#[test]
fn co2_every_question_in_memory_is_answered_once() {
    Simulation::seeds(0..40, |seed| simulation(seed, false));
}

#[test]
fn ob4_questions_in_memory_are_answered_once_or_forgotten() {
    Simulation::seeds(0..100, |seed| simulation(seed, true));
}
