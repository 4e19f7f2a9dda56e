//! Classes whose objects note by themselves whatever should not have happened to them, and a server of these in a process of
//! its own, so that it can be killed.
//!
//! Each has the methods `act` (does something that has consequences later, and answers how often it did) and `audit`.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;

use fleet::config::Config;
use fleet::{
    Ask, Caller, Class, Deferred, Error, Frame, List, ObjectPath, RawValue, Replied, Server, SocketId, Task, Turn,
    When, json, read, unknown_method,
};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// Tells the process that is a server where its data are.
const DATA: &str = "DURABILITY_DATA";
/// The newest batches of a ledger; older ones are deleted.
const BATCHES: u64 = 8;
/// Longer than any question waits for anything but a server that is down.
const ASK_MS: u64 = 300_000;

/// What an object says of itself.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Audit {
    /// How often it acted.
    pub(crate) done: u64,
    /// Consequences that have come: alarms fired, questions answered.
    pub(crate) seen: u64,
    /// Consequences that are still to come.
    pub(crate) open: u64,
    /// Messages sent, and messages handled.
    pub(crate) sent: u64,
    pub(crate) heard: u64,
    /// Whatever must not be.
    pub(crate) wrong: Vec<String>,
}

/// A command that runs this program again, as a server on that data.
pub(crate) fn command(data: &Path) -> Command {
    as_server(Command::new(std::env::current_exe().unwrap()), data)
}

/// The same of a command that runs this program.
pub(crate) fn as_server(mut command: Command, data: &Path) -> Command {
    command.args(["--exact", "classes::serve", "--ignored", "--nocapture"]).env(DATA, data);
    command
}

#[test]
#[ignore = "the server that other tests start in a process of its own"]
fn serve() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.storage.data_dir = data.into();
    fleet::cli::logging::start(&config.log).unwrap();
    let server = Server::builder().class::<Ledger>().class::<Courier>().class::<Clock>().class::<Asker>();
    // Answers as many bytes as it is told.
    let server = server.task("large", async |task: Task| json(&"x".repeat(task.read()?)));
    let routed = ["ledger", "courier", "clock", "asker"].into_iter();
    let server = routed.fold(server.config(config), |server, class| server.route(format!("/{class}/*"), class));
    fleet::server::runtime().unwrap().block_on(async {
        let running = server.start().await.unwrap();
        // Behind what the test harness prints.
        println!("\nlistening on http://{}", running.address());
        pending::<()>().await;
    });
}

fn path(path: &str) -> Result<ObjectPath, Error> {
    ObjectPath::parse(path).map_err(|error| Error::bad_request(error.to_string()))
}

/// Writes batches of rows, each in one turn, beside transactions that fail.
#[derive(Default, Serialize, Deserialize)]
struct Ledger {
    batches: u64,
}

impl Ledger {
    fn keys(batch: u64) -> impl Iterator<Item = String> {
        (0..=batch * 7 % 23).map(move |row| format!("batch {batch:06} {row:02}"))
    }

    fn write(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        self.batches += 1;
        let batch = self.batches;
        turn.transaction(|turn| Self::keys(batch).try_for_each(|key| turn.put(&key, &batch)))?;
        let undone = turn.transaction(|turn| {
            turn.put("taken back", &batch)?;
            Self::keys(batch).try_for_each(|key| turn.delete(&key).map(drop))?;
            Err::<(), _>(Error::conflict("on purpose"))
        });
        assert!(undone.is_err());
        if let Some(old) = batch.checked_sub(BATCHES).filter(|old| *old > 0) {
            Self::keys(old).try_for_each(|key| turn.delete(&key).map(drop))?;
        }
        Ok(())
    }

    /// Every row that must be there is, and no other.
    fn audit(&self, turn: &mut Turn<'_>) -> Result<Audit, Error> {
        let first = (self.batches + 1).saturating_sub(BATCHES).max(1);
        let expected = (first..=self.batches).flat_map(|batch| Self::keys(batch).map(move |key| (key, batch)));
        let (expected, found) = (expected.collect::<Vec<_>>(), turn.list::<u64>(List::new())?.items);
        let wrong = if found == expected { Vec::new() } else { vec![format!("{found:?} instead of {expected:?}")] };
        Ok(Audit { done: self.batches, wrong, ..Audit::default() })
    }
}

