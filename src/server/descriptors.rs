//! How many files and sockets the process may have open.

use crate::limits::RESERVED_DESCRIPTORS;

/// What is taken for granted where the limit cannot be read.
const ASSUMED: u64 = 1_024;

/// Raises the soft limit as far as it goes without privileges, and answers what it is.
pub(super) fn raise() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(ASSUMED)
    })
}

/// How many connections there may be, if some descriptors are kept for files.
pub(super) fn connections(descriptors: u64) -> usize {
    let connections = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS)
}
