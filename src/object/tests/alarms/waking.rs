//! Who is woken: many at once, deleted ones, those that cannot start.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use super::*;
use crate::limits::{WAKE_AGAIN, WAKES_AT_ONCE};
use crate::object::deferred::Asker;
use crate::object::event::Event;

#[tokio::test(start_paused = true)]
async fn al2_ten_thousand_that_are_due_at_once_are_each_fired_once() {
    let mut world = World::new();
    let mut set = tokio::task::JoinSet::new();
    for index in 0..10_000_u64 {
        let namespace = world.namespace.clone();
        set.spawn(async move {
            let path = ObjectPath::parse(&format!("/many/{index}")).expect("a path");
            // Few times, so that a chunk ends within many of one time.
            let at = START + 1_000 + index % 3;
            namespace.call(&path, "set", to_raw_value(&at).expect("JSON")).await.expect("set");
        });
    }
    set.join_all().await;
    world.restart(1_000).await;
    world.advance(2).await;
    let mut runs = BTreeMap::new();
    for _ in 0..10_000 {
        *runs.entry(world.next().await.path).or_insert(0) += 1;
        let places = world.namespace.0.wakes.places.available_permits();
        assert!(places <= WAKES_AT_ONCE, "{places}");
    }
    assert_eq!(runs.len(), 10_000);
    world.settled(None).await;
    world.advance(60_000).await;
    world.nothing_runs().await;
    assert_eq!(world.namespace.0.wakes.places.available_permits(), WAKES_AT_ONCE, "each place was given back");
    assert_eq!(world.metrics.alarm_lag_seconds.get_sample_count(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn al1_a_deleted_object_has_no_alarm_and_the_next_one_at_its_path_neither() {
    let mut world = World::new();
    world.call_at("/top/a", "set", START + 1_000).await.expect("set");
    world.call_at("/top/a", "schedule", ("tick", Tick::Every(1_000))).await.expect("set");
    world.call_at("/top/b", "set", START + 1_000).await.expect("set");
    world.hibernate("/top/b").await;
    world.namespace.delete(&ObjectPath::parse("/top").expect("a path")).await.expect("a delete");
    assert_eq!(world.storage.next_wake().expect("it is read"), None);
    assert_eq!(world.call_at("/top/a", "get", ()).await.expect("an answer"), "null");
    world.call_at("/top/a", "put", ()).await.expect("it is a new one");
    world.advance(60_000).await;
    world.nothing_runs().await;
    world.call_at("/top/a", "set", world.now() + 1_000).await.expect("set");
    world.advance(1_000).await;
    assert_eq!(world.next().await.path, "/top/a");
}

#[tokio::test(start_paused = true)]
async fn al2_an_object_that_cannot_start_is_told_again() {
    let mut world = World::new();
    world.ok("set", START + 1_000).await;
    world.ok("set", START + 1_000).await;
    world.hibernate("/a").await;
    BROKEN.set(true);
    world.advance(1_000).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.metrics.activations.get(), 2, "it was tried, once");
    BROKEN.set(false);
    world.nothing_runs().await;
    world.advance(u64::try_from(WAKE_AGAIN.as_millis()).expect("a time")).await;
    world.alarm_runs(0).await;
    world.settled(None).await;
    world.advance(60_000).await;
    world.nothing_runs().await;
}

#[tokio::test(start_paused = true)]
async fn al2_an_alarm_is_still_there_when_a_turn_before_it_panics() {
    let mut world = World::new();
    world.ok("set", START + 9_000).await;
    // In one run, so that what the first has changed is committed after the second has panicked.
    let slot = world.namespace.0.find("/a/").expect("it is awake");
    let mut answers = Vec::new();
    let mut call = |method: &str, payload: u64| {
        let (reply, answer) = oneshot::channel();
        answers.push(answer);
        Event::Call {
            method: method.into(),
            payload: to_raw_value(&payload).expect("JSON"),
            asker: Asker::Edge(reply, None),
        }
    };
    let mut events = VecDeque::from([call("set", START + 5_000), call("deleteAndPanic", 0)]);
    world.namespace.0.offer(&slot, &mut events, None);
    let results: Vec<_> = answers.into_iter().map(|mut answer| answer.try_recv().expect("it was run").1).collect();
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!(world.alarm().await, Some(START + 5_000));
    let listed = world.namespace.list(&ObjectPath::root(), None, 10).expect("a list");
    assert_eq!(listed.iter().map(|object| (object.path.as_str(), object.children)).collect::<Vec<_>>(), [("/a", 0)]);
    world.restart(0).await;
    assert_eq!(world.ok("keys", ()).await, "0");
    world.advance(5_000).await;
    world.alarm_runs(0).await;
}

#[tokio::test(start_paused = true)]
async fn ob3_a_wake_up_too_many_does_not_start_the_class() {
    let mut world = World::new();
    world.ok("set", START + 60_000).await;
    world.hibernate("/a").await;
    let path = ObjectPath::parse("/a").expect("a path");
    for path in [path, ObjectPath::parse("/nobody").expect("a path")] {
        let place = world.namespace.0.wakes.place().await.expect("a place");
        world.namespace.0.post_wake(&path, place);
    }
    assert_eq!(world.metrics.activations.get(), 1);
    assert!(world.namespace.0.find("/nobody/").is_none(), "it left nothing behind");
    world.nothing_runs().await;
    world.advance(60_000).await;
    world.alarm_runs(0).await;
}

#[tokio::test(start_paused = true)]
async fn ob4_what_else_is_due_runs_in_fresh_memory_when_one_of_it_panics() {
    let mut world = World::new();
    world.ok("ask", 5_000).await;
    world.ok("set", START + 5_000).await;
    world.advance(5_000).await;
    world.alarm_runs(0).await;
    world.settled(None).await;
    assert_eq!(world.metrics.panics.get(), 1);
    assert_eq!(world.ok("runs", ()).await, "1");
}
