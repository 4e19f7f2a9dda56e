//! The rows of one object that are in memory: those that were read, and those that are not durable yet.
//!
//! A row that is not durable stays here until it is, so what an object wrote always wins over what is on the disk. What is
//! durable may go, between runs, when there is too much of it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
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
        let cached = (!cleared).then(|| self.cached.range::<str, _>(bounds)).into_iter().flatten();
        let cached = cached.map(|(key, cached)| (&**key, cached.value.as_ref()));
        let writes = writes.range::<str, _>(bounds).map(|(key, value)| (&**key, value.as_ref()));
        let mut over = laid_over(cached, writes, range.reverse);
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

    /// Keeps rows that were listed, as far as there is room: they are often what is read or deleted next.
    pub(super) fn keep_listed(&mut self, found: &[(Box<str>, Value)], writes: &BTreeMap<Box<str>, Option<Value>>) {
        if self.complete {
            return;
        }
        for (key, value) in found.iter().filter(|(key, _)| !writes.contains_key(key)) {
            if self.bytes > ROW_CACHE_BYTES {
                return;
            }
            if !self.cached.contains_key(key) {
                self.keep(key.clone(), Some(Arc::clone(value)), 0);
            }
        }
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

/// A key, and its value unless it was deleted.
type Laid<'a> = (&'a str, Option<&'a Value>);

/// What a turn wrote, laid over what is in memory, in the order of keys.
fn laid_over<'a>(
    cached: impl DoubleEndedIterator<Item = Laid<'a>> + 'a,
    writes: impl DoubleEndedIterator<Item = Laid<'a>> + 'a,
    reverse: bool,
) -> Box<dyn Iterator<Item = Laid<'a>> + 'a> {
    if reverse {
        Box::new(merged(cached.rev(), writes.rev(), |one: &str, other: &str| other.cmp(one)))
    } else {
        Box::new(merged(cached, writes, Ord::cmp))
    }
}

/// Both in order; of two with the same key the second.
fn merged<'a>(
    first: impl Iterator<Item = Laid<'a>>,
    second: impl Iterator<Item = Laid<'a>>,
    order: impl Fn(&str, &str) -> Ordering,
) -> impl Iterator<Item = Laid<'a>> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || {
        let (Some((one, _)), Some((other, _))) = (first.peek(), second.peek()) else {
            return first.next().or_else(|| second.next());
        };
        match order(one, other) {
            Ordering::Less => first.next(),
            Ordering::Equal => {
                first.next();
                second.next()
            }
            Ordering::Greater => second.next(),
        }
    })
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
