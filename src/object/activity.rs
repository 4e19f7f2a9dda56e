//! What a class did in the last minute, for whoever looks at one class.
//!
//! # Why
//! The counters are those of the metrics, and a sample of them is taken now and then: turns pay nothing for it, and it can
//! never say anything else than they do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::Histogram;
use prometheus::core::Metric as _;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use super::instance::Definition;
use super::namespace::Inner;
use crate::limits::{ACTIVITY_SAMPLES, ACTIVITY_TICK};

/// What the objects of one class do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassMetrics {
    /// Objects in memory, which is `fleet_objects{class,state="active"}`.
    pub active_objects: i64,
    /// Events a second that objects of the class handled, by `fleet_events_total{class}`: over the last minute (60 to 65 s),
    /// or since the start if that was later, but over a second at least.
    pub requests_per_second: f64,
    /// What 95 of 100 turns of that time took at most, in milliseconds, by `fleet_turn_seconds{class}`: interpolated
    /// within its buckets, as PromQL's `histogram_quantile` does. A turn never waits, so this is its time on a core, and
    /// what it waited for a core or a row. 0 without turns.
    #[serde(rename = "cpuTimeP95")]
    pub cpu_time_p95: f64,
    /// Rows that turns read, wrote, deleted or listed, and states that were saved, since the start:
    /// `fleet_state_operations_total{class}`.
    pub state_operations: u64,
}

/// The last minute of one class, as samples of its counters.
pub(crate) struct Activity(Mutex<VecDeque<Sample>>);

#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    events: u64,
    /// Turns that took at most as long as each bucket says.
    turns: Vec<u64>,
    all_turns: u64,
}

impl Activity {
    /// Begins with nothing.
    pub(crate) fn new() -> Self {
        let first = Sample { at: Instant::now(), events: 0, turns: Vec::new(), all_turns: 0 };
        Self(Mutex::new(VecDeque::from([first])))
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() >= ACTIVITY_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Events a second and the 95th percentile of a turn in seconds, between the oldest sample and this one.
    fn until(&self, now: &Sample, bounds: &[f64]) -> (f64, f64) {
        let samples = self.0.lock();
        let Some(oldest) = samples.front() else { return (0.0, 0.0) };
        let seconds = (now.at - oldest.at).max(Duration::from_secs(1)).as_secs_f64();
        let before = |index: usize| oldest.turns.get(index).copied().unwrap_or(0);
        let turns: Vec<u64> =
            now.turns.iter().enumerate().map(|(index, count)| count.saturating_sub(before(index))).collect();
        let all = now.all_turns.saturating_sub(oldest.all_turns);
        (float(now.events.saturating_sub(oldest.events)) / seconds, quantile(0.95, bounds, &turns, all))
    }
}

impl Definition {
    fn sample(&self) -> Sample {
        let (_, turns, all_turns) = buckets(&self.turn_seconds);
        Sample { at: Instant::now(), events: self.events.get(), turns, all_turns }
    }

    pub(crate) fn class_metrics(&self) -> ClassMetrics {
        let (bounds, ..) = buckets(&self.turn_seconds);
        let (requests_per_second, seconds) = self.activity.until(&self.sample(), &bounds);
        ClassMetrics {
            active_objects: self.active.get(),
            requests_per_second,
            cpu_time_p95: seconds * 1e3,
            state_operations: self.state_operations.get(),
        }
    }
}

/// Takes the samples, until it is dropped.
pub(super) async fn sample(namespace: Arc<Inner>) {
    let mut tick = tokio::time::interval(ACTIVITY_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        for definition in namespace.registry.definitions() {
            definition.activity.add(definition.sample());
        }
    }
}

/// The bounds of a histogram, the observations up to each, and all there are.
fn buckets(histogram: &Histogram) -> (Vec<f64>, Vec<u64>, u64) {
    let metric = histogram.metric();
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket();
    let bounds = buckets.iter().map(prometheus::proto::Bucket::upper_bound).collect();
    let counts = buckets.iter().map(prometheus::proto::Bucket::cumulative_count).collect();
    (bounds, counts, histogram.get_sample_count())
}

/// The value that this share of the observations does not exceed; the last bound if it lies beyond it.
fn quantile(share: f64, bounds: &[f64], counts: &[u64], all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    let rank = share * float(all);
    let (mut lower, mut below) = (0.0, 0.0);
    for (upper, count) in bounds.iter().zip(counts) {
        let count = float(*count);
        if count >= rank {
            return lower + (upper - lower) * (rank - below) / (count - below);
        }
        (lower, below) = (*upper, count);
    }
    lower
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 3] = [1.0, 2.0, 4.0];

    fn sample(at: Instant, events: u64, turns: [u64; 3], all_turns: u64) -> Sample {
        Sample { at, events, turns: turns.to_vec(), all_turns }
    }

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn op4_the_95th_percentile_lies_within_its_bucket() {
        near(quantile(0.95, &BOUNDS, &[0, 0, 0], 0), 0.0);
        near(quantile(0.95, &BOUNDS, &[100, 100, 100], 100), 0.95);
        near(quantile(0.95, &BOUNDS, &[90, 100, 100], 100), 1.5);
        near(quantile(0.95, &BOUNDS, &[0, 0, 20], 20), 3.9);
        near(quantile(0.95, &BOUNDS, &[0, 0, 10], 100), 4.0);
    }

    #[tokio::test(start_paused = true)]
    async fn op4_figures_are_of_the_last_minute() {
        let activity = Activity::new();
        let start = Instant::now();
        let (rate, p95) = activity.until(&sample(start, 3, [3, 3, 3], 3), &BOUNDS);
        near(rate, 3.0);
        near(p95, 0.95);
        let (rate, _) = activity.until(&sample(start + Duration::from_secs(10), 30, [3, 3, 3], 3), &BOUNDS);
        near(rate, 3.0);
        let mut at = start;
        for _ in 0..2 * ACTIVITY_SAMPLES {
            at += ACTIVITY_TICK;
            activity.add(sample(at, 1_000, [1_000; 3], 1_000));
        }
        assert_eq!(activity.0.lock().len(), ACTIVITY_SAMPLES);
        assert_eq!(at - activity.0.lock()[0].at, Duration::from_mins(1));
        let (rate, p95) = activity.until(&sample(at, 1_120, [1_000, 1_020, 1_020], 1_020), &BOUNDS);
        near(rate, 2.0);
        near(p95, 1.95);
    }
}
