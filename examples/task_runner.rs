//! Tasks that run one after the other, are tried again when they fail, and survive a crash; and a report every Monday.
//!
//! ```text
//! cargo run --example task_runner
//! curl localhost:8787/tasks:add --json '{"name":"send the mail","fails":1}'   # works at the second attempt
//! curl localhost:8787/tasks:status --json null
//! curl localhost:8787/tasks:reportNow --json null
//! ```

use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{Class, Error, List, RawValue, Server, Turn, When, json, read, unknown_method};
use serde::{Deserialize, Serialize};

/// So often a failed alarm is run again by the runtime: after 2 s, 4 s, … 64 s.
const RETRIES: u32 = 6;
/// The name of the schedule.
const REPORT: &str = "weekly report";

/// Each task is a row until it is done: first in, first out.
#[derive(Default, Serialize, Deserialize)]
struct TaskRunner {
    added: u64,
    done: Vec<String>,
    given_up: Vec<String>,
    /// How many tasks were done at the last report.
    reported: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Task {
    name: String,
    /// So many attempts fail; a stand-in for the trouble of real work.
    #[serde(default)]
    fails: u32,
}

#[derive(Serialize)]
struct Status<'a> {
    waiting: usize,
    done: &'a [String],
    given_up: &'a [String],
    reported: Option<usize>,
    /// In milliseconds since the epoch.
    next_report: Option<u64>,
}

impl Class for TaskRunner {
    const NAME: &'static str = "task-runner";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "add" => self.add(turn, &read(payload)?)?,
            "status" => {}
            "reportNow" => turn.run_schedule_now(REPORT)?,
            other => return Err(unknown_method(other)),
        }
        self.status(turn)
    }

    /// Works on the oldest task. A failure is the runtime's to retry: nothing of this turn remains then.
    fn alarm(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        let Some((key, task)) = turn.list::<Task>(List::new().prefix("task ").limit(1))?.items.pop() else {
            return Ok(());
        };
        match perform(&task, retry) {
            Ok(()) => self.done.push(task.name),
            Err(error) if retry < RETRIES => return Err(error),
            // Otherwise one task that always fails would hold up all the others.
            Err(_) => self.given_up.push(task.name),
        }
        turn.delete(&key)?;
        let now = turn.now();
        turn.set_alarm(now)
    }

    fn scheduled(&mut self, _turn: &mut Turn<'_>, _name: &str) -> Result<(), Error> {
        self.reported = Some(self.done.len());
        Ok(())
    }
}

impl TaskRunner {
    fn add(&mut self, turn: &mut Turn<'_>, task: &Task) -> Result<(), Error> {
        self.added += 1;
        turn.put(&format!("task {:012}", self.added), task)?;
        // An alarm that waits is the one before, perhaps on its way to another attempt.
        if turn.get_alarm().is_none() {
            let now = turn.now();
            turn.set_alarm(now)?;
        }
        // The same again changes nothing.
        turn.set_schedule(REPORT, When::Cron { expression: "0 9 * * MON", time_zone: "Europe/Berlin" })
    }

    fn status(&self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        json(&Status {
            waiting: turn.list::<Task>(List::new().prefix("task "))?.items.len(),
            done: &self.done,
            given_up: &self.given_up,
            reported: self.reported,
            next_report: turn.schedule(REPORT).and_then(|schedule| schedule.next),
        })
    }
}

fn perform(task: &Task, attempt: u32) -> Result<(), Error> {
    if attempt < task.fails { Err(Error::internal(format!("`{}` did not work", task.name))) } else { Ok(()) }
}

/// The server of this example.
pub fn server() -> Builder {
    Server::builder().class::<TaskRunner>().route("/tasks", "task-runner")
}

fn main() -> ExitCode {
    server().run()
}
