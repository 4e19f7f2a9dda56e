//! The simulation itself: it repeats, it finds what is broken, and it says so in few steps.

mod alarms;
mod faults;
mod history;
mod looks;
mod memory;
mod talk;
mod tree;

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::*;
use crate::object::{Error, Look, Turn, json, unknown_method};
use crate::protocol::Change;

/// So many seeds, or as many as `FLEET_SEEDS` says.
fn seeds(usual: u64) -> Range<u64> {
    let asked = std::env::var("FLEET_SEEDS").ok().map(|seeds| seeds.parse().expect("FLEET_SEEDS is a number"));
    0..asked.unwrap_or(usual)
}

/// Counts; `forget` loses what was acknowledged, as broken code would.
#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
    #[serde(skip)]
    unsaved: u64,
}

impl Class for Counter {
    const NAME: &'static str = "counter";
    const LOOKS: &'static [&'static str] = &["look"];

    fn look(look: &Look<'_>, _: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        let (count, row) = (look.value::<Self>()?.count, look.get::<u64>("count")?.unwrap_or(0));
        if count == row { json(&count) } else { Err(Error::internal("the row and the value disagree")) }
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "increment" => {
                self.count += 1;
                turn.put("count", &self.count)?;
            }
            "get" if turn.get::<u64>("count")?.unwrap_or(0) != self.count => {
                return Err(Error::internal("the row and the value disagree"));
            }
            "get" | "look" => {}
            "publish" => turn.publish(Change::field("count", self.count)),
            "forgetful" => {
                self.unsaved += 1;
                // Without a row it would not exist, and be forgotten at once.
                turn.put("seen", &true)?;
                return json(&self.unsaved);
            }
            "fail" => {
                self.count += 1_000;
                turn.put("count", &self.count)?;
                return Err(Error::conflict("on purpose"));
            }
            other => return Err(unknown_method(other)),
        }
        json(&self.count)
    }
}

fn draw(random: &mut Random) -> Step {
    let path = *random.pick(&["/a", "/a/b", "/c"]);
    match random.below(33) {
        30 => Step::FullMailbox { path: path.to_owned() },
        31 => Step::Close { client: 1, code: 1000 },
        0 => Step::Crash,
        1 => Step::CommitFails,
        2 => Step::Pass { ms: 1 + random.below(15_000) },
        3 => Step::Settle,
        4 => Step::call(path, "fail", ()),
        5 => Step::Connect { client: 1, path: path.to_owned() },
        6 | 7 => Step::Send { client: 1, text: r#"{"type":"increment"}"#.to_owned() },
        8 => Step::Read { client: 1 },
        9 => Step::Vanish { client: 1 },
        _ => Step::call(path, "increment", ()),
    }
}

/// Everything that was acknowledged is there, and nothing that was not asked for.
fn nothing_is_lost(world: &World<'_>, sent: u64) -> Result<(), String> {
    for path in ["/a", "/a/b", "/c"] {
        let count = world.call(path, "get", ())?.as_u64().ok_or("no number")?;
        let increments = |(step, _): &(&Step, &Outcome)| matches!(step, Step::Call { path: at, method, .. } if at == path && method == "increment");
        let asked = world.history().filter(increments).count() as u64;
        let answered =
            world.history().filter(increments).filter(|(_, outcome)| matches!(outcome, Outcome::Answered(_))).count()
                as u64;
        if count < answered || count > asked + sent {
            return Err(format!("{path}: {answered} of {asked} increments were acknowledged, the count is {count}"));
        }
    }
    Ok(())
}

#[test]
fn ob4_st4_nothing_acknowledged_is_lost_whatever_fails() {
    Simulation::seeds(seeds(300), |seed| {
        Simulation::new(seed).class::<Counter>().steps(60, draw).check(|world| nothing_is_lost(world, 60))
    });
}

#[test]
fn a_seed_does_the_same_again() {
    let run = |seed| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let notes = Rc::clone(&seen);
        let simulation = Simulation::new(seed).class::<Counter>().steps(80, draw).check(move |world| {
            notes.borrow_mut().extend(world.history().map(|(step, outcome)| format!("{step:?} {outcome:?}")));
            notes.borrow_mut().push(format!("{:?}", world.frames(1)));
            notes.borrow_mut().push(format!("{:?}", world.objects("/")));
            Ok(())
        });
        simulation.run();
        seen.take()
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "{seed}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn what_is_broken_is_found_and_said_in_few_steps() {
    let failure = (0..20).find_map(|seed| {
        let check = |world: &World<'_>| {
            let answered =
                world.answers().filter(|(step, _)| matches!(step, Step::Call { method, .. } if method == "forgetful"));
            let (answered, count) = (answered.count() as u64, world.call("/a", "forgetful", ())?.as_u64().unwrap_or(0));
            if count > answered { Ok(()) } else { Err(format!("{answered} were acknowledged, the next is {count}")) }
        };
        let draw = |random: &mut Random| match random.below(10) {
            0 => Step::Crash,
            1 => Step::Settle,
            2 => Step::Pass { ms: 100 },
            3 => Step::call("/b", "increment", ()),
            _ => Step::call("/a", "forgetful", ()),
        };
        Simulation::new(seed).class::<Counter>().steps(40, draw).check(check).try_run().err()
    });
    let failure = failure.expect("a class that forgets is found out");
    assert!(failure.steps.len() <= 3, "{failure}");
    assert!(
        failure.steps.contains(&Step::Crash) || failure.steps.iter().any(|step| matches!(step, Step::Pass { .. })),
        "{failure}"
    );
    let text = failure.to_string();
    assert!(text.starts_with(&format!("seed {}: ", failure.seed)) && text.contains("forgetful"), "{text}");
}
