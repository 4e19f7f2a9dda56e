//! The address of an object: its URL path, split into names.
//!
//! An [`ObjectPath`] is kept in its canonical *key* form, with a slash at both ends (`/team1/project1/`), because that
//! makes a subtree one contiguous range of keys: everything below `/a` starts with `/a/`, and neither `/a-b` nor `/ab`
//! does. People see the *display* form, without the trailing slash.
//!
//! # Why
//! Nothing is percent-decoded. A name is what the URL says, byte for byte, so that one object cannot be reached under
//! two spellings, and no decoded slash or dot can smuggle a segment past a check.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{NAME_BYTES, PATH_BYTES};

/// The segment that stands for "deliver a message here" in `POST PATH/_message`; never the name of an object.
pub const MESSAGE_SEGMENT: &str = "_message";

/// Why a text is not a path or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A segment does not match the rule for names.
    #[error("`{0}` is not a name: a path segment must match ^[A-Za-z0-9_-]{{1,32}}$")]
    BadSegment(String),
    /// A dashed UUID: close enough to a name to deserve its own advice.
    #[error(
        "`{0}` is not a name: a path segment must match ^[A-Za-z0-9_-]{{1,32}}$; \
         a UUID fits as 32 hex digits, but not in its dashed form of 36 characters"
    )]
    DashedUuid(String),
    /// `_message` is reserved for `POST PATH/_message`.
    #[error("`_message` is reserved and cannot be a path segment, except in POST PATH/_message")]
    Reserved,
    /// The whole path is longer than [`PATH_BYTES`].
    #[error("path is {0} bytes; the limit is {PATH_BYTES}")]
    TooLong(usize),
}

/// One segment of a path: 1 to 32 characters of `A–Z a–z 0–9 _ -`, and not `_message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// Checks a text and makes it a name.
    ///
    /// # Errors
    /// [`Error::BadSegment`], [`Error::DashedUuid`] or [`Error::Reserved`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_segment(text)?;
        Ok(Self(text.into()))
    }

    /// A number as a name: 32 hex digits.
    #[must_use]
    pub fn of_number(number: u128) -> Self {
        Self(format!("{number:032x}").into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The canonical address of one object.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectPath(Arc<str>);

impl Ord for ObjectPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // Many that are compared are clones of one.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for ObjectPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ObjectPath {
    /// The path of the root object, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Parses a URL path as it stands in the request line; empty segments are dropped, so `/a//b/` is `/a/b`.
    ///
    /// # Errors
    /// Any [`Error`]; the first bad segment is named.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > PATH_BYTES {
            return Err(Error::TooLong(text.len()));
        }
        let mut key = String::with_capacity(text.len() + 2);
        key.push('/');
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            check_segment(segment)?;
            key.push_str(segment);
            key.push('/');
        }
        Ok(Self(key.into()))
    }

    /// Rebuilds a path from [`ObjectPath::key`], as storage does; the text is trusted.
    pub(crate) fn from_key(key: &str) -> Self {
        debug_assert!(key.starts_with('/') && key.ends_with('/'), "{key:?} is not a key");
        Self(key.into())
    }

    /// The storage form, with a slash at both ends: `/a/b/`; the root is `/`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0
    }

    /// The form that people see: `/a/b`; the root is `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self.0.len() {
            1 => "/",
            length => &self.0[..length - 1],
        }
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The last segment, or `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.as_str().rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The path one segment up, or `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let name = self.name()?;
        Some(Self(self.0[..self.0.len() - name.len() - 1].into()))
    }

    /// The path one segment down.
    #[must_use]
    pub fn child(&self, name: &ObjectName) -> Self {
        let mut key = String::with_capacity(self.0.len() + name.as_str().len() + 1);
        key.push_str(&self.0);
        key.push_str(name.as_str());
        key.push('/');
        Self(key.into())
    }

    /// The keys of the root, of every path between, and of this path itself, shortest first.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(end, _)| &self.0[..=end])
    }

    /// Whether `other` is this path or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&*self.0)
    }

    /// The smallest key above every key of this subtree: the subtree is `key() .. range_end()`.
    #[must_use]
    pub fn range_end(&self) -> String {
        // The key ends in a slash, and `0` is the character after it.
        let mut end = self.0[..self.0.len() - 1].to_owned();
        end.push('0');
        end
    }
}

