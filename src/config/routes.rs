//! Routes: which class an object has by its path, if nothing else says so.
//!
//! A pattern is a path in which a segment may be `*` (any one segment) or `**` (any number of segments, none included: so
//! `/a/**` includes `/a`).
//!
//! # The most specific pattern wins
//! Two patterns are compared segment by segment from the left, and the first difference decides: a name is more specific
//! than `*`, that than the end of the pattern, and that than `**`. So for `/a/b`, `/a/b` wins over `/a/*`, that over
//! `/a/**`, that over `/*/b`, and that over `/**`; and `/a` wins over `/a/**`, of whose paths it names one.
//! Two patterns without such a difference that some path matches both (`/**/a/**` and `/**/b/**`: `/a/b`) are refused.
//!
//! # Why
//! The order is total and known when the server starts: a path's class can be told by reading the patterns, and never
//! depends on the order in which they were written or on what objects exist.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use regex::RegexSet;
use serde::{Deserialize, Serialize};

use crate::path::{self, ObjectName, ObjectPath};

/// Why a table of routes is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A pattern does not start at the root.
    #[error("expected a route's pattern to start with `/`, as `/ws/*` does: `{0}`")]
    Relative(String),
    /// A segment is neither a name nor `*` nor `**`.
    #[error("expected every segment of the pattern `{pattern}` to be a name, `*` or `**`: {error}")]
    Segment {
        /// The pattern.
        pattern: String,
        /// What is wrong with the segment.
        error: path::Error,
    },
    /// `**` twice in a row says what one says.
    #[error("expected no `**` beside another in the pattern `{0}`, as one matches the same paths")]
    Repeated(String),
    /// A pattern without a class.
    #[error("expected the name of a class for the pattern `{0}`")]
    NoClass(String),
    /// Neither of two patterns is more specific, and a path can match both.
    #[error("routes `{0}` and `{1}` can match the same path, and neither is more specific; change or remove one")]
    Tie(String, String),
    /// The patterns are too many or too long for one matcher.
    #[error("routes are too large together: {0}")]
    TooLarge(String),
}

/// The table of routes, compiled.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Routes {
    /// The most specific first.
    routes: Vec<Route>,
    /// Matches the patterns of `routes`, in that order.
    matcher: RegexSet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    pattern: Pattern,
    class: String,
}

impl Routes {
    /// Compiles a table of patterns and classes.
    ///
    /// # Errors
    /// Any [`Error`]; the first problem in the order of the patterns.
    pub fn compile(table: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut routes = Vec::with_capacity(table.len());
        for (text, class) in table {
            if class.is_empty() {
                return Err(Error::NoClass(text));
            }
            routes.push(Route { pattern: Pattern::parse(&text)?, class });
        }
        // Stable, so that two patterns that tie are named in a known order.
        routes.sort_by_key(|route| Reverse(route.pattern.specificity()));
        refuse_ties(&routes)?;
        let matcher = RegexSet::new(routes.iter().map(|route| route.pattern.regex()));
        Ok(Self { matcher: matcher.map_err(|error| Error::TooLarge(error.to_string()))?, routes })
    }

    /// The class of the most specific pattern that matches a path, if any does.
    pub fn class_of(&self, path: &ObjectPath) -> Option<&str> {
        let best = self.matcher.matches(path.key()).into_iter().next()?;
        Some(&self.routes[best].class)
    }

    /// Every pattern with its class, the most specific first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.routes.iter().map(|route| (route.pattern.text.as_str(), route.class.as_str()))
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self { routes: Vec::new(), matcher: RegexSet::empty() }
    }
}

impl PartialEq for Routes {
    /// By the table, of which the matcher is made.
    fn eq(&self, other: &Self) -> bool {
        self.routes == other.routes
    }
}

impl Eq for Routes {}

impl TryFrom<BTreeMap<String, String>> for Routes {
    type Error = Error;

