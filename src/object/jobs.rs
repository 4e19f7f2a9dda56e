//! Work outside of turns: started behind a commit, bounded in number and time, and dropped when nobody wants it any more.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::deferred::Asked;
use super::namespace::{Inner, Slot};
use super::services::Work;
use crate::limits::JOBS;
use crate::path::ObjectPath;
use crate::protocol::Code;

/// A job that is to be started.
pub(crate) struct Assignment {
    pub(super) id: u64,
    /// What to call it.
    pub(super) who: Box<str>,
    pub(super) work: Work,
    pub(super) timeout: Duration,
    pub(super) place: OwnedSemaphorePermit,
}

/// The jobs of a server that are under way.
pub(super) struct Running {
    places: Arc<Semaphore>,
    tokens: Mutex<BTreeMap<(ObjectPath, u64), CancellationToken>>,
    stopping: CancellationToken,
}

impl Running {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(JOBS)), tokens: Mutex::default(), stopping: CancellationToken::new() }
    }

    /// A place for a job; given back when dropped.
    ///
    /// # Errors
    /// `overloaded`: all are taken.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        let text = || format!("jobs limit reached: the server runs {JOBS} jobs already");
        let full = |_| Error::refused(Code::Overloaded, text());
        Arc::clone(&self.places).try_acquire_owned().map_err(full)
    }

    pub(super) fn cancel(&self, path: &ObjectPath, id: u64) {
        if let Some(token) = self.tokens.lock().remove(&(path.clone(), id)) {
            token.cancel();
        }
    }

    /// Those of a subtree.
    pub(super) fn below(&self, subtree: &ObjectPath) -> Vec<(ObjectPath, u64)> {
        let tokens = self.tokens.lock();
        let below = tokens.range((subtree.clone(), 0)..).map(|(key, _)| key.clone());
        below.take_while(|(path, _)| subtree.contains(path)).collect()
    }

    /// How many are under way.
    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        JOBS - self.places.available_permits()
    }

    /// Cancels all of them, and those to come.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Whether the server is stopping.
    pub(super) fn are_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}

impl Inner {
    /// Starts a job; its object is told what came of it, unless it was cancelled.
    pub(super) fn start(self: &Arc<Self>, slot: &Arc<Slot>, assignment: Assignment) {
        let Assignment { id, who, work, timeout, place } = assignment;
        let token = self.jobs.stopping.child_token();
        self.jobs.tokens.lock().insert((slot.path.clone(), id), token.clone());
        let (namespace, caller) = (Arc::clone(self), slot.path.clone());
        self.spawn(async move {
            let result = tokio::select! {
                biased;
                () = token.cancelled() => None,
                result = tokio::time::timeout(timeout, guarded(work)) => {
                    Some(result.unwrap_or_else(|_| Err(Error::timed_out(who))))
                }
            };
            drop(place);
            namespace.jobs.tokens.lock().remove(&(caller.clone(), id));
            if let Some(result) = result {
                namespace.reply_here(&Asked { caller, id, hops: 0, spawn: None }, result);
            }
        });
    }
}

/// Runs work so that a panic of it is an answer like others.
async fn guarded(work: Work) -> Result<Vec<u8>, Error> {
    let ended = AssertUnwindSafe(async move { work().await }).catch_unwind().await;
    let result = ended.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let said = said.unwrap_or("it panicked");
        Err(Error::internal(format!("a job ended without an answer: {said}")))
    });
    result.map_err(Error::of_job)
}
