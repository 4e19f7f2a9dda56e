//! The language of the suite: `server.get("/a").await.json()`, `socket.send(increment()).await`,
//! `socket.expect(state(3)).await`.
//!
//! Every server is a real one, on a port and a data directory of its own, with a runtime of its own, so that a test that
//! blocks cannot hold it up. When it goes out of scope it is stopped, and it is asserted that it stopped cleanly. Nothing
//! waits longer than [`DEADLINE`].

mod binary;
mod client;
mod frames;
mod metrics;
mod socket;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fleet::config::Config;
use fleet::server::Builder;
use serde::Deserialize as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) use binary::{Binary, finished};
pub(crate) use client::{Client, Response, exchange, read_response};
pub(crate) use frames::*;
pub(crate) use socket::{Opening, Socket};

/// How long a test waits for anything before it fails: far longer than anything takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A future's value, or a failure that says what was waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let value = tokio::time::timeout(DEADLINE, future).await;
    value.unwrap_or_else(|late| panic!("{what}: nothing within {DEADLINE:?}: {late}"))
}

/// Looks until it is so. Only for what nothing tells of: a count in the metrics, a file.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        while !holds().await {
            look.tick().await;
        }
    })
    .await;
}

/// A running server.
pub(crate) struct Server {
    client: Client,
    build: fn() -> Builder,
    config: Config,
    running: Option<Running>,
    _directory: TempDir,
}

struct Running {
    stop: CancellationToken,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// A server with the default configuration.
    pub(crate) fn start() -> Self {
        Self::configured("")
    }

    /// A server with these lines of a `config.toml`.
    pub(crate) fn configured(toml: &str) -> Self {
        Self::built_and_configured(fleet::Server::builder, toml)
    }

    /// A server with other classes than the built-in ones.
    pub(crate) fn built(build: fn() -> Builder) -> Self {
        Self::built_and_configured(build, "")
    }

    /// Both.
    pub(crate) fn built_and_configured(build: fn() -> Builder, toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = configuration(toml);
        directory.path().clone_into(&mut config.storage.data_dir);
        let (address, running) = Running::start(build().config(config.clone()));
        Self { client: Client::new(address), build, config, running: Some(running), _directory: directory }
    }

    /// Stops the server and starts another on the same data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let (address, running) = Running::start((self.build)().config(self.config.clone()));
        self.client = Client::new(address);
        self.running = Some(running);
    }

    /// Stops the server and starts another, built like this, on the same data.
    pub(crate) fn restart_built(&mut self, build: fn() -> Builder) {
        self.build = build;
        self.restart();
    }

    /// Stops the server and starts another on the same data, at the same address.
    pub(crate) fn restart_in_place(&mut self) {
        self.config.server.listen = self.client.address();
        self.restart();
    }

    /// Asks the server to stop, without waiting until it has.
    pub(crate) fn begin_stop(&self) {
        self.running.as_ref().unwrap().stop.cancel();
    }

    /// Stops the server; it must be done within its grace time.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(self.config.server.shutdown_grace);
        }
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that has failed says why itself.
        if !thread::panicking() {
            self.stop();
        }
    }
}

impl Running {
    fn start(builder: Builder) -> (SocketAddr, Self) {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let (bound, address) = mpsc::channel();
        let (ended, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = fleet::server::runtime().unwrap();
            runtime.block_on(async {
                let server = builder.bind().await.expect("the server starts");
                bound.send(server.address()).unwrap();
                server.serve(token).await;
            });
            // What is still running is dropped here, and would have been waited for before.
            runtime.shutdown_timeout(Duration::from_secs(1));
            ended.send(()).unwrap();
        });
        let address = address.recv_timeout(DEADLINE).expect("the server is listening");
        (address, Self { stop, stopped, thread })
    }

    fn stop(self, grace: Duration) {
        let began = Instant::now();
        self.stop.cancel();
        self.stopped.recv_timeout(DEADLINE).expect("the server stops");
        let took = began.elapsed();
        assert!(took < grace, "stopping took {took:?}: something had to be dropped at the end of the grace time");
        self.thread.join().unwrap();
    }
}

/// The defaults, on a free port, with these lines over them.
fn configuration(toml: &str) -> Config {
    let mut table: toml::Table = Config::default().to_toml().parse().unwrap();
    overlay(&mut table, "[server]\nlisten = \"127.0.0.1:0\"".parse().unwrap());
    overlay(&mut table, toml.parse().expect("the test's configuration is TOML"));
    Config::deserialize(table).expect("the test's configuration is right")
}

fn overlay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}
