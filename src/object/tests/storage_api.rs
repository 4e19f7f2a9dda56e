//! ST1–ST4: rows, lists and transactions, through a class whose turns are scripts, against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::task::TaskTracker;

use super::{open, roomy};
use crate::limits::{KEY_BYTES, ROW_CACHE_BYTES, VALUE_BYTES, WRITE_SET_BYTES, WRITE_SET_ROWS};
use crate::object::{Class, Error, List, Namespace, Options, Turn, json, read, unknown_method};
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::Storage;

/// One step of a turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Step {
    Get(String),
    Put(String, u32),
    /// A value of so many bytes.
    Fill(String, usize),
    Delete(String),
    DeleteAll,
    List {
        start: Option<String>,
        after: Option<String>,
        end: Option<String>,
        prefix: String,
        reverse: bool,
        limit: usize,
    },
    /// A transaction, and whether it fails at its end.
    Transaction(Vec<Step>, bool),
    Fail,
}

/// What a step saw.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Seen {
    Nothing,
    Value(Option<u32>),
    Was(bool),
    Rows(Vec<(String, u32)>, bool),
    Inner(Vec<Seen>),
}

/// A class that does what it is told.
#[derive(Default, Serialize, Deserialize)]
struct Shelf;

impl Class for Shelf {
    const NAME: &'static str = "shelf";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "script" => json(&play(turn, &read::<Vec<Step>>(payload)?)?),
            "wrong" => {
                turn.put("k", "a text")?;
                json(&turn.get::<u64>("k")?)
            }
            "rows" => {
                let count: usize = read(payload)?;
                (0..count).try_for_each(|index| turn.put(&format!("{index:06}"), &index))?;
                json(&count)
            }
            "add" => {
                let count = turn.get::<u64>("count")?.unwrap_or(0) + 1;
                turn.put("count", &count)?;
                json(&count)
            }
            other => Err(unknown_method(other)),
        }
    }
}

fn play(turn: &mut Turn<'_>, steps: &[Step]) -> Result<Vec<Seen>, Error> {
    steps.iter().map(|step| one(turn, step)).collect()
}

fn one(turn: &mut Turn<'_>, step: &Step) -> Result<Seen, Error> {
    Ok(match step {
        Step::Get(key) => Seen::Value(turn.get(key)?),
        Step::Put(key, value) => {
            turn.put(key, value)?;
            Seen::Nothing
        }
        Step::Fill(key, bytes) => {
            turn.put(key, &"x".repeat(*bytes))?;
            Seen::Nothing
        }
        Step::Delete(key) => Seen::Was(turn.delete(key)?),
        Step::DeleteAll => {
            turn.delete_all()?;
            Seen::Nothing
        }
        Step::List { start, after, end, prefix, reverse, limit } => {
            let mut list = List::new().prefix(prefix).limit(*limit);
            list = if *reverse { list.reverse() } else { list };
            list = start.iter().fold(list, List::start);
            list = after.iter().fold(list, List::start_after);
            list = end.iter().fold(list, List::end);
            let page = turn.list::<u32>(list)?;
            Seen::Rows(page.items, page.cursor.is_some())
        }
        Step::Transaction(steps, fails) => {
            let mut seen = Vec::new();
            let result = turn.transaction(|turn| {
                seen = play(turn, steps)?;
                if *fails { Err(Error::conflict("Insufficient funds")) } else { Ok(()) }
            });
            if !fails {
                result?;
            }
            Seen::Inner(seen)
        }
        Step::Fail => return Err(Error::conflict("on purpose")),
    })
}

type Model = BTreeMap<String, u32>;

/// The same with a map.
fn expect(model: &mut Model, steps: &[Step]) -> Result<Vec<Seen>, ()> {
    steps.iter().map(|step| expect_one(model, step)).collect()
}

fn expect_one(model: &mut Model, step: &Step) -> Result<Seen, ()> {
    Ok(match step {
        Step::Get(key) => Seen::Value(model.get(key).copied()),
        Step::Put(key, value) => {
            model.insert(key.clone(), *value);
            Seen::Nothing
        }
        Step::Fill(..) => Seen::Nothing,
        Step::Delete(key) => Seen::Was(model.remove(key).is_some()),
        Step::DeleteAll => {
            model.clear();
            Seen::Nothing
        }
        Step::List { start, after, end, prefix, reverse, limit } => {
            let wanted = |key: &String| {
                key.starts_with(prefix)
                    && start.as_ref().is_none_or(|start| key >= start)
                    && after.as_ref().is_none_or(|after| key > after)
                    && end.as_ref().is_none_or(|end| key < end)
            };
            let mut rows: Vec<_> = model.iter().filter(|(key, _)| wanted(key)).map(|(k, v)| (k.clone(), *v)).collect();
            if *reverse {
                rows.reverse();
            }
            let more = rows.len() > *limit;
            rows.truncate(*limit);
            Seen::Rows(rows, more)
        }
        Step::Transaction(steps, fails) => {
            let mut copy = model.clone();
            let seen = expect(&mut copy, steps)?;
            if !fails {
                *model = copy;
            }
            Seen::Inner(seen)
        }
        Step::Fail => return Err(()),
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,3}", "[a-d]", Just("a\u{D7FF}".to_owned()), Just("\u{10FFFF}".to_owned())]
}

fn step() -> impl Strategy<Value = Step> {
    let list = (
        prop_oneof![Just((None, None)), key().prop_map(|k| (Some(k), None)), key().prop_map(|k| (None, Some(k)))],
        prop::option::of(key()),
        prop_oneof![Just(String::new()), key()],
        any::<bool>(),
        1usize..6,
    );
    let leaf = prop_oneof![
        2 => key().prop_map(Step::Get),
        5 => (key(), any::<u32>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Delete),
        1 => Just(Step::DeleteAll),
        4 => list.prop_map(|((start, after), end, prefix, reverse, limit)| {
            Step::List { start, after, end, prefix, reverse, limit }
        }),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        (prop::collection::vec(inner, 0..4), any::<bool>()).prop_map(|(steps, fails)| Step::Transaction(steps, fails))
    })
}

