//! What the server counts and times, as one value that is handed to whoever measures.
//!
//! # Why
//! The registry is a value and not a process-wide recorder, so that two servers in one process (as in tests, or in a
//! user's own binary) do not add up each other's figures. Labels are bounded: class, kind, outcome, never a path.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// From 1 µs to about 8 s, doubling.
fn time_buckets() -> Vec<f64> {
    (0..24).map(|exponent| 1e-6 * f64::from(1u32 << exponent)).collect()
}

/// Every metric of one server; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// `fleet_objects{class,state}`: objects in memory; `state` is `active` or `asleep` (only its sockets are held).
    pub objects: IntGaugeVec,
    /// `fleet_activations_total`: times an object was brought into memory.
    pub activations: IntCounter,
    /// `fleet_evictions_total`: times an object's memory was given back.
    pub evictions: IntCounter,
    /// `fleet_requests_total{kind,outcome}`.
    pub requests: IntCounterVec,
    /// `fleet_request_duration_seconds`.
    pub request_seconds: Histogram,
    /// `fleet_turn_seconds{class}`.
    pub turn_seconds: HistogramVec,
    /// `fleet_events_total{class}`: events that objects handled; how often an object was activated or told its state by
    /// itself is not among them.
    pub events: IntCounterVec,
    /// `fleet_state_operations_total{class}`: rows that turns read, wrote, deleted or listed, and states that were saved.
    pub state_operations: IntCounterVec,
    /// `fleet_commit_seconds`: one group commit, from its first statement to the end of its fsync.
    pub commit_seconds: Histogram,
    /// `fleet_commit_batch_size`: write sets in one group commit.
    pub commit_batch_size: Histogram,
    /// `fleet_commit_failures_total`: group commits that failed.
    pub commit_failures: IntCounter,
    /// `fleet_storage_bytes`: size of the database file and its log.
    pub storage_bytes: IntGauge,
    /// `fleet_websockets{class}`: open sockets.
    pub websockets: IntGaugeVec,
    /// `fleet_frames_total{direction="in"}`.
    pub frames_in: IntCounter,
    /// `fleet_frames_total{direction="out"}`.
    pub frames_out: IntCounter,
    /// `fleet_overloaded_total`: requests refused and messages dropped because a bound was reached.
    pub overloaded: IntCounter,
    /// `fleet_outbound_total{outcome}`: HTTP requests of objects; `outcome` is `answered` (whatever the status), `refused`,
    /// `timed_out`, `too_large`, `busy`, `failed` or `invalid`.
    pub outbound: IntCounterVec,
    /// `fleet_panics_total`: turns that panicked.
    pub panics: IntCounter,
    /// `fleet_undelivered_total`: messages and answers whose handler failed, so that nobody handled them.
    pub undelivered: IntCounter,
    /// `fleet_alarm_lag_seconds`: from the time at which an alarm or a schedule was due to its turn.
    pub alarm_lag_seconds: Histogram,
    /// `fleet_alarms_failed_total`: runs of alarms and schedules that failed.
    pub alarms_failed: IntCounter,
    /// `fleet_alarms_dropped_total`: alarms that were given up after their last retry.
    pub alarms_dropped: IntCounter,
    /// What classes count, by name.
    named: Arc<Mutex<HashMap<&'static str, Named>>>,
}

