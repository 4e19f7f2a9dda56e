//! The tour of the README's chapter "Workforce", word for word: every command in one shell, and what comes of them.
//!
//! It needs Python 3.11. Where that is missing the test says so and passes; with `CI` in the environment it fails.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::harness::within;
use crate::worker_clients::PYTHON;

const README: &str = include_str!("../../README.md");
const START: &str = "cargo run --release";
/// Where the README's servers listen; those of the test listen somewhere else.
const SERVER: &str = "127.0.0.1:8787";
const FILES: &str = "127.0.0.1:8000";
/// What no two runs have in common stands behind these, up to the next comma, brace or space.
const VARIES: [&str; 12] = [
    "processing: ",
    "\"duration\":",
    "\"timestamp\":",
    "\"attempts\":",
    "\"workerId\":",
    "\"retries\":",
    "\"count\":",
    "\"p50\":",
    "\"p90\":",
    "\"p95\":",
    "\"p99\":",
    "\"max\":",
];
/// What the shell says when a command is over, before its status.
const DONE: &str = "--- done: ";

/// A shell in a directory that looks like a clone of the repository with a built server.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    group: String,
}

impl Shell {
    fn open(directory: &Path, server: &str) -> Self {
        std::fs::create_dir_all(directory.join("target/release")).unwrap();
        symlink(env!("CARGO_BIN_EXE_fleet"), directory.join("target/release/fleet")).unwrap();
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"), directory.join("examples")).unwrap();
        let log = std::fs::File::create(directory.join("stderr.log")).unwrap();
        let mut process = Command::new("sh")
            .current_dir(directory)
            .env("FLEET_URL", format!("http://{server}"))
            .env_remove("FLEET_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let group = format!("-{}", process.id().unwrap());
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, output, group }
    }

    /// Runs a command to its end; what it prints.
    async fn run(&mut self, command: &str) -> String {
        self.input.write_all(format!("{command}\nprintf '\\n{DONE}%s\\n' $?\n").as_bytes()).await.unwrap();
        let mut printed = String::new();
        loop {
            let line = within(command, self.output.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("{command}: the shell has ended"));
            if let Some(status) = line.strip_prefix(DONE) {
                assert_eq!(status, "0", "{command}: {printed}");
                return printed;
            }
            printed.extend([&line, "\n"]);
        }
    }

    /// What `cargo run --release` does, in the background.
    async fn start(&mut self, server: &str) -> String {
        let serve = format!("target/release/fleet --listen {server} > started 2>> server.log &");
        self.run(&serve).await;
        self.run("until grep -s listening started; do sleep 0.05; done").await
    }
}

impl Drop for Shell {
    /// Everything that was left in the background ends, too.
    fn drop(&mut self) {
        let killed = std::process::Command::new("kill").args(["-9", "--", &self.group]).status();
        let _ = self.process.start_kill();
        if !std::thread::panicking() {
            assert!(killed.is_ok_and(|status| status.success()));
        }
    }
}

/// A port that nobody listens on, below those that the system gives to outgoing connections: a server comes back to it.
fn free_address(from: u32) -> String {
    let first = std::process::id().wrapping_mul(64).wrapping_add(from);
    let ports = (0..20_000).map(|next| 12_000 + first.wrapping_add(next) % 20_000);
    let mut addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    addresses.find(|address| std::net::TcpListener::bind(address).is_ok()).expect("a port is free")
}

/// The commands of the console blocks of a text, each with what it prints.
fn commands(text: &str) -> Vec<(&str, String)> {
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut commands: Vec<(&str, String)> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, String::new())),
            (None, Some((_, printed))) => printed.extend([line, "\n"]),
            (None, None) => panic!("a block begins with what no command printed: {line}"),
        }
    }
    commands
}

/// A text without what no two runs have in common.
fn masked(text: &str) -> String {
    let mask = |text: String, key: &&str| {
        let mut pieces = text.split(key);
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |text, piece| {
            let end = piece.find([',', '}', ' ']).unwrap_or(piece.len());
            text + key + "…" + &piece[end..]
        })
    };
    VARIES.iter().fold(text.to_owned(), mask)
}

#[tokio::test]
async fn the_workforce_of_the_readme_is_true() {
    if !PYTHON.is_here().await {
        return;
    }
    let (server, files) = (free_address(0), free_address(32));
    let port = |address: &str| address.rsplit_once(':').map(|(_, port)| format!("http.server {port}")).unwrap();
    let readme = README.replace(&port(FILES), &port(&files)).replace(SERVER, &server).replace(FILES, &files);
    let chapter = readme.split("\n## ").find(|section| section.starts_with("Workforce")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut shell = Shell::open(directory.path(), &server);
    let mut starts = 0;
    for (command, expected) in commands(chapter) {
        let printed = if command == START {
            starts += 1;
            shell.start(&server).await
        } else {
            shell.run(command).await
        };
        assert_eq!(masked(printed.trim_end()), masked(expected.trim_end()), "{command}");
    }
    assert_eq!(starts, 2, "the server was started, killed and started again");
}
