//! What a class may count on, with a class that misbehaves on request and real storage below.

mod alarms;
mod broadcast;
mod bunches;
mod causes;
mod choices;
mod ends;
mod looks;
mod memory;
mod promises;
mod resets;
mod sockets;
mod stepped;
mod storage_api;
mod talk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::task::TaskTracker;

use super::{Class, Error, Namespace, Options, Registry, Services, Turn, json, unknown_method};
use crate::metrics::Metrics;
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::{Change, Code};
use crate::storage::{self, Storage};

/// A counter that can also fail in every way.
#[derive(Default, Serialize, Deserialize)]
struct Moody {
    count: u64,
    #[serde(skip)]
    seen: u64,
}

impl Class for Moody {
    const NAME: &'static str = "moody";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "add" => {
                self.count += 1;
                self.seen += 1;
                turn.publish(Change::field("count", self.count));
                json(&self.count)
            }
            "addAndFail" => {
                self.count += 100;
                turn.create_child(&ObjectName::parse("lost").expect("a name"))?;
                Err(Error::conflict("on purpose"))
            }
            "addAndPanic" => {
                self.count += 100;
                panic!("on purpose");
            }
            "grow" => {
                self.count = u64::MAX;
                let names: u32 = serde_json::from_str(payload.get()).expect("a number");
                for index in 0..names {
                    turn.create_child(&ObjectName::parse(&format!("child{index}")).expect("a name"))?;
                }
                json(&turn.child_count())
            }
            "seen" => json(&self.seen),
            "get" => json(&self.count),
            other => Err(unknown_method(other)),
        }
    }
}

/// Bounds that a test does not meet by chance.
fn roomy() -> Options {
    Options {
        children_per_object: 1 << 20,
        sockets_per_object: 1 << 10,
        storage_per_object: 1 << 30,
        objects: 1 << 20,
        sockets: 1 << 20,
    }
}

/// Objects of one class, on real storage.
fn open<C: Class>(data: &tempfile::TempDir, options: Options, tasks: &TaskTracker) -> (Namespace, Storage) {
    let metrics = Metrics::new();
    let files = storage::Options { data_dir: data.path().to_owned(), ..storage::Options::default() };
    let storage = Storage::open(files, &metrics).expect("storage opens");
    let registry = Registry::new::<C>(&metrics).expect("a registry");
    (Namespace::new(storage.clone(), registry, options, metrics, Services::default(), tasks), storage)
}