/// What happens between two turns.
#[derive(Debug, Clone, Copy)]
enum Pause {
    None,
    Hibernate,
    Reopen,
}

fn turns() -> impl Strategy<Value = Vec<(Vec<Step>, bool, Pause)>> {
    let pause = prop_oneof![3 => Just(Pause::None), 2 => Just(Pause::Hibernate), 1 => Just(Pause::Reopen)];
    prop::collection::vec((prop::collection::vec(step(), 0..8), prop::bool::weighted(0.15), pause), 1..8)
}

struct World {
    namespace: Namespace,
    storage: Storage,
    data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let (namespace, storage) = open::<Shelf>(&data, roomy(), &TaskTracker::new());
        Self { namespace, storage, data }
    }

    fn reopen(&mut self, storage_per_object: u64) {
        self.storage.close();
        let options = Options { storage_per_object, ..roomy() };
        (self.namespace, self.storage) = open::<Shelf>(&self.data, options, &TaskTracker::new());
    }

    async fn call<T: Serialize>(&self, method: &str, payload: T) -> Result<String, Error> {
        let payload = to_raw_value(&payload).expect("JSON");
        let answer = self.namespace.call(&path(), method, payload).await?;
        Ok(String::from_utf8(answer).expect("text"))
    }

    async fn script(&self, steps: &[Step]) -> Result<Vec<Seen>, Error> {
        Ok(serde_json::from_str(&self.call("script", steps).await?).expect("what was seen"))
    }

    /// Puts the object to sleep; its last turn was answered, so nothing is on its way.
    fn hibernate(&self) {
        if let Some(slot) = self.namespace.0.find(path().key()) {
            assert!(self.namespace.0.hibernate(&slot));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.close();
    }
}