impl Class for Ledger {
    const NAME: &'static str = "ledger";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "act" => {
                self.write(turn)?;
                let fails: bool = read(payload)?;
                if fails { Err(Error::conflict("on purpose")) } else { json(&self.batches) }
            }
            "audit" => json(&self.audit(turn)?),
            other => Err(unknown_method(other)),
        }
    }
}

/// Sends parcels that are handed on from object to object; those of each sender are numbered.
#[derive(Default, Serialize, Deserialize)]
struct Courier {
    acts: u64,
    sent: BTreeMap<String, u64>,
    heard: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Parcel {
    number: u64,
    /// Where it goes from there.
    route: Vec<String>,
    label: String,
}

impl Courier {
    fn hand_on(&mut self, turn: &mut Turn<'_>, mut route: Vec<String>, label: String) -> Result<(), Error> {
        if route.is_empty() {
            return Ok(());
        }
        let next = route.remove(0);
        let number = self.sent.entry(next.clone()).or_default();
        *number += 1;
        turn.send(&path(&next)?, &Parcel { number: *number, route, label })
    }
}

impl Class for Courier {
    const NAME: &'static str = "courier";
    /// Frames are asserted about one by one.
    const TELLS_STATE: bool = false;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "act" => {
                let routes: Vec<Vec<String>> = read(payload)?;
                self.acts += 1;
                routes.into_iter().try_for_each(|route| self.hand_on(turn, route, String::new()))?;
                json(&self.acts)
            }
            // What it writes, sends and answers can be told apart in a trace.
            "label" => {
                let (to, label): (String, String) = read(payload)?;
                turn.put(&format!("row-{label}"), &())?;
                self.hand_on(turn, vec![to], format!("sent-{label}"))?;
                json(&format!("answer-{label}"))
            }
            "audit" => {
                let (sent, heard) = (self.sent.values().sum(), self.heard.values().sum());
                let wrong = self.wrong.clone();
                json(&Audit { done: self.acts, sent, heard, wrong, ..Audit::default() })
            }
            other => Err(unknown_method(other)),
        }
    }

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        turn.send_frame(socket, Frame::Text("joined".into()));
        Ok(())
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        let Parcel { number, route, label } = read(message)?;
        let Caller::Object(sender) = turn.caller() else { return Err(Error::internal("a message of nobody")) };
        let sender = sender.as_str().to_owned();
        let heard = self.heard.entry(sender.clone()).or_default();
        *heard += 1;
        if number != *heard {
            self.wrong.push(format!("{sender}: number {number} came as number {heard}"));
        }
        if let Some(label) = label.strip_prefix("sent-") {
            turn.put(&format!("heard-{label}"), &())?;
            turn.send_all(Frame::Text(format!("told-{label}").into()));
        }
        self.hand_on(turn, route, label)
    }
}

/// Sets alarms and schedules; some alarms fail once.
#[derive(Default, Serialize, Deserialize)]
struct Clock {
    acts: u64,
    /// For when the alarm was set.
    armed: Option<u64>,
    /// Alarms that fired or were replaced, and schedules that ran.
    seen: u64,
    /// Before this the next tick of the repeated schedule would be early.
    next_beat: u64,
    wrong: Vec<String>,
}

const BEAT: &str = "beat";
const ONCE: &str = "once ";

impl Clock {
    fn act(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let (delay, alarm): (u64, bool) = read(payload)?;
        self.acts += 1;
        let at = turn.now() + delay;
        if alarm {
            self.seen += u64::from(self.armed.replace(at).is_some());
            turn.set_alarm(at)?;
        } else {
            let name = format!("{ONCE}{}", self.acts);
            turn.put(&name, &at)?;
            turn.set_schedule(&name, When::Once(at))?;
        }
        json(&self.acts)
    }

    fn audit(&self, turn: &mut Turn<'_>) -> Result<Audit, Error> {
        let waiting = turn.list::<u64>(List::new().prefix(ONCE))?.items;
        let mut wrong = self.wrong.clone();
        if self.armed.is_some() != turn.get_alarm().is_some() {
            wrong.push(format!("set for {:?}, and the alarm is for {:?}", self.armed, turn.get_alarm()));
        }
        let lost = |name: &String| turn.schedule(name).is_none_or(|schedule| schedule.next.is_none());
        wrong.extend(
            waiting.iter().map(|(name, _)| name).filter(|name| lost(name)).map(|name| format!("{name} is lost")),
        );
        let open = waiting.len() as u64 + u64::from(self.armed.is_some());
        if self.acts != self.seen + open {
            wrong.push(format!("{} set, {} came, {open} to come", self.acts, self.seen));
        }
        Ok(Audit { done: self.acts, seen: self.seen, open, wrong, ..Audit::default() })
    }

