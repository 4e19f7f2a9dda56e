//! The settings of a manager: defaults, bounds, and how they are changed.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::limits::{
    BATCH_TASKS, BATCH_TASKS_DEFAULT, BATCHES_KEPT, LEASE_MS, TASK_MS, TASK_RETRIES, TASK_WAIT_MS, WORKERS,
};
use crate::object::Error;
use crate::path::ObjectPath;

/// The settings of a manager. All times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Config {
    /// Attempts under way at once.
    pub(super) max_concurrent_workers: u64,
    /// Longest time of an attempt at a task that does not say.
    pub(super) worker_timeout: u64,
    pub(super) retry_failed_tasks: bool,
    pub(super) max_retries: u32,
    pub(super) retry_backoff: Backoff,
    pub(super) max_batch_tasks: u64,
    /// Who runs tasks; by default connected workers if there is one with room, else workers in this process.
    pub(super) worker_class: Option<WorkerClass>,
    /// Whoever is told every result.
    pub(super) coordinator: Option<Box<str>>,
    pub(super) retention: Retention,
    pub(super) autoscale: Autoscale,
    pub(super) heartbeat_interval: u64,
    pub(super) lease_timeout: u64,
    /// How long tasks wait for somebody who handles their type.
    pub(super) unhandled_timeout: u64,
}

/// How long to wait before a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backoff {
    pub(super) initial_ms: u64,
    pub(super) max_ms: u64,
}

/// What of the batches that have ended is kept: those within both bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Retention {
    pub(super) ms: u64,
    pub(super) batches: u64,
}

/// Whether and between which bounds the number of workers follows the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Autoscale {
    pub(super) enabled: bool,
    pub(super) min_workers: u64,
    pub(super) max_workers: u64,
    pub(super) interval_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WorkerClass {
    Worker,
    WorkerConnection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_concurrent_workers: 10,
            worker_timeout: 300_000,
            retry_failed_tasks: true,
            max_retries: 3,
            retry_backoff: Backoff { initial_ms: 1_000, max_ms: 30_000 },
            max_batch_tasks: BATCH_TASKS_DEFAULT as u64,
            worker_class: None,
            coordinator: None,
            retention: Retention { ms: 7 * 86_400_000, batches: 1_000 },
            autoscale: Autoscale { enabled: false, min_workers: 5, max_workers: 50, interval_ms: 1_000 },
            heartbeat_interval: 5_000,
            lease_timeout: 15_000,
            unhandled_timeout: 3_600_000,
        }
    }
}

const KEYS: &str = "maxConcurrentWorkers, workerTimeout, retryFailedTasks, maxRetries, retryBackoff, maxBatchTasks, \
                    workerClass, coordinator, retention, autoscale, heartbeatInterval, leaseTimeout, unhandledTimeout";

impl Config {
    /// Changes what is named, all of it or nothing.
    ///
    /// # Errors
    /// `bad_request` that names the setting and its bounds.
    pub(super) fn update(&self, payload: &RawValue) -> Result<Self, Error> {
        let mut config = self.clone();
        for (key, value) in &fields("the config", payload)? {
            config.set(key, value)?;
        }
        config.check()?;
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), Error> {
        match key {
            "maxConcurrentWorkers" => self.max_concurrent_workers = workers(key, value)?,
            "workerTimeout" => self.worker_timeout = number(key, value, 1..=TASK_MS)?,
            "retryFailedTasks" => self.retry_failed_tasks = flag(key, value)?,
            "maxRetries" => {
                self.max_retries = u32::try_from(number(key, value, 0..=TASK_RETRIES.into())?).unwrap_or_default();
            }
            "retryBackoff" => self.retry_backoff.update(value)?,
            "maxBatchTasks" => self.max_batch_tasks = number(key, value, 1..=BATCH_TASKS as u64)?,
            "workerClass" => self.worker_class = worker_class(value)?,
            "coordinator" => self.coordinator = coordinator(value)?,
            "retention" => self.retention.update(value)?,
            "autoscale" => self.autoscale.update(value)?,
            "heartbeatInterval" => self.heartbeat_interval = number(key, value, 100..=LEASE_MS)?,
            "leaseTimeout" => self.lease_timeout = number(key, value, 100..=LEASE_MS)?,
            "unhandledTimeout" => self.unhandled_timeout = number(key, value, 1..=TASK_WAIT_MS)?,
            other => return Err(unknown("config key", other, KEYS)),
        }
        Ok(())
    }

