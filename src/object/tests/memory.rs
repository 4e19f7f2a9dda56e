//! OB3, OB6, CO2: what lives in memory alone, objects and questions, and memory that is given back at once.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::roomy;
use crate::limits::{DEFERRED, IN_MEMORY_ASKS};
use crate::metrics::Metrics;
use crate::object::{
    Ask, Class, Deferred, Error, Jobs, Namespace, Options, Registry, Replied, Services, Turn, When, json, read,
    unknown_method,
};
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::Code;
use crate::storage::{self, Storage};

/// One that asks, and is stored.
#[derive(Default, Serialize, Deserialize)]
struct Boss {
    count: u64,
    /// The note, and the answer or error; gone with the memory.
    #[serde(skip)]
    replies: Vec<(u64, String)>,
}

/// A call: whom, what, how long it waits, and its note.
type Order = (String, String, u64, u64);

impl Class for Boss {
    const NAME: &'static str = "boss";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "count" => {
                self.count += 1;
                json(&self.count)
            }
            "get" => json(&self.count),
            "replies" => json(&self.replies),
            "ask" | "spawn" => {
                let (to, asked, timeout, note): Order = read(payload)?;
                let ask = Ask::new().in_memory().timeout(timeout).note(&note);
                let ask = if method == "ask" { ask } else { ask.spawn_as("brief") };
                json(&turn.call(&path(&to), &asked, &note, ask)?)
            }
            "spawnAs" => {
                let (to, class): (String, String) = read(payload)?;
                json(&turn.call(&path(&to), "get", &0, Ask::new().in_memory().spawn_as(class))?)
            }
            "many" => {
                let (to, count): (String, u64) = read(payload)?;
                for note in 0..count {
                    turn.call(&path(&to), "later", &note, Ask::new().in_memory().note(&note))?;
                }
                json(&())
            }
            "swarm" => {
                let (first, last): (u64, u64) = read(payload)?;
                for number in first..last {
                    let ask = Ask::new().in_memory().spawn_as("brief").note(&number);
                    turn.call(&turn.path().child(&name(&format!("w{number}"))), "work", &number, ask)?;
                }
                json(&())
            }
            "run" => {
                let job: String = read(payload)?;
                json(&turn.run(&job, &7, Ask::new().in_memory().note(&7))?)
            }
            "cancel" => json(&turn.cancel(read(payload)?)),
            "askAndCancel" => {
                let id = turn.call(&path("/brief/x"), "later", &(), Ask::new().in_memory())?;
                let waited = turn.waits_for(id);
                json(&(waited, turn.cancel(id), turn.waits_for(id)))
            }
            "waitsFor" => json(&turn.waits_for(read(payload)?)),
            "leave" => {
                turn.hibernate();
                json(&self.replies.len())
            }
            "countAndLeave" => {
                self.count += 1;
                turn.hibernate();
                json(&self.count)
            }
            "list" => json(&turn.create_child_as(&name("x"), &read::<String>(payload)?)?.as_str()),
            "panic" => panic!("on purpose"),
            other => Err(unknown_method(other)),
        }
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        self.replies.push((read(reply.note)?, text(&reply.result)));
        Ok(())
    }
}

/// One that lives in memory alone.
#[derive(Default, Serialize, Deserialize)]
struct Brief {
    count: u64,
    owed: Vec<Deferred>,
}

impl Class for Brief {
    const NAME: &'static str = "brief";
    const IN_MEMORY: bool = true;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "add" => {
                self.count += 1;
                json(&self.count)
            }
            "get" => json(&self.count),
            "addAndFail" => {
                self.count += 1;
                Err(Error::conflict("on purpose"))
            }
            "work" | "later" => {
                self.count += 1;
                self.owed.push(turn.defer_for(60_000)?);
                if method == "work" {
                    turn.run("echo", payload, Ask::new())?;
                }
                json(&())
            }
            "owe" => {
                self.owed.push(turn.defer_for(read(payload)?)?);
                json(&())
            }
            "answer" => self.answer(turn, json(&"at last")),
            "leave" => {
                turn.hibernate();
                json(&self.count)
            }
            "hasJob" => json(&turn.has_job(&read::<String>(payload)?)),
            "panic" => panic!("on purpose"),
            "put" => turn.put("k", &1).and_then(|()| json(&())),
            "delete" => json(&(turn.delete("k")?, turn.delete_all()?, turn.delete_alarm())),
            "alarm" => turn.set_alarm(0).and_then(|()| json(&())),
            "schedule" => turn.set_schedule("s", When::Every(60_000)).and_then(|()| json(&())),
            "child" => turn.create_child(&name("x")).and_then(|_| json(&())),
            "send" => turn.send(&path("/b"), &1).and_then(|()| json(&())),
            other => Err(unknown_method(other)),
        }
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let answer = reply.result.clone().map(|answer| answer.get().as_bytes().to_vec());
        self.answer(turn, answer)?;
        turn.hibernate();
        Ok(())
    }
}

