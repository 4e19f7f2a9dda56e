//! What the scenarios share: where the data go, the servers they start, the raw limits, the table.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::args::Args;
use super::closed_loop::{self, Measured, Plan};
use super::disk::Disk;
use super::process::Process;
use super::socket::Socket;
use super::table::Row;
use super::traffic::Posts;
use crate::Result;

/// Connections that objects are created over, and requests in flight on each.
const CREATORS: usize = 128;
const CREATING: usize = 4;

/// One run of the program.
pub(crate) struct Bench {
    pub(crate) args: Args,
    /// Everything that is to be gone afterwards.
    scratch: TempDir,
    pub(crate) disk: Disk,
    /// The bare echo.
    pub(crate) echo: Process,
    pub(crate) rows: Vec<Row>,
    /// First segment of every path of this run, so that a server that runs already has none of them.
    pub(crate) label: String,
    servers: AtomicU32,
}

/// A server under load.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Option<Process>,
}

impl Bench {
    /// Makes room on the disk that is to be measured and starts the echo.
    pub(crate) fn new(mut args: Args) -> Result<Self> {
        if let Some(binary) = &mut args.binary {
            // It is started in another directory.
            *binary = binary.canonicalize().map_err(|error| format!("{}: {error}", binary.display()))?;
        }
        let parent = args.data_dir.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
        std::fs::create_dir_all(&parent)?;
        let scratch = TempDir::with_prefix_in("load-", parent.canonicalize()?)?;
        let disk = Disk::new(scratch.path())?;
        let echo = raw("echo")?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self {
            args,
            disk,
            echo,
            rows: Vec::new(),
            label: format!("bench-{:x}", since.as_millis()),
            servers: AtomicU32::new(0),
            scratch,
        })
    }

    /// The raw limit of fan-out.
    pub(crate) fn start_raw_fan() -> Result<Process> {
        raw("fan")
    }

    /// The server to load: the one at `--url`, or a fresh one with an empty data directory.
    pub(crate) fn server(&self) -> Result<Server> {
        if let Some(address) = self.args.url {
            return Ok(Server { address, process: None });
        }
        Ok(Server::own(self.start(&self.new_data_dir())?))
    }

    /// A directory for data that are not kept.
    pub(crate) fn new_data_dir(&self) -> PathBuf {
        let number = self.servers.fetch_add(1, Ordering::Relaxed);
        self.scratch.path().join(format!("data-{number}"))
    }

    /// The directory of so many of something on disk: kept if `--data-dir` was given.
    pub(crate) fn kept_data_dir(&self, what: &str, count: u64) -> PathBuf {
        let kept = self.args.data_dir.as_ref().and_then(|_| self.scratch.path().parent());
        kept.unwrap_or(self.scratch.path()).join(format!("{what}-{count}"))
    }

    /// Starts the binary on a data directory.
    pub(crate) fn start(&self, data: &Path) -> Result<Process> {
        std::fs::create_dir_all(data)?;
        let mut command = Command::new(self.binary());
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        // Neither the environment nor a file where this happens to run is to change what is measured.
        command.current_dir(self.scratch.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLEET_") {
                command.env_remove(name);
            }
        }
        Process::start(command, File::create(self.log())?.into())
    }

    /// A fresh server of the classes that are measured, with an empty data directory; none where `--url` names a server.
    pub(crate) fn class_server(&self) -> Result<Option<Server>> {
        if self.args.url.is_some() {
            eprintln!("  left out: a server at --url has none of the classes");
            return Ok(None);
        }
        Ok(Some(Server::own(self.start_classes(&self.new_data_dir())?)))
    }

    /// Starts a server of the classes that are measured on a data directory.
    pub(crate) fn start_classes(&self, data: &Path) -> Result<Process> {
        std::fs::create_dir_all(data)?;
        let mut command = stand_in("classes")?;
        command.arg("--data-dir").arg(data);
        Process::start(command, File::create(self.log())?.into())
    }

    /// Where the last server that was started logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.scratch.path().join("fleet.log")
    }

    /// The binary under test.
    pub(crate) fn binary(&self) -> &Path {
        self.args.binary.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_fleet")))
    }

    /// Sends the `POST`s with the numbers from 0 up to `count`, as fast as they are answered.
    pub(crate) fn post_all(
        &self,
        address: SocketAddr,
        count: u64,
        make: impl Fn(u64) -> (String, String) + Sync,
    ) -> Result<Measured> {
        let sockets = (0..CREATORS).map(|_| Socket::connect(address)).collect::<Result<_>>()?;
        let plan = Plan::all(CREATING, self.args.client_threads);
        let measured = closed_loop::run(&Posts::new(address, count, make), sockets, &plan)?;
        if measured.total != count {
            return Err(format!("{count} requests were to be sent, {} were answered", measured.total).into());
        }
        Ok(measured)
    }
}

impl Server {
    /// A server that this program started and stops.
    pub(crate) fn own(process: Process) -> Self {
        let address = process.address;
        let process = Some(process);
        Self { address, process }
    }

    /// Its process, if this program started it.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Stops it with SIGTERM, if this program started it; anything but status 0 is an error.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.map_or(Ok(()), Process::stop)
    }
}

/// Starts this program again, as a raw limit, so that client and server are two processes as they are with fleet.
fn raw(kind: &str) -> Result<Process> {
    Process::start(stand_in(kind)?, Stdio::inherit())
}

fn stand_in(kind: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--stand-in", kind]);
    Ok(command)
}
