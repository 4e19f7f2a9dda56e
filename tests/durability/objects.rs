//! `kill -9` on a server of users' classes, at random moments, again and again on one data directory: rows of a turn are there
//! all or none, messages are handled once and in order, alarms and schedules fire once and never early, and questions are
//! answered once.

use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::classes::Audit;
use crate::client::Http;
use crate::server::Server;
use crate::{eventually, seeded, within};

const ROUNDS: u64 = 24;
const CLIENTS: usize = 8;
/// Objects of each class.
const EACH: usize = 4;
const CLASSES: [&str; 4] = ["ledger", "courier", "clock", "asker"];
/// Answers after which the server is killed, at most: in some rounds it has hardly begun to catch up.
const ANSWERS: [u64; 4] = [4, 400, 400, 400];
/// Parcels that are sent in one turn, each to several objects after the other.
const MOST_PARCELS: usize = 30;
/// Longest time for which an alarm is set.
const DELAY_MS: u64 = 1_200;

/// One object: what clients know of it.
struct Known {
    path: String,
    acknowledged: AtomicU64,
    sent: AtomicU64,
    /// Consequences that somebody was told of.
    seen: AtomicU64,
}

/// What all clients of a round share.
struct Round {
    address: SocketAddr,
    objects: Vec<Known>,
    /// Answers still to come before the server is killed.
    answers: AtomicU64,
    enough: Notify,
}

impl Known {
    fn new(path: String) -> Self {
        let [acknowledged, sent, seen] = [0, 0, 0].map(AtomicU64::new);
        Self { path, acknowledged, sent, seen }
    }

    fn class(&self) -> &str {
        self.path.split('/').nth(1).unwrap()
    }

    /// Asks the object; what it says is true from here on.
    async fn audit(&self, http: &mut Http) -> Result<Audit> {
        let reply = http.call(&self.path, "audit", &Value::Null).await?;
        let audit: Audit = serde_json::from_slice(&reply.ok().body).unwrap();
        assert!(audit.wrong.is_empty(), "{}: {:#?}", self.path, audit.wrong);
        let (done, sent) = (audit.done, self.sent.load(Ordering::SeqCst));
        assert!(done <= sent, "{} acted {done} times, and was asked to {sent} times", self.path);
        self.seen.fetch_max(audit.seen, Ordering::SeqCst);
        self.acknowledged.fetch_max(done, Ordering::SeqCst);
        Ok(audit)
    }

    /// The same after a restart: what anybody was told is still so.
    async fn check(&self, http: &mut Http) -> Audit {
        let known = [&self.acknowledged, &self.seen].map(|known| known.load(Ordering::SeqCst));
        let audit = self.audit(http).await.unwrap();
        assert!(audit.done >= known[0], "{}: {audit:?}, but {} were acknowledged", self.path, known[0]);
        assert!(audit.seen >= known[1], "{}: {audit:?}, but {} were seen", self.path, known[1]);
        audit
    }
}

impl Round {
    async fn client(self: Arc<Self>, mut rng: fastrand::Rng) {
        // How it ends is known: the server was killed.
        let _ = self.work(&mut rng).await;
    }

