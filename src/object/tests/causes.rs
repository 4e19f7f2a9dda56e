//! CO2, OB6: what the runtime says of a question that has no answer, beside the text: never what others have said.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::limits::JOBS_PER_OBJECT;
use crate::object::{Ask, Class, Deferred, Error, Replied, Turn, json as answer, read, unknown_method};
use crate::path::ObjectPath;
use crate::sim::{Simulation, Step, World};

/// Asks, and notes what came of it.
#[derive(Default, Serialize, Deserialize)]
struct Asker {
    heard: Vec<String>,
    owed: Option<Deferred>,
}

/// The causes that an error has.
fn causes(error: &Error) -> String {
    let has =
        [("never began", error.never_began()), ("timeout", error.is_timeout()), ("stopping", error.is_stopping())];
    has.iter().filter(|(_, has)| *has).map(|(cause, _)| *cause).collect()
}

impl Class for Asker {
    const NAME: &'static str = "asker";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "heard" => return answer(&self.heard),
            // Asks with a time of 100 ms.
            "ask" => {
                let (to, method): (String, String) = read(payload)?;
                let to = ObjectPath::parse(&to).map_err(|error| Error::bad_request(error.to_string()))?;
                turn.call(&to, &method, &(), Ask::new().timeout(100))?;
            }
            "run" => drop(turn.run(&read::<String>(payload)?, &(), Ask::new().timeout(100))?),
            // Answers later, with what `/c` answers.
            "forward" | "forwardHang" => {
                self.owed = Some(turn.defer()?);
                let to = ObjectPath::parse("/c").map_err(|error| Error::bad_request(error.to_string()))?;
                let method = if method == "forward" { "grow" } else { "hang" };
                turn.call(&to, method, &(), Ask::new().timeout(50))?;
            }
            "grow" => {}
            "hang" => drop(turn.defer()?),
            // More jobs than there are places.
            "crowd" => (0..=JOBS_PER_OBJECT).try_for_each(|_| turn.run("hang", &(), Ask::new()).map(drop))?,
            other => return Err(unknown_method(other)),
        }
        answer(&())
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        self.heard.push(reply.result.as_ref().map_or_else(causes, |_| "answered".to_owned()));
        if let Some(owed) = self.owed.take() {
            turn.answer_deferred(&owed, reply.result.clone().and_then(answer));
        }
        Ok(())
    }
}

fn full(path: &str) -> Step {
    Step::FullMailbox { path: path.to_owned() }
}

/// What `/a` hears after these steps.
fn hears(expected: &'static str, steps: impl IntoIterator<Item = Step>) {
    let simulation = Simulation::new(7)
        .class::<Asker>()
        .job("hang", |_| std::future::pending())
        // As if they had asked others.
        .job("full", |_| async { Err(Error::overloaded(&ObjectPath::root())) })
        .job("late", |_| async { Err(Error::timed_out("another")) });
    let check = move |world: &World<'_>| match world.call("/a", "heard", ())? {
        heard if heard == json!([expected]) => Ok(()),
        heard => Err(format!("{heard}, not {expected:?}")),
    };
    let simulation = steps.into_iter().fold(simulation, Simulation::step);
    simulation.step(Step::Settle).step(Step::Pass { ms: 1_000 }).step(Step::Settle).check(check).run();
}

fn ask(method: &str) -> Step {
    Step::call("/a", "ask", ("/b", method))
}

#[test]
fn co2_a_call_that_found_no_room_never_began() {
    hears("never began", [full("/b"), ask("grow")]);
    hears("answered", [ask("grow")]);
}

#[test]
fn co2_a_handler_that_fails_for_want_of_room_never_began_and_one_that_answers_later_did() {
    hears("never began", [ask("crowd")]);
    hears("", [full("/c"), ask("forward")]);
}

#[test]
fn co2_a_time_out_is_known_as_such_also_from_further_away() {
    hears("timeout", [ask("hang")]);
    hears("timeout", [ask("forwardHang")]);
}

#[test]
fn ob6_what_a_job_says_is_its_own() {
    hears("timeout", [Step::call("/a", "run", "hang")]);
    hears("", [Step::call("/a", "run", "full")]);
    hears("", [Step::call("/a", "run", "late")]);
}
