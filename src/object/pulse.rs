//! Keeps sockets and timers attended while turns run long.
//!
//! # Why
//! One worker of the runtime waits for sockets and timers on behalf of all. If what it finds is a single task, it wakes
//! nobody else before it runs that; and if that task is a long turn, nobody waits in its place, however many workers are
//! idle: every connection stands still until something else happens to wake one. So shortly after turns began, one idle
//! worker is woken from outside; it finds nothing to do, and takes the waiting over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Instant;

use super::namespace::Inner;
use crate::limits::{ENDLESS_TURN, LONG_TURN};

#[derive(Default)]
pub(super) struct Pulse {
    /// Whether turns began since a worker was woken.
    due: AtomicBool,
    stopped: AtomicBool,
    watcher: OnceLock<Thread>,
}

impl Pulse {
    /// Turns begin. Costs a read of what seldom changes.
    pub(super) fn beat(&self) {
        if !self.due.load(Ordering::Relaxed) {
            self.due.store(true, Ordering::SeqCst);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    /// Wakes a worker after turns began, at most once in [`LONG_TURN`].
    ///
    /// For as long as turns run, `look` is called once in [`ENDLESS_TURN`]; it answers whether any does.
    fn watch(&self, wake_worker: impl Fn(), look: impl Fn() -> bool) {
        if self.watcher.set(thread::current()).is_err() {
            return;
        }
        let (mut run, mut looked) = (false, Instant::now());
        while !self.stopped.load(Ordering::SeqCst) {
            if run && looked.elapsed() >= ENDLESS_TURN {
                (run, looked) = (look(), Instant::now());
            }
            if !self.due.load(Ordering::SeqCst) {
                if run {
                    thread::park_timeout(ENDLESS_TURN);
                } else {
                    thread::park();
                }
                continue;
            }
            run = true;
            let until = Instant::now() + LONG_TURN;
            while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                && !self.stopped.load(Ordering::SeqCst)
            {
                thread::park_timeout(left);
            }
            // Before the worker is woken: a turn that begins in between is attended by this one or the next.
            self.due.store(false, Ordering::SeqCst);
            wake_worker();
        }
    }
}

/// Ends the watch when the server does.
struct Stop(Arc<Inner>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.pulse.stopped.store(true, Ordering::SeqCst);
        self.0.pulse.wake();
    }
}

/// Watches, until it is dropped.
pub(super) async fn attend(namespace: Arc<Inner>) {
    let _stop = Stop(Arc::clone(&namespace));
    let watched = Arc::clone(&namespace);
    let watching = namespace
        .spawn_blocking(move || watched.pulse.watch(|| drop(watched.spawn(async {})), || watched.look_at_turns()));
    if let Err(error) = watching.await {
        tracing::error!(%error, "nobody attends to sockets during long turns any more");
    }
}
