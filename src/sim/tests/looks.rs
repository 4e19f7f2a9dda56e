//! Looks among everything that goes wrong: they show what was acknowledged before, and nothing that is undone later.

use super::super::*;
use super::history::{Deletion, Operation, deletions, operations};
use super::{Counter, seeds};

const PATHS: [&str; 2] = ["/a", "/a/b"];

fn draw(random: &mut Random) -> Step {
    let path = *random.pick(&PATHS);
    match random.below(24) {
        0 => Step::Crash,
        1 => Step::CommitFails,
        2 => Step::Pass { ms: 1 + random.below(15_000) },
        3 | 4 => Step::Settle,
        5 => Step::call(path, "fail", ()),
        6 => Step::Delete { path: path.to_owned() },
        7..=14 => Step::call(path, "look", ()),
        _ => Step::call(path, "increment", ()),
    }
}

/// One answered look: what it saw, of which path, and when.
struct Seen<'a> {
    path: &'static str,
    call: &'a Operation<'a>,
    count: u64,
}

impl Seen<'_> {
    /// Increments that it must have seen: those that ended before, unless a deletion may have taken them.
    fn least(&self, increments: &[&Operation<'_>], deletions: &[Deletion<'_>]) -> u64 {
        let taken = |one: &&&Operation<'_>| {
            deletions.iter().any(|deletion| !deletion.is_after(self.call) && deletion.may_have_taken(self.path, one))
        };
        let before = increments.iter().filter(|one| one.happened() && one.is_before(self.call));
        before.filter(|one| !taken(one)).count() as u64
    }

    /// Increments that it can have seen: those that began before it ended, unless a deletion surely took them.
    fn most(&self, increments: &[&Operation<'_>], deletions: &[Deletion<'_>]) -> u64 {
        let gone = |one: &&&Operation<'_>| {
            deletions.iter().any(|deletion| deletion.is_before(self.call) && deletion.took(self.path, one))
        };
        let begun = increments.iter().filter(|one| one.may_have_happened() && !self.call.is_before(one));
        begun.filter(|one| !gone(one)).count() as u64
    }
}

fn looks_are_true(world: &World<'_>) -> Result<(), String> {
    let operations = operations(world);
    let deleted = deletions(&operations);
    for path in PATHS {
        let of = |name: &str| -> Vec<&Operation<'_>> {
            let is = |one: &&Operation<'_>| one.call().is_some_and(|(at, method, _)| (at, method) == (path, name));
            operations.iter().filter(is).collect()
        };
        let (increments, in_the_end) = (of("increment"), world.call(path, "get", ())?.as_u64().ok_or("no number")?);
        for call in of("look") {
            let Outcome::Answered(answer) = call.outcome else { continue };
            let look = Seen { path, call, count: answer.as_u64().ok_or("no number")? };
            let (least, most) = (look.least(&increments, &deleted), look.most(&increments, &deleted));
            if !(least..=most).contains(&look.count) {
                return Err(format!("a look at {path} saw {}, not {least} to {most}", look.count));
            }
            let later = deleted.iter().any(|deletion| !deletion.is_before(call) && deletion.covers(path));
            if !later && look.count > in_the_end {
                return Err(format!("a look at {path} saw {}, and in the end there are {in_the_end}", look.count));
            }
        }
    }
    Ok(())
}

#[test]
fn st4_a_look_shows_what_was_acknowledged_and_nothing_that_is_undone() {
    Simulation::seeds(seeds(300), |seed| {
        Simulation::new(seed).class::<Counter>().steps(80, draw).check(looks_are_true)
    });
}
