//! CO1–CO4, OB5, OB6: objects that talk to each other and to the world outside, through a class that does what it is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::limits::{CALL_HOPS, DEFERRED, JOBS_PER_OBJECT, MAILBOX_EVENTS, MESSAGE_BYTES, OUTBOX_MESSAGES, PENDING};
use crate::metrics::Metrics;
use crate::object::{
    Ask, Caller, Class, Deferred, Error, Http, Jobs, Namespace, Options, Registry, Replied, Services, Turn, json, read,
    response, unknown_method,
};
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::Code;
use crate::storage::{self, Storage};

/// Objects whose class does not start.
static SHUT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// What a turn that is told `hold` waits for, by path.
static HELD: Mutex<Vec<(String, Arc<std::sync::Barrier>)>> = Mutex::new(Vec::new());

/// A class that says what it is told to, and remembers what it hears.
#[derive(Default, Serialize, Deserialize)]
struct Talker {
    /// Who said it, and what.
    heard: Vec<(String, u64)>,
    /// The note, and the answer or error.
    replies: Vec<(u64, String)>,
    owed: Vec<Deferred>,
}

impl Talker {
    fn say(turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "tell" => {
                let (to, numbers): (String, Vec<u64>) = read(payload)?;
                numbers.iter().try_for_each(|number| turn.tell(&path(&to), number))?;
            }
            "send" => {
                let (to, first, last): (String, u64, u64) = read(payload)?;
                (first..=last).try_for_each(|number| turn.send(&path(&to), &number))?;
            }
            "large" => {
                let (to, bytes): (String, usize) = read(payload)?;
                turn.send(&path(&to), &"x".repeat(bytes - 2))?;
            }
            "undo" => {
                let to: String = read(payload)?;
                let undone = turn.transaction(|turn| {
                    turn.send(&path(&to), &1)?;
                    turn.tell(&path(&to), &2)?;
                    turn.call(&path(&to), "heard", &(), Ask::new())?;
                    Err::<(), _>(Error::conflict("on purpose"))
                });
                assert!(undone.is_err());
                turn.send(&path(&to), &3)?;
            }
            "sendAndDelete" => {
                let name = ObjectName::parse("child").expect("a name");
                let child = turn.create_child(&name)?;
                turn.send(&child, &1)?;
                turn.delete_child(&name)?;
                turn.send(&child, &2)?;
            }
            "call" => {
                let (to, method, ask, note): (String, String, u64, u64) = read(payload)?;
                return json(&turn.call(&path(&to), &method, &note, Ask::new().timeout(ask).note(&note))?);
            }
            "loop" => {
                let [me, other]: [String; 2] = read(payload)?;
                turn.call(&path(&other), "loop", &[&other, &me], Ask::new().note(&0))?;
            }
            "run" => {
                let (job, ask, note): (String, u64, u64) = read(payload)?;
                return json(&turn.run(&job, &note, Ask::new().timeout(ask).note(&note))?);
            }
            "http" => {
                let request = http::Request::get("https://example.org/").body(Bytes::new()).expect("a request");
                turn.http(request, Ask::new().note(&1))?;
            }
            "cancel" => return json(&turn.cancel(read(payload)?)),
            other => return Err(unknown_method(other)),
        }
        json(&())
    }
}

