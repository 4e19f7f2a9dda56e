//! The real binary, serving a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{free_port, within};

/// A server that is killed when the test ends, however it ends; then its log is shown if the test failed.
pub(crate) struct Server {
    process: Child,
    address: String,
    directory: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (process, address) = serve(&directory, &format!("127.0.0.1:{}", free_port())).await;
        Self { process, address, directory }
    }

    /// The address of an object or a file.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it without any warning.
    pub(crate) async fn kill(&mut self) {
        within("the killed server ends", self.process.kill()).await.unwrap();
    }

    /// Waits until it has ended, whoever ended it.
    pub(crate) async fn ended(&mut self) {
        within("the server ends", self.process.wait()).await.unwrap();
    }

    /// Its working directory, which has its data directory in it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn terminate(&mut self) {
        let pid = self.process.id().unwrap().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(within("kill", asked).await.unwrap().success());
        let status = within("the server stops", self.process.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "FX7: a server that is asked to stop succeeds");
    }

    /// Starts it again, on the same port and the same data.
    pub(crate) async fn start_again(&mut self) {
        let (process, address) = serve(&self.directory, &self.address).await;
        assert_eq!(address, self.address);
        self.process = process;
    }

    /// The lines of its log that tell of a failure. Warnings may come of a machine that is busy.
    pub(crate) fn failures(&self) -> Vec<String> {
        let log = std::fs::read_to_string(log_of(&self.directory)).unwrap();
        log.lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(log_of(&self.directory));
            eprintln!("--- the server's log\n{}", log.unwrap_or_default());
        }
    }
}

async fn serve(directory: &TempDir, listen: &str) -> (Child, String) {
    let log = File::options().create(true).append(true).open(log_of(directory)).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_fleet"))
        .args(["--listen", listen])
        .current_dir(directory.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = within("the server starts", lines.next_line()).await.unwrap();
    let address = line.as_deref().and_then(|line| line.strip_prefix("listening on http://"));
    let address = address.unwrap_or_else(|| panic!("its first line is {line:?}")).to_owned();
    (process, address)
}

fn log_of(directory: &TempDir) -> PathBuf {
    directory.path().join("server.log")
}
