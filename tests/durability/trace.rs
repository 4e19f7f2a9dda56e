//! strace on a running server: what it does, in which order, and what happens when a call is slow or fails.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::server::Server;
use crate::{skip, within};

/// The calls that make something durable.
pub(crate) const SYNCS: &str = "fsync,fdatasync";

/// An strace that is attached.
pub(crate) struct Trace {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

/// One system call. Calls of different threads overlap: its beginning and its end are lines of the trace.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) begin: usize,
    /// Where it returned, and what.
    pub(crate) end: Option<(usize, String)>,
}

impl Trace {
    /// Attaches to every thread; `None` where that cannot be done.
    pub(crate) async fn attach(server: &Server, arguments: &[&str]) -> Option<Self> {
        let process = server.process().to_string();
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &process]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                skip(&format!("strace cannot be started: {error}"));
                return None;
            }
        };
        let mut trace = Self { stderr: BufReader::new(child.stderr.take().unwrap()), child };
        let first = trace.line().await;
        if first.contains(" attached") {
            return Some(trace);
        }
        skip(&format!("strace cannot be used: {first}"));
        None
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        within("strace", self.stderr.read_line(&mut line)).await.unwrap();
        line
    }

    /// Lets go: from here on the server runs as if nothing had been.
    pub(crate) async fn detach(self) {
        let process = self.child.id().expect("strace is running").to_string();
        let killed = Command::new("kill").args(["-s", "INT", &process]).status();
        assert!(within("kill", killed).await.unwrap().success());
        self.ended().await;
    }

    /// Waits until what was traced is gone, or let go.
    pub(crate) async fn ended(mut self) {
        while !self.line().await.is_empty() {}
        within("the end of strace", self.child.wait()).await.unwrap();
    }
}

/// Reads what strace wrote with `-f -o`.
pub(crate) fn calls(file: &Path) -> Vec<Call> {
    let text = std::fs::read(file).unwrap();
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    for (number, line) in String::from_utf8_lossy(&text).lines().enumerate() {
        let Some((thread, event)) = line.split_once(' ') else { continue };
        let event = event.trim_start();
        let result = event.rsplit_once(" = ").map(|(_, result)| (number, result.to_owned()));
        if event.starts_with("<... ") {
            if let Some(index) = open.remove(thread) {
                calls[index].end = result;
            }
            continue;
        }
        // Signals and ends of threads have no parentheses.
        let Some((name, arguments)) = event.split_once('(') else { continue };
        let unfinished = event.ends_with("<unfinished ...>");
        if unfinished {
            open.insert(thread.to_owned(), calls.len());
        }
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        calls.push(Call { name, arguments, begin: number, end: if unfinished { None } else { result } });
    }
    calls
}
