//! FP9, CO4, OB6: what ends with a subtree, when, and in which order.

use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::block_in_place;

use super::stepped::World;
use crate::object::{
    Ask, Class, Deferred, Drained, Error, Jobs, Outgoing, Registry, Services, Turn, json, unknown_method,
};
use crate::path::ObjectPath;
use crate::protocol::{Code, Frame, Version};
use crate::storage::Fate;

/// What turns that hold wait for, by path: once to say that they are there, once to go on.
static HELD: Mutex<Vec<(String, Arc<Barrier>)>> = Mutex::new(Vec::new());

#[derive(Default, Serialize, Deserialize)]
struct Ower {
    owed: Vec<Deferred>,
}

impl Class for Ower {
    const NAME: &'static str = "ower";
    const TELLS_STATE: bool = false;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "later" => self.owed.push(turn.defer()?),
            "answer" => {
                let owed = self.owed.pop().ok_or_else(|| Error::conflict("nothing is owed"))?;
                return json(&turn.answer_deferred(&owed, json(&"at last")));
            }
            "run" => drop(turn.run("forever", &(), Ask::new())?),
            "hold" => {
                let held =
                    HELD.lock().iter().find(|(path, _)| path == turn.path().as_str()).map(|(_, held)| held.clone());
                if let Some(held) = held {
                    held.wait();
                    held.wait();
                }
                turn.put("held", &true)?;
            }
            "nothing" => {}
            other => return Err(unknown_method(other)),
        }
        json(&())
    }
}

fn world() -> World {
    let jobs = Jobs::default().with("forever", |_| std::future::pending());
    World::of(Services { jobs, ..Services::default() }, Registry::new::<Ower>)
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

/// Has a turn of that object wait.
fn hold(at: &str) -> Arc<Barrier> {
    let held = Arc::new(Barrier::new(2));
    HELD.lock().push((at.to_owned(), Arc::clone(&held)));
    held
}

impl World {
    /// A deletion whose turn is over.
    async fn delete(&self, at: &str) -> tokio::task::JoinHandle<Result<(), Error>> {
        let (namespace, at, before) = (self.namespace.clone(), path(at), self.stepper.waiting());
        let deletion = self.namespace.0.spawn(async move { namespace.delete(&at).await });
        while self.stepper.waiting() == before {
            tokio::task::yield_now().await;
        }
        deletion
    }
}

#[tokio::test]
async fn co4_ob6_nothing_ends_with_a_deletion_that_fails() {
    let mut world = world();
    let asked = world.begin("/t/b", "later", ()).await;
    let run = world.begin("/t/c", "run", ()).await;
    world.end(run).await.expect("a job");
    while world.namespace.0.jobs.running() == 0 {
        tokio::task::yield_now().await;
    }
    let deletion = world.delete("/t").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!asked.is_finished(), "nobody is told before it is durable");
    assert_eq!(world.namespace.0.jobs.running(), 1);
    world.stepper.step(100, Fate::Lost);
    assert_eq!(deletion.await.expect("no panic").expect_err("it failed").code(), Code::CommitUnknown);
    world.stepper.step(100, Fate::Durable);
    assert_eq!(world.ask("/t/b", "answer").await, "true");
    assert_eq!(world.end(asked).await.expect("an answer"), r#""at last""#);
    assert_eq!(world.namespace.0.jobs.running(), 1);

    let asked = world.begin("/t/b", "later", ()).await;
    world.stepper.step(100, Fate::Durable);
    let deletion = world.delete("/t").await;
    world.stepper.step(100, Fate::Durable);
    deletion.await.expect("no panic").expect("it is deleted");
    assert_eq!(world.end(asked).await.expect_err("it is deleted"), Error::deleted());
    while world.namespace.0.jobs.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fp9_what_waits_is_refused_once_the_deletion_is_known_and_behind_what_runs() {
    for fate in [Fate::Durable, Fate::Lost] {
        let mut world = world();
        let at = if fate == Fate::Durable { "/hold/a" } else { "/hold/b" };
        let held = hold(at);
        let mut socket = world.namespace.socket(&path(at), Version::V2).expect("a place");
        socket.open().expect("an object");
        world.ask(at, "nothing").await;
        let context = Context::from_waker(Waker::noop());
        let ask = |socket: &mut crate::object::Socket, method: &str, id: u32| {
            socket.ask(Frame::Text(format!(r#"{{"type":"{method}","id":{id}}}"#).into()));
            socket.submit(&context);
        };
        let (namespace, to) = (world.namespace.clone(), path(at));
        let first =
            world.namespace.0.spawn(async move { namespace.call(&to, "hold", to_raw_value(&()).expect("JSON")).await });
        block_in_place(|| held.wait());
        ask(&mut socket, "hold", 1);
        block_in_place(|| held.wait());
        // The socket's first message runs now, and the others wait.
        block_in_place(|| held.wait());
        ask(&mut socket, "nothing", 2);
        ask(&mut socket, "nothing", 3);
        let waiting = world.begin(at, "nothing", ()).await;
        let deletion = world.delete(at).await;
        block_in_place(|| held.wait());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "nobody is told before it is durable");
        world.stepper.step(100, fate);
        assert_eq!(deletion.await.expect("no panic").is_ok(), fate == Fate::Durable);
        let error = world.end(waiting).await.expect_err("it was not handled");
        assert_eq!(error.code(), if fate == Fate::Durable { Code::Conflict } else { Code::CommitUnknown });
        drop(first.await);
        let mut frames = Vec::new();
        let all = async {
            while !matches!(frames.last(), Some(Outgoing::Close(_) | Outgoing::Resync)) {
                assert_eq!(socket.drain(&context, 1 << 20, &mut frames), Drained::All);
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(30), all).await;
        assert!(waited.is_ok(), "the socket is told its end");
        let ids: Vec<u64> = frames.iter().filter_map(id).collect();
        assert_eq!(ids, [1, 2, 3]);
    }
}

fn id(outgoing: &Outgoing) -> Option<u64> {
    let Outgoing::Frame(Frame::Text(text)) = outgoing else { return None };
    serde_json::from_slice::<serde_json::Value>(text).ok()?["id"].as_u64()
}
