//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures fleet over real sockets, beside the raw limits of the same run.
#[derive(Parser, Debug, Clone)]
#[command(bin_name = "cargo bench --bench load --")]
pub(crate) struct Args {
    /// Only these scenarios, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub(crate) only: Vec<Name>,
    /// Length of one timed run.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Runs of each scenario, raw limit and fleet in turn; the table shows medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Drive a server that runs already, on loopback; what needs its process (memory, start-up) is left out.
    #[arg(long, value_parser = loopback, value_name = "http://127.0.0.1:PORT")]
    pub(crate) url: Option<SocketAddr>,
    /// Put the data here, and keep the directories of many objects and alarms for the next run.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Measure this binary instead of the one that cargo has just built.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// Threads of the client where it has more than one connection.
    #[arg(long, default_value_t = 2)]
    pub(crate) client_threads: usize,
    /// Sockets, and objects, of the memory scenario; five times as many at once in the one of hibernated objects.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) sockets: usize,
    /// Descendants of the cascade scenario.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) descendants: u64,
    /// Objects on disk of the start-up scenario.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) objects: u64,
    /// Pending alarms of the scenario of alarms.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) alarms: u64,
    /// Tasks of the largest batch.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    pub(crate) tasks: u64,
    /// Passed by cargo; means nothing.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    /// Be what another process of this program measures.
    #[arg(long, hide = true, value_enum)]
    pub(crate) stand_in: Option<StandIn>,
}

/// One scenario.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// Durable increments over WebSockets: rate and latency.
    Increments,
    /// One message to 1,000 sockets.
    FanOut,
    /// Memory per idle socket and per object with a socket.
    Memory,
    /// Memory of hibernated objects.
    Hibernated,
    /// First writes on new paths.
    FirstWrites,
    /// Delete of a large subtree.
    Cascade,
    /// Start with many objects on disk.
    StartUp,
    /// The 100th child and the 10,000th.
    Children,
    /// A class that reads and writes a key, beside the built-in one.
    ClassCall,
    /// Many pending alarms, and how late others fire.
    Alarms,
    /// Durable messages between objects.
    Sends,
    /// The first request to a sleeping object.
    Wake,
    /// Other objects while handlers compute.
    LongTurns,
    /// Batches of tasks that workers in the process do.
    Batches,
    /// Batches of tasks that connected workers do.
    Elsewhere,
    /// A million tasks: a `kill -9` among them, and memory.
    Million,
}

/// What a process of this program is when it measures nothing itself.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub(crate) enum StandIn {
    /// A raw limit: a bare axum WebSocket echo.
    Echo,
    /// A raw limit: plain writes of one frame to every socket.
    Fan,
    /// A server of the classes that are measured.
    Classes,
}

impl Args {
    /// Whether a scenario was asked for.
    pub(crate) fn wants(&self, name: Name) -> bool {
        self.only.is_empty() || self.only.contains(&name)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.1..=600.0).contains(&number) => Ok(Duration::from_secs_f64(number)),
        _ => Err("a number of seconds from 0.1 to 600 is needed".to_owned()),
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("only a server on loopback is driven".to_owned()),
        Err(_) => Err("an address such as http://127.0.0.1:8787 is needed".to_owned()),
    }
}
