//! The rows of one object that are in memory: those that were read, and those that are not durable yet.
//!
//! A row that is not durable stays here until it is, so what an object wrote always wins over what is on the disk. What is
//! durable may go, between runs, when there is too much of it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use super::gaps::Gaps;
use crate::limits::{PREFETCH_BYTES, PREFETCH_ROWS, ROW_CACHE_BYTES};
use crate::path::ObjectPath;
use crate::storage::{self, Outcome, Range, Seq, Space, Storage};

/// A value, shared with whoever writes it.
pub(super) type Value = Arc<[u8]>;

/// Keys and values.
type Found = Vec<(Box<str>, Value)>;

/// The class's rows of one object, as of its last turn.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// `None`: there is no such row.
    cached: BTreeMap<Box<str>, Cached>,
    bytes: usize,
    /// Whether every row that there is is here.
    complete: bool,
    gaps: Gaps,
    /// The run that dropped all rows last.
    cleared: Run,
    /// The run that goes on.
    run: Run,
    /// Runs whose write sets may not be durable.
    committed: VecDeque<(Run, Seq)>,
}

/// Runs are counted from 1, as far as they write rows; what was only read is of none.
type Run = u64;

#[derive(Debug)]
struct Cached {
    value: Option<Value>,
    /// The run that wrote it; 0 if it was read.
    written: Run,
}

impl Rows {
    /// The rows of an object that has this many; some of them are read ahead.
    pub(super) fn load(storage: &Storage, path: &ObjectPath, count: u64) -> Result<Self, storage::Error> {
        let mut rows = Self { complete: true, run: 1, ..Self::default() };
        if count > 0 {
            let ahead = Range { limit: PREFETCH_ROWS, bytes: PREFETCH_BYTES, ..everything() };
            let found = storage.rows(path, Space::User, &ahead)?;
            rows.complete = found.len() as u64 >= count;
            for (key, value) in found {
                rows.keep(key, Some(value), 0);
            }
        }
        Ok(rows)
    }

    pub(super) fn get(
        &mut self,
        storage: &Storage,
        path: &ObjectPath,
        key: &str,
    ) -> Result<Option<Value>, storage::Error> {
        if let Some(cached) = self.cached.get(key) {
            return Ok(cached.value.clone());
        }
        if self.complete || self.gaps.holds(key) {
            return Ok(None);
        }
        let value = storage.get(path, Space::User, key)?;
        self.keep(key.into(), value.clone(), 0);
        Ok(value)
    }

    /// The length of a row's value, without reading it if it can be known that there is none.
    pub(super) fn len_of(
        &mut self,
        storage: &Storage,
        path: &ObjectPath,
        key: &str,
    ) -> Result<Option<usize>, storage::Error> {
        if !self.complete && !self.cached.contains_key(key) && !self.gaps.holds(key) {
            let (value, next) = storage.seek(path, Space::User, key)?;
            if value.is_none() {
                let here = self.cached.range::<str, _>((Bound::Excluded(key), Bound::Unbounded)).next();
                let here = here.map(|(key, _)| key.clone());
                self.gaps.add(key, next.into_iter().chain(here).min());
            }
            self.keep(key.into(), value, 0);
        }
        Ok(self.get(storage, path, key)?.map(|value| value.len()))
    }

    /// Takes over what a turn wrote; [`Rows::committed`] says later in which write set it is.
    pub(super) fn apply(&mut self, cleared: bool, writes: &BTreeMap<Box<str>, Option<Value>>) {
        if cleared {
            let committed = std::mem::take(&mut self.committed);
            *self = Self { complete: true, cleared: self.run, run: self.run, committed, ..Self::default() };
        }
        for (key, value) in writes {
            if value.is_some() {
                self.gaps.fill(key);
            }
            self.keep(key.clone(), value.clone(), self.run);
        }
    }

    /// What was applied since the last call is in this write set.
    pub(super) fn committed(&mut self, storage: &Storage, seq: Seq) {
        while self.committed.pop_front_if(|(_, seq)| storage.outcome(*seq) != Outcome::Pending).is_some() {}
        self.committed.push_back((self.run, seq));
        self.run += 1;
    }

    /// Drops what is durable, if there is too much in memory.
    pub(super) fn trim(&mut self, storage: &Storage) {
        if self.bytes <= ROW_CACHE_BYTES {
            return;
        }
        let first = self.committed.iter().find(|(_, seq)| storage.outcome(*seq) == Outcome::Pending);
        let pending = first.map_or(self.run, |(run, _)| *run);
        let pending = |run: Run| run >= pending;
        if pending(self.cleared) {
            return;
        }
        self.complete = false;
        self.cached.retain(|_, cached| pending(cached.written));
        self.bytes = self.cached.iter().map(|(key, cached)| size(key, cached.value.as_ref())).sum();
    }

    /// Rows within the bounds in the order of their keys, with `writes` laid over them; at most `limit` rows and, from the
    /// second row on, `bytes` bytes. Answers whether there may be more.
    pub(super) fn list(
        &mut self,
        storage: &Storage,
        path: &ObjectPath,
        range: &Range,
        cleared: bool,
        writes: &BTreeMap<Box<str>, Option<Value>>,
    ) -> Result<(Found, bool), storage::Error> {
        let (found, more) = self.page(storage, path, range, cleared, writes)?;
        if !self.complete {
            // What is listed is often what is read or deleted next.
            let read = found.iter().filter(|(key, _)| !cleared && !writes.contains_key(key));
            for (key, value) in read {
                if self.bytes > ROW_CACHE_BYTES {
                    break;
                }
                if !self.cached.contains_key(key) {
                    self.keep(key.clone(), Some(Arc::clone(value)), 0);
                }
            }
        }
        Ok((found, more))
    }

