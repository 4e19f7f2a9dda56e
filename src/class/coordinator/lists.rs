//! The rows of a coordinator: each result once, and its place in every list that it is found in.
//!
//! | key | value |
//! |---|---|
//! | `result/N` | the result |
//! | `list//S/N`, `list/W/S/N`, `list/T/S/N`, `list/WT/S/N` | its timestamp |
//!
//! N is the number of the arrival, S whether it was a success, W the worker and T the kind of task, each with its length, so
//! that no name can be taken for another. A query without success is the two lists of it, merged.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits::{LIST_ROWS, RESULT_PAGE_BYTES, RESULT_PAGE_ITEMS};
use crate::object::{Error, List, Turn};

/// A number from here on is a time and not a while, if it is given as `sinceMs`: the while would have begun before there
/// were results.
const A_TIME: u64 = 1_000_000_000_000;

/// Which results are asked for, and which page of them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Query {
    pub(super) worker_id: Option<String>,
    success: Option<bool>,
    task_type: Option<String>,
    /// Not older than this, in milliseconds since the epoch.
    since: Option<u64>,
    /// Not older than so many milliseconds; or a time, as `since`.
    pub(super) since_ms: Option<u64>,
    limit: Option<usize>,
    /// Behind this arrival.
    cursor: Option<String>,
    #[serde(default)]
    order: Order,
}

/// Which arrivals come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Oldest,
    Newest,
}

/// A result as it is stored.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) timestamp: u64,
    /// The latest timestamp of all that had arrived until then, with itself: it only ever grows.
    pub(super) newest: u64,
    pub(super) json: String,
}

#[derive(Serialize)]
pub(super) struct Page {
    items: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Part of a list: arrivals with their timestamps.
struct Places {
    found: Vec<(u64, u64)>,
    /// There may be more beyond this one.
    ends: Option<u64>,
}

/// Adds the result that arrived with this number.
///
/// # Errors
/// It is too large, or storage is full.
pub(super) fn add(
    turn: &mut Turn<'_>,
    number: u64,
    kept: &Kept,
    success: bool,
    worker: &str,
    kind: Option<&str>,
) -> Result<(), Error> {
    turn.put(&result_key(number), kept)?;
    let mut place = |worker, kind| turn.put(&(list(worker, kind, success) + &numbered(number)), &kept.timestamp);
    place(None, None)?;
    place(Some(worker), None)?;
    if kind.is_some() {
        place(None, kind)?;
        place(Some(worker), kind)?;
    }
    Ok(())
}

/// One page of the results that are asked for; so many have arrived.
///
/// # Errors
/// A limit or a cursor that cannot be; storage that cannot be read.
pub(super) fn page(turn: &mut Turn<'_>, query: &Query, arrivals: u64) -> Result<Page, Error> {
    let limit = query.limit.unwrap_or(RESULT_PAGE_ITEMS);
    if limit == 0 || limit > LIST_ROWS {
        return Err(Error::bad_request(format!("limit is {limit}; it must be 1 to {LIST_ROWS}")));
    }
    let mut range = query.range(arrivals)?;
    let since = query.since(turn);
    if since > 0 {
        range.start = first_since(turn, since, &range)?;
    }
    let places = query.places(turn, &range, limit)?;
    let mut page = Page { items: Vec::new(), cursor: None };
    let (mut bytes, mut last) = (0, None);
    for (number, timestamp) in places.found {
        if page.items.len() == limit {
            return Ok(Page { cursor: last, ..page });
        }
        if timestamp >= since {
            let json = turn.get::<Kept>(&result_key(number))?.ok_or_else(|| missing(number))?.json;
            bytes += json.len();
            if bytes > RESULT_PAGE_BYTES && !page.items.is_empty() {
                return Ok(Page { cursor: last, ..page });
            }
            page.items.push(RawValue::from_string(json).map_err(|_| missing(number))?);
        }
        last = Some(number.to_string());
    }
    page.cursor = places.ends.map(|number| number.to_string());
    Ok(page)
}

impl Query {
    pub(super) fn of_success(mut self, success: bool) -> Self {
        self.success = Some(success);
        self
    }

