//! The manager in made time: with workers of every temper, crashes, and commits that fail.
//!
//! FM1 to FM13 are all tested over sockets in `tests/suite/fleet_manager.rs`; here, and elsewhere, also:
//!
//! | id | where |
//! |---|---|
//! | FM1, FM2, FM4, FM6, FM9, FM10 | `books` |
//! | FM2 | that its status waits for nothing: `looks` |
//! | FM3 | `pages` |
//! | FM4, FM7, FM9, FM10 | `connected` |
//! | FM6, FM7 | `endings` |
//! | FM5, FM8, FM11, FM12, FM13 | the modules `window`, `config`, `progress`, `keys` themselves |
//! | FM10 | with a killed server and on a full disk, `tests/durability` |

mod books;
mod cast;
mod connected;
mod endings;
mod looks;
mod pages;

use serde_json::{Value, json};

use self::cast::{Connection, Hand, User};
use super::FleetManager;
use crate::sim::{Simulation, Step, World};

const MANAGER: &str = "/u/m";

fn simulation(seed: u64) -> Simulation {
    Simulation::new(seed).class::<User>().class::<FleetManager>().class::<Hand>().class::<Connection>()
}

/// A user submits these tasks.
fn submit(tasks: &Value) -> Step {
    Step::call("/u", "submit", tasks)
}

fn manager(method: &str, payload: &Value) -> Step {
    Step::call(MANAGER, method, payload)
}

/// The ids of the batches whose submission was answered.
fn submitted(world: &World<'_>) -> Result<Vec<String>, String> {
    let ids = world.call("/u", "batches", ())?;
    Ok(ids.as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect())
}

fn status(world: &World<'_>, batch: &str) -> Result<Value, String> {
    world.call(MANAGER, "getBatchStatus", json!({ "batchId": batch }))
}

/// Every item of a list, over all its pages.
fn items(world: &World<'_>, method: &str, payload: &Value) -> Result<Vec<Value>, String> {
    let (mut items, mut payload) = (Vec::new(), payload.clone());
    payload["limit"] = json!(3);
    loop {
        let page = world.call(MANAGER, method, &payload)?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page.get("cursor") {
            Some(cursor) => payload["cursor"] = cursor.clone(),
            None => return Ok(items),
        }
    }
}

fn results(world: &World<'_>, batch: &str) -> Result<Vec<Value>, String> {
    items(world, "getBatchResults", &json!({ "batchId": batch }))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(u64::MAX)
}

/// Equal, or a text that says how not.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: &T, right: &T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what}: {left:?}, not {right:?}")) }
}
