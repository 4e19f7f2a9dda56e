//! AL1–AL4 through a class that tells the test what of it was run, on a clock that only the test moves.

mod retries;
mod schedules;
mod waking;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Random};
use crate::metrics::Metrics;
use crate::object::{
    Ask, Class, Error, List, Namespace, Options, Registry, Replied, Services, Turn, When, json, read, unknown_method,
};
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::Code;
use crate::storage::{self, Storage};
use crate::timers::Schedule;

thread_local! {
    /// The test and all turns of its world share a thread.
    static RUNS: RefCell<Option<mpsc::UnboundedSender<Ran>>> = const { RefCell::new(None) };
    /// Whether objects cannot start.
    static BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// One run of an alarm or a schedule.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    path: String,
    /// `alarm`, or the name of a schedule.
    what: String,
    at: u64,
    retry: u32,
    /// What `get_alarm` says within the handler.
    alarm: Option<u64>,
}

/// What handlers are to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Plan {
    /// Runs of the alarm that fail, of each alarm.
    failures: u32,
    /// Whether they panic.
    panics: bool,
    /// Sets the alarm again so many ms later.
    again: Option<u64>,
    /// Whether schedules fail.
    fails: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Clockwork {
    plan: Plan,
    runs: u64,
    /// In the middle of a turn that panicked.
    #[serde(skip)]
    broken: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tick {
    Once(u64),
    Every(u64),
    Cron(String, String),
}

impl Clockwork {
    fn ran(turn: &mut Turn<'_>, what: &str, retry: u32) {
        let (path, at, alarm) = (turn.path().to_string(), turn.now(), turn.get_alarm());
        let ran = Ran { path, what: what.to_owned(), at, retry, alarm };
        RUNS.with_borrow(|runs| runs.as_ref().expect("a world").send(ran).expect("the test listens"));
    }
}

fn tick(turn: &mut Turn<'_>, name: &str, tick: &Tick) -> Result<(), Error> {
    turn.set_schedule(
        name,
        match tick {
            Tick::Once(at) => When::Once(*at),
            Tick::Every(ms) => When::Every(*ms),
            Tick::Cron(expression, time_zone) => When::Cron { expression, time_zone },
        },
    )
}

impl Class for Clockwork {
    const NAME: &'static str = "clockwork";

    fn activate(&mut self, _: &mut Turn<'_>) -> Result<(), Error> {
        if BROKEN.get() { Err(Error::conflict("broken")) } else { Ok(()) }
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "set" => turn.set_alarm(read(payload)?)?,
            "get" => {}
            "delete" => return json(&turn.delete_alarm()),
            "runs" => return json(&self.runs),
            "plan" => self.plan = read(payload)?,
            "put" => turn.put("key", &1)?,
            "keys" => return json(&turn.list::<u64>(List::new())?.items.len()),
            "deleteAll" => turn.delete_all()?,
            "ask" => {
                let silent = ObjectPath::parse("/silent").expect("a path");
                turn.call(&silent, "silence", &(), Ask::new().timeout(read(payload)?))?;
            }
            "silence" => drop(turn.defer()?),
            "setAndFail" => {
                turn.set_alarm(read(payload)?)?;
                tick(turn, "lost", &Tick::Every(1_000))?;
                return Err(Error::conflict("on purpose"));
            }
            "deleteAndPanic" => {
                turn.delete_alarm();
                turn.put("lost", &1)?;
                turn.create_child(&ObjectName::parse("lost").expect("a name"))?;
                panic!("on purpose");
            }
            "setAndTakeBack" => {
                let at = read(payload)?;
                let undone: Result<(), _> = turn.transaction(|turn| {
                    turn.set_alarm(at)?;
                    tick(turn, "lost", &Tick::Every(1_000))?;
                    Err(Error::conflict("Insufficient funds"))
                });
                assert!(undone.is_err());
            }
            "schedule" => {
                let (name, when): (String, Tick) = read(payload)?;
                tick(turn, &name, &when)?;
            }
            "schedules" => {
                let count: u32 = read(payload)?;
                (0..count).try_for_each(|index| tick(turn, &index.to_string(), &Tick::Every(60_000)))?;
            }
            "unschedule" => return json(&turn.delete_schedule(&read::<String>(payload)?)),
            "pause" => turn.pause_schedule(&read::<String>(payload)?)?,
            "resume" => turn.resume_schedule(&read::<String>(payload)?)?,
            "run" => turn.run_schedule_now(&read::<String>(payload)?)?,
            "show" => return json(&turn.schedule(&read::<String>(payload)?)),
            "names" => return json(&turn.schedules().map(|(name, _)| name).collect::<Vec<_>>()),
            other => return Err(unknown_method(other)),
        }
        json(&turn.get_alarm())
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, retry: u32) -> Result<(), Error> {
        assert!(!self.broken, "this memory was given up");
        Self::ran(turn, "alarm", retry);
        self.runs += 1;
        if let Some(later) = self.plan.again {
            let now = turn.now();
            turn.set_alarm(now + later)?;
        }
        if retry < self.plan.failures {
            assert!(!self.plan.panics, "on purpose");
            return Err(Error::conflict("on purpose"));
        }
        Ok(())
    }

    fn replied(&mut self, _: &mut Turn<'_>, _: &Replied<'_>) -> Result<(), Error> {
        self.broken = true;
        panic!("on purpose");
    }

    fn scheduled(&mut self, turn: &mut Turn<'_>, name: &str) -> Result<(), Error> {
        Self::ran(turn, name, 0);
        self.runs += 1;
        if self.plan.fails { Err(Error::conflict("on purpose")) } else { Ok(()) }
    }
}

