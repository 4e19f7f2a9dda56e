//! OB2, ST4: looks. Calls that only read are answered from what is durable, without a turn.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::task::TaskTracker;

use super::stepped::World;
use super::{open, roomy};
use crate::metrics::Metrics;
use crate::object::{Class, Error, List, Look, Registry, Services, Turn, json, read, unknown_method};
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::Fate;

/// Says who answered: a look or a turn.
#[derive(Default, Serialize, Deserialize)]
struct Ledger {
    count: u64,
}

/// A list that is asked for: its limit, whether it is reversed, and after what it goes on.
type Page = (usize, bool, Option<String>);

fn list((limit, reverse, after): Page) -> List {
    let list = List::new().prefix("row ").limit(limit);
    let list = if reverse { list.reverse() } else { list };
    if let Some(after) = after { list.after(after) } else { list }
}

impl Class for Ledger {
    const NAME: &'static str = "ledger";
    const LOOKS: &'static [&'static str] = &["get", "list", "fail", "panic"];

    fn look(look: &Look<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "get" => json(&("look", look.value::<Self>()?.count, look.get::<u64>("row 0")?)),
            "list" => {
                let page = look.list::<u64>(list(read(payload)?))?;
                json(&(page.items, page.cursor))
            }
            "fail" => Err(Error::conflict(format!("on purpose at {}", look.path()))),
            "panic" => panic!("on purpose"),
            other => Err(unknown_method(other)),
        }
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "get" => json(&("turn", self.count, turn.get::<u64>("row 0")?)),
            "list" => {
                let page = turn.list::<u64>(list(read(payload)?))?;
                json(&(page.items, page.cursor))
            }
            "add" => {
                self.count += 1;
                turn.put("row 0", &self.count)?;
                json(&self.count)
            }
            "fill" => {
                for row in 0..read(payload)? {
                    turn.put(&format!("row {row:04}"), &row)?;
                    turn.put(&format!("wor {row:04}"), &row)?;
                }
                json(&())
            }
            "clear" => {
                turn.delete_all()?;
                json(&())
            }
            other => Err(unknown_method(other)),
        }
    }
}

/// Another class, which has a turn for what the first looks at.
#[derive(Default, Serialize, Deserialize)]
struct Plain(u64);

impl Class for Plain {
    const NAME: &'static str = "plain";

    fn call(&mut self, _: &mut Turn<'_>, _: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        self.0 += 1;
        json(&("turn", self.0))
    }
}

