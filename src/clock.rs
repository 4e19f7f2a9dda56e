//! Time and randomness, as they are handed to classes: real ones in a server, made ones in a simulation.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Where the time comes from; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

/// Where randomness comes from; cheap to clone.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Clock {
    /// The system's time.
    #[must_use]
    pub fn system() -> Self {
        // A clock before 1970 is a clock that was never set.
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self::from_fn(move || u64::try_from(now()).unwrap_or(u64::MAX))
    }

    /// A made time, in milliseconds since the epoch; it must not go back.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

thread_local! {
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead { bytes: [0; AHEAD_BYTES], used: AHEAD_BYTES }) };
}

/// How much of the system's randomness a thread takes at once: a system call for each number costs more than a short turn.
const AHEAD_BYTES: usize = 512;

/// Randomness that was not handed out yet.
struct Ahead {
    bytes: [u8; AHEAD_BYTES],
    used: usize,
}

impl Ahead {
    fn fill(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(AHEAD_BYTES) {
            if chunk.len() > AHEAD_BYTES - self.used {
                // The kernel refuses only while it starts.
                getrandom::fill(&mut self.bytes).expect("the system has randomness");
                self.used = 0;
            }
            let given = &mut self.bytes[self.used..self.used + chunk.len()];
            chunk.copy_from_slice(given);
            // Nobody is to find in memory what another was given.
            given.fill(0);
            self.used += chunk.len();
        }
    }
}

impl Random {
    /// The system's, which nobody can guess.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|bytes| AHEAD.with_borrow_mut(|ahead| ahead.fill(bytes))))
    }

    /// The same every time for a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let source = Mutex::new(fastrand::Rng::with_seed(seed));
        Self(Arc::new(move |bytes| source.lock().fill(bytes)))
    }

    /// Fills with random bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        (self.0)(bytes);
    }

    /// Any number, each as likely as the other.
    #[must_use]
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        let numbers = |random: &Random| [random.number(), random.number()];
        assert_eq!(numbers(&Random::seeded(7)), numbers(&Random::seeded(7)));
        assert_ne!(numbers(&Random::seeded(7)), numbers(&Random::seeded(8)));
        assert_ne!(numbers(&Random::system()), numbers(&Random::system()));
        let mut long = [[0; AHEAD_BYTES]; 3];
        Random::system().fill(long.as_flattened_mut());
        assert!(long.iter().all(|part| part.iter().any(|byte| *byte != 0)) && long[0] != long[1] && long[1] != long[2]);
    }
}