    fn since(&self, turn: &mut Turn<'_>) -> u64 {
        let ago = |since: u64| if since >= A_TIME { since } else { turn.now().saturating_sub(since) };
        self.since_ms.map_or(0, ago).max(self.since.unwrap_or(0))
    }

    /// The arrivals that its cursor leaves, of so many.
    fn range(&self, arrivals: u64) -> Result<Range<u64>, Error> {
        let cursor = self.cursor.as_deref().map(number_of).transpose()?;
        Ok(match (self.order, cursor) {
            (_, None) => 0..arrivals,
            (Order::Oldest, Some(last)) => (last + 1).min(arrivals)..arrivals,
            (Order::Newest, Some(last)) => 0..last.min(arrivals),
        })
    }

    /// Enough places of these arrivals for a page, in order.
    fn places(&self, turn: &mut Turn<'_>, range: &Range<u64>, limit: usize) -> Result<Places, Error> {
        let mut of = |success| {
            let list = list(self.worker_id.as_deref(), self.task_type.as_deref(), success);
            Places::read(turn, &list, range, limit, self.order)
        };
        match self.success {
            Some(success) => of(success),
            None => Ok(of(true)?.merged(of(false)?, self.order)),
        }
    }
}

impl Places {
    fn read(turn: &mut Turn<'_>, list: &str, range: &Range<u64>, limit: usize, order: Order) -> Result<Self, Error> {
        let key = |number| list.to_owned() + &numbered(number);
        let places = List::new().prefix(list).start(key(range.start)).end(key(range.end)).limit(limit);
        let page = turn.list::<u64>(if order == Order::Newest { places.reverse() } else { places })?;
        let place = |(key, timestamp): (String, u64)| {
            let number = key.get(list.len()..).and_then(|number| u64::from_str_radix(number, 16).ok());
            number.map(|number| (number, timestamp)).ok_or_else(|| Error::internal(format!("`{key}` is no place")))
        };
        let found = page.items.into_iter().map(place).collect::<Result<Vec<_>, Error>>()?;
        let ends = page.cursor.and(found.last()).map(|(number, _)| *number);
        Ok(Self { found, ends })
    }

    /// Both in order, as far as both are known.
    fn merged(mut self, other: Self, order: Order) -> Self {
        self.found.extend(other.found);
        self.found.sort_unstable();
        let ends = self.ends.into_iter().chain(other.ends);
        self.ends = if order == Order::Newest { ends.max() } else { ends.min() };
        if order == Order::Newest {
            self.found.reverse();
        }
        if let Some(end) = self.ends {
            let is_known = |number| if order == Order::Newest { number >= end } else { number <= end };
            self.found.retain(|(number, _)| is_known(*number));
        }
        self
    }
}

/// The first of these arrivals that had one of this timestamp or later before or at it: none before is asked for.
fn first_since(turn: &mut Turn<'_>, since: u64, range: &Range<u64>) -> Result<u64, Error> {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        // What was cleared is older than all that came later.
        let newest = turn.get::<Kept>(&result_key(middle))?.map_or(0, |kept| kept.newest);
        if newest < since { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// The last arrival of the page that a cursor is of.
fn number_of(cursor: &str) -> Result<u64, Error> {
    let number = cursor.parse().ok().filter(|number| *number < u64::MAX);
    number.ok_or_else(|| Error::bad_request("cursor: it must be that of a page before"))
}

/// What every key of a list begins with.
fn list(worker: Option<&str>, kind: Option<&str>, success: bool) -> String {
    let name = |mark: char, name: Option<&str>| name.map(|name| format!("{mark}{}:{name}", name.len()));
    let (worker, kind) = (name('w', worker).unwrap_or_default(), name('t', kind).unwrap_or_default());
    format!("list/{worker}{kind}/{}/", u8::from(success))
}

fn result_key(number: u64) -> String {
    format!("result/{}", numbered(number))
}

/// So that keys are in the order of numbers.
fn numbered(number: u64) -> String {
    format!("{number:016x}")
}

fn missing(number: u64) -> Error {
    Error::internal(format!("the result {number} is listed and not there"))
}