fn world() -> World {
    World::of(Services::default(), |metrics: &Metrics| {
        let mut registry = Registry::new::<Ledger>(metrics)?;
        registry.add::<Plain>()?;
        Ok(registry.routed(|path| path.as_str().starts_with("/plain").then(|| "plain".to_owned())))
    })
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

#[tokio::test]
async fn st4_a_look_shows_what_is_durable_and_waits_for_nothing() {
    let mut world = world();
    world.ask("/a", "add").await;
    let second = world.begin("/a", "add", ()).await;
    let look = world.begin("/a", "get", ()).await.await.expect("no panic").expect("a look");
    assert_eq!(look, br#"["look",1,1]"#, "the second is not durable, and nothing is committed meanwhile");
    assert_eq!(world.end(second).await.expect("it is committed"), "2");
    assert_eq!(world.ask("/a", "get").await, r#"["look",2,2]"#, "what was acknowledged is seen");
}

#[tokio::test]
async fn st4_a_look_never_shows_what_failed() {
    let mut world = world();
    world.ask("/a", "add").await;
    let second = world.begin("/a", "add", ()).await;
    world.stepper.step(100, Fate::Lost);
    assert_eq!(second.await.expect("no panic").expect_err("it failed").code(), Code::CommitUnknown);
    assert_eq!(world.ask("/a", "get").await, r#"["look",1,1]"#);
}

#[tokio::test]
async fn st4_what_deletes_is_waited_for() {
    let mut world = world();
    world.ask("/a", "add").await;
    let clear = world.begin("/a", "clear", ()).await;
    let get = world.begin("/a", "get", ()).await;
    assert_eq!(world.end(get).await.expect("an answer"), r#"["turn",1,null]"#, "the rows may be gone or not");
    world.end(clear).await.expect("it is committed");
    assert_eq!(world.ask("/a", "get").await, r#"["look",1,null]"#);

    let namespace = world.namespace.clone();
    let delete = world.namespace.0.spawn(async move { namespace.delete(&path("/a")).await });
    tokio::task::yield_now().await;
    let get = world.begin("/a", "get", ()).await;
    assert_eq!(world.end(get).await.expect("an answer"), r#"["turn",0,null]"#);
    delete.await.expect("no panic").expect("it is deleted");
    assert_eq!(world.ask("/a", "get").await, r#"["turn",0,null]"#, "there is nothing to look at");
}

#[tokio::test]
async fn ob2_only_objects_that_are_stored_and_whose_class_looks_are_looked_at() {
    let mut world = world();
    assert_eq!(world.ask("/new", "get").await, r#"["turn",0,null]"#);
    for expected in [r#"["turn",1]"#, r#"["turn",2]"#] {
        assert_eq!(world.ask("/plain", "get").await, expected);
    }
    world.ask("/a", "add").await;
    let again = world.namespace.call_with_key(&path("/a"), "get", RawValue::NULL.to_owned(), Some("key".into())).await;
    assert_eq!(again.expect("an answer"), br#"["turn",1,1]"#, "a turn knows what was asked before");
}

#[tokio::test]
async fn ob3_a_look_wakes_nobody() {
    let (data, tasks) = (tempfile::tempdir().expect("a directory"), TaskTracker::new());
    let call = async |namespace: &crate::object::Namespace, method: &str| {
        namespace.call(&path("/a"), method, RawValue::NULL.to_owned()).await
    };
    let (namespace, storage) = open::<Ledger>(&data, roomy(), &tasks);
    call(&namespace, "add").await.expect("it is counted");
    storage.close();
    drop((namespace, storage));

    let (namespace, storage) = open::<Ledger>(&data, roomy(), &tasks);
    assert_eq!(call(&namespace, "get").await.expect("a look"), br#"["look",1,1]"#);
    let failed = call(&namespace, "fail").await.expect_err("it fails");
    assert_eq!((failed.code(), failed.message()), (Code::Conflict, "on purpose at /a"));
    assert_eq!(call(&namespace, "panic").await.expect_err("it panics").code(), Code::Internal);
    assert_eq!(call(&namespace, "get").await.expect("a look"), br#"["look",1,1]"#, "nobody else notices");
    assert_eq!((namespace.0.metrics.activations.get(), namespace.0.metrics.panics.get()), (0, 1));
    let classes = namespace.class_metrics("ledger").expect("a class");
    assert!(classes.requests_per_second > 0.0, "it is an event of its class: {classes:?}");
    storage.close();
}

#[tokio::test]
async fn st3_a_look_lists_as_a_turn_does() {
    let (data, tasks) = (tempfile::tempdir().expect("a directory"), TaskTracker::new());
    let (namespace, storage) = open::<Ledger>(&data, roomy(), &tasks);
    let call = async |method: &str, payload: &RawValue, key: Option<Box<str>>| {
        let answer = namespace.call_with_key(&path("/a"), method, payload.to_owned(), key).await;
        String::from_utf8(answer.expect(method)).expect("text")
    };
    call("fill", &to_raw_value(&60).expect("JSON"), None).await;
    for (limit, reverse) in [(1, false), (7, true), (60, false), (1_000, true)] {
        let (mut after, mut seen) = (None, 0);
        loop {
            let page = to_raw_value(&(limit, reverse, &after)).expect("JSON");
            let looked = call("list", &page, None).await;
            assert_eq!(looked, call("list", &page, Some("a turn".into())).await, "{limit} {reverse} {after:?}");
            let (items, cursor): (Vec<(String, u64)>, Option<String>) = serde_json::from_str(&looked).expect("a page");
            seen += items.len();
            after = cursor;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, 60, "{limit} {reverse}");
    }
    storage.close();
}
