//! `coordinator`, where the results of tasks come together: kept in the order of their arrival, listed by who worked, by
//! kind of task and by success, and summed up as they come.
//!
//! A result arrives as a call of `submitResult`, or as a message `{"submitResult":{…}}`, which a `fleet-manager` sends with
//! the commit that ends the task.
//!
//! # Why
//! Every list is of its own rows (see `lists`), so a page costs what it holds however many results there are. They are in the
//! order of arrival and not of their timestamps: whoever follows a list with its cursor misses nothing that was late. The
//! summary is part of the value and never counted again.

mod lists;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::{RawValue, to_raw_value};

use self::lists::{Kept, Query};
use super::task::ResultView;
use crate::limits::{RESULT_STORAGE_BYTES, TASK_ID_CHARS, TASK_TYPE_CHARS, WORKER_ID_BYTES};
use crate::object::{Class, Error, Turn, json, read, unknown_method};
use crate::protocol::Change;

/// The results that were submitted, summed up; they themselves are rows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Coordinator {
    /// How many have ever arrived: the number of the next one.
    arrivals: u64,
    totals: Totals,
}

/// What is known of all results since the last `clear`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Totals {
    count: u64,
    successes: u64,
    /// Of all together, in microseconds: whole, so that it is the same however often it is saved.
    duration: u64,
    /// Timestamps, in milliseconds since the epoch.
    oldest: Option<u64>,
    newest: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    total_results: u64,
    success_count: u64,
    failure_count: u64,
    average_duration: f64,
    oldest_result: Option<u64>,
    newest_result: Option<u64>,
}

/// What came of a task, as it is submitted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submission<'a> {
    worker_id: String,
    #[serde(borrow)]
    result: Submitted<'a>,
    task_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submitted<'a> {
    task_id: String,
    success: bool,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    error: Option<String>,
    duration: Option<Number>,
    timestamp: Option<u64>,
    attempts: Option<u32>,
    task_type: Option<String>,
}

impl Class for Coordinator {
    const NAME: &'static str = "coordinator";

    const STORAGE_BYTES: Option<u64> = Some(RESULT_STORAGE_BYTES);

    fn state(&mut self, _: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        struct State {
            class: &'static str,
            summary: Summary,
        }
        json(&State { class: Self::NAME, summary: self.totals.summary() })
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "submitResult" => self.submit(turn, payload),
            "getResults" => self.results(turn, &query(payload)?),
            "getSuccessfulResults" => self.results(turn, &query(payload)?.of_success(true)),
            "getFailedResults" => self.results(turn, &query(payload)?.of_success(false)),
            "getResultsByWorker" => self.results_by_worker(turn, &query(payload)?),
            "getRecentResults" => self.recent_results(turn, &query(payload)?),
            "getSummary" => json(&self.totals.summary()),
            "getCount" => json(&self.totals.count),
            "getSuccessRate" => json(&self.totals.success_rate()),
            "clear" => self.clear(turn),
            other => Err(unknown_method(other)),
        }
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Message<'a> {
            #[serde(borrow)]
            submit_result: &'a RawValue,
        }
        let Ok(Message { submit_result }) = serde_json::from_str(message.get()) else {
            // As of any object: it is for the sockets.
            turn.forward(message);
            return Ok(());
        };
        self.submit(turn, submit_result).map(drop)
    }
}