/// When every world begins: a Tuesday, 22:13:20 UTC.
const START: u64 = 1_700_000_000_000;
/// In real time: a test that would wait for ever fails instead.
const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    namespace: Namespace,
    storage: Storage,
    metrics: Metrics,
    task: JoinHandle<()>,
    ran: mpsc::UnboundedReceiver<Ran>,
    began: Instant,
    data: tempfile::TempDir,
    /// Tokio moves a paused clock when it has nothing to do, also while the disk is busy, but not while this one waits.
    _frozen: std::sync::mpsc::Sender<()>,
}

impl World {
    fn new() -> Self {
        let (frozen, thaw) = std::sync::mpsc::channel::<()>();
        drop(tokio::task::spawn_blocking(move || thaw.recv()));
        BROKEN.set(false);
        let (sender, ran) = mpsc::unbounded_channel();
        RUNS.set(Some(sender));
        let (data, began) = (tempfile::tempdir().expect("a directory"), Instant::now());
        let (namespace, storage, metrics, task) = Self::open(&data, began);
        Self { namespace, storage, metrics, task, ran, began, data, _frozen: frozen }
    }

    fn open(data: &tempfile::TempDir, began: Instant) -> (Namespace, Storage, Metrics, JoinHandle<()>) {
        let metrics = Metrics::new();
        let files = storage::Options { data_dir: data.path().to_owned(), ..storage::Options::default() };
        let storage = Storage::open(files, &metrics).expect("storage opens");
        let registry = Registry::new::<Clockwork>(&metrics).expect("a registry");
        let options = Options {
            children_per_object: 5,
            sockets_per_object: 2,
            storage_per_object: 1 << 20,
            objects: 20_000,
            sockets: 3,
        };
        let clock = Clock::from_fn(move || START + u64::try_from(began.elapsed().as_millis()).expect("a time"));
        let tasks = TaskTracker::new();
        let services = Services { clock, random: Random::seeded(7), ..Services::default() };
        let namespace = Namespace::new(storage.clone(), registry, options, metrics.clone(), services, &tasks);
        let task = tasks.spawn(namespace.alarms());
        (namespace, storage, metrics, task)
    }

    /// The server stops; another starts some time later.
    async fn restart(&mut self, after: u64) {
        self.task.abort();
        drop((&mut self.task).await);
        self.storage.close();
        self.advance(after).await;
        (self.namespace, self.storage, self.metrics, self.task) = Self::open(&self.data, self.began);
    }

