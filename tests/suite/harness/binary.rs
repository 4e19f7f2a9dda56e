//! The real binary, as an operator runs it.

use std::ops::Deref;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::client::Client;
use super::within;

/// A running `fleet`, killed when the test ends.
pub(crate) struct Binary {
    client: Client,
    child: Child,
    /// Held open, as a service manager does.
    _stdout: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Binary {
    /// Starts it with these variables set.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_fleet")), variables).await
    }

    /// Starts it with a limit of open files.
    pub(crate) async fn start_with_descriptors(descriptors: u32, variables: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\""), env!("CARGO_BIN_EXE_fleet")]);
        Self::start_by(shell, variables).await
    }

    /// Starts another on the data of this one, which has ended.
    pub(crate) async fn again(self) -> Self {
        Self::start_in(self.directory, Command::new(env!("CARGO_BIN_EXE_fleet")), &[]).await
    }

    async fn start_by(command: Command, variables: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), command, variables).await
    }

    async fn start_in(directory: TempDir, mut command: Command, variables: &[(&str, &str)]) -> Self {
        prepare(&mut command, directory.path(), variables);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        within("the first line of output", stdout.read_line(&mut line)).await.unwrap();
        let address = line.strip_prefix("listening on http://").expect(&line).trim_end().parse().unwrap();
        Self { client: Client::new(address), child, _stdout: stdout, directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) async fn signal(&self, name: &str) {
        let process = self.child.id().expect("it is still running").to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status();
        assert!(within("kill", status).await.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the end of the process", self.child.wait()).await.unwrap()
    }

    /// Ends it, and gives what it logged.
    pub(crate) async fn logged(mut self) -> String {
        // It may have ended already.
        let _ = self.child.start_kill();
        self.ended().await;
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        within("the log", stderr.read_to_string(&mut text)).await.unwrap();
        text
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Deref for Binary {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Runs `fleet` in that directory until it ends by itself: its status and what it wrote on standard error.
pub(crate) async fn finished(directory: &Path) -> (ExitStatus, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    prepare(&mut command, directory, &[]);
    let output = within("the end of the process", command.output()).await.unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

fn prepare(command: &mut Command, directory: &Path, variables: &[(&str, &str)]) {
    command.current_dir(directory).env_clear().env("FLEET_SERVER__LISTEN", "127.0.0.1:0").env("RUST_LOG", "warn");
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
}