impl Coordinator {
    fn submit(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let Submission { worker_id, result, task_type } = serde_json::from_str(payload.get())
            .map_err(|error| Error::bad_request(format!("invalid payload: {error}")))?;
        let task_type = task_type.or(result.task_type);
        at_least_one("workerId", &worker_id, worker_id.len(), WORKER_ID_BYTES, "bytes")?;
        at_least_one("taskId", &result.task_id, result.task_id.chars().count(), TASK_ID_CHARS, "characters")?;
        if let Some(kind) = &task_type {
            at_least_one("taskType", kind, kind.chars().count(), TASK_TYPE_CHARS, "characters")?;
        }
        let duration = result.duration.unwrap_or_else(|| Number::from(0));
        let microseconds = microseconds(&duration)
            .ok_or_else(|| Error::bad_request(format!("duration is {duration}; it must be milliseconds, 0 or more")))?;
        let timestamp = result.timestamp.unwrap_or_else(|| turn.now());
        self.totals.add(result.success, microseconds, timestamp);
        let result = ResultView {
            task_id: &result.task_id,
            success: result.success,
            result: result.result,
            error: result.error.as_deref(),
            duration,
            timestamp,
            attempts: result.attempts.unwrap_or(1),
            worker_id: &worker_id,
            task_type: task_type.as_deref(),
        };
        let json = to_raw_value(&result).map_err(|error| Error::internal(format!("a result is no JSON: {error}")))?;
        let kept = Kept { timestamp, newest: self.totals.newest.unwrap_or(timestamp), json: json.get().to_owned() };
        lists::add(turn, self.arrivals, &kept, result.success, &worker_id, task_type.as_deref())?;
        self.arrivals += 1;
        self.publish(turn);
        Ok(b"{}".to_vec())
    }

    fn results(&self, turn: &mut Turn<'_>, query: &Query) -> Result<Vec<u8>, Error> {
        json(&lists::page(turn, query, self.arrivals)?)
    }

    fn results_by_worker(&self, turn: &mut Turn<'_>, query: &Query) -> Result<Vec<u8>, Error> {
        if query.worker_id.is_none() {
            return Err(Error::bad_request("workerId required"));
        }
        self.results(turn, query)
    }

    fn recent_results(&self, turn: &mut Turn<'_>, query: &Query) -> Result<Vec<u8>, Error> {
        if query.since_ms.is_none() {
            return Err(Error::bad_request("sinceMs required"));
        }
        self.results(turn, query)
    }

    fn clear(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        struct Cleared {
            cleared: u64,
        }
        turn.delete_all()?;
        let Totals { count, .. } = std::mem::take(&mut self.totals);
        self.publish(turn);
        json(&Cleared { cleared: count })
    }

    fn publish(&self, turn: &mut Turn<'_>) {
        // A summary of numbers is always a value.
        let summary = serde_json::to_value(self.totals.summary()).unwrap_or_default();
        turn.publish(Change::field("summary", summary));
    }
}

impl Totals {
    fn add(&mut self, success: bool, microseconds: u64, timestamp: u64) {
        self.count += 1;
        self.successes += u64::from(success);
        self.duration = self.duration.saturating_add(microseconds);
        self.oldest = Some(self.oldest.map_or(timestamp, |oldest| oldest.min(timestamp)));
        self.newest = Some(self.newest.map_or(timestamp, |newest| newest.max(timestamp)));
    }

    fn summary(&self) -> Summary {
        Summary {
            total_results: self.count,
            success_count: self.successes,
            failure_count: self.count - self.successes,
            average_duration: self.of_each(self.duration) / 1_000.0,
            oldest_result: self.oldest,
            newest_result: self.newest,
        }
    }

    /// In percent; 0 of none.
    fn success_rate(&self) -> f64 {
        100.0 * self.of_each(self.successes)
    }

    #[expect(clippy::cast_precision_loss, reason = "an average need not be exact to the last of 2^53")]
    fn of_each(&self, sum: u64) -> f64 {
        if self.count == 0 { 0.0 } else { sum as f64 / self.count as f64 }
    }
}

/// Of a number of milliseconds that can be a duration.
fn microseconds(duration: &Number) -> Option<u64> {
    let milliseconds = duration.as_f64().filter(|duration| duration.is_finite() && *duration >= 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it stops at the largest number")]
    Some((milliseconds * 1_000.0).round() as u64)
}

/// Which results are asked for; nothing at all asks for every one.
fn query(payload: &RawValue) -> Result<Query, Error> {
    Ok(read::<Option<Query>>(payload)?.unwrap_or_default())
}

/// A name that must be there and has a bound.
fn at_least_one(field: &str, text: &str, length: usize, most: usize, unit: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::bad_request(format!("{field} must not be empty")));
    }
    if length > most {
        return Err(Error::bad_request(format!("{field} is {length} {unit}; the limit is {most}")));
    }
    Ok(())
}
