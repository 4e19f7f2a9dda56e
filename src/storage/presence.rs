//! Which objects may be stored, so that nobody looks on the disk for one that never was.
//!
//! Every path is noted in a Bloom filter before a write set that may create its object is queued, and is never taken out.
//! What is on the disk when the server starts is noted by a thread, or at once if there is little of it; until all of it
//! is, everything may be stored. When many times more was noted than there was, which may be gone again, the thread makes
//! the filter anew.
//!
//! # Why
//! The first event of an object asks storage for the object and for its parent. Each look costs about 10 µs, as a reader's
//! cache is worth nothing after a commit; that nothing is there is known here for a tenth of a microsecond and ten bits.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fastbloom::AtomicBloomFilter;
use parking_lot::{Condvar, Mutex, RwLock};
use rusqlite::Connection;

use super::error::Error;
use super::reader::text;
use super::{Outcome, Seq, Shared, gate, sql};
use crate::path::ObjectPath;

/// How often a path that was never noted seems to have been.
const FALSE_POSITIVES: f64 = 0.01;
/// Paths that are read from the database at once.
const PAGE: i64 = 4_096;
/// The filter is made anew when so many times more was noted than there was.
const GROWTH: usize = 8;

#[derive(Debug)]
pub(super) struct Presence {
    /// For how many objects there is room at first.
    room: usize,
    hasher: RandomState,
    state: RwLock<State>,
    task: Mutex<Task>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    known: Filter,
    /// Whether all that is stored is known.
    complete: bool,
    /// How many objects were known when that was made complete.
    found: usize,
    /// What takes the place of `known` once all that is stored is in it.
    next: Option<Filter>,
}

/// What the thread is to do.
#[derive(Debug)]
struct Task {
    wanted: bool,
    closing: bool,
}

/// Bloom filters do not grow: when one is full, one of twice its size is put behind it.
#[derive(Debug)]
struct Filter(Vec<Layer>);

#[derive(Debug)]
struct Layer {
    bits: AtomicBloomFilter,
    size: usize,
    noted: AtomicUsize,
}

impl Layer {
    fn new(size: usize) -> Self {
        let bits = AtomicBloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(size);
        Self { bits, size, noted: AtomicUsize::new(0) }
    }

    fn is_full(&self) -> bool {
        self.noted.load(Ordering::Relaxed) >= self.size
    }
}

impl Filter {
    fn new(size: usize) -> Self {
        Self(vec![Layer::new(size)])
    }

    fn has(&self, hash: u64) -> bool {
        self.0.iter().any(|layer| layer.bits.contains_hash(hash))
    }

    /// Answers whether it was not there before, and whether there is no room for another.
    fn note(&self, hash: u64) -> (bool, bool) {
        let Some(last) = self.0.last().filter(|_| !self.has(hash)) else { return (false, false) };
        last.bits.insert_hash(hash);
        last.noted.fetch_add(1, Ordering::Relaxed);
        (true, last.is_full())
    }

    fn grow(&mut self) {
        if let Some(size) = self.0.last().filter(|last| last.is_full()).map(|last| last.size) {
            self.0.push(Layer::new(2 * size));
        }
    }

    fn noted(&self) -> usize {
        self.0.iter().map(|layer| layer.noted.load(Ordering::Relaxed)).sum()
    }
}

impl Presence {
    /// Of a database with so many objects; if those are at most `room`, all of them are noted now.
    pub(super) fn new(connection: &Connection, objects: u64, room: usize) -> Self {
        let known = Filter::new(size_for(objects, room));
        let presence = Self {
            room,
            hasher: RandomState::new(),
            state: RwLock::new(State { known, complete: false, found: 0, next: None }),
            task: Mutex::new(Task { wanted: true, closing: false }),
            changed: Condvar::new(),
        };
        // What cannot be read now is tried again by the thread.
        if objects <= room as u64 && note_all(|after| presence.note_page(connection, after)).is_ok() {
            presence.finish();
        }
        presence
    }

    /// Whether an object may be stored; `false` is certain.
    pub(super) fn may_have(&self, path: &ObjectPath) -> bool {
        let state = self.state.read();
        !state.complete || state.known.has(self.hasher.hash_one(path.key()))
    }

    /// Notes that an object may be created; `true` if it is certain that it is not there yet.
    pub(super) fn note(&self, path: &ObjectPath) -> bool {
        let hash = self.hasher.hash_one(path.key());
        let state = self.state.read();
        let (new, full) = state.known.note(hash);
        let full = state.next.as_ref().is_some_and(|next| next.note(hash).1) || full;
        let certain = new && state.complete;
        drop(state);
        if full {
            self.grow();
        }
        certain
    }

    fn grow(&self) {
        let mut state = self.state.write();
        state.known.grow();
        if let Some(next) = &mut state.next {
            next.grow();
        } else if state.complete && state.known.noted() >= GROWTH * state.found.max(self.room) {
            self.task.lock().wanted = true;
            self.changed.notify_one();
        }
    }

