//! Which rows of an object to list, and a page of them.

use std::ops::Bound;

use super::Error;
use crate::limits::{LIST_BYTES, LIST_ROWS};
use crate::storage::Range;

/// Which rows to list; by default the first 1,000 of all.
///
/// ```
/// use fleet::{Error, List, Listing, Turn};
///
/// /// The newest 20 of the keys `order 2026-01-01` and later.
/// fn orders(turn: &mut Turn<'_>, cursor: Option<&str>) -> Result<Listing<u64>, Error> {
///     let list = List::new().prefix("order ").start("order 2026-01-01").reverse().limit(20);
///     turn.list(if let Some(cursor) = cursor { list.after(cursor) } else { list })
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct List {
    start: Option<String>,
    start_after: Option<String>,
    end: Option<String>,
    prefix: Option<String>,
    reverse: bool,
    limit: Option<usize>,
}

/// One page of rows, in the order that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// Keys and values.
    pub items: Vec<(String, T)>,
    /// If there may be more: what [`List::after`] takes to go on.
    pub cursor: Option<String>,
}

impl List {
    /// All rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only keys from this one on.
    #[must_use]
    pub fn start(mut self, key: impl Into<String>) -> Self {
        self.start = Some(key.into());
        self
    }

    /// Only keys after this one.
    #[must_use]
    pub fn start_after(mut self, key: impl Into<String>) -> Self {
        self.start_after = Some(key.into());
        self
    }

    /// Only keys before this one.
    #[must_use]
    pub fn end(mut self, key: impl Into<String>) -> Self {
        self.end = Some(key.into());
        self
    }

    /// Only keys that begin with this.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The highest keys first.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most so many rows, up to 1,000.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Goes on where a page of the same list ended.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        if self.reverse {
            self.end = Some(cursor.into());
        } else {
            self.start = None;
            self.start_after = Some(cursor.into());
        }
        self
    }

    pub(super) fn range(self) -> Result<Range, Error> {
        let bad = |text: String| Err(Error::bad_request(text));
        if self.start.is_some() && self.start_after.is_some() {
            return bad("list: start and start_after exclude each other".to_owned());
        }
        let limit = self.limit.unwrap_or(LIST_ROWS);
        if limit == 0 || limit > LIST_ROWS {
            return bad(format!("list: limit is {limit}; it must be 1 to {LIST_ROWS}"));
        }
        let from = self.start.map(Bound::Included).or(self.start_after.map(Bound::Excluded));
        let mut start = from.map_or(Bound::Unbounded, |bound| bound.map(String::into_boxed_str));
        let mut end = self.end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.into_boxed_str()));
        if let Some(prefix) = self.prefix.filter(|prefix| !prefix.is_empty()) {
            if is_below(&start, &prefix) {
                start = Bound::Included(prefix.clone().into_boxed_str());
            }
            if let Some(beyond) = beyond(&prefix)
                && !matches!(&end, Bound::Excluded(end) if **end <= *beyond)
            {
                end = Bound::Excluded(beyond);
            }
        }
        Ok(Range { start, end, reverse: self.reverse, limit, bytes: LIST_BYTES })
    }
}

fn is_below(start: &Bound<Box<str>>, prefix: &str) -> bool {
    match start {
        Bound::Unbounded => true,
        Bound::Included(key) | Bound::Excluded(key) => **key < *prefix,
    }
}

/// The smallest text above every text that begins with a prefix; `None` if there is none.
fn beyond(prefix: &str) -> Option<Box<str>> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text.into());
        }
    }
    None
}