    fn page(
        &self,
        storage: &Storage,
        path: &ObjectPath,
        range: &Range,
        cleared: bool,
        writes: &BTreeMap<Box<str>, Option<Value>>,
    ) -> Result<(Found, bool), storage::Error> {
        let mut page = Page { found: Vec::new(), bytes: 0, range };
        let bounds = (as_str(&range.start), as_str(&range.end));
        if is_empty(bounds) {
            return Ok((page.found, false));
        }
        let mut over = Over {
            cached: (!cleared).then(|| self.cached.range::<str, _>(bounds)),
            writes: writes.range::<str, _>(bounds),
            reverse: range.reverse,
            next_cached: None,
            next_write: None,
        };
        let mut next_over = over.next();
        let mut rest = range.clone();
        let on_disk = !cleared && !self.complete;
        loop {
            rest.limit = range.limit.saturating_sub(page.found.len()) + 1;
            let stored = if on_disk { storage.rows(path, Space::User, &rest)? } else { Found::new() };
            let Some((last, _)) = stored.last() else { break };
            let after = Bound::Excluded(last.clone());
            *(if range.reverse { &mut rest.end } else { &mut rest.start }) = after;
            for (key, value) in stored {
                while let Some((over_key, over_value)) = next_over
                    && (if range.reverse { over_key > &*key } else { over_key < &*key })
                {
                    if over_value.is_some_and(|value| !page.push(over_key, value)) {
                        return Ok((page.found, true));
                    }
                    next_over = over.next();
                }
                let value = match next_over {
                    Some((over_key, over_value)) if *over_key == *key => {
                        next_over = over.next();
                        over_value.cloned()
                    }
                    _ => Some(value),
                };
                if value.is_some_and(|value| !page.push(&key, &value)) {
                    return Ok((page.found, true));
                }
            }
        }
        while let Some((key, value)) = next_over {
            if value.is_some_and(|value| !page.push(key, value)) {
                return Ok((page.found, true));
            }
            next_over = over.next();
        }
        Ok((page.found, false))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn keep(&mut self, key: Box<str>, value: Option<Value>, written: Run) {
        self.bytes += size(&key, value.as_ref());
        let length = key.len();
        if let Some(old) = self.cached.insert(key, Cached { value, written }) {
            self.bytes -= length + old.value.map_or(0, |value| value.len());
        }
    }
}

fn everything() -> Range {
    Range { start: Bound::Unbounded, end: Bound::Unbounded, reverse: false, limit: usize::MAX, bytes: usize::MAX }
}

fn size(key: &str, value: Option<&Value>) -> usize {
    key.len() + value.map_or(0, |value| value.len())
}

fn as_str(bound: &Bound<Box<str>>) -> Bound<&str> {
    bound.as_ref().map(|key| &**key)
}

/// A range of a `BTreeMap` must not be inverted.
fn is_empty(bounds: (Bound<&str>, Bound<&str>)) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
        _ => false,
    }
}

/// What a turn wrote, laid over what is in memory, in the order of keys.
struct Over<'a> {
    cached: Option<btree_map::Range<'a, Box<str>, Cached>>,
    writes: btree_map::Range<'a, Box<str>, Option<Value>>,
    reverse: bool,
    next_cached: Option<Laid<'a>>,
    next_write: Option<Laid<'a>>,
}

/// A key, and its value unless it was deleted.
type Laid<'a> = (&'a str, Option<&'a Value>);

impl<'a> Iterator for Over<'a> {
    type Item = Laid<'a>;

    fn next(&mut self) -> Option<Laid<'a>> {
        let Self { cached, writes, reverse, next_cached, next_write } = self;
        if next_cached.is_none() {
            let next = cached.as_mut().and_then(|cached| if *reverse { cached.next_back() } else { cached.next() });
            *next_cached = next.map(|(key, cached)| (&**key, cached.value.as_ref()));
        }
        if next_write.is_none() {
            let next = if *reverse { writes.next_back() } else { writes.next() };
            *next_write = next.map(|(key, value)| (&**key, value.as_ref()));
        }
        let order = match (&next_cached, &next_write) {
            (Some((cached, _)), Some((written, _))) if *reverse => written.cmp(cached),
            (Some((cached, _)), Some((written, _))) => cached.cmp(written),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => next_cached.take(),
            Ordering::Equal => {
                *next_cached = None;
                next_write.take()
            }
            Ordering::Greater => next_write.take(),
        }
    }
}

struct Page<'a> {
    found: Found,
    bytes: usize,
    range: &'a Range,
}

impl Page<'_> {
    /// Adds a row, if there is room for it.
    fn push(&mut self, key: &str, value: &Value) -> bool {
        let full = self.found.len() >= self.range.limit;
        if full || (!self.found.is_empty() && self.bytes + value.len() > self.range.bytes) {
            return false;
        }
        self.bytes += value.len();
        self.found.push((key.into(), Arc::clone(value)));
        true
    }
}
