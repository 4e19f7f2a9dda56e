//! Who a manager has to do with: a user, workers in this process, and objects that hold the connections of others.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::object::{Ask, Class, Error, Replied, Turn, read, unknown_method};
use crate::path::ObjectName;
use crate::protocol::Code;

/// Submits batches to its child `m`, remembers those that were answered, and cancels them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct User {
    batches: Vec<String>,
    cancelled: Vec<String>,
}

impl Class for User {
    const NAME: &'static str = "user";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let name = ObjectName::parse("m").map_err(|error| Error::bad_request(error.to_string()))?;
        let manager = turn.path().child(&name);
        match method {
            "begin" => {
                turn.create_child_as(&name, "fleet-manager")?;
                for worker in ["c1", "c2"] {
                    let name = ObjectName::parse(worker).map_err(|error| Error::bad_request(error.to_string()))?;
                    let ask = Ask::new().spawn_as("worker-connection").note(&Some("made"));
                    turn.call(&manager.child(&name), "make", &(), ask)?;
                }
            }
            "submit" => {
                turn.call(&manager, "submitBatch", payload, Ask::new().timeout(600_000).note(&Value::Null))?;
            }
            // The same, below so many other calls.
            "submitDeep" => {
                let mut deep: Value = read(payload)?;
                let depth = deep["depth"].as_u64().unwrap_or_default();
                let (to, method) = match depth {
                    0 => (manager, "submitBatch"),
                    _ => (turn.path().clone(), "submitDeep"),
                };
                deep["depth"] = json!(depth.saturating_sub(1));
                let payload = if depth == 0 { json!({"tasks": deep["tasks"]}) } else { deep };
                turn.call(&to, method, &payload, Ask::new().note(&Value::Null))?;
            }
            "cancel" => {
                let index: usize = read(payload)?;
                if let Some(batch) = self.batches.get(index % self.batches.len().max(1)).cloned() {
                    turn.call(&manager, "cancelBatch", &json!({ "batchId": batch }), Ask::new().note(&batch))?;
                }
            }
            "batches" => return crate::object::json(&self.batches),
            "cancelled" => return crate::object::json(&self.cancelled),
            other => return Err(unknown_method(other)),
        }
        crate::object::json(&())
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let note: Option<String> = read(reply.note)?;
        match (note, &reply.result) {
            (None, Ok(answer)) => {
                let answer: Value = read(answer)?;
                self.batches.extend(answer["batchId"].as_str().map(str::to_owned));
            }
            (Some(batch), Ok(answer)) if answer.get() == "true" => self.cancelled.push(batch),
            _ => {}
        }
        Ok(())
    }
}

/// A worker in this process. What it does is in the data:
/// `{"do": "ok" | "fail" | "flaky" | "hang" | "full" | "say", "times"?, "text"?}`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Hand;

#[derive(Deserialize)]
struct Order {
    attempt: u32,
    data: Deed,
}

#[derive(Deserialize)]
struct Deed {
    r#do: String,
    #[serde(default)]
    times: u32,
    /// What it fails with.
    #[serde(default)]
    text: String,
}

/// How often a worker of this process found no room, by the text of its task.
static REFUSED: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

impl Class for Hand {
    const NAME: &'static str = "worker";
    const IN_MEMORY: bool = true;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        if method != "run" {
            return Err(unknown_method(method));
        }
        let Order { attempt, data } = read(payload)?;
        match &*data.r#do {
            "ok" => {}
            "flaky" if attempt > data.times => {}
            // Nobody will answer.
            "hang" => drop(turn.defer_for(86_400_000)?),
            "full" => {
                let mut refused = REFUSED.lock();
                let refused = refused.entry(data.text).or_default();
                *refused += 1;
                if *refused <= data.times {
                    return Err(Error::refused(Code::Overloaded, "no room"));
                }
            }
            "say" => return Err(Error::new(Code::Overloaded, data.text)),
            _ => return Err(Error::conflict("on purpose")),
        }
        Ok(br#"{"result":"done"}"#.to_vec())
    }

    fn message(&mut self, _: &mut Turn<'_>, _: &RawValue) -> Result<(), Error> {
        Ok(())
    }
}

/// Holds the connection of a worker elsewhere, as far as a manager can tell.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Connection {
    made: bool,
    up: bool,
    /// Token and task of what it runs.
    tasks: BTreeMap<String, String>,
    /// The answers to its results.
    answers: Vec<Value>,
    /// What it was told to drop.
    cancelled: Vec<String>,
    /// How many tasks it was given by each call.
    calls: Vec<usize>,
}

