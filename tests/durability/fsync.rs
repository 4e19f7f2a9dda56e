//! The output gate, seen from below: nothing leaves before the fdatasync of its commit has returned, and what happens when
//! that fails.
//!
//! # Why
//! `kill -9` leaves the page cache as it is, so it cannot tell a commit that was synced from one that was only written.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Http, Socket};
use crate::server::Server;
use crate::trace::{Call, SYNCS, Trace, calls};
use crate::{eventually, within};

const INCREMENTS: u64 = 12;

fn increment(id: usize) -> Value {
    json!({"type": "increment", "id": id})
}

/// Whether a frame or an answer tells this count.
fn tells(call: &Call, count: u64) -> bool {
    let writes = ["write", "writev", "sendto", "sendmsg"].contains(&call.name.as_str());
    let told = [format!("\\\"count\\\":{count}}}"), format!("\\\"count\\\":{count},")];
    writes && told.iter().any(|told| call.arguments.contains(told))
}

fn is_of_the_log(call: &Call) -> bool {
    call.arguments.contains("/fleet.db-wal>")
}

/// Checks that the reply that tells a count, the first after `since`, was written after a sync of the log that began after
/// the last write to the log had returned, and that there was such a write. Answers where the reply was written.
fn check_reply(calls: &[Call], since: usize, count: u64) -> usize {
    let reply = calls.iter().find(|call| call.begin > since && tells(call, count));
    let reply = reply.unwrap_or_else(|| panic!("no reply tells {count} after line {since}")).begin;
    let between = || calls.iter().filter(|call| call.begin > since && call.begin < reply && is_of_the_log(call));
    let written = between().rfind(|call| call.name == "pwrite64");
    let written = written.unwrap_or_else(|| panic!("{count} was told in line {reply} and nothing was written before"));
    let (written, _) = written.end.as_ref().unwrap_or_else(|| panic!("{count} was told during {written:?}"));
    let synced = between().filter(|call| SYNCS.split(',').any(|name| name == call.name) && call.begin > *written);
    let returned =
        |call: &Call| call.end.as_ref().is_some_and(|(line, result)| *line < reply && result.starts_with('0'));
    assert!(
        synced.into_iter().any(returned),
        "{count} was told in line {reply}, and the log not synced after {written}"
    );
    reply
}