    fn try_from(table: BTreeMap<String, String>) -> Result<Self, Error> {
        Self::compile(table)
    }
}

impl From<Routes> for BTreeMap<String, String> {
    fn from(routes: Routes) -> Self {
        routes.routes.into_iter().map(|route| (route.pattern.text, route.class)).collect()
    }
}

/// Refuses two patterns of the same specificity that a path can match both. Those of one specificity stand together.
fn refuse_ties(routes: &[Route]) -> Result<(), Error> {
    for (index, route) in routes.iter().enumerate() {
        let specificity = route.pattern.specificity();
        let peers = routes[index + 1..].iter().take_while(|other| other.pattern.specificity() == specificity);
        for other in peers {
            if route.pattern.overlaps(&other.pattern) {
                return Err(Error::Tie(route.pattern.text.clone(), other.pattern.text.clone()));
            }
        }
    }
    Ok(())
}

/// One segment of a pattern, or its end; a greater one is more specific.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    AnyNumber,
    End,
    AnyOne,
    Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Name(String),
    AnyOne,
    AnyNumber,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// As it was written.
    text: String,
    segments: Vec<Segment>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Error> {
        let written = text.strip_prefix('/').ok_or_else(|| Error::Relative(text.to_owned()))?;
        // Empty segments are dropped, as they are from a path.
        let segments = written
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| match segment {
                "*" => Ok(Segment::AnyOne),
                "**" => Ok(Segment::AnyNumber),
                name => match ObjectName::parse(name) {
                    Ok(_) => Ok(Segment::Name(name.to_owned())),
                    Err(error) => Err(Error::Segment { pattern: text.to_owned(), error }),
                },
            })
            .collect::<Result<Vec<_>, _>>()?;
        if segments.windows(2).any(|pair| pair == [Segment::AnyNumber, Segment::AnyNumber]) {
            return Err(Error::Repeated(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    fn specificity(&self) -> Vec<Specificity> {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Name(_) => Specificity::Name,
            Segment::AnyOne => Specificity::AnyOne,
            Segment::AnyNumber => Specificity::AnyNumber,
        });
        segments.chain([Specificity::End]).collect()
    }

    /// An expression over [`ObjectPath::key`], in which every segment ends with a slash.
    fn regex(&self) -> String {
        let mut regex = "^/".to_owned();
        for segment in &self.segments {
            match segment {
                Segment::Name(name) => {
                    regex.push_str(&regex::escape(name));
                    regex.push('/');
                }
                Segment::AnyOne => regex.push_str("[^/]+/"),
                Segment::AnyNumber => regex.push_str("(?:[^/]+/)*"),
            }
        }
        regex.push('$');
        regex
    }

    /// Whether some path matches both.
    fn overlaps(&self, other: &Self) -> bool {
        // `row[j]`: whether the rest of this pattern (from the segment at hand) and `other.segments[j..]` overlap. It is
        // filled from the ends, so that the time is the product of the lengths also with many `**`.
        let any_number = |segment: Option<&Segment>| segment == Some(&Segment::AnyNumber);
        let mut below: Vec<bool> = Vec::new();
        for i in (0..=self.segments.len()).rev() {
            let mut row = vec![false; other.segments.len() + 1];
            for j in (0..=other.segments.len()).rev() {
                let (one, two) = (self.segments.get(i), other.segments.get(j));
                row[j] = match (one, two) {
                    (None, None) => true,
                    // `**` ends here, or takes one more segment of the other.
                    _ if any_number(one) => below[j] || (two.is_some() && row[j + 1]),
                    _ if any_number(two) => row[j + 1] || (one.is_some() && below[j]),
                    (Some(Segment::Name(one)), Some(Segment::Name(two))) => one == two && below[j + 1],
                    (Some(_), Some(_)) => below[j + 1],
                    (None, Some(_)) | (Some(_), None) => false,
                };
            }
            below = row;
        }
        below[0]
    }
}

#[cfg(test)]
mod tests;
