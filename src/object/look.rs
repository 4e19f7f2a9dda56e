//! Looks: calls that only read, answered from what is durable, without a turn.
//!
//! # Why
//! A turn of a busy object waits for those before it, and its answer for their commits. Who only wants to know how things
//! stand need not wait for either: what is durable is the truth as far as anybody outside may know it. So a look shows
//! everything that was acknowledged before it was asked for and nothing that can be undone, however busy the object is; it
//! wakes no object that sleeps, and succeeds while the disk is full.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Error;
use super::list::{List, Listing};
use super::namespace::Inner;
use super::turn::{check_key, decode};
use crate::path::ObjectPath;
use crate::storage::Snapshot;

/// What a class sees of an object that it only looks at: see [`Class::look`](super::Class::look).
pub struct Look<'a> {
    path: &'a ObjectPath,
    now: u64,
    snapshot: &'a Snapshot<'a>,
}

impl Look<'_> {
    /// The object's path.
    pub fn path(&self) -> &ObjectPath {
        self.path
    }

    /// The time, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The object's saved value.
    ///
    /// # Errors
    /// `internal`: it is none of this class.
    pub fn value<C: DeserializeOwned + Default>(&self) -> Result<C, Error> {
        let Some(saved) = &self.snapshot.record().state else { return Ok(C::default()) };
        serde_json::from_slice(saved).map_err(|error| Error::internal(format!("saved state cannot be read: {error}")))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As [`Turn::get`](super::Turn::get).
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        check_key(key)?;
        self.snapshot.get(key)?.map(|value| decode(key, &value)).transpose()
    }

    /// Lists rows.
    ///
    /// # Errors
    /// As [`Turn::list`](super::Turn::list).
    pub fn list<T: DeserializeOwned>(&self, list: List) -> Result<Listing<T>, Error> {
        let mut range = list.range()?;
        let found = self.snapshot.rows(&range)?;
        let mut cursor = None;
        if let Some((last, _)) = found.last() {
            let behind = Bound::Excluded(last.clone());
            *(if range.reverse { &mut range.end } else { &mut range.start }) = behind;
            range.limit = 1;
            cursor = (!self.snapshot.rows(&range)?.is_empty()).then(|| last.to_string());
        }
        let items = found.into_iter().map(|(key, value)| Ok((key.to_string(), decode(&key, &value)?)));
        Ok(Listing { items: items.collect::<Result<_, Error>>()?, cursor })
    }
}

impl Inner {
    /// Answers a call by a look, if its class does that and the object is there for it.
    pub(super) fn look(&self, path: &ObjectPath, method: &str, payload: &RawValue) -> Option<Result<Vec<u8>, Error>> {
        if !self.registry.looks(method) {
            return None;
        }
        self.pulse.beat();
        let answer = self.storage.snapshot(path, |snapshot| {
            let definition = self.registry.get(&snapshot.record().class).ok()?;
            if !definition.looks.contains(&method) {
                return None;
            }
            definition.events.inc();
            let look = Look { path, now: self.services.clock.now(), snapshot };
            let answer = catch_unwind(AssertUnwindSafe(|| (definition.look)(&look, method, payload)));
            Some(answer.unwrap_or_else(|_| {
                tracing::error!(%path, class = &*definition.name, method, "a look panicked");
                self.metrics.panics.inc();
                Err(Error::panicked())
            }))
        });
        answer.map_or_else(|error| Some(Err(error.into())), Option::flatten)
    }
}
