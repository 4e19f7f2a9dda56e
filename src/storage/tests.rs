//! Tests of storage as a whole, on real files.

mod batches;
mod bounds;
mod deletes;
mod failures;
mod files;
mod inbox;
mod model;
mod presence;
mod rows;
mod wakes;

use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Instant;

use rusqlite::Connection;

use super::*;
use crate::path::ObjectName;

pub(super) fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).unwrap()
}

pub(super) fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

/// A record that says `state`.
pub(super) fn record(state: &str) -> Record {
    Record { state: Some(state.as_bytes().into()), bytes: state.len() as u64, ..Record::new("agent".into()) }
}

/// A write set that stores a record.
pub(super) fn put(at: &str, state: &str) -> WriteSet {
    WriteSet { record: Some(record(state)), ..WriteSet::new(path(at)) }
}

/// A write set that lists a child.
pub(super) fn list(at: &str, ordinal: u64, child: &str) -> WriteSet {
    let child = Child { name: name(child), class: "agent".into() };
    WriteSet { children: [(ordinal, Some(child))].into(), ..WriteSet::new(path(at)) }
}

/// A write set of the parent that deletes subtrees.
pub(super) fn delete(prefixes: &[&str]) -> WriteSet {
    WriteSet { deleted: prefixes.iter().map(|prefix| path(prefix)).collect(), ..WriteSet::new(path("/")) }
}

/// A write set that puts or deletes one of the class's rows.
pub(super) fn row(at: &str, key: &str, value: Option<&str>) -> WriteSet {
    let value = value.map(|value| value.as_bytes().into());
    WriteSet { rows: [((Space::User, key.into()), value)].into(), ..WriteSet::new(path(at)) }
}

/// A write set that drops the class's rows.
pub(super) fn clear(at: &str) -> WriteSet {
    WriteSet { clear: true, ..WriteSet::new(path(at)) }
}

/// A write set that says when to wake its object.
pub(super) fn wake(at: &str, time: Option<u64>) -> WriteSet {
    WriteSet { wake: Some(time), ..WriteSet::new(path(at)) }
}

/// A write set that sends messages, each to one target.
pub(super) fn send(at: &str, messages: &[(&str, &str)]) -> WriteSet {
    let send = |(target, message): &(&str, &str)| Send { target: path(target), message: message.as_bytes().into() };
    WriteSet { sends: messages.iter().map(send).collect(), ..WriteSet::new(path(at)) }
}

/// Everything, in one answer.
pub(super) fn whole() -> Range {
    Range { start: Bound::Unbounded, end: Bound::Unbounded, reverse: false, limit: usize::MAX, bytes: usize::MAX }
}

pub(super) fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Storage in a directory of its own.
pub(super) struct Bed {
    pub(super) dir: tempfile::TempDir,
    pub(super) metrics: Metrics,
    storage: Option<Storage>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    pub(super) fn within(dir: tempfile::TempDir) -> Self {
        let mut bed = Self { dir, metrics: Metrics::new(), storage: None };
        bed.reopen();
        bed
    }