struct World {
    namespace: Namespace,
    storage: Storage,
    metrics: Metrics,
    _data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let options = Options {
            children_per_object: 5,
            sockets_per_object: 2,
            storage_per_object: 400,
            objects: 100,
            sockets: 3,
        };
        Self::with(options)
    }

    fn with(options: Options) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let metrics = Metrics::new();
        let storage = storage::Options { data_dir: data.path().to_owned(), ..storage::Options::default() };
        let storage = Storage::open(storage, &metrics).expect("storage opens");
        let registry = Registry::new::<Moody>(&metrics).expect("a registry");
        let namespace = Namespace::new(
            storage.clone(),
            registry,
            options,
            metrics.clone(),
            Services::default(),
            &TaskTracker::new(),
        );
        Self { namespace, storage, metrics, _data: data }
    }

    async fn call<T: Serialize>(&self, path: &str, method: &str, payload: T) -> Result<String, Error> {
        let path = ObjectPath::parse(path).expect("a path");
        let payload = to_raw_value(&payload).expect("JSON");
        let answer = self.namespace.call(&path, method, payload).await?;
        Ok(String::from_utf8(answer).expect("text"))
    }

    async fn ok(&self, path: &str, method: &str) -> String {
        self.call(path, method, ()).await.expect(method)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ob4_a_handlers_error_drops_its_turn_and_nothing_else() {
    let world = World::new();
    assert_eq!(world.ok("/a", "add").await, "1");
    let error = world.call("/a", "addAndFail", ()).await.expect_err("it fails");
    assert_eq!((error.code(), error.message()), (Code::Conflict, "on purpose"));
    assert_eq!(world.ok("/a", "add").await, "2");
    let listed = world.namespace.list(&ObjectPath::root(), None, 10).expect("a list");
    assert_eq!(listed.iter().map(|object| (object.path.as_str(), object.children)).collect::<Vec<_>>(), [("/a", 0)]);
    assert_eq!(world.metrics.activations.get(), 1, "the incarnation lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn ob4_a_panic_resets_that_object_and_loses_nothing_acknowledged() {
    let world = World::new();
    for expected in 1..=3 {
        assert_eq!(world.ok("/a", "add").await, expected.to_string());
    }
    world.ok("/b", "add").await;
    let error = world.call("/a", "addAndPanic", ()).await.expect_err("it panics");
    assert_eq!(error.code(), Code::Internal);
    assert_eq!(world.ok("/a", "get").await, "3");
    assert_eq!(world.ok("/a", "seen").await, "0", "caches start anew");
    assert_eq!(world.ok("/b", "seen").await, "1", "nobody else notices");
    assert_eq!(world.metrics.panics.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ob4_a_panic_in_the_middle_of_a_burst_keeps_what_came_before_and_after() {
    let world = Arc::new(World::new());
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..200 {
        let world = Arc::clone(&world);
        calls.spawn(async move {
            let method = if index % 10 == 5 { "addAndPanic" } else { "add" };
            world.call("/a", method, ()).await.is_ok()
        });
    }
    let acknowledged = calls.join_all().await.into_iter().filter(|ok| *ok).count();
    assert_eq!(acknowledged, 180);
    assert_eq!(world.ok("/a", "get").await, "180");
}

#[tokio::test(flavor = "multi_thread")]
async fn fx6_a_turn_that_exceeds_a_limit_is_dropped_whole() {
    let world = World::new();
    let error = world.call("/a", "grow", 6).await.expect_err("six children are too many");
    assert_eq!(error.code(), Code::Conflict);
    assert!(error.message().contains("the limit is 5"), "{error}");
    assert_eq!(world.ok("/a", "get").await, "0");
    assert_eq!(world.call("/a", "grow", 5).await.expect("five are allowed"), "5");

    let long = "/".to_owned() + &"x".repeat(30) + "/" + &"y".repeat(30) + "/" + &"z".repeat(30);
    let error = world.call(&long, "grow", 5).await.expect_err("their names are too long");
    assert_eq!(error.code(), Code::StorageFull);
    assert!(error.message().starts_with("storage full"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fx6_there_are_at_most_so_many_objects() {
    let world = World::with(Options {
        children_per_object: 5,
        sockets_per_object: 2,
        storage_per_object: 1 << 20,
        objects: 2,
        sockets: 3,
    });
    world.ok("/a", "add").await;
    world.ok("/b", "add").await;
    let error = world.call("/c", "add", ()).await.expect_err("a third object");
    assert_eq!(error.code(), Code::Conflict);
    assert_eq!(world.ok("/a", "add").await, "2", "those that exist go on");
    assert_eq!(world.ok("/c", "get").await, "0", "looking is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn fp1_looking_at_a_path_leaves_nothing_in_memory() {
    let world = World::new();
    for index in 0..50 {
        assert_eq!(world.ok(&format!("/crawled/{index}"), "get").await, "0");
    }
    world.ok("/kept", "add").await;
    let active = world.metrics.objects.with_label_values(&["moody", "active"]);
    assert_eq!(active.get(), 1);
    assert_eq!(world.namespace.list(&ObjectPath::root(), None, 10).expect("a list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fp10_a_path_is_as_new_after_a_delete_under_load() {
    let world = Arc::new(World::new());
    let path = ObjectPath::parse("/top/a").expect("a path");
    for _ in 0..20 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let world = Arc::clone(&world);
            calls.spawn(async move { drop(world.call("/top/a", "add", ()).await) });
        }
        world.namespace.delete(&path).await.expect("a delete");
        calls.join_all().await;
        world.namespace.delete(&path).await.expect("a delete");
        assert_eq!(world.ok("/top/a", "get").await, "0");
        assert_eq!(world.ok("/top/a", "add").await, "1");
    }
}