    /// What two settings together must be.
    fn check(&self) -> Result<(), Error> {
        let Self { retry_backoff, autoscale, heartbeat_interval, lease_timeout, .. } = self;
        if retry_backoff.initial_ms > retry_backoff.max_ms {
            return Err(Error::bad_request("retryBackoff.initialMs must be at most retryBackoff.maxMs"));
        }
        if autoscale.min_workers > autoscale.max_workers {
            return Err(Error::bad_request("autoscale.minWorkers must be at most autoscale.maxWorkers"));
        }
        if heartbeat_interval >= lease_timeout {
            return Err(Error::bad_request("heartbeatInterval must be shorter than leaseTimeout"));
        }
        Ok(())
    }

    /// How often a task is retried that says this of itself.
    pub(super) fn retries(&self, own: Option<u32>) -> u32 {
        if self.retry_failed_tasks { own.unwrap_or(self.max_retries) } else { 0 }
    }
}

impl Backoff {
    fn update(&mut self, value: &Value) -> Result<(), Error> {
        for (key, value) in object("retryBackoff", value)? {
            match key.as_str() {
                "initialMs" => self.initial_ms = number("retryBackoff.initialMs", value, 1..=TASK_WAIT_MS)?,
                "maxMs" => self.max_ms = number("retryBackoff.maxMs", value, 1..=TASK_WAIT_MS)?,
                other => return Err(unknown("key of retryBackoff", other, "initialMs, maxMs")),
            }
        }
        Ok(())
    }
}

impl Retention {
    fn update(&mut self, value: &Value) -> Result<(), Error> {
        for (key, value) in object("retention", value)? {
            match key.as_str() {
                "ms" => self.ms = number("retention.ms", value, 0..=366 * 86_400_000)?,
                "batches" => self.batches = number("retention.batches", value, 0..=BATCHES_KEPT)?,
                other => return Err(unknown("key of retention", other, "ms, batches")),
            }
        }
        Ok(())
    }
}

impl Autoscale {
    fn update(&mut self, value: &Value) -> Result<(), Error> {
        for (key, value) in object("autoscale", value)? {
            match key.as_str() {
                "enabled" => self.enabled = flag("autoscale.enabled", value)?,
                "minWorkers" => self.min_workers = number("autoscale.minWorkers", value, 1..=WORKERS)?,
                "maxWorkers" => self.max_workers = number("autoscale.maxWorkers", value, 1..=WORKERS)?,
                "intervalMs" => self.interval_ms = number("autoscale.intervalMs", value, 100..=TASK_WAIT_MS)?,
                other => {
                    return Err(unknown("key of autoscale", other, "enabled, minWorkers, maxWorkers, intervalMs"));
                }
            }
        }
        Ok(())
    }

    /// How many workers there should be, when there may be this many and so many tasks wait.
    pub(super) fn target(&self, active: u64, pending: u64) -> u64 {
        if pending > 2 * active && active < self.max_workers {
            (active + 5).min(self.max_workers)
        } else if active > self.min_workers && pending < active / 2 {
            active.saturating_sub(3).max(self.min_workers)
        } else {
            active
        }
    }
}

/// A number of workers.
///
/// # Errors
/// `bad_request`: none, too many, no number.
pub(super) fn workers(key: &str, value: &Value) -> Result<u64, Error> {
    if value.as_i64().is_some_and(|count| count < 1) {
        return Err(Error::bad_request("Worker count must be at least 1"));
    }
    number(key, value, 1..=WORKERS)
}

/// The fields of a payload.
///
/// # Errors
/// `bad_request`: it is no object.
pub(super) fn fields(what: &str, payload: &RawValue) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(payload.get()).map_err(|_| Error::bad_request(format!("{what} must be an object")))
}

fn object<'a>(key: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| Error::bad_request(format!("{key} must be an object")))
}

/// A whole number within bounds.
///
/// # Errors
/// `bad_request` that names the bounds.
pub(super) fn number(key: &str, value: &Value, bounds: RangeInclusive<u64>) -> Result<u64, Error> {
    value.as_u64().filter(|number| bounds.contains(number)).ok_or_else(|| {
        let (least, most) = bounds.into_inner();
        Error::bad_request(format!("{key} is {}; it must be a whole number from {least} to {most}", shown(value)))
    })
}

fn flag(key: &str, value: &Value) -> Result<bool, Error> {
    value.as_bool().ok_or_else(|| Error::bad_request(format!("{key} is {}; it must be true or false", shown(value))))
}