impl std::borrow::Borrow<str> for ObjectPath {
    /// Borrows the key form.
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Hash for ObjectPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The same as `str`, as `Borrow` demands.
        (*self.0).hash(state);
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ObjectPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ObjectPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn check_segment(segment: &str) -> Result<(), Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if segment == MESSAGE_SEGMENT {
        return Err(Error::Reserved);
    }
    if (1..=NAME_BYTES).contains(&segment.len()) && segment.bytes().all(legal) {
        return Ok(());
    }
    // What is quoted back is bounded, whatever was sent.
    let quoted: String = segment.chars().take(64).collect();
    if segment.len() == 36 && segment.contains('-') && segment.bytes().all(legal) {
        return Err(Error::DashedUuid(quoted));
    }
    Err(Error::BadSegment(quoted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text).expect("a valid path")
    }

    #[test]
    fn fp1_empty_parts_are_dropped() {
        for text in ["/a/b", "/a//b/", "//a/b", "a/b", "/a/b///"] {
            assert_eq!(path(text).key(), "/a/b/");
            assert_eq!(path(text).to_string(), "/a/b");
        }
        for text in ["/", "", "///"] {
            assert_eq!(path(text), ObjectPath::root());
            assert_eq!(path(text).to_string(), "/");
        }
    }

    #[test]
    fn fp1_a_name_is_what_the_rule_says() {
        for good in ["a", "A-Z_09", &"x".repeat(32), "0123456789abcdef0123456789abcdef"] {
            assert!(ObjectName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", &"x".repeat(33), "a b", "a%20b", "ü", "a.b", "a:b", "a\0"] {
            assert!(matches!(ObjectName::parse(bad), Err(Error::BadSegment(_))), "{bad}");
        }
        assert_eq!(ObjectName::parse("_message"), Err(Error::Reserved));
        let uuid = ObjectName::parse("01234567-89ab-cdef-0123-456789abcdef").unwrap_err();
        assert!(uuid.to_string().contains("32 hex digits"), "{uuid}");
    }

    #[test]
    fn fp1_a_path_has_a_bound() {
        let longest = "/a".repeat(PATH_BYTES / 2);
        assert!(ObjectPath::parse(&longest).is_ok());
        assert_eq!(ObjectPath::parse(&format!("{longest}b")), Err(Error::TooLong(PATH_BYTES + 1)));
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(ObjectPath::root()));
        assert_eq!(ObjectPath::root().parent(), None);
        assert_eq!(path("/a/b").name(), Some("b"));
        assert_eq!(ObjectPath::root().name(), None);
        assert_eq!(path("/a/b").lineage().collect::<Vec<_>>(), ["/", "/a/", "/a/b/"]);
    }

    fn any_path() -> impl Strategy<Value = ObjectPath> {
        prop::collection::vec("[ab-]{1,2}", 0..4).prop_map(|names| path(&names.join("/")))
    }

    proptest! {
        #[test]
        fn a_path_is_its_parents_child(base in any_path(), name in "[A-Za-z0-9-]{1,32}") {
            let name = ObjectName::parse(&name).unwrap();
            let child = base.child(&name);
            prop_assert_eq!(child.parent(), Some(base.clone()));
            prop_assert_eq!(child.name(), Some(name.as_str()));
            prop_assert_eq!(path(child.as_str()), child.clone());
            prop_assert_eq!(ObjectPath::from_key(child.key()), child.clone());
            prop_assert!(base.contains(&child) && !child.contains(&base));
        }

        #[test]
        fn a_subtree_is_exactly_one_range_of_keys(top in any_path(), other in any_path()) {
            let end = top.range_end();
            let in_range = other.key() >= top.key() && other.key() < end.as_str();
            let below = other == top || other.lineage().any(|key| key == top.key());
            prop_assert_eq!(in_range, below);
            prop_assert_eq!(top.contains(&other), below);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = ObjectPath::parse(&text);
        }
    }
}
