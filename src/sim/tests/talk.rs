//! CO1, CO2, CO3, CO4, OB6: what objects say to each other and ask for, with crashes, failed commits, lost and repeated
//! deliveries and full mailboxes anywhere between.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::*;
use crate::object::{Ask, Caller, Class, Error, Replied, Turn, json as answer, read, response, unknown_method};
use crate::path::ObjectPath;

const PATHS: [&str; 3] = ["/a", "/b", "/c"];

/// Numbers what it says to each other object, and remembers what it heard.
#[derive(Default, Serialize, Deserialize)]
struct Talker {
    /// How many messages to each.
    sent: [u64; 3],
    /// What came, and from whom.
    heard: Vec<(String, u64)>,
    /// The same of what may be lost.
    told: [u64; 3],
    overheard: Vec<(String, u64)>,
    asked: u64,
    /// The notes of the answers.
    answered: Vec<u64>,
}

impl Class for Talker {
    const NAME: &'static str = "talker";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "send" | "sendAndFail" => {
                let to: usize = read(payload)?;
                self.sent[to] += 1;
                turn.send(&path(to), &self.sent[to])?;
                if method == "sendAndFail" {
                    return Err(Error::conflict("on purpose"));
                }
            }
            "tell" => {
                let to: usize = read(payload)?;
                self.told[to] += 1;
                turn.tell(&path(to), &json!({"told": self.told[to]}))?;
            }
            "ask" | "run" | "fetch" => {
                self.asked += 1;
                let (to, ask): (usize, _) = (read(payload)?, Ask::new().timeout(1_000).note(&self.asked));
                match method {
                    "ask" => turn.call(&path(to), "echo", &self.asked, ask)?,
                    "run" => turn.run("echo", &self.asked, ask)?,
                    _ => turn.http(request(self.asked)?, ask)?,
                };
            }
            "echo" => return Ok(payload.get().as_bytes().to_vec()),
            "get" => return answer(self),
            other => return Err(unknown_method(other)),
        }
        answer(&())
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        let Caller::Object(sender) = turn.caller() else { return Err(Error::internal("a message of nobody")) };
        match read::<Value>(message)? {
            Value::Object(told) => self.overheard.push((sender.to_string(), told["told"].as_u64().unwrap_or(0))),
            number => self.heard.push((sender.to_string(), number.as_u64().unwrap_or(0))),
        }
        Ok(())
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let note: u64 = read(reply.note)?;
        if let Ok(answer) = &reply.result
            && answer.get() != note.to_string()
            && response(answer).is_ok_and(|response| *response.body() != note.to_string())
        {
            return Err(Error::internal("the answer to another question"));
        }
        self.answered.push(note);
        Ok(())
    }
}

fn path(index: usize) -> ObjectPath {
    ObjectPath::parse(PATHS[index]).expect("a path")
}

fn request(number: u64) -> Result<http::Request<Bytes>, Error> {
    let request = http::Request::get(format!("https://example.org/{number}")).body(Bytes::new());
    request.map_err(|error| Error::internal(error.to_string()))
}

/// With jobs and answers that take their time, some longer than is waited for.
fn talkers(seed: u64) -> Simulation {
    let pause = |number: u64| tokio::time::sleep(Duration::from_millis(number * 170 % 1_200));
    Simulation::new(seed)
        .class::<Talker>()
        .job("echo", move |input| async move {
            let number: u64 = read(&input)?;
            pause(number).await;
            answer(&number)
        })
        .http(move |request| async move {
            let number = request.uri().path().trim_start_matches('/').to_owned();
            pause(number.parse().unwrap_or(0)).await;
            Ok(http::Response::new(number.into()))
        })
}

fn draw(random: &mut Random) -> Step {
    let (from, to) = (*random.pick(&PATHS), random.below(3));
    match random.below(32) {
        24 => Step::Lose,
        25 => Step::Repeat,
        26 => Step::FullMailbox { path: from.to_owned() },
        27 | 28 => Step::call(from, "tell", to),
        29 => Step::call(from, "run", to),
        30 => Step::call(from, "fetch", to),
        0 => Step::Crash,
        1 => Step::CommitFails,
        2 => Step::Pass { ms: 1 + random.below(15_000) },
        3 => Step::Settle,
        4 | 5 => Step::call(from, "sendAndFail", to),
        6..=11 => Step::call(from, "ask", to),
        _ => Step::call(from, "send", to),
    }
}