impl Class for Connection {
    const NAME: &'static str = "worker-connection";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let payload: Value = read(payload)?;
        match method {
            "make" => self.made = true,
            "up" => {
                self.up = true;
                let mut ready = payload;
                ready["running"] = json!(self.tasks.keys().collect::<Vec<_>>());
                Self::say(turn, "workerReady", &ready)?;
            }
            "beat" => Self::say(turn, "workerHeartbeat", &payload)?,
            "result" => Self::say(turn, "workerResults", &json!({"results": [payload]}))?,
            // Says of the first of its tasks, or of so many, that they are done; before them what it says besides, after them
            // the first of them once more.
            "finish" => {
                let success = payload["success"].as_bool().unwrap_or(true);
                let count = usize::try_from(payload["count"].as_u64().unwrap_or(1)).unwrap_or(usize::MAX);
                let done = self.tasks.iter().take(count).map(|(token, task)| {
                    json!({"taskId": task, "token": token, "success": success, "result": 7, "error": "no"})
                });
                let mut results: Vec<Value> = payload["before"].as_array().cloned().unwrap_or_default();
                results.extend(done);
                if payload["twice"] == json!(true) {
                    results.extend(results.first().cloned());
                }
                if !results.is_empty() {
                    Self::say(turn, "workerResults", &json!({ "results": results }))?;
                }
            }
            // Says of a task that it was told to drop that it is done.
            "insist" => {
                let token = self.cancelled.last().ok_or_else(|| Error::conflict("nothing was cancelled"))?;
                let result = json!({"taskId": payload["taskId"], "token": token, "success": true, "result": 1});
                Self::say(turn, "workerResults", &json!({"results": [result]}))?;
            }
            "progress" => {
                let (token, task) = self.tasks.first_key_value().ok_or_else(|| Error::conflict("idle"))?;
                let progress = json!({"taskId": task, "token": token, "progress": payload});
                Self::say(turn, "workerProgress", &json!({"progress": [progress]}))?;
            }
            "down" => {
                (self.up, self.tasks) = (false, BTreeMap::new());
                Self::say(turn, "workerGone", &json!({}))?;
            }
            "vanish" => (self.up, self.tasks) = (false, BTreeMap::new()),
            "assign" => return self.assign(&payload),
            "cancelTasks" => {
                for token in payload["tokens"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    self.tasks.remove(token);
                    self.cancelled.push(token.to_owned());
                }
            }
            "get" => return crate::object::json(self),
            other => return Err(unknown_method(other)),
        }
        crate::object::json(&())
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let said: Vec<String> = read(reply.note)?;
        let answer: Value = match &reply.result {
            Ok(answer) => read(answer)?,
            Err(error) => json!(error.message()),
        };
        if let Some(verdicts) = answer["verdicts"].as_array() {
            said.iter().take(verdicts.len()).for_each(|token| drop(self.tasks.remove(token)));
            self.answers.extend(verdicts.iter().cloned());
            return Ok(());
        }
        for token in answer["lost"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.tasks.remove(token);
        }
        self.answers.push(answer);
        Ok(())
    }
}

impl Connection {
    fn say(turn: &mut Turn<'_>, method: &str, payload: &Value) -> Result<(), Error> {
        let parent = turn.path().parent().ok_or_else(|| Error::conflict("no parent"))?;
        let results = payload["results"].as_array().into_iter().flatten();
        let tokens: Vec<_> = results.filter_map(|result| result["token"].as_str()).collect();
        let payload = to_raw_value(payload).map_err(|error| Error::internal(error.to_string()))?;
        turn.call(&parent, method, &payload, Ask::new().in_memory().note(&tokens)).map(drop)
    }

    fn assign(&mut self, payload: &Value) -> Result<Vec<u8>, Error> {
        self.calls.push(payload["tasks"].as_array().map_or(0, Vec::len));
        let mut accepted = Vec::new();
        for task in payload["tasks"].as_array().into_iter().flatten().filter(|_| self.up) {
            let (token, id) = (task["token"].as_str().unwrap_or_default(), task["taskId"].as_str().unwrap_or_default());
            self.tasks.insert(token.to_owned(), id.to_owned());
            accepted.push(token.to_owned());
        }
        crate::object::json(&json!({ "accepted": accepted }))
    }
}