/// A counter that classes have named.
#[derive(Debug)]
struct Named {
    labels: Vec<&'static str>,
    /// None, if there cannot be one of that name.
    counters: Option<IntCounterVec>,
    /// Whether it was said that it was counted with other labels.
    said: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Creates and registers every metric.
    ///
    /// # Panics
    /// Never: the names are constants that a test registers.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        let frames = make.counters("fleet_frames_total", "WebSocket frames, by direction", &["direction"]);
        Self {
            objects: make.gauges("fleet_objects", "Objects in memory", &["class", "state"]),
            activations: make.counter("fleet_activations_total", "Objects brought into memory"),
            evictions: make.counter("fleet_evictions_total", "Objects whose memory was given back"),
            requests: make.counters("fleet_requests_total", "Requests, by kind and outcome", &["kind", "outcome"]),
            request_seconds: make.histogram(
                "fleet_request_duration_seconds",
                "Time to answer a request",
                time_buckets(),
            ),
            turn_seconds: make.register(HistogramVec::new(
                HistogramOpts::new("fleet_turn_seconds", "Time of one turn").buckets(time_buckets()),
                &["class"],
            )),
            events: make.counters("fleet_events_total", "Events that objects handled, by class", &["class"]),
            state_operations: make.counters(
                "fleet_state_operations_total",
                "Rows that turns read, wrote, deleted or listed, and states saved, by class",
                &["class"],
            ),
            commit_seconds: make.histogram("fleet_commit_seconds", "Time of one group commit", time_buckets()),
            commit_batch_size: make.histogram(
                "fleet_commit_batch_size",
                "Write sets in one group commit",
                (0..15).map(|exponent| f64::from(1u32 << exponent)).collect(),
            ),
            commit_failures: make.counter("fleet_commit_failures_total", "Group commits that failed"),
            storage_bytes: make.gauge("fleet_storage_bytes", "Size of the database file and its log"),
            websockets: make.gauges("fleet_websockets", "Open WebSockets", &["class"]),
            frames_in: frames.with_label_values(&["in"]),
            frames_out: frames.with_label_values(&["out"]),
            overloaded: make.counter("fleet_overloaded_total", "Requests refused and messages dropped at a bound"),
            outbound: make.counters("fleet_outbound_total", "HTTP requests of objects, by outcome", &["outcome"]),
            panics: make.counter("fleet_panics_total", "Turns that panicked"),
            undelivered: make.counter("fleet_undelivered_total", "Messages and answers whose handler failed"),
            alarm_lag_seconds: make.histogram(
                "fleet_alarm_lag_seconds",
                "Time from when an alarm or a schedule was due to its turn",
                // From 1 ms to about half an hour, doubling.
                (0..22).map(|exponent| 1e-3 * f64::from(1u32 << exponent)).collect(),
            ),
            alarms_failed: make.counter("fleet_alarms_failed_total", "Runs of alarms and schedules that failed"),
            alarms_dropped: make.counter("fleet_alarms_dropped_total", "Alarms given up after their last retry"),
            named: Arc::default(),
            registry,
        }
    }

    /// The counter of that name and those labels; `None`, and once a line in the log, if there cannot be one.
    #[must_use]
    pub fn named(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Option<IntCounter> {
        let mut all = self.named.lock();
        let named = all.entry(name).or_insert_with(|| self.name(name, labels));
        let counters = named.counters.as_ref()?;
        let same =
            named.labels.len() == labels.len() && named.labels.iter().zip(labels).all(|(own, (label, _))| own == label);
        if same {
            let values: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
            return counters.get_metric_with_label_values(&values).ok();
        }
        if !std::mem::replace(&mut named.said, true) {
            tracing::error!(name, own = ?named.labels, ?labels, "a counter is counted with other labels than before");
        }
        None
    }

    fn name(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Named {
        let labels: Vec<_> = labels.iter().map(|(label, _)| *label).collect();
        let counters = IntCounterVec::new(Opts::new(name, "Counted by classes"), &labels);
        let counters =
            counters.and_then(|counters| self.registry.register(Box::new(counters.clone())).map(|()| counters));
        let counters =
            counters.map_err(|error| tracing::error!(name, %error, "what classes count cannot have this name"));
        Named { labels, counters: counters.ok(), said: false }
    }

    /// Everything in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("names and labels of metrics are constants");
        self.0.register(Box::new(metric.clone())).expect("each metric is registered once");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn op3_every_metric_is_rendered() {
        let metrics = Metrics::new();
        metrics.frames_in.inc();
        metrics.turn_seconds.with_label_values(&["agent"]).observe(0.001);
        let text = metrics.render();
        assert!(text.contains("fleet_frames_total{direction=\"in\"} 1"), "{text}");
        assert!(text.contains("fleet_turn_seconds_count{class=\"agent\"} 1"), "{text}");
    }

    #[test]
    fn op3_classes_count_by_name_and_nothing_panics() {
        let metrics = Metrics::new();
        let count = |name, labels: &[_]| metrics.named(name, labels).map(|counter| counter.inc()).is_some();
        assert!(count("fleet_tasks", &[("status", "completed")]));
        assert!(count("fleet_tasks", &[("status", "completed")]) && count("fleet_tasks", &[("status", "failed")]));
        assert!(count("fleet_task_retries_total", &[]));
        for (name, labels) in [
            ("fleet_tasks", &[("kind", "completed")][..]),
            ("fleet_tasks", &[]),
            ("fleet_panics_total", &[]),
            ("no name", &[]),
            ("", &[]),
            ("fleet_label", &[("no label", "x")]),
        ] {
            assert!(!count(name, labels) && !count(name, labels), "{name}");
        }
        let text = metrics.render();
        for line in
            ["fleet_tasks{status=\"completed\"} 2", "fleet_tasks{status=\"failed\"} 1", "fleet_task_retries_total 1"]
        {
            assert!(text.contains(line), "{text}");
        }
    }
}