async fn drive(server: &Server) {
    let mut http = server.http().await;
    for count in 1..=INCREMENTS {
        let reply = http.increment("/over-http").await.unwrap();
        assert_eq!(reply.ok().json(), json!({"count": count}));
    }
    let mut socket = server.socket("/with-ids").await;
    for count in 1..=INCREMENTS {
        socket.send([increment(1)]).await.unwrap();
        assert_eq!(socket.answer().await.unwrap()["payload"]["count"], count);
    }
    let mut socket = server.socket("/like-the-seed").await;
    for count in 1..=INCREMENTS {
        socket.send([json!({"type": "increment"})]).await.unwrap();
        assert_eq!(socket.next().await.unwrap()["payload"]["data"]["count"], count);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx1_every_reply_is_written_after_the_fdatasync_of_its_commit() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    // Paths are opened, and the log is there, before anything is looked at.
    drive_once(&server).await;
    let file = directory.path().join("trace");
    let traced = format!("trace={SYNCS},pwrite64,write,writev,sendto,sendmsg");
    // Slow enough that a reply which does not wait is written long before.
    let slow = format!("inject={SYNCS}:delay_enter=20000");
    let output = file.to_str().unwrap();
    let arguments = ["-y", "-s", "400", "-o", output, "-e", &traced, "-e", &slow];
    let Some(trace) = Trace::attach(&server, &arguments).await else { return };
    drive(&server).await;
    trace.detach().await;
    let calls = calls(&file);
    let mut since = 0;
    for _ in 0..3 {
        for count in 1..=INCREMENTS {
            since = check_reply(&calls, since, count);
        }
    }
    server.kill().await;
}

async fn drive_once(server: &Server) {
    server.ready().await;
    server.http().await.increment("/before").await.unwrap().ok();
}

/// How long a sync takes while it is traced: nothing can be acknowledged sooner.
const DELAY: Duration = Duration::from_millis(200);

/// Started before something is asked.
struct Stopwatch(Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Asserts that a sync may have come first.
    #[track_caller]
    fn not_before_the_disk(&self, what: &str) {
        let elapsed = self.0.elapsed();
        // Two clocks may differ by a little.
        assert!(elapsed + Duration::from_millis(5) >= DELAY, "{what} after {elapsed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx1_nothing_is_acknowledged_sooner_than_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    drive_once(&server).await;
    let slow = format!("inject={SYNCS}:delay_enter={}", DELAY.as_micros());
    let traced = format!("trace={SYNCS}");
    let Some(trace) = Trace::attach(&server, &["-o", "/dev/null", "-e", &traced, "-e", &slow]).await else { return };
    let mut http = server.http().await;
    for _ in 0..2 {
        let watch = Stopwatch::start();
        http.increment("/a").await.unwrap().ok();
        watch.not_before_the_disk("an increment");
    }
    let watch = Stopwatch::start();
    http.create("/a", "child").await.unwrap().ok();
    watch.not_before_the_disk("a child was created");
    let mut socket = server.socket("/a").await;
    let watch = Stopwatch::start();
    socket.send([increment(1)]).await.unwrap();
    socket.answer().await.unwrap();
    watch.not_before_the_disk("an increment over a socket");
    let watch = Stopwatch::start();
    socket.send([json!({"type": "increment"})]).await.unwrap();
    socket.next().await.unwrap();
    watch.not_before_the_disk("an increment without an id");
    others_see_nothing_sooner(&server, &mut http).await;
    let watch = Stopwatch::start();
    http.delete("/a/child").await.unwrap().ok();
    watch.not_before_the_disk("a deletion");
    trace.detach().await;
    server.kill().await;
}

/// Whoever looks on sees a change only when it is durable: over HTTP, on sockets old and new, as a message, and as the end.
async fn others_see_nothing_sooner(server: &Server, http: &mut Http) {
    let mut watcher = server.socket("/watched").await;
    let mut child = server.socket("/watched/child").await;
    http.create("/watched", "child").await.unwrap().ok();
    assert_eq!(watcher.next().await.unwrap()["payload"]["agents"], json!(["child"]));
    let mut sender = server.socket("/watched").await;
    let watch = Stopwatch::start();
    sender.send([increment(1)]).await.unwrap();
    let looked = async {
        eventually("the count is seen", async || http.count("/watched").await == 1).await;
        watch.not_before_the_disk("somebody read the count");
    };
    let told = async {
        assert_eq!(watcher.next().await.unwrap()["payload"]["data"]["count"], 1);
        watch.not_before_the_disk("somebody was told the count");
    };
    let opened = async {
        let sees = async || Socket::open_and_see(server.address(), "/watched").await.unwrap().1["data"]["count"] == 1;
        eventually("a new socket sees the count", sees).await;
        watch.not_before_the_disk("a new socket saw the count");
    };
    tokio::join!(looked, told, opened);
    sender.answer().await.unwrap();
    let watch = Stopwatch::start();
    let message = json!({"type": "broadcast", "payload": {"message": "m"}});
    sender.send([increment(2), message]).await.unwrap();
    assert_eq!(child.next().await.unwrap()["payload"], json!({"message": "m", "sender": "watched"}));
    watch.not_before_the_disk("a message left an object with a commit under way");
    let watch = Stopwatch::start();
    sender.send([json!({"type": "deleteAgent", "payload": {"name": "child"}})]).await.unwrap();
    let closed = child.next().await.unwrap_err().to_string();
    watch.not_before_the_disk("a socket was closed");
    assert!(closed.contains("Agent deleted"), "{closed}");
}

/// Increments of one path: at least and at most how many happened.
#[derive(Default)]
struct Count {
    acknowledged: u64,
    unknown: u64,
}

impl Count {
    async fn increment(&mut self, http: &mut Http, path: &str) -> u16 {
        let reply = http.increment(path).await.unwrap();
        match reply.status {
            200 => self.acknowledged += 1,
            503 => {
                self.unknown += 1;
                assert_eq!(reply.json()["code"], "commit_unknown", "{reply:?}");
            }
            other => panic!("{other}: {reply:?}"),
        }
        reply.status
    }

    #[track_caller]
    fn check(&self, found: u64) {
        let bounds = self.acknowledged..=self.acknowledged + self.unknown;
        assert!(bounds.contains(&found), "{found} is not in {bounds:?}");
    }
}

async fn is_not_ready(http: &mut Http) -> bool {
    let reply = http.get("/.fleet/ready").await.unwrap();
    reply.status == 503 && reply.json()["reason"].as_str().is_some_and(|reason| reason.contains("commit failed"))
}

/// The next state frame that tells this count.
async fn told(socket: &mut Socket, count: u64) {
    within("the state", async { while socket.next().await.unwrap()["payload"]["data"]["count"] != count {} }).await;
}

async fn restarted(server: Server, directory: &Path) -> (Server, Http) {
    server.kill().await;
    let server = Server::start(directory).await;
    let http = server.http().await;
    (server, http)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ob4_a_disk_that_fails_for_a_while_costs_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    drive_once(&server).await;
    let mut http = server.http().await;
    let (mut mine, mut other) = (Count::default(), Count::default());
    for _ in 0..5 {
        assert_eq!(mine.increment(&mut http, "/mine").await, 200);
        assert_eq!(other.increment(&mut http, "/other").await, 200);
    }
    http.create("/mine", "child").await.unwrap().ok();
    let mut watcher = server.socket("/mine").await;

    let (traced, fails) = (format!("trace={SYNCS}"), format!("inject={SYNCS}:error=EIO"));
    let Some(trace) = Trace::attach(&server, &["-o", "/dev/null", "-e", &traced, "-e", &fails]).await else { return };
    for _ in 0..3 {
        assert_eq!(mine.increment(&mut http, "/mine").await, 503);
    }
    let mut socket = server.socket("/mine").await;
    socket.send([increment(7)]).await.unwrap();
    let answer = socket.answer().await.unwrap();
    assert_eq!((&answer["type"], &answer["payload"]["code"]), (&json!("error"), &json!("commit_unknown")), "{answer}");
    mine.unknown += 1;
    assert_eq!(http.delete("/mine/child").await.unwrap().status, 503);
    eventually("it says that it is not ready", async || is_not_ready(&mut http).await).await;
    // Reads go on: of what had a commit under way, and of what had not.
    other.check(http.count("/other").await);
    mine.check(http.count("/mine").await);
    trace.detach().await;

    server.ready().await;
    mine.check(http.count("/mine").await);
    assert_eq!(mine.increment(&mut http, "/mine").await, 200);
    assert_eq!(other.increment(&mut http, "/other").await, 200);
    let count = http.count("/mine").await;
    mine.check(count);
    told(&mut watcher, count).await;
    told(&mut socket, count).await;

    let agents = http.get("/mine").await.unwrap().ok().json()["agents"].clone();
    let (server, mut http) = restarted(server, directory.path()).await;
    assert_eq!(http.count("/mine").await, count);
    other.check(http.count("/other").await);
    assert_eq!(http.get("/mine").await.unwrap().ok().json()["agents"], agents, "the deletion happened or it did not");
    let exists = http.objects("/mine").await.iter().any(|(path, _)| path == "/mine/child");
    assert_eq!(json!(exists), json!(agents == json!(["child"])));
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ob4_a_kill_after_a_failed_commit_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = Count::default();
    for _ in 0..3 {
        let server = Server::start(directory.path()).await;
        server.ready().await;
        let mut http = server.http().await;
        count.check(http.count("/a").await);
        assert_eq!(count.increment(&mut http, "/a").await, 200);
        let (traced, fails) = (format!("trace={SYNCS}"), format!("inject={SYNCS}:error=EIO"));
        let arguments = ["-o", "/dev/null", "-e", &traced, "-e", &fails];
        let Some(trace) = Trace::attach(&server, &arguments).await else { return };
        assert_eq!(count.increment(&mut http, "/a").await, 503);
        server.kill().await;
        trace.ended().await;
    }
    let server = Server::start(directory.path()).await;
    count.check(server.http().await.count("/a").await);
}