    pub(super) fn options(&self) -> Options {
        Options {
            data_dir: self.dir.path().to_owned(),
            busy_timeout: Duration::from_millis(20),
            log_bytes: 512 << 10,
            reserve_bytes: 512 << 10,
            ..Options::default()
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("fleet.db")
    }

    pub(super) fn reopen(&mut self) {
        self.storage = None;
        self.storage = Some(Storage::open(self.options(), &self.metrics).unwrap());
    }

    pub(super) fn close(&mut self) {
        self.storage = None;
    }

    pub(super) fn storage(&self) -> &Storage {
        self.storage.as_ref().unwrap()
    }

    /// Waits until a write set is decided.
    pub(super) fn decided(&self, seq: Seq) -> Outcome {
        let waker = gate::unpark();
        loop {
            match self.storage().wait(seq, &waker) {
                Outcome::Pending => thread::park(),
                outcome => return outcome,
            }
        }
    }

    /// Commits and waits until it is durable.
    pub(super) fn durable(&self, set: WriteSet) -> Seq {
        let committed = self.storage().commit(set, Seq::NONE);
        let seq = committed.unwrap_or_else(|error| panic!("{error}: {:?}", self.storage().status()));
        assert_eq!(self.decided(seq), Outcome::Durable);
        seq
    }

    /// The saved state of an object as text; `None` if there is no object.
    pub(super) fn state(&self, at: &str) -> Option<String> {
        let record = self.storage().load(&path(at)).unwrap()?;
        Some(String::from_utf8(record.state.unwrap_or_default().to_vec()).unwrap())
    }

    pub(super) fn objects(&self, prefix: &str) -> Vec<String> {
        let listed = self.storage().objects(&path(prefix), None, usize::MAX).unwrap();
        listed.into_iter().map(|listed| listed.path.to_string()).collect()
    }

    pub(super) fn children(&self, at: &str) -> Vec<(u64, String)> {
        let children = self.storage().children(&path(at)).unwrap();
        children.into_iter().map(|(ordinal, child)| (ordinal, child.name.to_string())).collect()
    }

    /// Rows of the class as text.
    pub(super) fn rows(&self, at: &str) -> Vec<(String, String)> {
        let rows = self.storage().rows(&path(at), Space::User, &whole()).unwrap();
        rows.into_iter().map(|(key, value)| (key.into(), utf8(&value))).collect()
    }

    /// Who is to be woken, with the time.
    pub(super) fn due(&self) -> Vec<(String, u64)> {
        let due = self.storage().due(u64::MAX, usize::MAX).unwrap();
        due.into_iter().map(|(path, at)| (path.to_string(), at)).collect()
    }

    /// Messages that wait, with their senders.
    pub(super) fn inbox(&self, target: &str) -> Vec<(String, String)> {
        let inbox = self.storage().inbox(&path(target), None, usize::MAX).unwrap();
        inbox.into_iter().map(|received| (received.sender.to_string(), utf8(&received.message))).collect()
    }

    /// Who has messages waiting.
    pub(super) fn inboxes(&self) -> Vec<String> {
        self.storage().inboxes(None, usize::MAX).unwrap().iter().map(ToString::to_string).collect()
    }

    /// Rows of a table, dead ones too.
    pub(super) fn stored(&self, table: &str) -> u32 {
        self.raw().query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
    }

    /// A raw connection to the same file.
    pub(super) fn raw(&self) -> Connection {
        let connection = Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    /// Waits for what no waker tells of.
    pub(super) fn eventually(&self, what: &str, reached: impl Fn(&Storage) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !reached(self.storage()) {
            assert!(Instant::now() < deadline, "never {what}: {:?}", self.storage().status());
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Commits trifles until every deleted subtree has been reaped: each lets the writer reap a chunk.
    pub(super) fn reap(&self) {
        while self.storage().0.shared.tombstones.len() > 0 {
            self.durable(WriteSet::new(path("/")));
        }
    }
}

#[test]
fn what_is_committed_is_loaded_also_after_a_restart() {
    let mut bed = Bed::new();
    assert_eq!(bed.state("/a"), None);
    bed.durable(put("/a", "one"));
    bed.durable(list("/a", 7, "child"));
    for _ in 0..2 {
        assert_eq!(bed.storage().load(&path("/a")).unwrap(), Some(record("one")));
        assert_eq!(bed.storage().load(&path("/a/child")).unwrap(), Some(Record::new("agent".into())));
        assert_eq!(bed.children("/a"), [(7, "child".to_owned())]);
        assert_eq!(bed.storage().object_count(), 2);
        bed.reopen();
    }
}

#[test]
fn the_last_of_many_queued_values_wins() {
    let bed = Bed::new();
    let mut last = Seq::NONE;
    for round in 0..1_000 {
        last = bed.storage().commit(put("/hot", &round.to_string()), last).unwrap();
    }
    assert_eq!(bed.decided(last), Outcome::Durable);
    assert_eq!(bed.state("/hot").as_deref(), Some("999"));
    assert_eq!(bed.storage().object_count(), 1);
    assert!(bed.metrics.commit_batch_size.get_sample_count() <= 1_000);
}

#[test]
fn numbers_never_repeat() {
    let mut bed = Bed::new();
    let before = bed.durable(put("/a", "1"));
    bed.reopen();
    assert_eq!(bed.storage().outcome(before), Outcome::Durable);
    assert!(bed.durable(put("/a", "2")) > before);
}

#[test]
fn objects_come_in_the_order_of_paths_and_in_pages() {
    let bed = Bed::new();
    for at in ["/b", "/a-b", "/a", "/a/z", "/a/b/c", "/ab"] {
        bed.durable(put(at, ""));
    }
    assert_eq!(bed.objects("/a"), ["/a", "/a/b/c", "/a/z"]);
    assert_eq!(bed.objects("/"), ["/a-b", "/a", "/a/b/c", "/a/z", "/ab", "/b"]);
    let (mut pages, mut after) = (Vec::new(), None);
    while let [listed] = &bed.storage().objects(&path("/"), after.as_ref(), 1).unwrap()[..] {
        pages.push(listed.path.to_string());
        after = Some(listed.path.clone());
    }
    assert_eq!(pages, bed.objects("/"));
}

#[test]
fn a_listed_child_exists_and_one_that_existed_is_left_alone() {
    let bed = Bed::new();
    bed.durable(put("/p/old", "kept"));
    bed.durable(list("/p", 0, "old"));
    bed.durable(list("/p", 1, "new"));
    assert_eq!(bed.state("/p/old").as_deref(), Some("kept"));
    assert_eq!(bed.state("/p/new").as_deref(), Some(""));
    assert_eq!(bed.storage().object_count(), 2);
    let mut unlisted = WriteSet::new(path("/p"));
    unlisted.children.insert(0, None);
    bed.durable(unlisted);
    assert_eq!(bed.children("/p"), [(1, "new".to_owned())]);
    assert_eq!(bed.storage().object_count(), 2);
}

#[test]
fn close_commits_what_is_queued_and_can_be_repeated() {
    let mut bed = Bed::new();
    let storage = bed.storage().clone();
    let mut last = Seq::NONE;
    for number in 0..100 {
        last = storage.commit(put(&format!("/n{number}"), "x"), Seq::NONE).unwrap();
    }
    storage.close();
    storage.close();
    assert_eq!(storage.outcome(last), Outcome::Durable);
    assert!(matches!(storage.load(&path("/n1")), Err(Error::Closed)));
    assert_eq!(storage.commit(put("/a", ""), Seq::NONE), Err(CommitError::Unknown));
    drop(storage);
    bed.reopen();
    assert_eq!(bed.storage().object_count(), 100);
}
