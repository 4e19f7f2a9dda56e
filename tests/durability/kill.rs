//! `kill -9` at random moments, again and again on one data directory: everything acknowledged is there, and nothing is
//! there that was not sent.

use std::collections::VecDeque;
use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::client::{Http, Socket};
use crate::server::Server;
use crate::tree::{Operation, Tree};
use crate::{seeded, within};

const ROUNDS: u64 = 30;
/// Paths that everybody increments.
const COUNTERS: usize = 24;
/// Answers after which the server is killed, at most.
const ANSWERS: u64 = 1_500;

/// One path: what was acknowledged, and what was sent.
#[derive(Default)]
struct Counter {
    acknowledged: AtomicU64,
    sent: AtomicU64,
}

/// What all clients of a round share.
struct Round {
    address: SocketAddr,
    counters: Vec<Counter>,
    /// Answers still to come before the server is killed.
    answers: AtomicU64,
    enough: Notify,
}

impl Round {
    fn sent(&self, counter: usize) {
        self.counters[counter].sent.fetch_add(1, Ordering::SeqCst);
    }

    fn acknowledged(&self, counter: usize) {
        self.counters[counter].acknowledged.fetch_add(1, Ordering::SeqCst);
        self.answered();
    }

    fn answered(&self) {
        if self.answers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.enough.notify_one();
        }
    }
}

/// A subtree that one client works on, and what that client has asked for and not heard of.
struct Gardener {
    root: String,
    tree: Tree,
    pending: VecDeque<Operation>,
    rng: fastrand::Rng,
    names: usize,
}

/// Increments over HTTP until the server is gone.
async fn over_http(round: &Round, mut rng: fastrand::Rng) -> Result<()> {
    let mut http = Http::connect(round.address).await?;
    loop {
        let counter = rng.usize(..COUNTERS);
        round.sent(counter);
        http.increment(&format!("/counters/{counter}")).await?.ok();
        round.acknowledged(counter);
    }
}

/// Increments over a WebSocket until the server is gone: in bursts with an `id` each, or one by one like the seed.
async fn over_a_socket(round: &Round, mut rng: fastrand::Rng) -> Result<()> {
    let counter = rng.usize(..COUNTERS);
    let mut socket = Socket::open(round.address, &format!("/counters/{counter}")).await?;
    loop {
        let count = rng.usize(1..33);
        let messages = (0..count).map(|id| {
            round.sent(counter);
            json!({"type": "increment", "id": id})
        });
        socket.send(messages).await?;
        for id in 0..count {
            let answer = socket.answer().await?;
            assert_eq!((answer["type"].as_str(), answer["id"].as_u64()), (Some("result"), Some(id as u64)), "{answer}");
            round.acknowledged(counter);
        }
    }
}

impl Gardener {
    fn new(number: usize, rng: fastrand::Rng) -> Self {
        let root = format!("/tree{number}");
        Self { root, tree: Tree::default(), pending: VecDeque::new(), rng, names: 0 }
    }

    /// Works until the server is gone.
    async fn work(mut self, round: Arc<Round>) -> Self {
        // How it ends is known: the server was killed.
        let _ = self.until_it_is_gone(&round).await;
        self
    }

    async fn until_it_is_gone(&mut self, round: &Round) -> Result<()> {
        let mut http = Http::connect(round.address).await?;
        let mut socket = Socket::open(round.address, &self.root).await?;
        loop {
            if self.rng.bool() {
                let operation = self.anywhere();
                self.pending.push_back(operation.clone());
                operation.request(&mut http).await?;
                self.done(round);
                if operation == Operation::Delete(self.root.clone()) {
                    // The old one was closed with it.
                    socket = Socket::open(round.address, &self.root).await?;
                }
            } else {
                self.plan_burst();
                let messages: Vec<Value> = (0..).zip(&self.pending).map(|(id, one)| one.message(id)).collect();
                socket.send(messages).await?;
                for id in 0..self.pending.len() {
                    let answer = socket.answer().await?;
                    assert_eq!((&answer["type"], &answer["id"]), (&json!("result"), &json!(id)), "{answer}");
                    self.done(round);
                }
            }
        }
    }

