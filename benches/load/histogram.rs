//! Latencies, counted in buckets about 3 % wide, so that recording one costs a few nanoseconds and no memory.

use std::time::Duration;

/// Buckets between two powers of two, as a power of two.
const FINE_BITS: u32 = 5;
const FINE: usize = 1 << FINE_BITS;

/// How often each latency was seen.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; FINE * (64 - FINE_BITS as usize + 1)], total: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// The latency that `share` of all stayed below, in milliseconds; 0 when nothing was recorded.
    pub(crate) fn milliseconds(&self, share: f64) -> f64 {
        let mut left = self.total as f64 * share;
        for (index, count) in self.buckets.iter().enumerate() {
            left -= *count as f64;
            if left <= 0.0 && *count > 0 {
                return middle(index) / 1e6;
            }
        }
        0.0
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let bits = (u64::BITS - nanoseconds.leading_zeros()).saturating_sub(FINE_BITS + 1);
    let fine = usize::try_from(nanoseconds >> bits).unwrap_or(usize::MAX);
    bits as usize * FINE + fine
}

/// The middle of a bucket, in nanoseconds.
fn middle(index: usize) -> f64 {
    let bits = (index / FINE).saturating_sub(1);
    let fine = index - bits * FINE;
    (fine as f64 + 0.5) * 2f64.powi(i32::try_from(bits).unwrap_or(0)) - 0.5
}
