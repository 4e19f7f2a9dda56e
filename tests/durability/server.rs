//! The real binary, and how it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::classes;
use crate::client::{Http, Socket};
use crate::{eventually, within};

/// How much of the log is shown when a test fails.
const SHOWN_BYTES: i64 = 8 << 10;

/// A running `fleet`, killed when the test ends.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: File,
    /// Held open, as a service manager does.
    _stdout: BufReader<ChildStdout>,
}

/// How it ended, when it would not start.
pub(crate) struct Refusal {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Server {
    /// Starts on that data; it must come up.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_fleet")), data).await
    }

    /// The same, by a command to which the binary's arguments are added.
    pub(crate) async fn start_by(command: Command, data: &Path) -> Self {
        Self::launched(with_arguments(command, data)).await
    }

    /// Starts a server of the classes of the tests on that data.
    pub(crate) async fn start_with_classes(data: &Path) -> Self {
        Self::launched(classes::command(data)).await
    }

    /// The same, by a command that runs this program.
    pub(crate) async fn start_with_classes_by(command: Command, data: &Path) -> Self {
        Self::launched(classes::as_server(command, data)).await
    }

    async fn launched(command: Command) -> Self {
        match Self::launch(command).await {
            Ok(server) => server,
            Err(Refusal { status, log }) => panic!("it did not start: {status}\n{log}"),
        }
    }

    /// Starts on that data, which it is expected to refuse.
    pub(crate) async fn refused(data: &Path) -> Refusal {
        Self::refused_by(Command::new(env!("CARGO_BIN_EXE_fleet")), data).await
    }

    /// The same, by a command to which the binary's arguments are added.
    pub(crate) async fn refused_by(command: Command, data: &Path) -> Refusal {
        match Self::launch(with_arguments(command, data)).await {
            Ok(server) => panic!("it started on {}\n{}", data.display(), read(&server.log)),
            Err(refusal) => refusal,
        }
    }

    async fn launch(mut command: Command) -> Result<Self, Refusal> {
        let log = tempfile::tempfile().unwrap();
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.stderr(log.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let Some(address) = within("the address", address(&mut stdout)).await else {
            let status = within("the end", child.wait()).await.unwrap();
            return Err(Refusal { status, log: read(&log) });
        };
        Ok(Self { child, address, log, _stdout: stdout })
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection that is kept.
    pub(crate) async fn http(&self) -> Http {
        Http::connect(self.address).await.unwrap()
    }

    /// A WebSocket that has read its first state.
    pub(crate) async fn socket(&self, path: &str) -> Socket {
        Socket::open(self.address, path).await.unwrap()
    }

    /// A WebSocket of a class that does not tell its state.
    pub(crate) async fn socket_without_state(&self, path: &str) -> Socket {
        Socket::connect(self.address, path).await.unwrap()
    }

    /// Waits until it takes changes.
    pub(crate) async fn ready(&self) {
        let mut http = self.http().await;
        eventually("readiness", async || http.get("/.fleet/ready").await.unwrap().status == 200).await;
    }

    /// `kill -9`
    pub(crate) async fn kill(mut self) {
        within("the end", self.child.kill()).await.unwrap();
    }

    /// SIGTERM, and what comes of it.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let process = self.process().to_string();
        let killed = Command::new("kill").args(["-s", "TERM", &process]).status();
        assert!(within("kill", killed).await.unwrap().success());
        within("the end", self.child.wait()).await.unwrap()
    }
}

impl Refusal {
    /// Asserts that it ended with status 1 and one last line that says all of this.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(1), "{}", self.log);
        let last = self.log.lines().last().unwrap_or_default();
        assert!(last.starts_with("fleet: "), "{}", self.log);
        for part in parts {
            assert!(last.contains(part), "{part:?} is not in {last:?}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the server:\n{}", read(&self.log));
        }
    }
}

fn with_arguments(mut command: Command, data: &Path) -> Command {
    command.args([OsStr::new("--listen"), OsStr::new("127.0.0.1:0"), OsStr::new("--data-dir"), data.as_os_str()]);
    command
}

/// The address that a server prints before anything else but what a test harness says; `None` if it ends without.
async fn address(stdout: &mut BufReader<ChildStdout>) -> Option<SocketAddr> {
    let mut lines = stdout.lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(address) = line.trim_end().strip_prefix("listening on http://") {
            return Some(address.parse().unwrap());
        }
    }
    None
}

/// The end of a log, which shares its place with who writes it.
fn read(log: &File) -> String {
    let mut log = log.try_clone().unwrap();
    let length = log.metadata().unwrap().len().cast_signed();
    log.seek(SeekFrom::Start((length - SHOWN_BYTES).max(0).cast_unsigned())).unwrap();
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
