//! Where a manager's rows lie. A task is in exactly one of `task/`, `retry/`, `try/` and `result/` at any time.
//!
//! | key | row |
//! |---|---|
//! | `task/TYPE/RANK` | a task that waits; ranks sort by priority, then batch, then number |
//! | `retry/DUE/BATCH/N` | a task that waits for its next attempt |
//! | `try/TOKEN` | an attempt that is under way |
//! | `result/BATCH/K` | how a task ended; `K` counts in finishing order |
//! | `failed/BATCH/K` | the task of a result that is a failure |
//! | `batch/BATCH` | the counters of a batch: without this row there is no such batch |
//! | `ended/TIME/BATCH` | a batch that has ended, for its removal |
//! | `stage/BATCH` | a batch whose tasks are being stored |
//! | `sweep/BATCH` | rows of a batch that are to be removed |
//! | `key/IDEMPOTENCY-KEY` | the batch that was submitted under it |
//! | `peer/NAME` | what is known of a connected worker |
//! | `latency/TYPE` | how long attempts took |
//!
//! # Why
//! The type stands before the rank, so that tasks which nobody handles never stand in front of others. What is written most,
//! and in growing order, lies behind everything else: there a row that is new need not be looked for.

use std::borrow::Cow;

pub(super) const QUEUE: &str = "task/";
pub(super) const RETRY: &str = "retry/";
pub(super) const RUN: &str = "try/";
pub(super) const BATCH: &str = "batch/";
pub(super) const ENDED: &str = "ended/";
pub(super) const STAGE: &str = "stage/";
pub(super) const SWEEP: &str = "sweep/";
pub(super) const WORKER: &str = "peer/";
pub(super) const LATENCY: &str = "latency/";

/// Characters of a batch's id: a number that grows, and one that nobody can guess.
const BATCH_ID: usize = 10 + 16;

/// The id of a batch: later ones sort behind earlier ones.
pub(super) fn batch_id(number: u64, random: u64) -> String {
    format!("{number:010x}{random:016x}")
}

