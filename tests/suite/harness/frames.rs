//! The words of the protocol: what is sent, and what is expected.

#![allow(clippy::needless_pass_by_value)] // Words are written as they read.

use serde_json::{Value, json};

/// `{"type":"increment"}`
pub(crate) fn increment() -> Value {
    json!({"type": "increment"})
}

/// `createAgent` of that name.
pub(crate) fn create(name: &str) -> Value {
    json!({"type": "createAgent", "payload": {"name": name}})
}

/// `deleteAgent` of that name.
pub(crate) fn delete(name: &str) -> Value {
    json!({"type": "deleteAgent", "payload": {"name": name}})
}

/// `sendMessage` to a child.
pub(crate) fn send_to(recipient: &str, message: impl Into<Value>) -> Value {
    json!({"type": "sendMessage", "payload": {"recipient": recipient, "message": message.into()}})
}

/// `broadcast` to every child.
pub(crate) fn broadcast(message: impl Into<Value>) -> Value {
    json!({"type": "broadcast", "payload": {"message": message.into()}})
}

/// A message that asks for an answer.
pub(crate) fn with_id(id: impl Into<Value>, mut message: Value) -> Value {
    message["id"] = id.into();
    message
}

/// The state of an object with that count and no children.
pub(crate) fn state(count: u64) -> Value {
    state_with(count, &[])
}

/// The `state` frame of an object.
pub(crate) fn state_with(count: u64, agents: &[&str]) -> Value {
    json!({"type": "state", "payload": body(count, agents)})
}

/// The state of an object, as `GET` answers it.
pub(crate) fn body(count: u64, agents: &[&str]) -> Value {
    json!({"data": {"count": count}, "agents": agents})
}

/// `result` of the message with that id.
pub(crate) fn result(id: impl Into<Value>, payload: Value) -> Value {
    json!({"type": "result", "id": id.into(), "payload": payload})
}

/// `error` without an id.
pub(crate) fn error(text: &str) -> Value {
    json!({"type": "error", "payload": {"error": text}})
}

/// `error` of the message with that id.
pub(crate) fn error_of(id: impl Into<Value>, text: &str, code: &str) -> Value {
    json!({"type": "error", "id": id.into(), "payload": {"error": text, "code": code}})
}

/// A delivered message.
pub(crate) fn message(message: impl Into<Value>, sender: &str) -> Value {
    json!({"type": "message", "payload": {"message": message.into(), "sender": sender}})
}

/// `change` of `fleet.v2`.
pub(crate) fn change(payload: Value) -> Value {
    json!({"type": "change", "payload": payload})
}

/// The body of a failed request.
pub(crate) fn failure(text: &str, code: &str) -> Value {
    json!({"error": text, "code": code})
}