fn all(world: &World<'_>) -> Result<Vec<Talker>, String> {
    let get = |path: &&str| {
        let state = world.call(path, "get", ())?;
        serde_json::from_value(state).map_err(|error: serde_json::Error| error.to_string())
    };
    PATHS.iter().map(get).collect()
}

/// Whatever a sender says that it has sent was heard, once, in order; every question has one answer.
fn everything_arrives_once(world: &World<'_>) -> Result<(), String> {
    let talkers = all(world)?;
    for (to, target) in talkers.iter().enumerate() {
        for (from, sender) in talkers.iter().enumerate() {
            let heard = target.heard.iter().filter(|(who, _)| who == PATHS[from]).map(|(_, number)| *number);
            let heard: Vec<u64> = heard.collect();
            if !heard.iter().copied().eq(1..=sender.sent[to]) {
                return Err(format!("{} sent {}: {} heard {heard:?}", PATHS[from], sender.sent[to], PATHS[to]));
            }
            let told = target.overheard.iter().filter(|(who, _)| who == PATHS[from]).map(|(_, number)| *number);
            let told: Vec<u64> = told.collect();
            if !told.is_sorted_by(|one, next| one < next) || told.last().is_some_and(|last| *last > sender.told[to]) {
                return Err(format!("{} told {}: {} heard {told:?}", PATHS[from], sender.told[to], PATHS[to]));
            }
        }
        let mut answered = target.answered.clone();
        answered.sort_unstable();
        if !answered.iter().copied().eq(1..=target.asked) {
            return Err(format!("{} asked {} times: {answered:?} were answered", PATHS[to], target.asked));
        }
    }
    Ok(())
}

#[test]
fn co1_co2_everything_arrives_once_and_in_order_whatever_fails() {
    Simulation::seeds(super::seeds(1_000), |seed| {
        talkers(seed)
            .steps(60, draw)
            // Longer than a call waits, and than it takes to look again for what could not be delivered.
            .step(Step::Pass { ms: 30_000 })
            .step(Step::Settle)
            .check(everything_arrives_once)
    });
}

#[test]
fn co4_a_deletion_takes_what_was_sent_before_and_nothing_of_what_is_sent_after() {
    Simulation::seeds(super::seeds(1_000), |seed| {
        talkers(seed)
            .steps(40, |random| match random.below(12) {
                0 => Step::delete(random.pick::<&str>(&PATHS)),
                1 => Step::Crash,
                _ => draw(random),
            })
            .step(Step::Pass { ms: 30_000 })
            .step(Step::Settle)
            .check(|world| {
                for (to, target) in all(world)?.iter().enumerate() {
                    for from in PATHS {
                        let heard = target.heard.iter().filter(|(who, _)| who == from).map(|(_, number)| *number);
                        // A deletion of the sender starts its numbers anew; nothing comes twice in between.
                        if heard.clone().zip(heard.skip(1)).any(|(one, next)| next != one + 1 && next != 1) {
                            return Err(format!("{} heard {:?}", PATHS[to], target.heard));
                        }
                    }
                }
                for (who, asked) in all(world)?.iter().enumerate() {
                    let mut answered = asked.answered.clone();
                    answered.sort_unstable();
                    if !answered.iter().copied().eq(1..=asked.asked) {
                        return Err(format!("{} asked {}: {answered:?} were answered", PATHS[who], asked.asked));
                    }
                }
                let before: Value = world.call("/b", "get", ())?;
                let fresh = before["heard"].as_array().map_or(0, Vec::len);
                world.call("/a", "send", 1)?;
                let after: Value = world.call("/b", "get", ())?;
                let now = after["heard"].as_array().map_or(0, Vec::len);
                if now > fresh + 1 { Err("an old message came to life".to_owned()) } else { Ok(()) }
            })
    });
}