    async fn work(&self, rng: &mut fastrand::Rng) -> Result<()> {
        let mut http = Http::connect(self.address).await?;
        loop {
            let object = &self.objects[rng.usize(..self.objects.len())];
            if rng.u8(..8) == 0 {
                object.audit(&mut http).await?;
            } else {
                self.act(object, &mut http, rng).await?;
            }
            if self.answers.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.enough.notify_one();
            }
        }
    }

    async fn act(&self, object: &Known, http: &mut Http, rng: &mut fastrand::Rng) -> Result<()> {
        let class = object.class();
        let fails = class == "ledger" && rng.u8(..5) == 0;
        let payload = match class {
            "ledger" => json!(fails),
            "courier" => (0..rng.usize(1..=MOST_PARCELS)).map(|_| some(class, 5, rng)).collect(),
            "asker" => some(class, 3, rng),
            _ => json!([rng.u64(..DELAY_MS), rng.bool()]),
        };
        if !fails {
            object.sent.fetch_add(1, Ordering::SeqCst);
        }
        let reply = http.call(&object.path, "act", &payload).await?;
        if fails {
            assert_eq!(reply.status, 409, "{reply:?}");
        } else {
            let done = reply.ok().json().as_u64().unwrap();
            object.acknowledged.fetch_max(done, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Some objects of a class, the asking one perhaps among them.
fn some(class: &str, most: usize, rng: &mut fastrand::Rng) -> Value {
    (0..rng.usize(1..=most)).map(|_| format!("/{class}/{}", rng.usize(..EACH))).collect()
}

/// Everything that was acknowledged is there, and nothing that must not be. Answers what all objects say together.
async fn check(server: &Server, objects: &[Known]) -> Audit {
    let mut http = server.http().await;
    let mut sum = Audit::default();
    let mut all = Vec::new();
    for object in objects {
        let audit = object.check(&mut http).await;
        sum.heard += audit.heard;
        all.push(audit);
    }
    for object in objects.iter().filter(|object| object.class() == "courier") {
        // Asked after all have said what they have heard.
        sum.sent += object.audit(&mut http).await.unwrap().sent;
    }
    assert!(sum.heard <= sum.sent, "{} messages were handled of {} that were sent", sum.heard, sum.sent);
    sum.open = all.iter().map(|audit| audit.open).sum();
    sum.done = all.iter().map(|audit| audit.done).sum();
    sum
}

/// Waits until everything that was begun has ended: every message handled, every alarm fired, every question answered.
async fn settle(server: &Server, objects: &[Known]) {
    eventually("all consequences", async || {
        let sum = check(server, objects).await;
        sum.open == 0 && sum.heard == sum.sent
    })
    .await;
}

/// What is left in the files when nothing is under way.
fn check_files(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("fleet.db")).unwrap();
    let text = |sql| database.query_row(sql, (), |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    assert_eq!(text("SELECT CAST(count(*) AS TEXT) FROM sends"), "0", "messages that were handled are gone");
    assert_eq!(text("SELECT CAST(count(*) AS TEXT) FROM rows WHERE key LIKE 'pending/%'"), "0", "so are questions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn st4_al2_co1_co2_objects_of_users_survive_every_kill() {
    let mut rng = seeded();
    let directory = tempfile::tempdir().unwrap();
    let paths = CLASSES.iter().flat_map(|class| (0..EACH).map(move |number| format!("/{class}/{number}")));
    let mut objects: Vec<Known> = paths.map(Known::new).collect();
    for round in 0..ROUNDS {
        let server = Server::start_with_classes(directory.path()).await;
        let sum = check(&server, &objects).await;
        println!("round {round}: {} acts, {} of {} messages, {} to come", sum.done, sum.heard, sum.sent, sum.open);
        if rng.u8(..6) == 0 {
            settle(&server, &objects).await;
        }
        let most = ANSWERS[rng.usize(..ANSWERS.len())];
        let shared = Arc::new(Round {
            address: server.address(),
            objects,
            answers: AtomicU64::new(rng.u64(1..=most)),
            enough: Notify::new(),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(Arc::clone(&shared).client(rng.fork()));
        }
        within("enough answers", shared.enough.notified()).await;
        // Not only in the moment after an answer.
        tokio::time::sleep(Duration::from_micros(rng.u64(..5_000))).await;
        server.kill().await;
        clients.join_all().await;
        objects = Arc::into_inner(shared).expect("every client has ended").objects;
    }
    let server = Server::start_with_classes(directory.path()).await;
    settle(&server, &objects).await;
    server.kill().await;
    // Reading replays what the last server had in its log.
    check_files(directory.path());
}