impl Class for Talker {
    const NAME: &'static str = "talker";

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let shut = SHUT.lock().contains(turn.path().as_str());
        if shut { Err(Error::conflict("shut")) } else { Ok(()) }
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "heard" => json(&self.heard),
            "replies" => json(&self.replies),
            "fail" => Err(Error::conflict("on purpose")),
            "tellAndFail" => {
                Self::say(turn, "tell", payload)?;
                Err(Error::conflict("on purpose"))
            }
            "hold" => {
                let held =
                    HELD.lock().iter().find(|(path, _)| path == turn.path().as_str()).map(|(_, held)| held.clone());
                // Once to say that it is there, once to go on.
                if let Some(held) = held {
                    held.wait();
                    held.wait();
                }
                json(&())
            }
            "later" => {
                self.owed.push(turn.defer()?);
                json(&"ignored")
            }
            "twice" => {
                let _first = turn.defer()?;
                turn.defer().map(|_| Vec::new())
            }
            "laterAndFail" => {
                self.owed.push(turn.defer()?);
                Err(Error::conflict("on purpose"))
            }
            "answer" => {
                let owed = self.owed.pop().ok_or_else(|| Error::conflict("nothing is owed"))?;
                json(&turn.answer_deferred(&owed, json(&"at last")))
            }
            _ => Self::say(turn, method, payload),
        }
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        let Caller::Object(sender) = turn.caller() else { return Err(Error::internal("a message of nobody")) };
        let number = read::<u64>(message).unwrap_or(0);
        self.heard.push((sender.to_string(), number));
        assert!(number != 90_014, "on purpose");
        if number == 90_013 { Err(Error::conflict("on purpose")) } else { Ok(()) }
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let text = match &reply.result {
            Ok(answer) => match response(answer) {
                Ok(response) => format!("{} {:?}", response.status(), response.body()),
                Err(_) => answer.get().to_owned(),
            },
            Err(error) => error.message().to_owned(),
        };
        self.replies.push((read(reply.note)?, text));
        if turn.caller() == &Caller::Runtime { Ok(()) } else { Err(Error::internal("another caller")) }
    }
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

fn jobs() -> Jobs {
    Jobs::default()
        .with("echo", |input| async move { json(&input) })
        .with("fail", |_| async { Err(Error::conflict("on purpose")) })
        .with("panic", |_| async { panic!("on purpose") })
        .with("forever", |_| std::future::pending())
        .with("stubborn", |_| async {
            while !RELEASED.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            json(&())
        })
}

/// Lets jobs go that keep their threads.
static RELEASED: AtomicBool = AtomicBool::new(false);

