//! What a worker says, and what it is told: `{"type":…,"payload":…}`, as text.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::limits::{TASK_TYPE_CHARS, WORKER_CAPACITY, WORKER_TYPES};
use crate::object::Error;
use crate::protocol::{self, Frame};

/// `auth`: who it is.
#[derive(Deserialize)]
pub(super) struct Auth<'a> {
    #[serde(borrow)]
    pub(super) token: Cow<'a, str>,
}

/// `ready`: how much it takes, and of what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) capacity: u64,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) types: Option<Vec<Box<str>>>,
    /// What it runs already; absent: what it is known to run.
    #[serde(default, skip_serializing)]
    pub(super) running: Option<Vec<Box<str>>>,
}

/// `heartbeat`: it is alive.
#[derive(Deserialize)]
pub(super) struct Heartbeat<'a> {
    #[serde(borrow, default)]
    pub(super) metrics: Option<&'a RawValue>,
}

/// `progress`: how far it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HowFar<'a> {
    #[serde(borrow)]
    pub(super) task_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) token: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) progress: &'a RawValue,
}

/// `result`: what came of a task; told on to the manager as it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome<'a> {
    #[serde(borrow)]
    pub(super) task_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) token: Cow<'a, str>,
    pub(super) success: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none", deserialize_with = "any_text")]
    pub(super) error: Option<Cow<'a, str>>,
}

/// `welcome`: it is taken, and how often it has to say that it is alive.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Welcome<'a> {
    pub(super) worker_id: &'a str,
    pub(super) heartbeat_interval: u64,
    pub(super) lease_timeout: u64,
}

/// `cancel`: nobody wants this any more.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cancel<'a> {
    /// Absent when this object has forgotten it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_id: Option<&'a str>,
    pub(super) token: &'a str,
}

/// `ack`: a result need not be sent again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ack<'a> {
    pub(super) task_id: &'a str,
    pub(super) token: &'a str,
    pub(super) accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
}

/// The answer to whoever sends the worker something.
#[derive(Serialize)]
pub(super) struct Delivered {
    /// How many of its sessions get it.
    pub(super) sessions: usize,
    /// Whether it waits until the worker connects.
    pub(super) queued: bool,
}

impl Ready {
    /// # Errors
    /// `bad_request` that names the bound.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !(1..=WORKER_CAPACITY).contains(&self.capacity) {
            let capacity = self.capacity;
            return Err(Error::bad_request(format!("capacity is {capacity}; it must be 1 to {WORKER_CAPACITY}")));
        }
        let types = self.types.as_deref().unwrap_or_default();
        if types.len() > WORKER_TYPES {
            return Err(Error::bad_request(format!("there are {} types; the limit is {WORKER_TYPES}", types.len())));
        }
        if let Some(long) = types.iter().map(|kind| kind.chars().count()).find(|chars| *chars > TASK_TYPE_CHARS) {
            return Err(Error::bad_request(format!("a type has {long} characters; the limit is {TASK_TYPE_CHARS}")));
        }
        Ok(())
    }
}

/// Reads a payload that borrows from its frame.
///
/// # Errors
/// `bad_request` that says what is wrong where.
pub(super) fn parse<'a, T: Deserialize<'a>>(payload: &'a RawValue) -> Result<T, Error> {
    serde_json::from_str(payload.get()).map_err(|error| Error::bad_request(format!("invalid payload: {error}")))
}

/// `{"type":KIND,"payload":PAYLOAD}`
pub(super) fn frame<T: Serialize + ?Sized>(kind: &'static str, payload: &T) -> Frame {
    #[derive(Serialize)]
    struct Typed<'a, T: ?Sized> {
        r#type: &'static str,
        payload: &'a T,
    }
    Frame::Text(protocol::encode(&Typed { r#type: kind, payload }).into())
}

/// A text, or any other JSON as it was written: an error of any shape is better than none.
fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    Ok(match raw {
        "null" => None,
        raw => Some(serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned)),
    })
}
