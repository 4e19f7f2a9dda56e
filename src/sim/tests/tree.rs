//! FP9, FP10, OB1, CO4: the tree against a model. What exists at the end follows from what was acknowledged; an operation
//! whose outcome is unknown happened as a whole or not at all; and of what was deleted nothing comes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::*;
use super::history::{deletions, operations};
use crate::object::{Class, Error, Turn, json as answer, read, unknown_method};
use crate::path::{ObjectName, ObjectPath};

/// Every object that steps name.
const PATHS: [&str; 6] = ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a-b", "/e/b"];

/// Keeps the marks that it was given, in its state and as rows. A `TWIN` is of another class and does the same.
#[derive(Default, Serialize, Deserialize)]
struct Node<const TWIN: bool> {
    /// In the order in which they came.
    marks: Vec<u64>,
    /// The mark that the alarm brings.
    late: Option<u64>,
}

/// What an object says of itself.
#[derive(Debug, Deserialize)]
struct Seen {
    marks: Vec<u64>,
    class: String,
    /// With the class that each was listed with.
    children: Vec<(String, String)>,
}

impl<const TWIN: bool> Node<TWIN> {
    fn mark(&mut self, turn: &mut Turn<'_>, mark: u64) -> Result<(), Error> {
        turn.put(&format!("mark {}", self.marks.len()), &mark)?;
        self.marks.push(mark);
        Ok(())
    }

    fn seen(&self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        for (index, mark) in self.marks.iter().enumerate() {
            if turn.get(&format!("mark {index}"))? != Some(*mark) {
                return Err(Error::internal("the rows and the state disagree"));
            }
        }
        if turn.get::<u64>(&format!("mark {}", self.marks.len()))?.is_some() {
            return Err(Error::internal("there is a row too many"));
        }
        let children: Vec<_> =
            turn.children(None)?.map(|child| (child.name.to_string(), child.class.to_owned())).collect();
        answer(&json!({"marks": self.marks, "class": Self::NAME, "children": children}))
    }
}

impl<const TWIN: bool> Class for Node<TWIN> {
    const NAME: &'static str = if TWIN { "twin" } else { "node" };

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "get" => return self.seen(turn),
            "mark" => self.mark(turn, read(payload)?)?,
            "markAndFail" => {
                self.mark(turn, read(payload)?)?;
                return Err(Error::conflict("on purpose"));
            }
            "later" => {
                let (mark, ms): (u64, u64) = read(payload)?;
                self.late = Some(mark);
                let now = turn.now();
                turn.set_alarm(now + ms)?;
            }
            "tell" => {
                let (mark, to): (u64, String) = read(payload)?;
                let to = ObjectPath::parse(&to).map_err(|error| Error::bad_request(error.to_string()))?;
                turn.send(&to, &mark)?;
            }
            "create" => drop(turn.create_child(&name(payload)?)?),
            "createTwin" => drop(turn.create_child_as(&name(payload)?, "twin")?),
            "deleteChild" => turn.delete_child(&name(payload)?)?,
            other => return Err(unknown_method(other)),
        }
        answer(&())
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        self.mark(turn, read(message)?)
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, _: u32) -> Result<(), Error> {
        // 0 is nobody's mark: an alarm that its object knows nothing of is one of an object that was deleted.
        let late = self.late.take().unwrap_or(0);
        self.mark(turn, late)
    }
}

fn name(payload: &RawValue) -> Result<ObjectName, Error> {
    let name: String = read(payload)?;
    ObjectName::parse(&name).map_err(|error| Error::bad_request(error.to_string()))
}

/// Draws a step; each mark is another number.
fn draw() -> impl FnMut(&mut Random) -> Step {
    let mut mark = 0;
    move |random| {
        mark += 1;
        let path = *random.pick(&PATHS);
        let (parent, child) = path.rsplit_once('/').unwrap_or_default();
        match random.below(35) {
            32 => Step::Lose,
            33 => Step::Repeat,
            34 => Step::FullMailbox { path: path.to_owned() },
            0 => Step::Crash,
            1 => Step::CommitFails,
            2 => Step::Pass { ms: 1 + random.below(15_000) },
            3..=6 => Step::Settle,
            7 | 8 => Step::delete(path),
            9..=11 if !parent.is_empty() => Step::call(parent, "deleteChild", child),
            12..=14 if !parent.is_empty() => Step::call(parent, "create", child),
            15 | 16 if !parent.is_empty() => Step::call(parent, "createTwin", child),
            17 => Step::call(path, "markAndFail", mark),
            18..=20 => Step::call(path, "later", (mark, random.below(4_000))),
            21..=23 => Step::call(path, "tell", (mark, *random.pick(&PATHS))),
            _ => Step::call(path, "mark", mark),
        }
    }
}

fn look(world: &World<'_>) -> Result<BTreeMap<&'static str, Seen>, String> {
    let seen = |path: &&'static str| {
        let seen = world.call(path, "get", ()).map_err(|error| format!("{path}: {error}"))?;
        serde_json::from_value(seen).map(|seen| (*path, seen)).map_err(|error| error.to_string())
    };
    PATHS.iter().map(seen).collect()
}

