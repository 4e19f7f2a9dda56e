//! OB2, OB4, CO4: what a class's own code may do to its object, and what a deletion takes that comes right behind a turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{open, roomy};
use crate::limits::{VALUE_BYTES, WRITE_SET_ROWS};
use crate::object::deferred::Asker;
use crate::object::event::Event;
use crate::object::namespace::Offered;
use crate::object::{Class, Error, Namespace, Turn, json, read, unknown_method};
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::Code;
use crate::storage::Storage;

/// Whether the object that fails to start once has done so.
static SHY: AtomicBool = AtomicBool::new(false);

/// Its saved state can be such that reading it panics.
#[derive(Default, Serialize, Deserialize)]
struct Fragile {
    #[serde(deserialize_with = "whole")]
    count: u64,
}

/// # Panics
/// For 13.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let count = u64::deserialize(from)?;
    assert_ne!(count, 13, "on purpose");
    Ok(count)
}

impl Class for Fragile {
    const NAME: &'static str = "fragile";

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        if turn.path().name() == Some("shy") && !SHY.swap(true, Ordering::SeqCst) {
            self.count = 7;
            return Err(Error::conflict("not today"));
        }
        Ok(())
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "get" => {}
            "set" => {
                self.count = read(payload)?;
                turn.put("row", &self.count)?;
            }
            "setAndFail" => {
                self.count = read(payload)?;
                return Err(Error::conflict("on purpose"));
            }
            "row" => return json(&turn.get::<u64>("row")?),
            "many" => {
                turn.put_many([("a", &1), ("b", &2), ("c", &3)])?;
                let refused = turn.put_many([("a", &9), ("", &9)]);
                assert!(refused.is_err(), "a key must not be empty");
                let deleted = turn.delete_many(&["b", "d"])?;
                return json(&(turn.get_many::<u32>(&["a", "b", "c", "d"])?, deleted));
            }
            "again" => {
                let value = "x".repeat(VALUE_BYTES / 2);
                (0..read(payload)?).try_for_each(|_: u32| turn.put("same", &value))?;
            }
            "children" => {
                for index in 0..read(payload)? {
                    let index: u32 = index;
                    turn.create_child(&ObjectName::parse(&format!("c{index}")).expect("a name"))?;
                }
            }
            other => return Err(unknown_method(other)),
        }
        json(&self.count)
    }
}

struct World {
    namespace: Namespace,
    storage: Storage,
    _data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let (namespace, storage) = open::<Fragile>(&data, roomy(), &TaskTracker::new());
        Self { namespace, storage, _data: data }
    }

    async fn call<T: Serialize>(&self, at: &str, method: &str, payload: T) -> Result<String, Error> {
        let payload = to_raw_value(&payload).expect("JSON");
        let answer = self.namespace.call(&path(at), method, payload).await?;
        Ok(String::from_utf8(answer).expect("text"))
    }

    fn hibernate(&self, at: &str) {
        if let Some(slot) = self.namespace.0.find(path(at).key()) {
            assert!(self.namespace.0.hibernate(&slot));
        }
    }

    /// A turn and a deletion that come to an object at once.
    async fn set_and_delete(&self, at: &str, subtree: &str) {
        let slot = self.namespace.0.slot(&path(at));
        let (reply, answer) = oneshot::channel();
        let (done, deleted) = oneshot::channel();
        let payload = to_raw_value(&5).expect("JSON");
        let mut events = VecDeque::from([
            Event::Call { method: "set".into(), payload, asker: Asker::Edge(reply, None) },
            Event::Delete { subtree: path(subtree), reply: done },
        ]);
        assert_eq!(self.namespace.0.offer(&slot, &mut events, None), Offered::Taken);
        assert!(answer.await.expect("an answer").1.is_ok());
        assert!(deleted.await.expect("an answer").1.is_ok());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.close();
    }
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

#[tokio::test]
async fn ob2_a_start_that_fails_fails_the_event_and_the_next_one_tries_again() {
    let world = World::new();
    let error = world.call("/shy", "get", ()).await.expect_err("it does not start");
    assert_eq!((error.code(), error.message()), (Code::Conflict, "not today"));
    assert_eq!(world.call("/shy", "get", ()).await.expect("it starts, as new"), "0");
}

#[tokio::test]
async fn st1_many_rows_at_once_are_all_written_or_none() {
    let world = World::new();
    assert_eq!(world.call("/a", "many", ()).await.expect("answered"), "[[1,null,3,null],1]");
}

#[tokio::test]
async fn ob4_a_state_that_panics_when_it_is_read_is_an_error_each_time() {
    let world = World::new();
    assert_eq!(world.call("/a", "set", 13).await.expect("it is only written"), "13");
    world.hibernate("/a");
    for _ in 0..3 {
        let error = world.call("/a", "get", ()).await.expect_err("it cannot be read");
        assert_eq!((error.code(), error.message()), (Code::Internal, "the handler panicked"));
    }
    world.namespace.delete(&path("/a")).await.expect("it can be deleted");
    assert_eq!(world.call("/a", "get", ()).await.expect("it is as new"), "0");
}

#[tokio::test]
async fn ob4_a_turn_that_cannot_be_taken_back_leaves_nothing_of_itself() {
    let world = World::new();
    assert_eq!(world.call("/a", "set", 13).await.expect("set"), "13");
    let error = world.call("/a", "setAndFail", 7).await.expect_err("it fails");
    assert_eq!(error.message(), "on purpose");
    let error = world.call("/a", "get", ()).await.expect_err("7 would be what the failed turn left");
    assert_eq!(error.code(), Code::Internal);
}

#[tokio::test]
async fn fp9_co4_a_deletion_takes_what_the_turns_right_before_it_wrote() {
    let world = World::new();
    world.set_and_delete("/", "/").await;
    assert_eq!(world.call("/", "get", ()).await.expect("it is as new"), "0");
    assert_eq!(world.call("/", "row", ()).await.expect("it is as new"), "null");
    assert_eq!(world.namespace.list(&ObjectPath::root(), None, 10).expect("a list"), []);
}

#[tokio::test]
async fn st3_what_counts_is_what_is_written() {
    let world = World::new();
    world.call("/a", "again", 40).await.expect("40 MiB over the same row are one row of 1 MiB");
    let children = u32::try_from(WRITE_SET_ROWS / 2).expect("few");
    let error = world.call("/a", "children", children + 1).await.expect_err("each is two rows");
    assert!(error.message().contains("more than 20000 rows"), "{error}");
    world.call("/a", "children", children).await.expect("exactly the bound is taken");
}