fn fake_http() -> Http {
    Http::new(|request| async move {
        assert_eq!(request.uri(), "https://example.org/");
        Ok(http::Response::new(Bytes::from_static(b"hello")))
    })
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
        let registry = Registry::new::<Talker>(&metrics).expect("a registry");
        let options = Options {
            children_per_object: 10,
            sockets_per_object: 10,
            storage_per_object: 64 << 20,
            objects: 1_000,
            sockets: 10,
        };
        let services = Services { jobs: jobs(), http: fake_http(), ..Services::default() };
        let namespace =
            Namespace::new(storage.clone(), registry, options, metrics.clone(), services, &TaskTracker::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(namespace.deliveries());
        tasks.spawn(namespace.alarms());
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

    /// Asks until the answer is the one that is expected; fails with what it is if it never becomes that.
    async fn becomes(&self, at: &str, method: &str, expected: impl Serialize) {
        let expected = serde_json::to_string(&expected).expect("JSON");
        let mut last = String::new();
        let same = async {
            loop {
                last = self.call(at, method, ()).await.unwrap_or_else(|error| error.to_string());
                if last == expected {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let became = tokio::time::timeout(Duration::from_secs(30), same).await;
        assert!(became.is_ok(), "{at} {method}: {last:.300} is not {expected:.300}");
    }

    /// Waits until an object owes so many answers.
    async fn owes(&self, at: &str, count: usize) {
        while self.namespace.0.deferred.count(&path(at)) != count {
            tokio::task::yield_now().await;
        }
    }

    /// Has a turn of that object run until the barrier is met.
    async fn hold(self: &Arc<Self>, tasks: &mut JoinSet<()>, at: &'static str) -> Arc<std::sync::Barrier> {
        let barrier = Arc::new(std::sync::Barrier::new(2));
        HELD.lock().push((at.to_owned(), Arc::clone(&barrier)));
        let world = Arc::clone(self);
        tasks.spawn(async move { drop(world.ok(at, "hold", ()).await) });
        wait(&barrier).await;
        barrier
    }
}

/// Meets a turn that is held.
async fn wait(barrier: &Arc<std::sync::Barrier>) {
    let barrier = Arc::clone(barrier);
    tokio::task::spawn_blocking(move || barrier.wait()).await.expect("the other side is there");
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage.close();
    }
}

fn shut(at: &str) {
    SHUT.lock().insert(at.to_owned());
}

fn unshut(at: &str) {
    SHUT.lock().remove(at);
}

fn numbers(from: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    numbers.into_iter().map(|number| (from.to_owned(), number)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_a_tell_arrives_after_its_commit_and_not_when_the_turn_fails() {
    let world = World::new();
    world.ok("/tell/a", "tell", ("/tell/b", [1, 2, 3])).await;
    world.call("/tell/a", "tellAndFail", ("/tell/b", [4])).await.expect_err("it fails");
    world.ok("/tell/a", "tell", ("/tell/b", [5])).await;
    world.ok("/tell/b", "tell", ("/tell/b", [6])).await;
    let mut expected = numbers("/tell/a", [1, 2, 3, 5]);
    expected.extend(numbers("/tell/b", [6]));
    world.becomes("/tell/b", "heard", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_ob5_at_a_full_mailbox_tells_are_dropped_and_calls_refused_and_sends_wait() {
    let world = Arc::new(World::new());
    let mut tasks = JoinSet::new();
    let held = world.hold(&mut tasks, "/full/b").await;
    let tells: Vec<u64> = (1..=MAILBOX_EVENTS as u64 + 10).collect();
    world.ok("/full/a", "tell", ("/full/b", &tells)).await;
    world.ok("/full/a", "send", ("/full/b", 5_001, 5_010)).await;
    world.ok("/full/a", "call", ("/full/b", "heard", 10_000, 7)).await;
    world.becomes("/full/a", "replies", [(7, Error::overloaded(&path("/full/b")).message())]).await;
    assert_eq!(world.metrics.overloaded.get(), 11);
    wait(&held).await;
    let expected = numbers("/full/a", (1..=MAILBOX_EVENTS as u64).chain(5_001..=5_010));
    world.becomes("/full/b", "heard", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_sends_arrive_once_in_order_and_leave_nothing() {
    let world = World::new();
    for round in 0..10 {
        world.ok("/send/a", "send", ("/send/b", round * 100 + 1, round * 100 + 100)).await;
        world.ok("/send/b", "send", ("/send/b", round, round)).await;
    }
    let from = |sender: &str, heard: &[(String, u64)]| -> Vec<u64> {
        heard.iter().filter(|(who, _)| who == sender).map(|(_, number)| *number).collect()
    };
    let heard = loop {
        let heard: Vec<(String, u64)> = serde_json::from_str(&world.ok("/send/b", "heard", ()).await).expect("a list");
        if heard.len() == 1_010 {
            break heard;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(from("/send/a", &heard), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(from("/send/b", &heard), (0..10).collect::<Vec<_>>());
    assert_eq!(world.storage.inboxes(None, 10).expect("inboxes"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_what_was_sent_before_a_restart_is_handled_after_it() {
    let world = World::new();
    shut("/restart/b");
    for first in [1, 101] {
        world.ok("/restart/a", "send", ("/restart/b", first, first + 99)).await;
    }
    let world = world.reopen();
    assert_eq!(world.storage.inboxes(None, 10).expect("inboxes"), [path("/restart/b")]);
    unshut("/restart/b");
    let world = world.reopen();
    world.becomes("/restart/b", "heard", numbers("/restart/a", 1..=200)).await;
    let world = world.reopen();
    world.becomes("/restart/b", "heard", numbers("/restart/a", 1..=200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_a_message_that_fails_or_panics_counts_as_handled() {
    let world = World::new();
    world.ok("/bad/a", "send", ("/bad/b", 90_012, 90_016)).await;
    world.becomes("/bad/b", "heard", numbers("/bad/a", [90_012, 90_015, 90_016])).await;
    assert_eq!(world.metrics.undelivered.get(), 2);
    assert_eq!(world.metrics.panics.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_st4_a_transaction_that_fails_says_nothing() {
    let world = World::new();
    world.ok("/undo/a", "undo", "/undo/b").await;
    world.becomes("/undo/b", "heard", numbers("/undo/a", [3])).await;
    assert_eq!(world.ok("/undo/a", "replies", ()).await, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn co1_messages_and_outboxes_have_bounds() {
    let world = World::new();
    let error = world.call("/out/a", "large", ("/out/b", MESSAGE_BYTES + 1)).await.expect_err("too large");
    assert_eq!((error.code(), error.message()), (Code::TooLarge, "the message is 1048577 bytes; the limit is 1048576"));
    world.ok("/out/a", "large", ("/out/b", MESSAGE_BYTES)).await;
    world.becomes("/out/b", "heard", numbers("/out/a", [0])).await;

    shut("/out/c");
    for first in (1..=OUTBOX_MESSAGES).step_by(2_500) {
        world.ok("/out/a", "send", ("/out/c", first, first + 2_499)).await;
    }
    let error = world.call("/out/a", "send", ("/out/c", 0, 0)).await.expect_err("the outbox is full");
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.message().starts_with("outbox full: /out/a"), "{error}");
    // CO4: nothing of them waits any more.
    world.namespace.delete(&path("/out/c")).await.expect("a deletion");
    world.ok("/out/a", "send", ("/out/b", 1, 1)).await;
    unshut("/out/c");
}

#[tokio::test(flavor = "multi_thread")]
async fn co4_a_deletion_takes_what_was_sent_before_and_nothing_of_what_comes_after() {
    let world = World::new();
    shut("/gone/b");
    world.ok("/from/a", "send", ("/gone/b", 1, 10)).await;
    world.namespace.delete(&path("/gone")).await.expect("a deletion");
    unshut("/gone/b");
    world.ok("/from/a", "send", ("/gone/b", 11, 12)).await;
    world.becomes("/gone/b", "heard", numbers("/from/a", [11, 12])).await;

    shut("/kept/b");
    world.ok("/from/a", "send", ("/kept/b", 1, 10)).await;
    world.namespace.delete(&path("/from")).await.expect("a deletion");
    world.ok("/from/a", "send", ("/kept/b", 11, 12)).await;
    unshut("/kept/b");
    let world = world.reopen();
    world.becomes("/kept/b", "heard", numbers("/from/a", [11, 12])).await;

    world.ok("/same", "sendAndDelete", ()).await;
    world.becomes("/same/child", "heard", numbers("/same", [2])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_the_answer_comes_back_or_the_error_does() {
    let world = World::new();
    world.ok("/ask/a", "call", ("/ask/b", "heard", 10_000, 1)).await;
    world.becomes("/ask/a", "replies", json!([[1, "[]"]])).await;
    world.ok("/ask/a", "call", ("/ask/b", "fail", 10_000, 2)).await;
    world.becomes("/ask/a", "replies", json!([[1, "[]"], [2, "on purpose"]])).await;
    world.ok("/ask/a", "call", ("/ask/a", "nothing", 10_000, 3)).await;
    let unknown = "Unknown message type: nothing";
    world.becomes("/ask/a", "replies", json!([[1, "[]"], [2, "on purpose"], [3, unknown]])).await;
    for timeout in [0, 86_400_001] {
        let error = world.call("/ask/a", "call", ("/ask/b", "heard", timeout, 4)).await.expect_err("no such time");
        assert_eq!(error.code(), Code::BadRequest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_nobody_waits_for_ever() {
    let world = World::new();
    world.ok("/wait/a", "call", ("/wait/b", "later", 30, 1)).await;
    let timed_out = Error::timed_out("/wait/b").message().to_owned();
    world.becomes("/wait/a", "replies", json!([[1, timed_out]])).await;
    // CO4: the target goes before it answers.
    world.ok("/wait/a", "call", ("/wait/b", "later", 60_000, 2)).await;
    world.becomes("/wait/a", "replies", json!([[1, timed_out]])).await;
    // The first one is owed still, although nobody waits for it.
    world.owes("/wait/b", 2).await;
    world.namespace.delete(&path("/wait/b")).await.expect("a deletion");
    world.becomes("/wait/a", "replies", json!([[1, timed_out], [2, Error::deleted().message()]])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_after_a_restart_the_caller_is_told_that_it_was_interrupted() {
    let world = World::new();
    world.ok("/inter/a", "call", ("/inter/b", "later", 600_000, 1)).await;
    world.ok("/inter/a", "run", ("forever", 600_000, 2)).await;
    let world = world.reopen();
    let interrupted = |who: &str| Error::interrupted(who).message().to_owned();
    let (called, ran) = (interrupted("/inter/b"), interrupted("job `forever`"));
    let replies = loop {
        let mut replies: Vec<(u64, String)> =
            serde_json::from_str(&world.ok("/inter/a", "replies", ()).await).expect("a list");
        replies.sort_unstable();
        if replies.len() == 2 {
            break replies;
        }
        tokio::task::yield_now().await;
    };
    // A stop answers what is owed, unless the crash is first.
    assert_eq!(replies[1], (2, ran));
    assert!([called.as_str(), Error::stopping().message()].contains(&replies[0].1.as_str()), "{replies:?}");
    let world = world.reopen();
    let mut again: Vec<(u64, String)> =
        serde_json::from_str(&world.ok("/inter/a", "replies", ()).await).expect("a list");
    again.sort_unstable();
    assert_eq!(again, replies);
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_calls_that_go_round_in_a_circle_end() {
    let world = World::new();
    world.ok("/loop/a", "loop", ["/loop/a", "/loop/b"]).await;
    let answers = |failed: bool| {
        let error = format!("too many hops: this call lies below {CALL_HOPS} others; the limit is that");
        let mut answers = vec![(0, "null".to_owned()); 15];
        answers.push((0, if failed { error } else { "null".to_owned() }));
        answers
    };
    // 32 calls, 16 of each; the last of them is refused its own.
    for (at, failed) in [("/loop/a", false), ("/loop/b", true)] {
        let sorted = loop {
            let mut replies: Vec<(u64, String)> =
                serde_json::from_str(&world.ok(at, "replies", ()).await).expect("a list");
            if replies.len() == 16 {
                replies.sort_unstable();
                break replies;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(sorted, answers(failed), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_there_is_a_bound_to_what_an_object_waits_for() {
    let world = World::new();
    for note in 0..PENDING {
        world.ok("/many/a", "call", ("/many/b", "later", 600_000, note)).await;
    }
    let error = world.call("/many/a", "call", ("/many/b", "later", 600_000, 0)).await.expect_err("too many");
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.message().starts_with("pending limit reached: /many/a waits for 1000"), "{error}");
    const { assert!(DEFERRED == PENDING) };
    world.owes("/many/b", DEFERRED).await;
    let error = world.call("/many/b", "later", ()).await.expect_err("too many");
    assert!(error.message().starts_with("deferred limit reached: /many/b owes 1000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_a_request_is_answered_later_also_after_hibernation() {
    let world = Arc::new(World::new());
    let mut asking = JoinSet::new();
    asking.spawn({
        let world = Arc::clone(&world);
        async move { world.ok("/owe/a", "later", ()).await }
    });
    let slot = world.namespace.0.slot(&path("/owe/a"));
    while world.namespace.0.deferred.count(&path("/owe/a")) == 0 || !world.namespace.0.hibernate(&slot) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.ok("/owe/a", "answer", ()).await, "true");
    assert_eq!(asking.join_next().await.expect("a task").expect("an answer"), r#""at last""#);
    world.call("/owe/a", "answer", ()).await.expect_err("nothing is owed");
    let error = world.call("/owe/a", "laterAndFail", ()).await.expect_err("the turn failed");
    assert_eq!(error.message(), "on purpose");
    let error = world.call("/owe/a", "twice", ()).await.expect_err("once is enough");
    assert_eq!(error.code(), Code::Conflict);
    assert_eq!(world.namespace.0.deferred.count(&path("/owe/a")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn co2_whoever_is_owed_an_answer_is_told_when_the_object_or_the_server_goes() {
    for stop in [false, true] {
        let world = Arc::new(World::new());
        let mut asking = JoinSet::new();
        asking.spawn({
            let world = Arc::clone(&world);
            async move { world.call("/owe/b", "later", ()).await }
        });
        world.owes("/owe/b", 1).await;
        let expected = if stop {
            world.namespace.stop();
            Error::stopping()
        } else {
            world.namespace.delete(&path("/owe")).await.expect("a deletion");
            Error::deleted()
        };
        assert_eq!(asking.join_next().await.expect("a task").expect("an answer"), Err(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ob6_a_job_answers_fails_panics_or_takes_too_long() {
    let world = World::new();
    world.ok("/job/a", "run", ("echo", 10_000, 1)).await;
    world.becomes("/job/a", "replies", json!([[1, "1"]])).await;
    world.ok("/job/b", "run", ("fail", 10_000, 2)).await;
    world.becomes("/job/b", "replies", json!([[2, "on purpose"]])).await;
    world.ok("/job/c", "run", ("forever", 20, 3)).await;
    world.becomes("/job/c", "replies", json!([[3, Error::timed_out("job `forever`").message()]])).await;
    world.ok("/job/d", "run", ("panic", 10_000, 4)).await;
    let ended = loop {
        let replies: Vec<(u64, String)> =
            serde_json::from_str(&world.ok("/job/d", "replies", ()).await).expect("a list");
        if let [(4, ended)] = replies.as_slice() {
            break ended.clone();
        }
        tokio::task::yield_now().await;
    };
    assert!(ended.starts_with("a job ended without an answer"), "{ended}");
    let error = world.call("/job/a", "run", ("nothing", 10_000, 5)).await.expect_err("no such job");
    assert_eq!((error.code(), error.message()), (Code::NotFound, "unknown job: nothing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ob6_a_job_that_keeps_its_thread_is_not_waited_for() {
    let world = World::new();
    world.ok("/job/a", "run", ("stubborn", 20, 1)).await;
    world.becomes("/job/a", "replies", json!([[1, Error::timed_out("job `stubborn`").message()]])).await;
    RELEASED.store(true, Ordering::Release);
    world.ok("/job/b", "run", ("stubborn", 10_000, 2)).await;
    world.becomes("/job/b", "replies", json!([[2, "null"]])).await;
    assert_eq!(world.ok("/job/a", "replies", ()).await.matches("],[").count(), 0, "what came late is not heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn ob6_jobs_are_bounded_and_cancelled_ones_make_room() {
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..JOBS_PER_OBJECT {
        ids.push(world.ok("/jobs/a", "run", ("forever", 600_000, 1)).await);
    }
    let error = world.call("/jobs/a", "run", ("forever", 600_000, 1)).await.expect_err("too many");
    assert!(error.message().starts_with("jobs limit reached: /jobs/a has 256"), "{error}");
    let id: u64 = ids[0].parse().expect("a number");
    assert_eq!(world.ok("/jobs/a", "cancel", id).await, "true");
    assert_eq!(world.ok("/jobs/a", "cancel", id).await, "false");
    world.ok("/jobs/a", "run", ("echo", 600_000, 9)).await;
    world.becomes("/jobs/a", "replies", json!([[9, "9"]])).await;
    world.namespace.delete(&path("/jobs")).await.expect("a deletion");
    while world.namespace.0.jobs.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn co3_a_response_is_an_answer_like_others() {
    let world = World::new();
    world.ok("/http/a", "http", ()).await;
    world.becomes("/http/a", "replies", json!([[1, "200 OK b\"hello\""]])).await;
}