/// Where a call leaves a mark, which, and whether it does so in its own turn.
fn mark_of<'a>(path: &'a str, method: &str, payload: &'a Value) -> Option<(&'a str, u64, bool)> {
    match method {
        "mark" => Some((path, payload.as_u64()?, true)),
        "later" => Some((path, payload[0].as_u64()?, false)),
        "tell" => Some((payload[1].as_str()?, payload[0].as_u64()?, false)),
        _ => None,
    }
}

/// What is there was asked for and not deleted since; what was acknowledged and not deleted is there, once.
fn marks_are_right(world: &World<'_>, tree: &BTreeMap<&str, Seen>) -> Result<(), String> {
    let operations = operations(world);
    let deletions = deletions(&operations);
    let mut marks: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for (path, seen) in tree {
        seen.marks.iter().for_each(|mark| *marks.entry((path, *mark)).or_default() += 1);
    }
    // Of every deletion that may have happened: a mark that only it can have taken, and whether it did.
    let mut taken: BTreeMap<usize, (u64, bool)> = BTreeMap::new();
    for operation in &operations {
        let Some((path, method, payload)) = operation.call() else { continue };
        let Some((at, mark, at_once)) = mark_of(path, method, payload) else { continue };
        let count = marks.remove(&(at, mark)).unwrap_or(0);
        let deleted = deletions.iter().any(|deletion| deletion.took(at, operation));
        if count > 1 || (count == 1 && (deleted || !operation.may_have_happened())) {
            return Err(format!("{at} has mark {mark} {count} times: {:?}, deleted: {deleted}", operation.outcome));
        }
        if !at_once || !operation.happened() {
            continue;
        }
        let mut suspects = deletions.iter().enumerate().filter(|(_, deletion)| deletion.may_have_taken(at, operation));
        let (first, second) = (suspects.next(), suspects.next());
        match first {
            None if count == 0 => return Err(format!("{at} has lost mark {mark}, and nobody has deleted it")),
            // It was there before the deletion began, so it tells what became of it.
            Some((index, deletion)) if second.is_none() && !deletion.is_known() && deletion.is_after(operation) => {
                let (other, was_taken) = *taken.entry(index).or_insert((mark, count == 0));
                if was_taken != (count == 0) {
                    return Err(format!("a deletion took only one of the marks {other} and {mark}"));
                }
            }
            _ => {}
        }
    }
    // What is left was never asked for: an alarm or a message of what was deleted, or a turn that had failed.
    marks.keys().next().map_or(Ok(()), |(path, mark)| Err(format!("{path} has mark {mark}, of which nobody knows")))
}

/// The lists of children follow from what was created and deleted.
fn lists_are_right(world: &World<'_>, tree: &BTreeMap<&str, Seen>) -> Result<(), String> {
    let operations = operations(world);
    let deletions = deletions(&operations);
    let exist = world.objects("/")?;
    for path in PATHS {
        let Some((parent, name)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) else { continue };
        let Some(seen) = tree.get(parent) else { continue };
        let listed = seen.children.iter().filter(|(child, _)| *child == name).collect::<Vec<_>>();
        let creations = operations.iter().filter(|operation| {
            operation.call().is_some_and(|(at, method, payload)| {
                at == parent && method.starts_with("create") && payload.as_str() == Some(name)
            })
        });
        let (mut may_be, mut must_be) = (false, false);
        for creation in creations {
            let deleted = deletions.iter().any(|deletion| deletion.took(path, creation));
            may_be |= creation.may_have_happened() && !deleted;
            must_be |= creation.happened() && !deletions.iter().any(|one| one.may_have_taken(path, creation));
        }
        if listed.len() > 1 || (listed.len() == 1 && !may_be) || (listed.is_empty() && must_be) {
            return Err(format!("{path} is listed {} times; it may be: {may_be}, must be: {must_be}", listed.len()));
        }
        if !listed.is_empty() && !exist.iter().any(|one| one == path) {
            return Err(format!("{path} is listed and does not exist"));
        }
        if let (Some((_, class)), Some(child)) = (listed.first(), tree.get(path))
            && child.class != *class
        {
            return Err(format!("{path} is listed as {class} and is {}", child.class));
        }
    }
    for (path, seen) in tree {
        let has_something = !seen.marks.is_empty() || !seen.children.is_empty();
        if has_something && !exist.iter().any(|one| one == path) {
            return Err(format!("{path} has {seen:?} and does not exist"));
        }
    }
    Ok(())
}

#[test]
fn fp9_fp10_the_tree_is_what_was_acknowledged_whatever_fails() {
    Simulation::seeds(super::seeds(1_000), |seed| {
        Simulation::new(seed)
            .class::<Node<false>>()
            .class::<Node<true>>()
            .steps(60, draw())
            // What waits comes, be it an alarm or a message; then only what is on the disk counts, or also memory.
            .step(Step::Pass { ms: 35_000 })
            .step(if seed % 2 == 0 { Step::Settle } else { Step::Crash })
            .check(|world| {
                let tree = look(world)?;
                marks_are_right(world, &tree)?;
                lists_are_right(world, &tree)
            })
    });
}
