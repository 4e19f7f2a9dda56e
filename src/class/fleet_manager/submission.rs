//! What is submitted, checked as a whole before anything of it is stored.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::task::Task;
use crate::limits::{TASK_BYTES, TASK_ID_CHARS, TASK_MS, TASK_RETRIES, TASK_TYPE_CHARS, TASK_TYPES};
use crate::object::Error;
use crate::protocol::Code;

/// The tasks of a batch in the order in which they are stored: that of their keys, which costs the least.
#[derive(Debug)]
pub(super) struct Submission {
    pieces: Vec<Piece>,
    kinds: Vec<Box<str>>,
    /// Tasks by type.
    pub(super) counts: BTreeMap<Box<str>, u64>,
}

/// One task: where it stands in the text, and what its key is made of.
#[derive(Debug, Clone, Copy)]
struct Piece {
    kind: u16,
    priority: i32,
    n: u32,
    at: usize,
    length: usize,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    tasks: Option<&'a RawValue>,
}

/// A task as it is submitted.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    priority: Option<i32>,
    #[serde(default)]
    timeout: Option<u64>,
    #[serde(default)]
    retries: Option<u32>,
}

impl Submission {
    /// Reads and checks a payload; its text is needed again for [`Submission::task`].
    ///
    /// # Errors
    /// `bad_request` that names the task and what is wrong with it; `too_large` for too many tasks or too much data.
    pub(super) fn parse(payload: &RawValue, limit: u64) -> Result<Self, Error> {
        let text = payload.get();
        let tasks = tasks_of(payload)?;
        match tasks.len() as u64 {
            0 => return Err(Error::bad_request("a batch must have at least one task")),
            count if count > limit => {
                let text = format!("a batch of {count} tasks; the limit is {limit} (maxBatchTasks)");
                return Err(Error::new(Code::TooLarge, text));
            }
            _ => {}
        }
        let mut ids = HashSet::with_capacity(tasks.len());
        let mut kinds: BTreeMap<Box<str>, (u16, u64)> = BTreeMap::new();
        let mut pieces = Vec::with_capacity(tasks.len());
        for (index, raw) in tasks.iter().enumerate() {
            let given = Given::read(index, raw)?;
            let number = u16::try_from(kinds.len()).unwrap_or(u16::MAX);
            let kind = match kinds.get_mut(&*given.kind) {
                Some((kind, count)) => {
                    *count += 1;
                    *kind
                }
                None => kinds.entry((*given.kind).into()).or_insert((number, 1)).0,
            };
            if kinds.len() > TASK_TYPES {
                return Err(Error::bad_request(format!("a batch of more than {TASK_TYPES} types; the limit is that")));
            }
            let at = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            let n = u32::try_from(index).unwrap_or(u32::MAX);
            let priority = given.priority.unwrap_or_default();
            pieces.push(Piece { kind, priority, n, at, length: raw.get().len() });
            if let Some(id) = ids.replace(given.id) {
                return Err(Error::bad_request(format!("duplicate task id `{id}` in the batch; nothing was stored")));
            }
        }
        pieces.sort_unstable_by_key(|piece| (piece.kind, std::cmp::Reverse(piece.priority), piece.n));
        let mut names: Vec<Box<str>> = vec![Box::default(); kinds.len()];
        for (name, (kind, _)) in &kinds {
            names[usize::from(*kind)].clone_from(name);
        }
        let counts = kinds.into_iter().map(|(name, (_, count))| (name, count)).collect();
        Ok(Self { pieces, kinds: names, counts })
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn kinds(&self) -> &[Box<str>] {
        &self.kinds
    }

    /// What it takes in memory, with its text.
    pub(super) fn bytes(&self, text: &str) -> usize {
        text.len() + self.pieces.len() * size_of::<Piece>()
    }

    /// A task by its place in the order, made from the text that was parsed.
    pub(super) fn task(&self, index: usize, text: &str, batch: &str) -> Option<Task> {
        let piece = self.pieces.get(index)?;
        let given: Given<'_> = serde_json::from_str(text.get(piece.at..piece.at + piece.length)?).ok()?;
        Some(Task {
            id: given.id.into(),
            kind: self.kinds.get(usize::from(piece.kind))?.clone(),
            priority: piece.priority,
            batch: batch.into(),
            n: piece.n,
            timeout: given.timeout,
            retries: given.retries,
            data: given.data.map_or("null", RawValue::get).into(),
            attempts: 0,
            error: None,
        })
    }
}

fn tasks_of(payload: &RawValue) -> Result<Vec<&RawValue>, Error> {
    let missing = || Error::bad_request("submitBatch takes {\"tasks\": [TASK, …]}");
    let given: Payload<'_> = serde_json::from_str(payload.get()).map_err(|_| missing())?;
    let tasks = given.tasks.ok_or_else(missing)?;
    serde_json::from_str(tasks.get()).map_err(|_| Error::bad_request("tasks must be an array"))
}

impl<'a> Given<'a> {
    fn read(index: usize, raw: &'a RawValue) -> Result<Self, Error> {
        let given: Self = serde_json::from_str(raw.get()).map_err(|error| explain(index, raw, &error))?;
        let fail = |text: String| Err(wrong(index, raw, &text));
        match given.id.chars().count() {
            1..=TASK_ID_CHARS => {}
            length => return fail(format!("id has {length} characters; it must have 1 to {TASK_ID_CHARS}")),
        }
        match given.kind.chars().count() {
            1..=TASK_TYPE_CHARS => {}
            length => return fail(format!("type has {length} characters; it must have 1 to {TASK_TYPE_CHARS}")),
        }
        if given.timeout.is_some_and(|timeout| !(1..=TASK_MS).contains(&timeout)) {
            return fail(format!("timeout must be 1 to {TASK_MS} ms"));
        }
        if given.retries.is_some_and(|retries| retries > TASK_RETRIES) {
            return fail(format!("retries must be 0 to {TASK_RETRIES}"));
        }
        let length = given.data.map_or(0, |data| data.get().len());
        if length > TASK_BYTES {
            let text = format!("data is {length} bytes; the limit is {TASK_BYTES}");
            return Err(Error::new(Code::TooLarge, wrong(index, raw, &text).message().to_owned()));
        }
        Ok(given)
    }
}

/// What is wrong with a task that cannot be read.
fn explain(index: usize, raw: &RawValue, error: &serde_json::Error) -> Error {
    let Ok(Value::Object(task)) = serde_json::from_str(raw.get()) else {
        return Error::bad_request(format!("tasks[{index}] must be an object"));
    };
    let text = |key: &str| match task.get(key) {
        Some(Value::String(_)) => None,
        None | Some(Value::Null) => Some(format!("{key} is missing")),
        Some(_) => Some(format!("{key} must be a text")),
    };
    let number = |key: &str, fits: fn(&Value) -> bool, bounds: &str| {
        let value = task.get(key).filter(|value| !value.is_null() && !fits(value))?;
        let shown: String = value.to_string().chars().take(32).collect();
        Some(format!("{key} is {shown}; it must be a whole number {bounds}"))
    };
    let fits = |value: &Value| value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
    let small = |value: &Value| value.as_u64().is_some_and(|number| u32::try_from(number).is_ok());
    let found = text("id")
        .or_else(|| text("type"))
        .or_else(|| number("priority", fits, "of 32 bits"))
        .or_else(|| number("timeout", Value::is_u64, &format!("from 1 to {TASK_MS}")))
        .or_else(|| number("retries", small, &format!("from 0 to {TASK_RETRIES}")));
    wrong(index, raw, &found.unwrap_or_else(|| error.to_string()))
}

/// Names the task.
fn wrong(index: usize, raw: &RawValue, text: &str) -> Error {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let id = serde_json::from_str::<Named>(raw.get()).map(|task| task.id).unwrap_or_default();
    let id: String = id.chars().take(TASK_ID_CHARS).collect();
    let name = if id.is_empty() { String::new() } else { format!(" (`{id}`)") };
    Error::bad_request(format!("tasks[{index}]{name}: {text}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::super::keys;
    use super::*;

    fn parse(payload: &Value) -> Result<Submission, String> {
        let payload = to_raw_value(payload).unwrap();
        Submission::parse(&payload, 5).map_err(|error| error.to_string())
    }

    #[test]
    fn fm1_every_bad_batch_is_refused_with_what_is_wrong() {
        let long = "x".repeat(129);
        let large = "x".repeat(TASK_BYTES);
        let many: Vec<Value> = (0..6).map(|n| json!({"id": n.to_string(), "type": "t"})).collect();
        for (payload, text) in [
            (json!({}), "submitBatch takes {\"tasks\": [TASK, …]}"),
            (json!([]), "submitBatch takes"),
            (json!({"tasks": 3}), "tasks must be an array"),
            (json!({"tasks": []}), "a batch must have at least one task"),
            (json!({"tasks": many}), "a batch of 6 tasks; the limit is 5 (maxBatchTasks)"),
            (json!({"tasks": [1]}), "tasks[0] must be an object"),
            (json!({"tasks": [{"type": "t"}]}), "tasks[0]: id is missing"),
            (json!({"tasks": [{"id": 4, "type": "t"}]}), "tasks[0]: id must be a text"),
            (json!({"tasks": [{"id": "a"}]}), "tasks[0] (`a`): type is missing"),
            (
                json!({"tasks": [{"id": "a", "type": ""}]}),
                "tasks[0] (`a`): type has 0 characters; it must have 1 to 64",
            ),
            (json!({"tasks": [{"id": long, "type": "t"}]}), "tasks[0] (`xxx"),
            (
                json!({"tasks": [{"id": "a", "type": "t", "priority": 1.5}]}),
                "tasks[0] (`a`): priority is 1.5; it must be",
            ),
            (json!({"tasks": [{"id": "a", "type": "t", "priority": 1_u64 << 40}]}), "tasks[0] (`a`): priority is 1099"),
            (
                json!({"tasks": [{"id": "a", "type": "t", "timeout": 0}]}),
                "tasks[0] (`a`): timeout must be 1 to 86400000 ms",
            ),
            (json!({"tasks": [{"id": "a", "type": "t", "timeout": -1}]}), "tasks[0] (`a`): timeout is -1; it must be"),
            (json!({"tasks": [{"id": "a", "type": "t", "retries": 101}]}), "tasks[0] (`a`): retries must be 0 to 100"),
            (
                json!({"tasks": [{"id": "a", "type": "t", "data": large}]}),
                "tasks[0] (`a`): data is 1040386 bytes; the limit is 1040384",
            ),
            (
                json!({"tasks": [{"id": "a", "type": "t"}, {"id": "b", "type": "t"}, {"id": "a", "type": "u"}]}),
                "duplicate task id `a` in the batch; nothing was stored",
            ),
        ] {
            let error = parse(&payload).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn fm1_a_batch_has_a_bounded_number_of_types() {
        let tasks: Vec<Value> = (0..=TASK_TYPES).map(|n| json!({"id": n.to_string(), "type": n.to_string()})).collect();
        let payload = to_raw_value(&json!({"tasks": tasks})).unwrap();
        let error = Submission::parse(&payload, 1_000).unwrap_err();
        assert_eq!(error.message(), "a batch of more than 256 types; the limit is that");
    }

    proptest! {
        #[test]
        fn fm5_tasks_are_stored_in_the_order_of_their_keys(
            tasks in prop::collection::vec((0..3_u8, -2..3_i32, any::<u32>()), 1..40),
        ) {
            let given: Vec<Value> = tasks
                .iter()
                .enumerate()
                .map(|(n, (kind, priority, data))| {
                    json!({"data": {"v": data}, "priority": priority, "id": format!("é{n}"), "type": format!("t{kind}")})
                })
                .collect();
            let payload = to_raw_value(&json!({"x": 1, "tasks": given})).unwrap();
            let submission = Submission::parse(&payload, 1_000).unwrap();
            prop_assert_eq!(submission.len(), tasks.len());
            let batch = keys::batch_id(1, 2);
            let made: Vec<Task> =
                (0..tasks.len()).map(|index| submission.task(index, payload.get(), &batch).unwrap()).collect();
            for kind in submission.kinds() {
                let of_kind: Vec<String> = made.iter().filter(|task| task.kind == *kind).map(Task::rank).collect();
                prop_assert!(of_kind.is_sorted());
                prop_assert_eq!(submission.counts[kind], of_kind.len() as u64);
            }
            for task in made {
                let (kind, priority, data) = tasks[task.n as usize];
                prop_assert_eq!((&*task.kind, task.priority), (&*format!("t{kind}"), priority));
                prop_assert_eq!(&*task.id, format!("é{}", task.n));
                let value: Value = serde_json::from_str(&task.data).unwrap();
                prop_assert_eq!(value, json!({"v": data}));
            }
        }
    }
}
