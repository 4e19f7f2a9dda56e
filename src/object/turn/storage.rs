//! The object's own rows: keys in the order of their bytes, values that serde can write.
//!
//! A turn sees what it has written; the others, and the disk, see it when the turn has succeeded.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Draft, Turn, Undo};
use crate::limits::{KEY_BYTES, VALUE_BYTES, WRITE_SET_BYTES, WRITE_SET_ROWS};
use crate::object::Error;
use crate::object::list::{List, Listing};
use crate::object::rows::Value;
use crate::path::ObjectPath;
use crate::protocol::Code;

impl Turn<'_> {
    /// The value of a key.
    ///
    /// # Errors
    /// `bad_request` for a key that cannot be one, `internal` for a value of another type; storage that cannot be read.
    pub fn get<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        match self.get_raw(key)? {
            None => Ok(None),
            Some(value) => decode(key, &value).map(Some),
        }
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// As [`Turn::get`].
    pub fn get_many<T: DeserializeOwned>(&mut self, keys: &[&str]) -> Result<Vec<Option<T>>, Error> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Stores a value.
    ///
    /// # Errors
    /// `bad_request` for a key of more than 2,048 bytes or none, `too_large` for a value of more than 2 MiB or a turn of
    /// more than 20,000 rows or 16 MiB; `bad_request` in an object that lives in memory alone; storage that cannot be read.
    pub fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let encoded = rmp_serde::to_vec_named(value)
            .map_err(|error| Error::internal(format!("the value of `{key}` cannot be encoded: {error}")))?;
        if encoded.len() > VALUE_BYTES {
            return Err(Error::new(
                Code::TooLarge,
                format!("the value of `{}` is {} bytes; the limit is {VALUE_BYTES}", shown(key), encoded.len()),
            ));
        }
        self.write(key, Some(encoded.into())).map(drop)
    }

    /// Stores several values: all of them, or none.
    ///
    /// # Errors
    /// As [`Turn::put`].
    pub fn put_many<'k, T: Serialize + ?Sized + 'k>(
        &mut self,
        rows: impl IntoIterator<Item = (&'k str, &'k T)>,
    ) -> Result<(), Error> {
        self.transaction(|turn| rows.into_iter().try_for_each(|(key, value)| turn.put(key, value)))
    }

    /// Deletes a key; answers whether it was there.
    ///
    /// # Errors
    /// As [`Turn::put`].
    pub fn delete(&mut self, key: &str) -> Result<bool, Error> {
        self.write(key, None)
    }

    /// Deletes several keys, all of them or none; answers how many were there.
    ///
    /// # Errors
    /// As [`Turn::put`].
    pub fn delete_many(&mut self, keys: &[&str]) -> Result<usize, Error> {
        self.transaction(|turn| keys.iter().try_fold(0, |count, key| Ok(count + usize::from(turn.delete(key)?))))
    }

    /// Deletes every key, and the alarm. Schedules stay: they belong to how the object is set up, like its class.
    ///
    /// # Errors
    /// Storage that cannot be read.
    pub fn delete_all(&mut self) -> Result<(), Error> {
        if self.stored.in_memory {
            return Ok(());
        }
        let children = self.children_bytes()?;
        let draft = &mut self.draft;
        draft.operations += 1;
        let rows = std::mem::take(&mut draft.rows);
        draft.row_bytes -= rows.iter().map(|(key, value)| written(key, value.as_ref())).sum::<usize>();
        if draft.transactions > 0 {
            draft.undo.push(Undo::Cleared(draft.cleared, rows));
        }
        draft.cleared = true;
        let record = &mut self.stored.record;
        record.rows = self.stored.runtime_rows;
        record.bytes = children + self.stored.state_bytes as u64;
        self.delete_alarm();
        Ok(())
    }

    /// Lists rows, with what this turn has written.
    ///
    /// # Errors
    /// `bad_request` for a limit of 0 or over 1,000, or `start` and `start_after` together; `internal` for a value of
    /// another type; storage that cannot be read.
    pub fn list<T: DeserializeOwned>(&mut self, list: List) -> Result<Listing<T>, Error> {
        let range = list.range()?;
        let storage = &self.namespace.storage;
        let Draft { cleared, rows, .. } = &self.draft;
        let (found, more) = self.stored.rows.list(storage, self.path, &range, *cleared, rows)?;
        if !*cleared {
            self.stored.rows.keep_listed(&found, rows);
        }
        self.draft.operations += found.len() as u64;
        let cursor = found.last().filter(|_| more).map(|(key, _)| key.to_string());
        let items = found.into_iter().map(|(key, value)| Ok((key.to_string(), decode(&key, &value)?)));
        Ok(Listing { items: items.collect::<Result<_, Error>>()?, cursor })
    }

    /// Does several things as one: if the closure fails, nothing of what it did remains, and what the turn did before
    /// does. The class's own value is not part of it.
    ///
    /// ```
    /// # use fleet::{Error, Turn};
    /// /// Takes both or neither.
    /// fn take_both(turn: &mut Turn<'_>) -> Result<(), Error> {
    ///     turn.transaction(|turn| {
    ///         let both = turn.delete("left")? && turn.delete("right")?;
    ///         if both { Ok(()) } else { Err(Error::conflict("One is missing")) }
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// What the closure answers.
    pub fn transaction<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let draft = &mut self.draft;
        draft.transactions += 1;
        let (undo, effects, deleted) = (draft.undo.len(), draft.effects.len(), draft.deleted.len());
        let (children, published) = (draft.children.clone(), draft.published.clone());
        let (sockets, hibernates) = (draft.sockets.clone(), draft.hibernates);
        let said = draft.said.mark();
        let (record, bytes) = (self.stored.record.clone(), draft.row_bytes);
        let timers = self.stored.timers.clone();
        let result = body(self);
        let draft = &mut self.draft;
        draft.transactions -= 1;
        if result.is_err() {
            draft.undo_to(undo, &mut self.stored.children);
            draft.effects.truncate(effects);
            draft.deleted.truncate(deleted);
            draft.said.undo_to(&said);
            (draft.children, draft.published, draft.row_bytes) = (children, published, bytes);
            (draft.sockets, draft.hibernates) = (sockets, hibernates);
            (self.stored.record, self.stored.timers) = (record, timers);
        }
        result
    }

    fn get_raw(&mut self, key: &str) -> Result<Option<Value>, Error> {
        check_key(key)?;
        self.draft.operations += 1;
        match self.draft.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None if self.draft.cleared => Ok(None),
            None => Ok(self.stored.rows.get(&self.namespace.storage, self.path, key)?),
        }
    }

    /// The length of what a key holds now.
    fn len_of(&mut self, key: &str) -> Result<Option<usize>, Error> {
        match self.draft.rows.get(key) {
            Some(value) => Ok(value.as_ref().map(|value| value.len())),
            None if self.draft.cleared => Ok(None),
            None => Ok(self.stored.rows.len_of(&self.namespace.storage, self.path, key)?),
        }
    }

    /// Writes a row; answers whether there was one.
    fn write(&mut self, key: &str, value: Option<Value>) -> Result<bool, Error> {
        check_key(key)?;
        if value.is_some() {
            self.check_written("put")?;
        }
        self.draft.operations += 1;
        let before = self.len_of(key)?;
        if value.is_none() && before.is_none() {
            return Ok(false);
        }
        let draft = &mut self.draft;
        let added = written(key, value.as_ref());
        // What was written to the same row before in this turn is not written.
        match draft.rows.get(key) {
            Some(old) => draft.row_bytes -= written(key, old.as_ref()),
            None => draft.check_rows(self.path, 1)?,
        }
        if draft.row_bytes + added > WRITE_SET_BYTES {
            draft.row_bytes += draft.rows.get(key).map_or(0, |old| written(key, old.as_ref()));
            return Err(too_much(self.path, &format!("more than {WRITE_SET_BYTES} bytes")));
        }
        draft.row_bytes += added;
        let record = &mut self.stored.record;
        record.rows = record.rows + u64::from(value.is_some()) - u64::from(before.is_some());
        let freed = before.map_or(0, |length| row_bytes(key, length));
        let used = value.as_ref().map_or(0, |value| row_bytes(key, value.len()));
        record.bytes = (record.bytes + used).saturating_sub(freed);
        let old = draft.rows.insert(key.into(), value);
        if draft.transactions > 0 {
            draft.undo.push(Undo::Row(key.into(), old));
        }
        Ok(before.is_some())
    }
}