    /// Notes a page of what is stored; answers where the next one begins.
    fn note_page(&self, connection: &Connection, after: &str) -> rusqlite::Result<Option<String>> {
        let mut statement = connection.prepare_cached(sql::OBJECT_PATHS)?;
        let mut rows = statement.query((after, PAGE))?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let key = text(row, 0)?;
            let state = self.state.read();
            let (_, full) = state.next.as_ref().unwrap_or(&state.known).note(self.hasher.hash_one(key));
            drop(state);
            if full {
                self.grow();
            }
            last = Some(key.to_owned());
        }
        Ok(last)
    }

    /// All that is stored has been noted.
    fn finish(&self) {
        let mut state = self.state.write();
        if let Some(next) = state.next.take() {
            state.known = next;
        }
        state.complete = true;
        state.found = state.known.noted();
        self.task.lock().wanted = false;
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.task.lock().closing = true;
        self.changed.notify_one();
    }

    /// Waits until there is something to do; `false` is the end.
    fn wait(&self) -> bool {
        let mut task = self.task.lock();
        while !task.wanted && !task.closing {
            self.changed.wait(&mut task);
        }
        !task.closing
    }
}

/// Notes page after page, until there is none.
fn note_all<E>(mut page: impl FnMut(&str) -> Result<Option<String>, E>) -> Result<(), E> {
    let mut after = String::new();
    while let Some(last) = page(&after)? {
        after = last;
    }
    Ok(())
}

/// Half as many again as there are.
fn size_for(objects: u64, least: usize) -> usize {
    let objects = usize::try_from(objects).unwrap_or(usize::MAX);
    least.max(objects.saturating_add(objects / 2))
}

/// The thread.
pub(super) fn run(shared: &Shared) {
    let presence = &shared.presence;
    while presence.wait() {
        if let Err(error) = scan(shared) {
            presence.state.write().next = None;
            if !matches!(error, Error::Closed) {
                tracing::warn!(%error, "which objects are stored cannot be read; what is not noted is looked for on the disk");
            }
            return;
        }
        tracing::debug!("it is noted which objects are stored");
    }
}

/// Notes all that is stored.
fn scan(shared: &Shared) -> Result<(), Error> {
    let presence = &shared.presence;
    if presence.state.read().complete {
        let size = size_for(shared.objects.load(Ordering::Acquire), presence.room);
        presence.state.write().next = Some(Filter::new(size));
        // What was noted before that may still be on its way to the disk.
        let last = Seq(shared.queue.last());
        let waker = gate::unpark();
        while shared.gate.wait(last, &waker) == Outcome::Pending {
            thread::park();
        }
    }
    note_all(|after| {
        if presence.task.lock().closing {
            return Err(Error::Closed);
        }
        shared.readers.read(|connection| presence.note_page(connection, after))
    })?;
    presence.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::path;
    use super::*;

    fn database(paths: impl IntoIterator<Item = String>) -> (Connection, u64) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE objects (path TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID").unwrap();
        let mut count = 0;
        for key in paths {
            connection.execute("INSERT INTO objects VALUES (?1)", (path(&key).key(),)).unwrap();
            count += 1;
        }
        (connection, count)
    }

    fn some(name: &str, count: usize) -> impl Iterator<Item = String> {
        (0..count).map(move |number| format!("/{name}/{number}"))
    }

    fn known(presence: &Presence, name: &str, count: usize) -> usize {
        some(name, count).filter(|at| presence.may_have(&path(at))).count()
    }

    #[test]
    fn what_was_never_noted_is_not_there_and_everything_else_may_be() {
        let (connection, count) = database(some("stored", 100));
        let presence = Presence::new(&connection, count, 100);
        // Room for 100: the rest is in filters behind the first.
        assert!(some("new", 5_000).filter(|at| presence.note(&path(at))).count() > 4_800);
        assert_eq!((known(&presence, "stored", 100), known(&presence, "new", 5_000)), (100, 5_000));
        assert!(known(&presence, "never", 1_000) < 100);
        assert!(!presence.note(&path("/stored/7")));
    }

    #[test]
    fn until_all_of_many_are_noted_anything_may_be_there() {
        let (connection, count) = database(some("stored", 101));
        let presence = Presence::new(&connection, count, 100);
        assert_eq!(known(&presence, "never", 10), 10);
        assert!(!presence.note(&path("/new")), "nothing is certain yet");
        assert_eq!(
            presence.note_page(&connection, "").unwrap().as_deref(),
            some("stored", 101).map(|at| at + "/").max().as_deref()
        );
        presence.finish();
        assert_eq!((known(&presence, "stored", 101), presence.may_have(&path("/new"))), (101, true));
        assert!(known(&presence, "never", 1_000) < 100);
    }
}
