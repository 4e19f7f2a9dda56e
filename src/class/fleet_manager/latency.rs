//! How long attempts took, in few numbers: counts in buckets that are at most 1/16 wide of what they hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets below this hold one value each; above it, each doubling has as many.
const STEPS: u64 = 16;

/// Times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latency {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    max: u64,
}

/// What is told of them.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Percentiles {
    count: u64,
    p50: u64,
    p90: u64,
    p95: u64,
    p99: u64,
    max: u64,
}

impl Latency {
    pub(super) fn record(&mut self, ms: u64) {
        *self.buckets.entry(bucket(ms)).or_default() += 1;
        self.count += 1;
        self.max = self.max.max(ms);
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |percent| self.percentile(percent);
        Percentiles { count: self.count, p50: at(50), p90: at(90), p95: at(95), p99: at(99), max: self.max }
    }

    /// So many of a hundred took no longer.
    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return highest(*bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(ms: u64) -> u16 {
    if ms < STEPS {
        return u16::try_from(ms).unwrap_or_default();
    }
    let doublings = u64::from(ms.ilog2() - STEPS.ilog2());
    let step = (ms >> doublings) - STEPS;
    u16::try_from((doublings + 1) * STEPS + step).unwrap_or(u16::MAX)
}

/// The highest value of a bucket.
fn highest(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < STEPS {
        return bucket;
    }
    let (doublings, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fm9_a_bucket_holds_what_it_says(ms in 0..1_u64 << 50) {
            let high = highest(bucket(ms));
            prop_assert!(ms <= high && high <= ms + ms / STEPS);
            prop_assert!(bucket(high) == bucket(ms) && bucket(high + 1) == bucket(ms) + 1);
        }

        #[test]
        fn fm9_percentiles_are_near_the_true_ones(mut times in prop::collection::vec(0..100_000_u64, 1..300)) {
            let mut latency = Latency::default();
            for ms in &times {
                latency.record(*ms);
            }
            times.sort_unstable();
            for percent in [50, 90, 95, 99] {
                let truth = times[(times.len() * percent).div_ceil(100) - 1];
                let told = latency.percentile(percent as u64);
                prop_assert!(truth <= told && told <= truth + truth / STEPS, "p{percent}: {truth} is told as {told}");
            }
            prop_assert_eq!(latency.percentiles().max, *times.last().unwrap());
        }
    }
}