fn worker_class(value: &Value) -> Result<Option<WorkerClass>, Error> {
    serde_json::from_value(value.clone()).map_err(|_| {
        let given = shown(value);
        Error::bad_request(format!("workerClass is {given}; it must be \"worker\", \"worker-connection\" or null"))
    })
}

fn coordinator(value: &Value) -> Result<Option<Box<str>>, Error> {
    let invalid =
        || Error::bad_request(format!("coordinator is {}; it must be the path of an object or null", shown(value)));
    match value {
        Value::Null => Ok(None),
        Value::String(path) if path.starts_with('/') => {
            ObjectPath::parse(path).map(|path| Some(path.as_str().into())).map_err(|_| invalid())
        }
        _ => Err(invalid()),
    }
}

fn unknown(what: &str, name: &str, known: &str) -> Error {
    let name: String = name.chars().take(64).collect();
    Error::bad_request(format!("unknown {what} `{name}`; there are {known}"))
}

/// As much of a value as an error names.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn update(payload: &Value) -> Result<Config, String> {
        let payload = to_raw_value(payload).unwrap();
        Config::default().update(&payload).map_err(|error| error.to_string())
    }

    #[test]
    fn fm8_what_is_named_changes_and_the_rest_stays() {
        let config = update(&json!({"maxRetries": 1, "retryBackoff": {"maxMs": 2_000}, "coordinator": "/c"})).unwrap();
        assert_eq!(
            (config.max_retries, config.retry_backoff.max_ms, config.retry_backoff.initial_ms),
            (1, 2_000, 1_000)
        );
        assert_eq!(config.max_concurrent_workers, 10);
        assert_eq!(config.coordinator.as_deref(), Some("/c"));
    }

    #[test]
    fn fm8_every_bad_setting_is_refused_with_its_bounds() {
        for (payload, text) in [
            (json!({"maxConcurrentWorkers": 0}), "Worker count must be at least 1"),
            (json!({"maxConcurrentWorkers": -4}), "Worker count must be at least 1"),
            (
                json!({"maxConcurrentWorkers": 1e9}),
                "maxConcurrentWorkers is 1000000000.0; it must be a whole number from 1 to",
            ),
            (json!({"maxRetries": "three"}), "maxRetries is \"three\"; it must be a whole number from 0 to 100"),
            (json!({"workerTimeout": 0}), "workerTimeout is 0; it must be a whole number from 1 to"),
            (
                json!({"maxBatchTasks": 1_000_001}),
                "maxBatchTasks is 1000001; it must be a whole number from 1 to 1000000",
            ),
            (json!({"retryFailedTasks": 1}), "retryFailedTasks is 1; it must be true or false"),
            (json!({"workerClass": "agent"}), "workerClass is \"agent\"; it must be"),
            (json!({"coordinator": "c"}), "coordinator is \"c\"; it must be the path of an object"),
            (json!({"maxWorker": 1}), "unknown config key `maxWorker`; there are maxConcurrentWorkers,"),
            (json!({"autoscale": {"on": true}}), "unknown key of autoscale `on`; there are enabled,"),
            (json!({"autoscale": {"minWorkers": 60}}), "autoscale.minWorkers must be at most autoscale.maxWorkers"),
            (json!({"retryBackoff": {"initialMs": 40_000}}), "retryBackoff.initialMs must be at most"),
            (json!({"heartbeatInterval": 15_000}), "heartbeatInterval must be shorter than leaseTimeout"),
            (json!({"retention": 3}), "retention must be an object"),
            (json!([1]), "the config must be an object"),
        ] {
            let error = update(&payload).unwrap_err();
            assert!(error.starts_with(text), "{payload}: {error}");
        }
    }

    proptest! {
        #[test]
        fn fm11_the_target_stays_within_the_bounds(active in 5..=50_u64, pending in 0..10_000_u64) {
            let autoscale = Config::default().autoscale;
            let target = autoscale.target(active, pending);
            prop_assert!((5..=50).contains(&target));
            prop_assert!(target <= active + 5 && target + 3 >= active);
        }
    }

    #[test]
    fn fm11_it_scales_as_the_seed_does() {
        let autoscale = Config::default().autoscale;
        for ((active, pending), target) in
            [((10, 21), 15), ((10, 20), 10), ((48, 500), 50), ((10, 5), 10), ((10, 4), 7), ((6, 0), 5), ((5, 0), 5)]
        {
            assert_eq!(autoscale.target(active, pending), target, "{active} active, {pending} pending");
        }
    }
}