    /// The oldest operation was acknowledged.
    fn done(&mut self, round: &Round) {
        self.tree.apply(&self.pending.pop_front().unwrap());
        round.answered();
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// Something for any object of the tree, or one below it that nobody lists.
    fn anywhere(&mut self) -> Operation {
        let paths: Vec<&String> = self.tree.0.keys().collect();
        let path = if paths.is_empty() { self.root.clone() } else { paths[self.rng.usize(..paths.len())].clone() };
        let deep = path.matches('/').count() > 5;
        match self.rng.u8(..10) {
            0..3 if !deep => Operation::Create(path, self.name()),
            3 if !deep => Operation::Increment(format!("{path}/{}/{}", self.name(), self.name())),
            4..6 if path != self.root => Operation::Delete(path),
            6 if self.tree.0.len() > 40 => Operation::Delete(self.root.clone()),
            _ => Operation::Increment(path),
        }
    }

    /// Several operations on the topmost object that are under way at once.
    fn plan_burst(&mut self) {
        let mut agents = self.tree.0.get(&self.root).map(|node| node.agents.clone()).unwrap_or_default();
        for _ in 0..self.rng.usize(1..17) {
            let root = self.root.clone();
            let operation = match self.rng.u8(..4) {
                0 if !agents.is_empty() => {
                    let agent = agents.swap_remove(self.rng.usize(..agents.len()));
                    Operation::DeleteAgent(root, agent)
                }
                1 | 2 => {
                    agents.push(self.name());
                    Operation::Create(root, agents.last().unwrap().clone())
                }
                _ => Operation::Increment(root),
            };
            self.pending.push_back(operation);
        }
    }
}

/// Reads everything and compares.
async fn check(server: &Server, counters: &[Counter], gardeners: &mut [Gardener]) {
    let mut http = server.http().await;
    for (number, Counter { acknowledged, sent }) in counters.iter().enumerate() {
        let count = http.count(&format!("/counters/{number}")).await;
        let bounds = acknowledged.load(Ordering::SeqCst)..=sent.load(Ordering::SeqCst);
        assert!(bounds.contains(&count), "/counters/{number}: {count} is not in {bounds:?}");
        acknowledged.store(count, Ordering::SeqCst);
        sent.store(count, Ordering::SeqCst);
    }
    for Gardener { root, tree, pending, .. } in gardeners {
        let found = Tree::read(&mut http, root).await;
        tree.settle(pending, &found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp10_fx1_everything_acknowledged_is_there_after_every_kill() {
    let mut rng = seeded();
    let directory = tempfile::tempdir().unwrap();
    let mut gardeners: Vec<Gardener> = (0..3).map(|number| Gardener::new(number, rng.fork())).collect();
    let mut counters: Vec<Counter> = (0..COUNTERS).map(|_| Counter::default()).collect();
    for round in 0..ROUNDS {
        let server = Server::start(directory.path()).await;
        check(&server, &counters, &mut gardeners).await;
        let shared = Arc::new(Round {
            address: server.address(),
            counters,
            answers: AtomicU64::new(rng.u64(1..ANSWERS)),
            enough: Notify::new(),
        });
        let mut clients = JoinSet::new();
        for number in 0..6 {
            let (round, rng) = (Arc::clone(&shared), rng.fork());
            clients.spawn(async move {
                let ended = if number < 3 { over_http(&round, rng).await } else { over_a_socket(&round, rng).await };
                assert!(ended.is_err());
            });
        }
        let mut working = JoinSet::new();
        for gardener in gardeners {
            working.spawn(gardener.work(Arc::clone(&shared)));
        }
        within("enough answers", shared.enough.notified()).await;
        // Not only in the moment after an answer.
        tokio::time::sleep(Duration::from_micros(rng.u64(..3_000))).await;
        server.kill().await;
        clients.join_all().await;
        gardeners = working.join_all().await;
        gardeners.sort_by(|a, b| a.root.cmp(&b.root));
        counters = Arc::into_inner(shared).expect("every client has ended").counters;
        println!("round {round}: {} objects", gardeners.iter().map(|gardener| gardener.tree.0.len()).sum::<usize>());
    }
    let server = Server::start(directory.path()).await;
    check(&server, &counters, &mut gardeners).await;
    assert_eq!(server.stop().await.code(), Some(0));
    let database = rusqlite::Connection::open(directory.path().join("fleet.db")).unwrap();
    let finding: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(finding, "ok");
}
