//! `agent`, the Fleet Pattern's object: a count, a list of children, and messages to them.
//!
//! Every agent is both a manager of the agents below it and an agent of the one above. The exact texts of its errors, and
//! the order in which they are found, are those of the published pattern.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::{Class, Error, Turn, append_json, json, unknown_method};
use crate::path::ObjectName;
use crate::protocol::Change;

/// The state of an agent that is its own; the list of its children belongs to the runtime.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Agent {
    count: u64,
}

impl Class for Agent {
    const NAME: &'static str = "agent";

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        let agents = turn.children_json()?;
        let mut state = Vec::with_capacity(agents.len() + 64);
        state.extend_from_slice(br#"{"data":"#);
        append_json(&mut state, self)?;
        state.extend_from_slice(br#","agents":"#);
        state.extend_from_slice(agents);
        state.push(b'}');
        Ok(state)
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "increment" => self.increment(turn),
            "createAgent" => create_agent(turn, payload),
            "deleteAgent" => delete_agent(turn, payload),
            "sendMessage" => send_message(turn, payload),
            "broadcast" => broadcast(turn, payload),
            other => Err(unknown_method(other)),
        }
    }
}

impl Agent {
    fn increment(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        self.count += 1;
        turn.publish(Change::field("count", self.count));
        json(self)
    }
}

fn create_agent(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    #[derive(Serialize)]
    struct Created<'a> {
        name: &'a str,
        path: &'a str,
    }
    let fields = Fields::of(payload);
    let name = fields.name()?;
    let path = match fields.class()? {
        Some(class) => turn.create_child_as(&name, &class)?,
        None => turn.create_child(&name)?,
    };
    turn.publish(Change::added(name.as_str()));
    json(&Created { name: name.as_str(), path: path.as_str() })
}

fn delete_agent(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    let name = Fields::of(payload).name()?;
    turn.delete_child(&name)?;
    turn.publish(Change::removed(name.as_str()));
    Ok(b"{}".to_vec())
}

fn send_message(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    let fields = Fields::of(payload);
    let message = fields.message()?;
    let recipient = match fields.recipient.map(text) {
        None => return Err(Error::bad_request("Recipient required")),
        Some(Some(name)) if name.is_empty() => return Err(Error::bad_request("Recipient required")),
        // What is not a text is nobody's name.
        Some(name) => name.unwrap_or_default(),
    };
    turn.message_child(&recipient, message)?;
    turn.publish(Change::none());
    recipients(1)
}

fn broadcast(turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
    let sent = turn.message_children(Fields::of(payload).message()?)?;
    turn.publish(Change::none());
    recipients(sent)
}

fn recipients(count: u64) -> Result<Vec<u8>, Error> {
    #[derive(Serialize)]
    struct Sent {
        recipients: u64,
    }
    json(&Sent { recipients: count })
}

/// The fields that any of the methods looks at. Anything but an object has none of them; `null` counts as absent.
#[derive(Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    class: Option<&'a RawValue>,
    #[serde(borrow, default)]
    recipient: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    fn of(payload: &'a RawValue) -> Self {
        // A struct also reads from an array, which has no fields.
        let is_object = payload.get().starts_with('{');
        if is_object { serde_json::from_str(payload.get()).unwrap_or_default() } else { Self::default() }
    }

    fn name(&self) -> Result<ObjectName, Error> {
        let Some(name) = self.name else {
            return Err(Error::bad_request("Agent name required"));
        };
        match text(name) {
            Some(name) if name.is_empty() => Err(Error::bad_request("Agent name required")),
            Some(name) => ObjectName::parse(&name).map_err(|_| Error::bad_request("Invalid agent name")),
            None => Err(Error::bad_request("Invalid agent name")),
        }
    }

    /// The class that a child is to have, if one is named.
    fn class(&self) -> Result<Option<String>, Error> {
        let invalid = || Error::bad_request("Invalid class: it must be the name of one");
        self.class.map(|class| text(class).ok_or_else(invalid)).transpose()
    }

    fn message(&self) -> Result<&'a RawValue, Error> {
        self.message
            .filter(|message| !matches!(message.get(), "null" | r#""""#))
            .ok_or_else(|| Error::bad_request("Message required"))
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