impl Brief {
    fn answer(&mut self, turn: &mut Turn<'_>, answer: Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
        let owed = self.owed.pop().ok_or_else(|| Error::conflict("nothing is owed"))?;
        json(&turn.answer_deferred(&owed, answer))
    }
}

fn text(result: &Result<&RawValue, Error>) -> String {
    result.as_ref().map_or_else(|error| error.message().to_owned(), |answer| answer.get().to_owned())
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).expect("a name")
}

struct World {
    namespace: Namespace,
    storage: Storage,
    metrics: Metrics,
    tasks: JoinSet<()>,
    data: Option<tempfile::TempDir>,
}

impl World {
    fn new() -> Self {
        Self::on(tempfile::tempdir().expect("a directory"))
    }

    fn on(data: tempfile::TempDir) -> Self {
        let metrics = Metrics::new();
        let files = storage::Options { data_dir: data.path().to_owned(), ..storage::Options::default() };
        let storage = Storage::open(files, &metrics).expect("storage opens");
        let mut registry = Registry::new::<Boss>(&metrics).expect("a registry");
        registry.add::<Brief>().expect("another class");
        let registry = registry.routed(|path| path.as_str().starts_with("/brief").then(|| "brief".to_owned()));
        let jobs = Jobs::default()
            .with("echo", |input| async move { json(&input) })
            .with("forever", |_| std::future::pending());
        let services = Services { jobs, ..Services::default() };
        let options = Options { children_per_object: 10, ..roomy() };
        let namespace =
            Namespace::new(storage.clone(), registry, options, metrics.clone(), services, &TaskTracker::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(namespace.deliveries());
        tasks.spawn(namespace.hibernation());
        Self { namespace, storage, metrics, tasks, data: Some(data) }
    }

    /// The same data in a new server.
    fn reopen(mut self) -> Self {
        self.tasks.abort_all();
        self.namespace.stop();
        self.storage.close();
        Self::on(self.data.take().expect("a directory"))
    }

    async fn call<T: Serialize>(&self, at: &str, method: &str, payload: T) -> Result<String, Error> {
        let answer = self.namespace.call(&path(at), method, to_raw_value(&payload).expect("JSON")).await?;
        Ok(String::from_utf8(answer).expect("text"))
    }

    async fn ok<T: Serialize>(&self, at: &str, method: &str, payload: T) -> String {
        self.call(at, method, payload).await.expect(method)
    }

    /// Asks until the answer is the one that is expected.
    async fn becomes(&self, at: &str, method: &str, expected: impl Serialize) {
        let expected = serde_json::to_string(&expected).expect("JSON");
        until(async || self.ok(at, method, ()).await == expected, || format!("{at} {method} is not {expected}")).await;
    }

    fn is_in_memory(&self, at: &str) -> bool {
        self.namespace.0.find(path(at).key()).is_some()
    }

    /// Waits until nothing of an object is in memory.
    async fn goes(&self, at: &str) {
        until(async || !self.is_in_memory(at), || format!("{at} stays in memory")).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.close();
    }
}

/// Waits for a condition; less than the time after which an object hibernates by itself.
async fn until(mut what: impl AsyncFnMut() -> bool, failure: impl Fn() -> String) {
    let waited = tokio::time::timeout(Duration::from_secs(8), async {
        while !what().await {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{}", failure());
}

#[tokio::test(flavor = "multi_thread")]
async fn ob3_an_object_in_memory_is_never_written() {
    let world = World::new();
    assert_eq!(world.ok("/brief/a", "add", ()).await, "1");
    world.call("/brief/a", "addAndFail", ()).await.expect_err("it fails");
    assert_eq!(world.ok("/brief/a", "add", ()).await, "2", "a turn that failed is taken back");
    for method in ["put", "alarm", "schedule", "child", "send"] {
        let error = world.call("/brief/a", method, ()).await.expect_err(method);
        assert_eq!(error.code(), Code::BadRequest, "{error}");
        assert!(error.message().contains("/brief/a lives in memory alone, as its class `brief` does"), "{error}");
    }
    assert_eq!(world.ok("/brief/a", "delete", ()).await, "[false,null,false]");
    assert_eq!(world.namespace.list(&ObjectPath::root(), None, 10).expect("a list"), []);
    assert_eq!((world.storage.object_count(), world.metrics.commit_batch_size.get_sample_count()), (0, 0));
    let world = world.reopen();
    assert_eq!(world.ok("/brief/a", "get", ()).await, "0");
    assert!(!world.is_in_memory("/brief/a"), "looking leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn ob3_an_object_in_memory_cannot_be_listed_and_goes_with_a_deletion() {
    let world = World::new();
    let error = world.call("/a", "list", "brief").await.expect_err("it cannot be listed");
    assert_eq!(error.code(), Code::BadRequest);
    assert!(error.message().contains("live in memory alone"), "{error}");
    assert_eq!(world.ok("/brief/a/b", "add", ()).await, "1");
    world.namespace.delete(&path("/brief")).await.expect("a deletion");
    assert_eq!(world.ok("/brief/a/b", "get", ()).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_a_call_brings_an_object_to_life_that_answers_and_is_gone() {
    let world = World::new();
    world.ok("/a", "count", ()).await;
    world.ok("/a", "spawn", ("/a/w", "work", 10_000, 5)).await;
    world.becomes("/a", "replies", json!([[5, "5"]])).await;
    world.goes("/a/w").await;
    assert_eq!(world.storage.object_count(), 1);
    // What is stored goes before what the caller names.
    world.ok("/stored", "count", ()).await;
    world.ok("/a", "spawn", ("/stored", "get", 10_000, 6)).await;
    world.becomes("/a", "replies", json!([[5, "5"], [6, "1"]])).await;
    let error = world.call("/a", "spawnAs", ("/a/w", "nothing")).await.expect_err("no such class");
    assert_eq!(error.code(), Code::BadRequest);
    assert!(error.message().starts_with("Unknown class: nothing; there are "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_a_question_in_memory_keeps_the_object_awake_and_costs_no_write() {
    let world = World::new();
    world.ok("/a", "count", ()).await;
    world.ok("/a", "ask", ("/brief/b", "later", 60_000, 1)).await;
    let slot = world.namespace.0.slot(&path("/a"));
    assert!(!world.namespace.0.hibernate(&slot), "it waits");
    let owing = world.namespace.0.slot(&path("/brief/b"));
    until(async || world.namespace.0.deferred.owes(&path("/brief/b")), || "nothing is owed".to_owned()).await;
    assert!(!world.namespace.0.hibernate(&owing), "somebody waits for it");
    assert_eq!(world.ok("/brief/b", "answer", ()).await, "true");
    world.becomes("/a", "replies", json!([[1, r#""at last""#]])).await;
    assert_eq!(world.metrics.commit_batch_size.get_sample_count(), 1);
    until(async || world.namespace.0.hibernate(&owing), || "it stays".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_a_question_in_memory_times_out_by_itself() {
    let world = World::new();
    world.ok("/a", "count", ()).await;
    let began = std::time::Instant::now();
    world.ok("/a", "ask", ("/brief/b", "later", 100, 1)).await;
    world.ok("/a", "ask", ("/brief/b", "later", 50, 2)).await;
    let timed_out = Error::timed_out("/brief/b").message().to_owned();
    world.becomes("/a", "replies", json!([[2, timed_out], [1, timed_out]])).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(4), "{took:?}");
    // An answer that is owed has a time of its own, too.
    let error = world.call("/brief/c", "owe", 50).await.expect_err("nobody answers");
    assert_eq!(error.message(), Error::timed_out("/brief/c").message());
    assert!(began.elapsed() < Duration::from_secs(4));
    for time in [0, 86_400_001] {
        let error = world.call("/brief/c", "owe", time).await.expect_err("no such time");
        assert_eq!(error.code(), Code::BadRequest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_questions_in_memory_have_a_bound_of_their_own() {
    let world = World::new();
    for index in 0..IN_MEMORY_ASKS / DEFERRED {
        world.ok("/a", "many", (format!("/brief/{index}"), DEFERRED)).await;
    }
    let error = world.call("/a", "many", ("/brief/b", 1)).await.expect_err("too many");
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.message().starts_with("in-memory limit reached: /a waits for 10000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ob4_a_panic_forgets_what_was_asked_in_memory_and_drops_its_jobs() {
    let world = World::new();
    world.ok("/a", "count", ()).await;
    world.ok("/a", "ask", ("/brief/b", "later", 60_000, 1)).await;
    world.ok("/a", "run", "forever").await;
    until(async || world.namespace.0.jobs.running() == 1, || "no job runs".to_owned()).await;
    world.call("/a", "panic", ()).await.expect_err("it panics");
    until(async || world.namespace.0.jobs.running() == 0, || "the job goes on".to_owned()).await;
    until(async || world.namespace.0.deferred.owes(&path("/brief/b")), || "nothing is owed".to_owned()).await;
    assert_eq!(world.ok("/brief/b", "answer", ()).await, "true");
    world.ok("/a", "ask", ("/brief/c", "add", 10_000, 2)).await;
    world.becomes("/a", "replies", json!([[2, "1"]])).await;
    assert_eq!(world.ok("/a", "get", ()).await, "1");
    // Whoever waits for an object that has lost its memory is told at once.
    world.ok("/a", "ask", ("/brief/d", "later", 60_000, 3)).await;
    until(async || world.namespace.0.deferred.owes(&path("/brief/d")), || "nothing is owed".to_owned()).await;
    world.call("/brief/d", "panic", ()).await.expect_err("it panics");
    world.becomes("/a", "replies", json!([[2, "1"], [3, Error::forgotten().message()]])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ob6_a_question_in_memory_can_be_cancelled() {
    let world = World::new();
    let id: u64 = world.ok("/a", "run", "forever").await.parse().expect("a number");
    until(async || world.namespace.0.jobs.running() == 1, || "no job runs".to_owned()).await;
    assert_eq!(world.ok("/a", "cancel", id).await, "true");
    assert_eq!(world.ok("/a", "cancel", id).await, "false");
    until(async || world.namespace.0.jobs.running() == 0, || "the job goes on".to_owned()).await;
    world.ok("/a", "leave", ()).await;
    world.goes("/a").await;
    assert_eq!(world.ok("/brief/b", "hasJob", "forever").await, "true");
    assert_eq!(world.ok("/brief/b", "hasJob", "nothing").await, "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn ob3_memory_is_given_back_at_once_when_the_class_says_so() {
    let world = Arc::new(World::new());
    for expected in 1..=20 {
        assert_eq!(world.ok("/a", "countAndLeave", ()).await, expected.to_string());
        world.goes("/a").await;
    }
    // An event that comes before takes the wish back, or meets the next incarnation: nothing is lost.
    let mut calls = JoinSet::new();
    for index in 0..900 {
        let world = Arc::clone(&world);
        let method = if index % 3 == 0 { "count" } else { "countAndLeave" };
        calls.spawn(async move { drop(world.ok("/a", method, ()).await) });
    }
    calls.join_all().await;
    assert_eq!(world.ok("/a", "leave", ()).await, "0");
    world.goes("/a").await;
    assert_eq!(world.ok("/a", "get", ()).await, "920");
}

#[tokio::test(flavor = "multi_thread")]
async fn ob3_ten_thousand_objects_that_live_for_a_moment_leave_nothing() {
    let world = World::new();
    world.ok("/a", "count", ()).await;
    for first in (0..10_000).step_by(1_000) {
        world.ok("/a", "swarm", (first, first + 1_000)).await;
        let answered = async || {
            let replies: Vec<(u64, String)> =
                serde_json::from_str(&world.ok("/a", "replies", ()).await).expect("a list");
            let wrong = replies.iter().find(|(note, answer)| *answer != note.to_string());
            assert!(wrong.is_none(), "{wrong:?}");
            replies.len() as u64 == first + 1_000
        };
        until(answered, || "not all have answered".to_owned()).await;
    }
    let inner = &world.namespace.0;
    until(async || inner.slots.len() == 1, || format!("{} slots are left", inner.slots.len())).await;
    assert_eq!(inner.index.lock().len(), 1);
    assert!(inner.deferred.first().is_none() && inner.jobs.running() == 0);
    assert_eq!(world.storage.object_count(), 1);
    let active = world.metrics.objects.with_label_values(&["brief", "active"]);
    assert_eq!(active.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_an_object_knows_what_it_waits_for() {
    let world = World::new();
    let ask = async || world.ok("/a", "ask", ("/brief/x", "later", 10_000, 1)).await.parse::<u64>().expect("a number");
    let (asked, cancelled) = (ask().await, ask().await);
    assert_eq!(world.ok("/a", "waitsFor", asked).await, "true");
    assert_eq!(world.ok("/a", "askAndCancel", ()).await, "[true,true,false]");
    assert_eq!(world.ok("/a", "cancel", cancelled).await, "true");
    assert_eq!(world.ok("/a", "waitsFor", cancelled).await, "false");
    let forgotten = ask().await;
    world.call("/a", "panic", ()).await.expect_err("it panics");
    for id in [asked, forgotten] {
        assert_eq!(world.ok("/a", "waitsFor", id).await, "false", "it went with the memory");
    }
}