    fn check_time(&mut self, what: &str, now: u64, due: Option<u64>) {
        match due {
            None => self.wrong.push(format!("{what} came again")),
            Some(due) if now < due => self.wrong.push(format!("{what} came {} ms early", due - now)),
            Some(_) => self.seen += 1,
        }
    }
}

impl Class for Clock {
    const NAME: &'static str = "clock";

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        turn.set_schedule(BEAT, When::Every(1_000))
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "act" => self.act(turn, payload),
            "audit" => json(&self.audit(turn)?),
            other => Err(unknown_method(other)),
        }
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        let (now, armed) = (turn.now(), self.armed.take());
        self.check_time("the alarm", now, armed);
        if retry == 0 && armed.is_some_and(|at| at % 8 == 0) {
            return Err(Error::conflict("on purpose"));
        }
        Ok(())
    }

    fn scheduled(&mut self, turn: &mut Turn<'_>, name: &str) -> Result<(), Error> {
        let now = turn.now();
        if name == BEAT {
            if now < self.next_beat {
                self.wrong.push(format!("a beat came {} ms early", self.next_beat - now));
            }
            self.next_beat = turn.schedule(BEAT).and_then(|beat| beat.next).unwrap_or_default();
        } else {
            let due = turn.get(name)?;
            self.check_time(name, now, due);
            turn.delete(name)?;
            turn.delete_schedule(name);
        }
        Ok(())
    }
}

/// Asks others, some of whom ask others in turn before they answer.
#[derive(Default, Serialize, Deserialize)]
struct Asker {
    acts: u64,
    answered: u64,
    interrupted: u64,
    wrong: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Question {
    number: u64,
    /// Whom to ask for the answer.
    others: Vec<String>,
}

/// Why somebody was asked.
#[derive(Serialize, Deserialize)]
enum Note {
    Mine(u64),
    For(Deferred),
}

impl Asker {
    fn ask(turn: &mut Turn<'_>, mut others: Vec<String>, number: u64, note: &Note) -> Result<(), Error> {
        let first = path(&others.remove(0))?;
        let question = Question { number, others };
        turn.call(&first, "answer", &question, Ask::new().timeout(ASK_MS).note(note)).map(drop)
    }

    fn key(number: u64) -> String {
        format!("asked {number:06}")
    }

    fn heard(&mut self, turn: &mut Turn<'_>, number: u64, reply: &Replied<'_>) -> Result<(), Error> {
        if !turn.delete(&Self::key(number))? {
            self.wrong.push(format!("{number} was answered again"));
        }
        match &reply.result {
            Ok(answer) if read::<u64>(answer)? == number * 2 => self.answered += 1,
            Err(error) if error.message().starts_with("interrupted") => self.interrupted += 1,
            other => self.wrong.push(format!("{number} was answered with {other:?}")),
        }
        Ok(())
    }

    fn audit(&self, turn: &mut Turn<'_>) -> Result<Audit, Error> {
        let open = turn.list::<()>(List::new())?.items.len() as u64;
        let (done, seen) = (self.acts, self.answered + self.interrupted);
        let mut wrong = self.wrong.clone();
        if done != seen + open {
            wrong.push(format!("{done} asked, {seen} answered, {open} to be answered"));
        }
        Ok(Audit { done, seen, open, wrong, ..Audit::default() })
    }
}

impl Class for Asker {
    const NAME: &'static str = "asker";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "act" => {
                self.acts += 1;
                turn.put(&Self::key(self.acts), &())?;
                Self::ask(turn, read(payload)?, self.acts, &Note::Mine(self.acts))?;
                json(&self.acts)
            }
            "answer" => {
                let Question { number, others } = read(payload)?;
                if others.is_empty() {
                    return json(&(number * 2));
                }
                let deferred = turn.defer()?;
                Self::ask(turn, others, number, &Note::For(deferred))?;
                json(&())
            }
            "audit" => json(&self.audit(turn)?),
            other => Err(unknown_method(other)),
        }
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        match read(reply.note)? {
            Note::Mine(number) => self.heard(turn, number, reply),
            Note::For(deferred) => {
                let answer = reply.result.clone().map(|answer| answer.get().as_bytes().to_vec());
                // After a restart nobody waits for it any more.
                turn.answer_deferred(&deferred, answer);
                Ok(())
            }
        }
    }
}
