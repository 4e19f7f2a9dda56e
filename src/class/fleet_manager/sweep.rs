//! Batches that are cancelled or kept no longer: they are so at once, and their rows are removed later, few at a time.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::FleetManager;
use super::keys;
use super::memory::Room;
use super::reads::{BatchId, fields};
use crate::limits::{QUEUE_SEEKS, SWEEP_ROWS};
use crate::object::{Error, List, Turn, json};
use crate::protocol::Change;

/// What is left to be removed of a batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sweep {
    /// Types of its tasks that may be queued.
    kinds: Vec<Box<str>>,
    /// How far the queue of the last of them was looked through.
    after: Option<String>,
    /// Whether its results go too.
    results: bool,
}

/// Rows of one batch in a queue.
pub(super) struct OfBatch<T> {
    pub(super) rows: Vec<(String, T)>,
    /// Where to go on: `None` at the end of the queue.
    pub(super) after: Option<String>,
}

impl Sweep {
    pub(super) fn of_queue(kinds: Vec<Box<str>>) -> Self {
        Self { kinds, after: None, results: false }
    }
}

impl FleetManager {
    pub(super) fn cancel(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let BatchId { batch_id } = fields(payload)?;
        let now = turn.now();
        let Some(held) = self.held(turn, &batch_id)? else { return json(&false) };
        let (queued, retrying) = (held.value.queued.clone(), held.value.retrying);
        let Some(open) = held.value.cancel(now) else { return json(&false) };
        held.changed = true;
        self.memory.changed = true;
        self.books.cancelled += open;
        self.books.retrying -= retrying;
        for (kind, count) in &queued {
            self.books.dequeue(kind, *count);
        }
        self.memory.windows.values_mut().for_each(|window| window.remove_batch(&batch_id));
        self.end_all(turn, &batch_id)?;
        if !queued.is_empty() {
            turn.put(&keys::sweep(&batch_id), &Sweep::of_queue(queued.into_keys().collect()))?;
            self.memory.more = true;
        }
        turn.count("fleet_tasks", &[("status", "cancelled")], open);
        self.close(turn, &batch_id)?;
        self.tell_progress(turn, &batch_id)?;
        self.settle(turn)?;
        json(&true)
    }

    /// Ends every attempt of a batch.
    fn end_all(&mut self, turn: &mut Turn<'_>, batch: &str) -> Result<(), Error> {
        let tokens = self.memory.attempts.of_batch(batch);
        self.stop_all(turn, &tokens)?;
        for token in &tokens {
            self.release(token);
            turn.delete(&keys::run(token))?;
        }
        Ok(())
    }

    /// Removes some of what is to be removed.
    pub(super) fn sweep(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        let mut left = SWEEP_ROWS.min(room.rows());
        while left > 0 {
            let Some((key, mut sweep)) = turn.list(List::new().prefix(keys::SWEEP).limit(1))?.items.pop() else {
                return Ok(());
            };
            let batch = key[keys::SWEEP.len()..].to_owned();
            let (removed, is_done) = sweep_batch(turn, &batch, &mut sweep, left)?;
            room.take(removed + 1, 0);
            left = left.saturating_sub(removed + 1);
            if is_done {
                turn.delete(&key)?;
            } else {
                turn.put(&key, &sweep)?;
                break;
            }
        }
        self.memory.more = true;
        Ok(())
    }

    /// Removes the oldest of the batches that have ended, as far as they are not to be kept.
    pub(super) fn retire(&mut self, turn: &mut Turn<'_>, room: &mut Room) -> Result<(), Error> {
        let now = turn.now();
        let retention = self.books.config.retention;
        let is_due = self.memory.next_removal.is_some_and(|at| at <= now);
        if !is_due && self.books.kept <= retention.batches {
            return Ok(());
        }
        let surplus = self.books.kept.saturating_sub(retention.batches);
        let most = SWEEP_ROWS.min(room.rows() / 4).max(1);
        let page = turn.list::<IgnoredAny>(List::new().prefix(keys::ENDED).limit(most))?;
        self.memory.next_removal = None;
        for (index, (key, _)) in page.items.iter().enumerate() {
            let Some((at, batch)) = keys::parse_ended(key) else { continue };
            let until = at.saturating_add(retention.ms);
            if index as u64 >= surplus && until > now {
                self.memory.next_removal = Some(until);
                return Ok(());
            }
            self.remove(turn, key, batch)?;
            room.take(4, 0);
        }
        self.memory.more |= page.cursor.is_some();
        Ok(())
    }