impl Draft {
    /// Whether the turn may write so many more rows.
    pub(super) fn check_rows(&self, path: &ObjectPath, more: usize) -> Result<(), Error> {
        let rows = self.rows.len() + self.said.rows() + 2 * self.children.len();
        if rows + more > WRITE_SET_ROWS {
            return Err(too_much(path, &format!("more than {WRITE_SET_ROWS} rows")));
        }
        Ok(())
    }
}

/// What a write to a row counts towards the bound of a turn.
fn written(key: &str, value: Option<&Value>) -> usize {
    key.len() + value.map_or(0, |value| value.len())
}

/// What a row counts towards the storage of its object.
fn row_bytes(key: &str, length: usize) -> u64 {
    (key.len() + length) as u64
}

pub(in crate::object) fn check_key(key: &str) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::bad_request("a key must not be empty")),
        1..=KEY_BYTES => Ok(()),
        length => Err(Error::bad_request(format!("a key is {length} bytes; the limit is {KEY_BYTES}"))),
    }
}

pub(super) fn too_much(path: &ObjectPath, what: &str) -> Error {
    Error::new(Code::TooLarge, format!("one turn of {path} writes {what}; write less in each of several turns"))
}

pub(in crate::object) fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Error> {
    rmp_serde::from_slice(value).map_err(|error| {
        let wanted = std::any::type_name::<T>();
        Error::internal(format!("the value of `{}` is no {wanted}: {error}", shown(key)))
    })
}

/// As much of a key as an error names.
fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}
