//! The other process: the real binary, or a raw limit; started, and surely stopped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::meter::wait_until;
use crate::Result;

/// How long a start, and a stop, may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Lines of a log that are shown with an error.
const LOG_LINES: usize = 10;

/// A process that printed the address it listens on; killed if it is dropped.
pub(crate) struct Process {
    child: Child,
    /// A raw limit ends when this is closed.
    _stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a process and waits for its first line, `listening on http://ADDR:PORT`. Its log goes where
    /// `log` says.
    pub(crate) fn start(mut command: Command, log: Stdio) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut process = Self { _stdin: child.stdin.take(), address: SocketAddr::from(([127, 0, 0, 1], 0)), child };
        let stdout = process.child.stdout.take().ok_or("a process without standard output")?;
        let line = first_line(stdout).recv_timeout(PATIENCE);
        let address = line.as_deref().unwrap_or_default().trim_end().strip_prefix("listening on http://");
        process.address = match address.map(str::parse) {
            Some(Ok(address)) => address,
            _ => return Err(process.complain(&format!("its first line was not its address: {line:?}"))),
        };
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and checks that it does so with status 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        match self.wait()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.complain(&format!("it ended with {status} after SIGTERM"))),
            None => Err(self.complain("it did not end after SIGTERM")),
        }
    }

    /// Ends it as a power failure would, but for the page cache.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// An error about this process.
    fn complain(&self, problem: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("process {}: {problem}", self.pid()).into()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("a process without an id")?;
        Ok(kill_process(pid, signal)?)
    }

    fn wait(&mut self) -> Result<Option<ExitStatus>> {
        let mut status = None;
        wait_until(PATIENCE, Duration::from_millis(5), || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines that a process logged.
pub(crate) fn end_of_log(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let skip = log.lines().count().saturating_sub(LOG_LINES);
    let end: Vec<&str> = log.lines().skip(skip).collect();
    end.join("\n")
}

/// Hands over the first line, and reads the rest away, so that the process never waits for a reader.
fn first_line(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            // Nobody waits for a second line.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// For a raw limit: ends this process when the benchmark, which holds the other end of standard input, is gone.
pub(crate) fn end_with_input() {
    thread::spawn(|| {
        // Closed or broken, it is over.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}
