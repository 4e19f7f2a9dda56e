//! The invariants of the tree of sources (see `src/lib.rs`): who may know whom, and how long a file may be.
//!
//! Only what is shipped is held to them: comments and tests are left out.

use std::path::Path;

/// The parts, and which of ours each may import.
const PARTS: &[(&str, &[&str])] = &[
    // Leaves. A bound is in `limits` wherever it is used; the rule for names is a bound.
    ("limits", &[]),
    ("metrics", &[]),
    ("clock", &[]),
    ("protocol", &[]),
    ("path", &["limits"]),
    ("auth", &["limits", "path"]),
    ("outbound", &["limits", "metrics"]),
    ("timers", &["limits"]),
    ("storage", &["limits", "metrics", "path"]),
    ("object", &["auth", "clock", "limits", "metrics", "path", "protocol", "storage", "timers"]),
    ("class", &["limits", "object", "path", "protocol"]),
    // What may be listed in `[auth]` and `[outbound]` is what those can hold to.
    ("config", &["auth", "limits", "outbound", "path"]),
    // The guard is built from the section that it enforces.
    ("http", &["config", "limits", "metrics", "object", "path", "protocol", "storage"]),
    (
        "server",
        &["auth", "class", "config", "http", "limits", "metrics", "object", "outbound", "path", "protocol", "storage"],
    ),
    ("client", &["limits", "path"]),
    // What a command reads, sends and waits for is bounded like everything else.
    ("cli", &["client", "config", "limits", "path", "server"]),
    ("sim", &["auth", "clock", "limits", "metrics", "object", "path", "protocol", "storage"]),
    ("main", &[]),
];

/// What the parts may not name, besides each other.
const BANNED: &[(&str, &[&str])] = &[
    ("class", &["tokio", "axum", "hyper", "rusqlite", "std::time", "std::thread", "std::fs", "std::net", "fastrand"]),
    ("object", &["axum", "hyper", "tokio_tungstenite", "rusqlite", "std::fs", "std::net"]),
    ("storage", &["tokio", "axum", "hyper"]),
    ("auth", &["tokio", "axum", "hyper", "rusqlite", "std::time", "tracing"]),
    ("outbound", &["axum", "rusqlite", "std::fs"]),
    ("protocol", &["tokio", "axum", "hyper", "rusqlite", "std::time"]),
    ("path", &["tokio", "axum", "hyper", "rusqlite"]),
    ("limits", &["tokio", "axum", "hyper", "rusqlite"]),
    ("timers", &["tokio", "axum", "hyper", "rusqlite", "std::time", "Timestamp::now", "Zoned::now", "fastrand"]),
    ("config", &["tokio", "axum", "hyper", "rusqlite"]),
    ("client", &["axum", "rusqlite", "std::fs", "std::env"]),
    ("cli", &["axum", "hyper", "rusqlite"]),
];

/// A word, the part or file that may use it, and where else it stands, with the reason.
type Owned = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Words that only one part may use.
const OWNED: &[Owned] = &[
    ("rusqlite", "storage", &[]),
    ("axum", "http", &[("server/listener.rs", "the router is served there")]),
    ("tokio_tungstenite", "http", &[]),
    ("jsonwebtoken", "auth", &[]),
    ("subtle", "auth", &[]),
    ("croner", "timers/cron.rs", &[]),
    ("jiff", "timers/cron.rs", &[]),
    ("std::env", "config", &[]),
    (
        "StatusCode",
        "http/error.rs",
        &[
            ("http/assets.rs", "304 for what the client has, 404 for a page that is not embedded"),
            ("http/system.rs", "503 of `ready` is an answer and not a failure"),
            ("client.rs", "there it is what a server has answered"),
            ("http/websocket.rs", "426 is of the handshake, and has no code of ours"),
        ],
    ),
];

/// Most lines of a file, without its tests.
const LINES: usize = 400;

struct Source {
    /// Below `src/`.
    name: String,
    /// Without comments and tests.
    code: Vec<String>,
}

impl Source {
    fn part(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap()
    }

    /// The line on which a path such as `std::time` is named.
    fn names(&self, word: &str) -> Option<&str> {
        let found = |line: &&String| {
            let bounded = |at: usize| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                !part(before) && !part(after)
            };
            line.match_indices(word).any(|(at, _)| bounded(at))
        };
        self.code.iter().find(found).map(String::as_str)
    }

    /// Whether a part of ours is imported, or named in full.
    fn imports(&self, part: &str) -> bool {
        let root = if self.part() == "main" { "fleet" } else { "crate" };
        let code = self.code.join("\n");
        let one = format!("{root}::{part}");
        let listed = code.split(&format!("{root}::{{")).skip(1).any(|list| {
            let list = &list[..list.find("};").unwrap_or(list.len())];
            list.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == part)
        });
        listed || self.names(&one).is_some()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            if is_test {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                sources.push(read(&root, &path));
            }
        }
    }
    assert!(sources.len() > 40, "the tree was read");
    sources
}

fn read(root: &Path, path: &Path) -> Source {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    // Tests stand at the end of a file.
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = shipped.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect();
    Source { name, code }
}

#[test]
fn every_part_is_known() {
    for source in sources() {
        let part = source.part();
        assert!(
            part == "lib" || PARTS.iter().any(|(known, _)| *known == part),
            "{}: which part is it of?",
            source.name
        );
    }
}

#[test]
fn parts_import_only_what_they_may() {
    for source in sources() {
        let Some(&(part, may)) = PARTS.iter().find(|(part, _)| *part == source.part()) else { continue };
        for &(other, _) in PARTS {
            let allowed = other == part || may.contains(&other);
            assert!(allowed || !source.imports(other), "{} imports {other}: {part} may import {may:?}", source.name);
        }
    }
}

#[test]
fn parts_do_not_name_what_they_may_not_know() {
    for source in sources() {
        for &(part, banned) in BANNED {
            let named = |word: &&&str| source.part() == part && source.names(word).is_some();
            let found = banned.iter().find(named);
            assert!(found.is_none(), "{} names {}, which {part} may not know", source.name, found.unwrap());
        }
    }
}

#[test]
fn some_words_belong_to_one_part() {
    for source in sources() {
        for &(word, owner, exceptions) in OWNED {
            let inside = source.name == owner || source.part() == owner;
            let excepted = exceptions.iter().any(|(file, _)| *file == source.name);
            let line = source.names(word);
            assert!(inside || excepted || line.is_none(), "{} names {word}: {}", source.name, line.unwrap());
            assert!(!excepted || line.is_some(), "{} no longer needs its exception for {word}", source.name);
        }
    }
}

#[test]
fn files_are_short() {
    for source in sources() {
        let lines = source.code.len();
        assert!(lines < LINES, "{} has {lines} lines of code: split it", source.name);
    }
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let source = |code: &str| Source { name: "class/x.rs".into(), code: code.lines().map(str::to_owned).collect() };
    assert!(source("use crate::storage::Storage;").imports("storage"));
    assert!(source("use crate::{\n    path,\n    storage::{self, Seq},\n};").imports("storage"));
    assert!(source("fn f() { crate::storage::x() }").imports("storage"));
    assert!(!source("use crate::storage_kind;\nuse crate::path;").imports("storage"));
    assert!(source("    let now = std::time::Instant::now();").names("std::time").is_some());
    assert!(source("let tokio_util = 1;").names("tokio").is_none());
    assert!(source("use tokio::time;").names("tokio").is_some());
}
