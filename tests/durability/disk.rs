//! A real disk that is full, or read-only: a small file system that only the server's own mount namespace has.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fleet::limits::RESERVE_BYTES;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::client::{Http, Reply};
use crate::server::Server;
use crate::workforce::items;
use crate::{eventually, skip, within};

/// Size of the file system: little more than the log and the reserve together.
const MIB: usize = 80;
/// One that has room for a workforce beside these.
const LARGE_MIB: usize = 160;
/// Changes after which a full disk must have been noticed: far more than the log holds that was grown in advance.
const CHANGES: usize = 20_000;

/// A mounted file system, and the process that keeps it: it goes with that.
pub(crate) struct Disk {
    holder: Child,
    mountpoint: TempDir,
    mib: usize,
}

impl Disk {
    /// `None` where nothing can be mounted.
    pub(crate) async fn mount() -> Option<Self> {
        Self::of(MIB).await
    }

    /// One of this size.
    async fn of(mib: usize) -> Option<Self> {
        let mountpoint = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(mountpoint.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut holder = match command.spawn() {
            Ok(holder) => holder,
            Err(error) => {
                skip(&format!("unshare cannot be started: {error}"));
                return None;
            }
        };
        let mut word = [0; 8];
        let mounted = within("mounting", holder.stdout.as_mut().unwrap().read_exact(&mut word)).await;
        if mounted.is_err() {
            let mut why = String::new();
            within("an error", holder.stderr.as_mut().unwrap().read_to_string(&mut why)).await.unwrap();
            skip(&format!("no file system can be mounted: {}", why.trim()));
            return None;
        }
        Some(Self { holder, mountpoint, mib })
    }

    /// Where the server sees it.
    fn path(&self) -> &Path {
        self.mountpoint.path()
    }

    fn process(&self) -> String {
        self.holder.id().expect("it is running").to_string()
    }

    /// Where the test sees it.
    fn seen(&self, name: &str) -> PathBuf {
        let relative = self.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(self.process()).join("root").join(relative).join(name)
    }

    /// A command that sees it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process(), "--mount", "--", program]);
        command
    }

    /// A server of the classes of the tests.
    async fn start_with_classes(&self) -> Server {
        let program = std::env::current_exe().unwrap();
        Server::start_with_classes_by(self.command(program.to_str().unwrap()), &self.path().join("data")).await
    }

    async fn start(&self) -> Server {
        Server::start_by(self.command(env!("CARGO_BIN_EXE_fleet")), &self.path().join("data")).await
    }

