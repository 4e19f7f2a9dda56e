//! What objects get from outside: time and randomness.

use crate::clock::{Clock, Random};

/// What objects get from outside; the default is the system's.
#[derive(Debug, Clone)]
pub struct Services {
    /// The time that turns see.
    pub clock: Clock,
    /// Randomness of turns.
    pub random: Random,
}

impl Default for Services {
    fn default() -> Self {
        Self { clock: Clock::system(), random: Random::system() }
    }
}