fn path() -> ObjectPath {
    ObjectPath::parse("/a/shelf").expect("a path")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn st1_st2_st4_rows_behave_like_a_map(turns in turns()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            let mut model = Model::new();
            for (mut steps, fails, pause) in turns {
                if fails {
                    steps.push(Step::Fail);
                }
                let mut copy = model.clone();
                match expect(&mut copy, &steps) {
                    Ok(seen) => {
                        prop_assert_eq!(world.script(&steps).await.expect("it succeeds"), seen);
                        model = copy;
                    }
                    Err(()) => prop_assert!(world.script(&steps).await.is_err()),
                }
                match pause {
                    Pause::None => {}
                    Pause::Hibernate => world.hibernate(),
                    Pause::Reopen => world.reopen(u64::MAX),
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn st2_a_list_longer_than_the_cache_is_read_page_by_page() {
    let world = World::new();
    world.call("rows", 2_500).await.expect("rows");
    world.hibernate();
    let list = |after: Option<String>, reverse: bool| Step::List {
        start: None,
        after: after.clone().filter(|_| !reverse),
        end: after.filter(|_| reverse),
        prefix: String::new(),
        reverse,
        limit: 1_000,
    };
    for reverse in [false, true] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let seen = world.script(&[list(after, reverse)]).await.expect("a page");
            let [Seen::Rows(rows, more)] = &seen[..] else { panic!("{seen:?}") };
            all.extend(rows.iter().map(|(_, value)| *value));
            if !more {
                break;
            }
            after = rows.last().map(|(key, _)| key.clone());
        }
        let mut expected: Vec<u32> = (0..2_500).collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(all, expected);
    }
}

#[tokio::test]
async fn st2_bad_lists_are_refused() {
    let world = World::new();
    let list = |start: Option<&str>, after: Option<&str>, limit| {
        let text = |key: &str| key.to_owned();
        let (start, after) = (start.map(text), after.map(text));
        [Step::List { start, after, end: None, prefix: String::new(), reverse: false, limit }]
    };
    for (steps, text) in [
        (list(Some("a"), Some("a"), 1), "list: start and start_after exclude each other"),
        (list(None, None, 0), "list: limit is 0; it must be 1 to 1000"),
        (list(None, None, 1_001), "list: limit is 1001; it must be 1 to 1000"),
    ] {
        let error = world.script(&steps).await.expect_err("it is refused");
        assert_eq!((error.code(), error.message()), (Code::BadRequest, text));
    }
    let inverted = Step::List {
        start: Some("b".into()),
        after: None,
        end: Some("a".into()),
        prefix: String::new(),
        reverse: false,
        limit: 5,
    };
    assert_eq!(world.script(&[inverted]).await.expect("a list"), [Seen::Rows(vec![], false)]);
}

#[tokio::test]
async fn st3_a_bound_that_is_passed_is_named_and_nothing_is_written() {
    let world = World::new();
    let before = [Step::Put("before".into(), 1)];
    for (step, text) in [
        (Step::Put(String::new(), 1), "a key must not be empty".to_owned()),
        (Step::Put("k".repeat(KEY_BYTES + 1), 1), "a key is 2049 bytes; the limit is 2048".to_owned()),
        (Step::Fill("k".into(), VALUE_BYTES), "the value of `k` is 2097157 bytes; the limit is 2097152".to_owned()),
    ] {
        let error = world.script(&[before[0].clone(), step]).await.expect_err("it is refused");
        assert_eq!(error.message(), text);
    }
    let error = world.call("rows", WRITE_SET_ROWS + 1).await.expect_err("too many rows");
    assert!(error.message().contains("more than 20000 rows"), "{error}");
    let fills: Vec<_> = (0..9).map(|index| Step::Fill(index.to_string(), VALUE_BYTES - 64)).collect();
    assert!(fills.len() * (VALUE_BYTES - 64) > WRITE_SET_BYTES);
    let error = world.script(&fills).await.expect_err("too many bytes");
    assert_eq!(error.code(), Code::TooLarge);
    assert!(error.message().contains("more than 16777216 bytes"), "{error}");
    assert_eq!(world.script(&[Step::Get("before".into())]).await.expect("a value"), [Seen::Value(None)]);
    assert_eq!(world.storage.object_count(), 0, "nothing was stored");
    world.call("rows", WRITE_SET_ROWS).await.expect("exactly the bound is taken");
}

#[tokio::test]
async fn st3_the_storage_of_an_object_is_bounded_and_can_be_freed() {
    let mut world = World::new();
    world.reopen(10_000);
    let fill = |key: &str| [Step::Fill(key.into(), 4_000)];
    world.script(&fill("a")).await.expect("room");
    world.script(&fill("b")).await.expect("room");
    let error = world.script(&fill("c")).await.expect_err("no room");
    assert_eq!(error.code(), Code::StorageFull);
    assert!(error.message().starts_with("storage full: /a/shelf would hold 120"), "{error}");
    world.script(&fill("b")).await.expect("what is there may be replaced");
    world.hibernate();
    assert_eq!(world.script(&[Step::Delete("a".into())]).await.expect("freed"), [Seen::Was(true)]);
    world.script(&fill("c")).await.expect("room again");
    world.script(&[Step::DeleteAll]).await.expect("freed");
    world.script(&fill("a")).await.expect("room");
    world.script(&fill("b")).await.expect("room");
}

#[tokio::test]
async fn st1_a_value_of_another_type_is_a_clear_error() {
    let world = World::new();
    let error = world.call("wrong", ()).await.expect_err("it is no number");
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().starts_with("the value of `k` is no u64: "), "{error}");
}

#[tokio::test]
async fn rows_in_memory_are_bounded_and_what_is_evicted_is_read_again() {
    let world = World::new();
    let count = 3 * ROW_CACHE_BYTES / 100_000;
    for index in 0..count {
        world.script(&[Step::Fill(format!("{index:03}"), 100_000)]).await.expect("room");
    }
    // The next run finds too much, and that all of it is durable.
    world.script(&[Step::Put("small".into(), 7)]).await.expect("room");
    let slot = world.namespace.0.find(path().key()).expect("a slot");
    let held = slot.core.lock().body_mut().and_then(|body| body.stored.as_ref()).map(|stored| stored.rows.bytes());
    assert!(held.expect("it is in memory") < 2 * ROW_CACHE_BYTES, "{held:?}");
    for index in 0..count {
        let was = world.script(&[Step::Delete(format!("{index:03}"))]).await.expect("deleted");
        assert_eq!(was, [Seen::Was(true)], "{index}");
    }
    assert_eq!(world.script(&[Step::Get("small".into())]).await.expect("a value"), [Seen::Value(Some(7))]);
}

#[tokio::test]
async fn st4_a_counter_in_a_row_counts_every_turn() {
    let mut world = World::new();
    for expected in 1..=20 {
        assert_eq!(world.call("add", ()).await.expect("counted"), expected.to_string());
    }
    world.reopen(u64::MAX);
    assert_eq!(world.call("add", ()).await.expect("counted"), "21");
}
