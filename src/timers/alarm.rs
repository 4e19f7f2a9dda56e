//! The alarm: one per object, tried again when its handler fails (AL1 to AL3).

use serde::{Deserialize, Serialize};

use crate::limits::{ALARM_JITTER_PERCENT, ALARM_RETRIES, ALARM_RETRY_MS, LATEST_MS};

/// When an object wants to be called, and how often the handler failed at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// When it is due, in ms since the epoch.
    pub at: u64,
    /// The retry this is: 0 for the first try, at most [`ALARM_RETRIES`].
    #[serde(default, skip_serializing_if = "is_first")]
    pub retry: u32,
}

/// What became of an alarm whose handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It is tried again.
    Waits(Alarm),
    /// A newer alarm has taken its place.
    Replaced,
    /// That was the last retry: it is gone, and the caller logs and counts it.
    Dropped,
}

impl Alarm {
    /// The same alarm after one more failure, or `None` if it has had all its retries.
    pub(super) fn after_failure(self, now: u64, random: u64) -> Option<Self> {
        if self.retry >= ALARM_RETRIES {
            return None;
        }
        let wait = ALARM_RETRY_MS << self.retry;
        let jitter = random % (wait * ALARM_JITTER_PERCENT / 100 + 1);
        let at = now.saturating_add(wait + jitter).min(LATEST_MS);
        Some(Self { at, retry: self.retry + 1 })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_first(retry: &u32) -> bool {
    *retry == 0
}