    /// A batch is not there any more.
    fn remove(&mut self, turn: &mut Turn<'_>, ended: &str, batch: &str) -> Result<(), Error> {
        turn.delete(ended)?;
        let Some(held) = self.held(turn, batch)? else { return Ok(()) };
        let key = held.value.key.take();
        self.memory.batches.remove(batch);
        self.books.kept -= 1;
        turn.delete(&keys::batch(batch))?;
        if let Some(key) = key {
            turn.delete(&keys::idempotency(&key))?;
        }
        // One that was cancelled may still be swept.
        let mut sweep: Sweep = turn.get(&keys::sweep(batch))?.unwrap_or_else(|| Sweep::of_queue(Vec::new()));
        sweep.results = true;
        turn.put(&keys::sweep(batch), &sweep)?;
        self.memory.more = true;
        turn.publish(Change::none());
        Ok(())
    }
}

/// Removes at most so many rows of a batch; answers how many, and whether that was the rest.
fn sweep_batch(turn: &mut Turn<'_>, batch: &str, sweep: &mut Sweep, most: usize) -> Result<(usize, bool), Error> {
    let mut removed = 0;
    while let Some(kind) = sweep.kinds.last().cloned() {
        if removed >= most {
            return Ok((removed, false));
        }
        let found = rows_of_batch::<IgnoredAny>(turn, &kind, batch, sweep.after.take(), most - removed)?;
        for (key, _) in &found.rows {
            turn.delete(key)?;
        }
        removed += found.rows.len();
        sweep.after = found.after;
        if sweep.after.is_none() {
            sweep.kinds.pop();
        } else if found.rows.is_empty() {
            // Only others were found so far: another turn goes on.
            return Ok((removed, false));
        }
    }
    for prefix in [keys::results(batch), keys::failures(batch)].into_iter().filter(|_| sweep.results) {
        if removed >= most {
            return Ok((removed, false));
        }
        let page = turn.list::<IgnoredAny>(List::new().prefix(prefix).limit(most - removed))?;
        for (key, _) in &page.items {
            turn.delete(key)?;
        }
        removed += page.items.len();
        if page.cursor.is_some() {
            return Ok((removed, false));
        }
    }
    Ok((removed, true))
}

/// Rows of a batch in the queue of a type, at most so many. The tasks of others are jumped over: their number does not
/// matter, only that of the priorities.
pub(super) fn rows_of_batch<T: DeserializeOwned>(
    turn: &mut Turn<'_>,
    kind: &str,
    batch: &str,
    after: Option<String>,
    most: usize,
) -> Result<OfBatch<T>, Error> {
    let queue = keys::queue(kind);
    let mut found = OfBatch { rows: Vec::new(), after: None };
    let mut from = after.unwrap_or_else(|| queue.clone());
    for _ in 0..QUEUE_SEEKS {
        let limit = (most - found.rows.len()).clamp(1, SWEEP_ROWS / 4);
        let page = turn.list::<T>(List::new().prefix(queue.clone()).start(from.clone()).limit(limit))?;
        let mut jump: Option<String> = None;
        let (is_last, last) = (page.cursor.is_none(), page.cursor);
        for (key, value) in page.items {
            if jump.as_deref().is_some_and(|jump| *key < *jump) {
                continue;
            }
            let rank = &key[queue.len()..];
            let (level, other) = (keys::level_of(rank), keys::batch_of(rank));
            jump = match other.cmp(batch) {
                std::cmp::Ordering::Equal => {
                    found.rows.push((key, value));
                    None
                }
                std::cmp::Ordering::Less => Some(format!("{queue}{level}/{batch}/")),
                std::cmp::Ordering::Greater => Some(format!("{queue}{}", keys::behind(level))),
            };
        }
        if is_last {
            return Ok(found);
        }
        from = match jump {
            Some(jump) => jump,
            None => format!("{}!", last.unwrap_or_default()),
        };
        if found.rows.len() >= most {
            break;
        }
    }
    found.after = Some(from);
    Ok(found)
}