/// Whether it can be the id of a batch.
pub(super) fn is_batch_id(id: &str) -> bool {
    id.len() == BATCH_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The token of an attempt: with its `w` it is the name of a worker.
pub(super) fn token(number: u64, random: u64) -> String {
    format!("{number:012x}{random:016x}")
}

/// Where a task stands in the queue of its type.
pub(super) fn rank(priority: i32, batch: &str, n: u32) -> String {
    let before = i64::from(i32::MAX) - i64::from(priority);
    format!("{before:08x}/{batch}/{n:07}")
}

/// The batch of a rank.
pub(super) fn batch_of(rank: &str) -> &str {
    rank.split('/').nth(1).unwrap_or_default()
}

/// The part of a rank that all tasks of one priority and batch share.
pub(super) fn group_of(rank: &str) -> &str {
    rank.rsplit_once('/').map_or(rank, |(group, _)| group)
}

/// The priority of a rank, as it sorts.
pub(super) fn level_of(rank: &str) -> &str {
    rank.split('/').next().unwrap_or_default()
}

/// Behind every key that begins with this and a `/`.
pub(super) fn behind(prefix: &str) -> String {
    // `0` is the character after `/`.
    format!("{prefix}0")
}

/// The queue of a type.
pub(super) fn queue(kind: &str) -> String {
    format!("{QUEUE}{}/", escaped(kind))
}

pub(super) fn queued(kind: &str, rank: &str) -> String {
    format!("{}{rank}", queue(kind))
}

pub(super) fn retry(due: u64, batch: &str, n: u32) -> String {
    format!("{RETRY}{due:015}/{batch}/{n:07}")
}

/// When the task of a key is to be tried again.
pub(super) fn due_of(retry: &str) -> u64 {
    let due = retry.strip_prefix(RETRY).and_then(|rest| rest.split('/').next());
    due.and_then(|due| due.parse().ok()).unwrap_or_default()
}

pub(super) fn run(token: &str) -> String {
    format!("{RUN}{token}")
}

/// The results of a batch.
pub(super) fn results(batch: &str) -> String {
    format!("result/{batch}/")
}

/// The tasks of a batch that failed.
pub(super) fn failures(batch: &str) -> String {
    format!("failed/{batch}/")
}

pub(super) fn result(batch: &str, k: u64) -> String {
    format!("result/{batch}/{k:07}")
}

pub(super) fn failed(batch: &str, k: u64) -> String {
    format!("failed/{batch}/{k:07}")
}

pub(super) fn batch(id: &str) -> String {
    format!("{BATCH}{id}")
}

pub(super) fn ended(at: u64, batch: &str) -> String {
    format!("{ENDED}{at:015}/{batch}")
}

/// When the batch of a key ended, and which it is.
pub(super) fn parse_ended(key: &str) -> Option<(u64, &str)> {
    let (at, batch) = key.strip_prefix(ENDED)?.split_once('/')?;
    Some((at.parse().ok()?, batch))
}

pub(super) fn stage(batch: &str) -> String {
    format!("{STAGE}{batch}")
}

pub(super) fn sweep(batch: &str) -> String {
    format!("{SWEEP}{batch}")
}

pub(super) fn idempotency(key: &str) -> String {
    format!("key/{key}")
}

pub(super) fn worker(name: &str) -> String {
    format!("{WORKER}{name}")
}

pub(super) fn latency(kind: &str) -> String {
    format!("{LATENCY}{}", escaped(kind))
}

/// The type whose latencies a key is of.
pub(super) fn kind_of_latency(key: &str) -> String {
    let escaped = key.strip_prefix(LATENCY).unwrap_or(key);
    // In what is escaped each `%` begins one of these two, so that neither is found where it is not meant.
    escaped.replace("%2F", "/").replace("%25", "%")
}

/// A type as a part of a key.
fn escaped(kind: &str) -> Cow<'_, str> {
    if kind.contains(['/', '%']) { kind.replace('%', "%25").replace('/', "%2F").into() } else { kind.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = (i32, u64, u64, u32)> {
        (any::<i32>(), 0..1_u64 << 40, any::<u64>(), 0..1_000_000_u32)
    }

    proptest! {
        #[test]
        fn fm5_keys_sort_by_priority_then_batch_then_number(a in place(), b in place()) {
            let key = |(priority, number, random, n): (i32, u64, u64, u32)| {
                queued("t", &rank(priority, &batch_id(number, random), n))
            };
            let order = |(priority, number, random, n): (i32, u64, u64, u32)| {
                (std::cmp::Reverse(priority), number, random, n)
            };
            prop_assert_eq!(key(a).cmp(&key(b)), order(a).cmp(&order(b)));
        }

        #[test]
        fn fm5_equal_priorities_are_first_in_first_out(p in any::<i32>(), early in 0..1_u64 << 39, random in any::<u64>()) {
            let (first, second) = (batch_id(early, random), batch_id(early + 1, !random));
            prop_assert!(rank(p, &first, 999_999) < rank(p, &second, 0));
        }

        #[test]
        fn fm5_a_rank_names_its_batch_and_its_group((priority, number, random, n) in place()) {
            let batch = batch_id(number, random);
            let text = rank(priority, &batch, n);
            prop_assert!(is_batch_id(&batch));
            prop_assert_eq!(batch_of(&text), &batch);
            prop_assert_eq!(group_of(&text), format!("{}/{batch}", level_of(&text)));
            let next = behind(group_of(&text));
            prop_assert!(text < next && rank(priority, &batch, 9_999_999) < next);
            prop_assert!(next < rank(priority, &batch_id(number + 1, 0), 0));
        }

        #[test]
        fn fm6_retries_sort_by_their_time(a in 0..1_u64 << 48, b in 0..1_u64 << 48) {
            let batch = batch_id(1, 1);
            prop_assert_eq!(retry(a, &batch, 0).cmp(&retry(b, &batch, 0)), a.cmp(&b));
            prop_assert_eq!(due_of(&retry(a, &batch, 0)), a);
        }

        #[test]
        fn fm5_queues_of_two_types_never_mix(a in ".{1,8}", b in ".{1,8}") {
            prop_assume!(a != b);
            prop_assert!(!queue(&a).starts_with(&queue(&b)));
        }

        #[test]
        fn fm9_the_type_of_a_latency_is_read_as_it_was_written(kind in "[%/2F5a]{1,12}|.{1,8}") {
            prop_assert_eq!(kind_of_latency(&latency(&kind)), kind);
        }

        #[test]
        fn fm13_an_ended_batch_is_found_by_its_time(at in 0..1_u64 << 48, number in 0..1_u64 << 40) {
            let batch = batch_id(number, 7);
            let key = ended(at, &batch);
            prop_assert_eq!(parse_ended(&key), Some((at, &*batch)));
        }
    }

    #[test]
    fn a_token_is_the_name_of_a_worker() {
        let name = format!("w{}", token(1, u64::MAX));
        assert!(crate::path::ObjectName::parse(&name).is_ok());
    }
}