    fn now(&self) -> u64 {
        START + u64::try_from(self.began.elapsed().as_millis()).expect("a time")
    }

    async fn advance(&self, ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    async fn call_at<T: Serialize>(&self, path: &str, method: &str, payload: T) -> Result<String, Error> {
        let path = ObjectPath::parse(path).expect("a path");
        let answer = self.namespace.call(&path, method, to_raw_value(&payload).expect("JSON")).await?;
        Ok(String::from_utf8(answer).expect("text"))
    }

    async fn ok<T: Serialize>(&self, method: &str, payload: T) -> String {
        self.call_at("/a", method, payload).await.expect(method)
    }

    async fn alarm(&self) -> Option<u64> {
        serde_json::from_str(&self.ok("get", ()).await).expect("a time")
    }

    async fn show(&self, name: &str) -> Schedule {
        serde_json::from_str(&self.ok("show", name).await).expect("a schedule")
    }

    /// The next run, which is to be by now.
    async fn next(&mut self) -> Ran {
        let began = std::time::Instant::now();
        loop {
            if let Ok(ran) = self.ran.try_recv() {
                return ran;
            }
            assert!(began.elapsed() < PATIENCE, "nothing was run");
            tokio::task::yield_now().await;
        }
    }

    /// What was run is also committed: nothing is due in storage before this time.
    async fn settled(&self, next: Option<u64>) {
        let began = std::time::Instant::now();
        while self.storage.next_wake().expect("it is read") != next {
            assert!(began.elapsed() < PATIENCE, "{:?}, not {next:?}", self.storage.next_wake());
            tokio::task::yield_now().await;
        }
    }

    /// The next run is of the alarm of `/a`, now.
    async fn alarm_runs(&mut self, retry: u32) {
        let at = self.now();
        let expected = Ran { path: "/a".to_owned(), what: "alarm".to_owned(), at, retry, alarm: None };
        assert_eq!(self.next().await, expected);
    }

    /// The next run is of a schedule of `/a`, now.
    async fn schedule_runs(&mut self, name: &str) {
        let at = self.now();
        let expected = Ran { path: "/a".to_owned(), what: name.to_owned(), at, retry: 0, alarm: None };
        assert_eq!(self.next().await, expected);
    }

    /// Nothing was run, though the object, its disk and the task had every opportunity.
    async fn nothing_runs(&mut self) {
        for _ in 0..3 {
            self.call_at("/bystander", "put", ()).await.expect("a commit");
            for _ in 0..32 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(self.ran.try_recv().ok(), None);
    }

    /// Puts an object to sleep as soon as its last write is decided.
    async fn hibernate(&self, path: &str) {
        let began = std::time::Instant::now();
        while let Some(slot) = self.namespace.0.find(ObjectPath::parse(path).expect("a path").key()) {
            if self.namespace.0.hibernate(&slot) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{path} sleeps");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
        self.storage.close();
    }
}

#[tokio::test(start_paused = true)]
async fn al1_there_is_one_alarm_which_can_be_replaced_and_deleted() {
    let mut world = World::new();
    assert_eq!(world.alarm().await, None);
    world.ok("set", START + 5_000).await;
    world.ok("set", START + 9_000).await;
    assert_eq!(world.alarm().await, Some(START + 9_000));
    world.advance(5_000).await;
    world.nothing_runs().await;
    assert_eq!(world.ok("delete", ()).await, "true");
    assert_eq!(world.ok("delete", ()).await, "false");
    world.settled(None).await;
    world.advance(60_000).await;
    world.nothing_runs().await;
    assert_eq!(world.alarm().await, None);
}

#[tokio::test(start_paused = true)]
async fn al1_a_past_time_fires_now() {
    let mut world = World::new();
    world.advance(1_234).await;
    for past in [0, START, world.now()] {
        world.ok("set", past).await;
        world.alarm_runs(0).await;
        world.settled(None).await;
    }
    let error = world.call_at("/a", "set", u64::MAX).await.expect_err("no calendar reaches it");
    assert_eq!(error.code(), Code::BadRequest);
    assert!(error.message().contains("the limit is 253370764800000"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn al1_the_alarm_is_written_in_the_turns_commit_or_not_at_all() {
    let mut world = World::new();
    world.ok("set", START + 5_000).await;
    assert!(world.call_at("/a", "setAndFail", START + 1_000).await.is_err());
    world.ok("setAndTakeBack", START + 2_000).await;
    assert_eq!(world.alarm().await, Some(START + 5_000));
    assert_eq!(world.ok("names", ()).await, "[]");
    world.restart(0).await;
    assert_eq!(world.alarm().await, Some(START + 5_000), "as acknowledged");
    world.advance(4_999).await;
    world.nothing_runs().await;
    world.advance(1).await;
    world.alarm_runs(0).await;
}

#[tokio::test(start_paused = true)]
async fn al2_it_fires_at_its_time_and_not_before_also_after_a_restart() {
    let mut world = World::new();
    world.ok("set", START + 1_000).await;
    world.advance(999).await;
    world.nothing_runs().await;
    world.advance(1).await;
    world.alarm_runs(0).await;
    world.settled(None).await;
    assert_eq!(world.ok("runs", ()).await, "1");

    world.ok("set", START + 10_000).await;
    world.restart(8_999).await;
    world.nothing_runs().await;
    world.advance(1).await;
    world.alarm_runs(0).await;
    world.settled(None).await;

    world.ok("set", START + 20_000).await;
    world.restart(3_600_000).await;
    world.alarm_runs(0).await;
    world.settled(None).await;
    world.restart(0).await;
    world.nothing_runs().await;
    assert_eq!(world.ok("runs", ()).await, "3", "each exactly once, as nothing crashed");
}

#[tokio::test(start_paused = true)]
async fn al2_it_wakes_a_sleeping_object() {
    let mut world = World::new();
    world.ok("set", START + 60_000).await;
    world.hibernate("/a").await;
    assert_eq!(world.metrics.activations.get(), 1);
    world.advance(60_000).await;
    world.alarm_runs(0).await;
    assert_eq!(world.metrics.activations.get(), 2);
    world.settled(None).await;
    assert_eq!(world.ok("runs", ()).await, "1");
    assert_eq!(world.metrics.alarm_lag_seconds.get_sample_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn al2_its_own_handler_may_set_it_again() {
    let mut world = World::new();
    world.ok("plan", Plan { again: Some(1_500), ..Plan::default() }).await;
    world.ok("set", START + 1_500).await;
    for round in 1..=10 {
        world.settled(Some(START + round * 1_500)).await;
        world.advance(1_499).await;
        world.nothing_runs().await;
        world.advance(1).await;
        world.alarm_runs(0).await;
    }
    world.settled(Some(START + 11 * 1_500)).await;
    assert_eq!(world.ok("runs", ()).await, "10");
}

#[tokio::test(start_paused = true)]
async fn st1_delete_all_drops_the_alarm_and_leaves_schedules() {
    let mut world = World::new();
    world.ok("put", ()).await;
    world.ok("set", START + 1_000).await;
    world.ok("schedule", ("tick", Tick::Every(2_000))).await;
    assert_eq!(world.ok("keys", ()).await, "1", "what the runtime keeps is no key of the class");
    world.hibernate("/a").await;
    assert_eq!(world.ok("keys", ()).await, "1");
    assert_eq!(world.ok("deleteAll", ()).await, "null");
    world.restart(0).await;
    assert_eq!(world.ok("keys", ()).await, "0");
    assert_eq!(world.alarm().await, None);
    assert_eq!(world.ok("names", ()).await, r#"["tick"]"#);
    world.advance(2_000).await;
    world.schedule_runs("tick").await;
    assert_eq!(world.ok("unschedule", "tick").await, "true");
    world.restart(0).await;
    assert_eq!(world.ok("names", ()).await, "[]");
    world.ok("put", ()).await;
    assert_eq!(world.ok("keys", ()).await, "1");
}
