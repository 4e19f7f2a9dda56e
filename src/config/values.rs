//! How single values are written: durations, sizes, counts, directories, filters.
//!
//! Every reader answers a bad value with what it would have accepted (`expected …`); the key, the source and the value are
//! added by [`super::layers`].

use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use toml::Value;
use tracing_subscriber::EnvFilter;

/// Deadlines are computed by addition, so a duration must be one that can be added to any instant.
const LONGEST: Duration = Duration::from_hours(24);

/// Reads any value and lets `parse` make something of it.
pub(super) fn read<'de, D, T>(
    deserializer: D,
    expected: &str,
    parse: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let value = Value::deserialize(deserializer)?;
    parse(&value).ok_or_else(|| D::Error::custom(format_args!("expected {expected}")))
}

/// A whole number of at least 1, such as `200000`.
pub(super) fn read_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    read(deserializer, "a whole number of at least 1", |value| {
        usize::try_from(value.as_integer()?).ok().filter(|count| *count > 0)
    })
}

/// `true` or `false`.
pub(super) fn read_switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    read(deserializer, "true or false", Value::as_bool)
}

/// A path of a directory that is not empty.
pub(super) fn read_directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    read(deserializer, "the path of a directory such as \"./data\"", |value| {
        value.as_str().filter(|text| !text.is_empty()).map(PathBuf::from)
    })
}

/// Directives in the syntax of `RUST_LOG`.
pub(super) fn read_filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let expected = "directives in the syntax of RUST_LOG such as \"info\" or \"warn,fleet=debug\"";
    read(deserializer, expected, |value| {
        let text = value.as_str().filter(|text| !text.trim().is_empty())?;
        EnvFilter::builder().parse(text).ok()?;
        Some(text.to_owned())
    })
}

fn parse_duration(value: &Value) -> Option<Duration> {
    humantime::parse_duration(value.as_str()?).ok().filter(|duration| *duration <= LONGEST)
}

pub(in crate::config) fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Up to a day, written as people do: `"10s"`, `"1m 30s"`.
pub(super) mod duration {
    use super::{Deserializer, Duration, parse_duration, read};

    pub(in crate::config) use super::write_duration as serialize;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let expected = "a duration of at most a day such as \"10s\" or \"1m 30s\"";
        read(deserializer, expected, parse_duration)
    }
}

/// Like [`duration`], and longer than zero.
pub(super) mod period {
    use super::{Deserializer, Duration, parse_duration, read};

    pub(in crate::config) use super::write_duration as serialize;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let expected = "a duration above zero and of at most a day such as \"10s\" or \"1m 30s\"";
        read(deserializer, expected, |value| parse_duration(value).filter(|duration| !duration.is_zero()))
    }
}

/// A number of bytes, as `"1.5 MiB"` or as a plain number.
fn parse_size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::String(text) => text.trim().parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64()),
        _ => None,
    }
}

/// Writes a size in the largest unit that shows it exactly; `ByteSize` itself would round it.
fn show_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let exact = units.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    match exact {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

/// The size of a message: what a turn could store at once is the most that it may bring in.
pub(super) mod message_bytes {
    use super::{Deserializer, Serializer, parse_size, read, show_size};
    use crate::limits::WRITE_SET_BYTES;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let most = show_size(WRITE_SET_BYTES as u64);
        let expected = format!("a size from 1 B to {most} such as \"1 MiB\"");
        read(deserializer, &expected, |value| {
            usize::try_from(parse_size(value)?).ok().filter(|bytes| (1..=WRITE_SET_BYTES).contains(bytes))
        })
    }

    // Serde hands over a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(in crate::config) fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_size(*bytes as u64))
    }
}

/// The size of what is stored: anything that SQLite can count.
pub(super) mod stored_bytes {
    use super::{Deserializer, Serializer, parse_size, read, show_size};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        read(deserializer, "a size of at least 1 B such as \"128 MiB\"", |value| {
            parse_size(value).filter(|bytes| (1..=i64::MAX.unsigned_abs()).contains(bytes))
        })
    }

    // Serde hands over a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(in crate::config) fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_size(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shown_size_is_the_size(bytes in 0..=i64::MAX.unsigned_abs(), shift in 0_u32..40) {
            let size = (bytes >> shift) << shift;
            prop_assert_eq!(parse_size(&Value::String(show_size(size))), Some(size));
        }

        #[test]
        fn reading_never_panics(text in ".{0,20}") {
            let value = Value::String(text);
            let _ = (parse_size(&value), parse_duration(&value));
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("1 MiB", 1 << 20), ("1MB", 1_000_000), ("1.5 KiB", 1536), ("70000", 70_000), ("7 B", 7)]
        {
            assert_eq!(parse_size(&Value::String(text.into())), Some(bytes), "{text}");
        }
        assert_eq!(parse_size(&Value::Integer(4096)), Some(4096));
        for value in
            [Value::Integer(-1), Value::Boolean(true), Value::String("a lot".into()), Value::String(String::new())]
        {
            assert_eq!(parse_size(&value), None, "{value}");
        }
    }
}