    /// Takes whatever space is left.
    fn fill(&self) {
        let mut ballast = File::create(self.seen("ballast")).unwrap();
        for size in [1 << 20, 4 << 10] {
            let block = vec![b'b'; size];
            // More blocks than this do not fit.
            for _ in 0..=(self.mib << 20) / size {
                match ballast.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Size of the file that is given up when the disk is full.
    fn reserve(&self) -> u64 {
        std::fs::metadata(self.seen("data/fleet.reserve")).map_or(0, |file| file.len())
    }

    fn empty(&self) {
        std::fs::remove_file(self.seen("ballast")).unwrap();
    }
}

/// What was acknowledged, and what may have happened too.
#[derive(Default)]
struct Changes {
    acknowledged: u64,
    unknown: u64,
    children: u64,
}

impl Changes {
    /// Changes things until the disk is full.
    async fn until_full(&mut self, http: &mut Http) {
        for _ in 0..CHANGES {
            if self.increment(http).await != 200 {
                return;
            }
            let name = format!("child{}", self.children);
            let reply = http.create("/parent", &name).await.unwrap();
            match reply.status {
                200 => self.children += 1,
                _ => return refused(&reply),
            }
        }
        panic!("{CHANGES} changes on a full disk");
    }

    async fn increment(&mut self, http: &mut Http) -> u16 {
        let reply = http.increment("/count").await.unwrap();
        match reply.status {
            200 => self.acknowledged += 1,
            // What is said not to have been applied must not be there.
            507 => refused(&reply),
            _ => {
                refused(&reply);
                self.unknown += 1;
            }
        }
        reply.status
    }

    async fn check(&self, http: &mut Http) {
        let count = http.count("/count").await;
        let bounds = self.acknowledged..=self.acknowledged + self.unknown;
        assert!(bounds.contains(&count), "{count} is not in {bounds:?}");
        let state = http.get("/parent").await.unwrap().ok().json();
        let agents = state["agents"].as_array().unwrap();
        assert!(agents.len() as u64 >= self.children, "{} of {} children", agents.len(), self.children);
        assert_eq!(http.objects("/parent").await.len(), agents.len() + 1);
    }
}

#[track_caller]
fn refused(reply: &Reply) {
    let code = reply.json()["code"].clone();
    match reply.status {
        507 => assert_eq!(code, "storage_full"),
        503 => assert_eq!(code, "commit_unknown"),
        other => panic!("{other}: {reply:?}"),
    }
}

async fn is_full(http: &mut Http) -> bool {
    let reply = http.get("/.fleet/ready").await.unwrap();
    reply.status == 503 && reply.json()["reason"].as_str().is_some_and(|reason| reason.contains("disk is full"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx2_a_full_disk_refuses_changes_and_nothing_else_until_there_is_space() {
    let Some(disk) = Disk::mount().await else { return };
    let server = disk.start().await;
    server.ready().await;
    let mut http = server.http().await;
    for doomed in ["/doomed/1", "/doomed/2", "/doomed/3"] {
        http.increment(doomed).await.unwrap().ok();
    }
    eventually("the reserve is held", async || disk.reserve() == RESERVE_BYTES).await;
    disk.fill();
    let mut changes = Changes::default();
    changes.until_full(&mut http).await;
    assert!(changes.children > 0, "the log has room for some changes");
    eventually("it says that the disk is full", async || is_full(&mut http).await).await;
    for _ in 0..5 {
        assert_eq!(changes.increment(&mut http).await, 507);
    }
    let mut socket = server.socket("/count").await;
    socket.send([json!({"type": "increment", "id": 1})]).await.unwrap();
    let answer = socket.answer().await.unwrap();
    assert_eq!((&answer["type"], &answer["payload"]["code"]), (&json!("error"), &json!("storage_full")), "{answer}");
    changes.check(&mut http).await;
    http.delete("/doomed/1").await.unwrap().ok();
    assert_eq!(http.count("/doomed/1").await, 0);

    // It also starts on a full disk.
    server.kill().await;
    let server = disk.start().await;
    let mut http = server.http().await;
    changes.check(&mut http).await;
    assert_eq!(http.count("/doomed/1").await, 0);
    assert_eq!(http.count("/doomed/2").await, 1);
    http.delete("/doomed/2").await.unwrap().ok();
    assert_eq!(http.count("/doomed/2").await, 0);

    disk.empty();
    server.ready().await;
    assert_eq!(changes.increment(&mut http).await, 200);
    http.delete("/doomed/3").await.unwrap().ok();
    changes.check(&mut http).await;
    server.kill().await;
    let server = disk.start().await;
    let mut http = server.http().await;
    changes.check(&mut http).await;
    assert!(http.objects("/doomed").await.is_empty());
    assert_eq!(server.stop().await.code(), Some(0));
}

/// A batch, whose results are more than the disk has room for when it is full.
const TASKS: u64 = 200;
const RESULT_BYTES: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fm10_fx2_a_batch_that_finds_the_disk_full_goes_on_when_there_is_space_and_its_books_are_exact() {
    let Some(disk) = Disk::of(LARGE_MIB).await else { return };
    let server = disk.start_with_classes().await;
    server.ready().await;
    let mut http = server.http().await;
    for (name, class) in [("jobs", "fleet-manager"), ("results", "coordinator")] {
        http.call("/", "createAgent", &json!({"name": name, "class": class})).await.unwrap().ok();
    }
    let config =
        json!({"maxConcurrentWorkers": 4, "retryBackoff": {"initialMs": 10, "maxMs": 50}, "coordinator": "/results"});
    http.call("/jobs", "updateConfig", &config).await.unwrap().ok();
    eventually("the reserve is held", async || disk.reserve() == RESERVE_BYTES).await;
    let task = |n| json!({"id": format!("t{n}"), "type": "large", "data": RESULT_BYTES});
    let tasks = json!({"tasks": (0..TASKS).map(task).collect::<Vec<_>>()});
    let submitted = http.call("/jobs", "submitBatch", &tasks).await.unwrap().ok().json();
    let which = json!({"batchId": submitted["batchId"]});
    eventually("some have ended", async || {
        let status = http.call("/jobs", "getBatchStatus", &which).await.unwrap().ok().json();
        status["completedTasks"].as_u64().unwrap() > 0
    })
    .await;
    disk.fill();
    eventually("it says that the disk is full", async || is_full(&mut http).await).await;
    refused(&http.call("/jobs", "submitBatch", &tasks).await.unwrap());
    // What is refused is what meets a change of the manager's own, which it tries again and again.
    eventually("the batch can be read", async || {
        http.call("/jobs", "getBatchStatus", &which).await.unwrap().status == 200
    })
    .await;
    assert!(is_full(&mut http).await);

    disk.empty();
    server.ready().await;
    let mut status = json!(null);
    eventually("the batch ends", async || {
        status = http.call("/jobs", "getBatchStatus", &which).await.unwrap().ok().json();
        !status["endedAt"].is_null()
    })
    .await;
    assert_eq!((&status["status"], &status["completedTasks"]), (&json!("completed"), &json!(TASKS)), "{status}");
    let count =
        |results: &[Value]| results.iter().map(|result| result["taskId"].to_string()).collect::<BTreeSet<_>>().len();
    let results = items(&mut http, "/jobs", "getBatchResults", which).await;
    assert_eq!((results.len() as u64, count(&results) as u64), (TASKS, TASKS), "each has ended once");
    let whole = |result: &Value| result["result"].as_str().is_some_and(|text| text.len() as u64 == RESULT_BYTES);
    assert!(results.iter().all(whole));
    let books = http.call("/jobs", "getStats", &json!({})).await.unwrap().ok().json();
    let of = |keys: [&str; 7]| keys.map(|key| books[key].as_u64().unwrap());
    let keys =
        ["totalBatches", "totalTasks", "completedTasks", "failedTasks", "queuedTasks", "runningTasks", "retryingTasks"];
    assert_eq!(of(keys), [1, TASKS, TASKS, 0, 0, 0, 0], "{books}");
    eventually("the coordinator has heard of all", async || {
        http.call("/results", "getCount", &json!({})).await.unwrap().ok().json() == TASKS
    })
    .await;
    let heard = items(&mut http, "/results", "getResults", json!({})).await;
    assert_eq!((heard.len() as u64, count(&heard) as u64), (TASKS, TASKS), "it was told of each once");
    assert_eq!(books["unreported"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_data_directory_is_refused_with_advice() {
    let Some(disk) = Disk::mount().await else { return };
    let server = disk.start().await;
    server.http().await.increment("/a").await.unwrap().ok();
    assert_eq!(server.stop().await.code(), Some(0));
    let mut remount = disk.command("mount");
    remount.args(["-o", "remount,ro"]).arg(disk.path());
    assert!(within("mount", remount.status()).await.unwrap().success());
    let data = disk.path().join("data");
    let refusal = Server::refused_by(disk.command(env!("CARGO_BIN_EXE_fleet")), &data).await;
    refusal.says(&[
        &data.display().to_string(),
        "Read-only file system",
        "must exist or be creatable, and be writable",
    ]);
}
