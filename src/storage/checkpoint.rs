//! The thread that copies the log into the database, off the commit path.
//!
//! It also takes the disk space held in reserve when the server starts, and says how large the files are.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode};

use super::Shared;

/// How the writer and the thread speak with each other.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    requested: bool,
    running: bool,
    closing: bool,
}

impl Checkpoint {
    /// Asks for a checkpoint, unless one has been asked for.
    pub(super) fn request(&self) {
        let mut state = self.state.lock();
        if !state.requested {
            state.requested = true;
            self.changed.notify_all();
        }
    }

    /// Whether the thread is at it.
    pub(super) fn is_running(&self) -> bool {
        let state = self.state.lock();
        state.running || state.requested
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.changed.notify_all();
    }

    /// Withdraws what was asked for, and waits for the end of what is under way: on a full disk it would take the space that
    /// is given back for deletions.
    pub(super) fn settle(&self) {
        let mut state = self.state.lock();
        state.requested = false;
        while state.running {
            self.changed.wait(&mut state);
        }
    }

    /// Waits until there is something to do; `false` is the end.
    fn next(&self) -> bool {
        let mut state = self.state.lock();
        state.running = false;
        self.changed.notify_all();
        while !state.requested && !state.closing {
            self.changed.wait(&mut state);
        }
        state.running = state.requested;
        state.requested = false;
        !state.closing
    }
}

/// The thread.
pub(super) fn run(shared: &Arc<Shared>, connection: &Connection) {
    if let Err(error) = shared.reserve.take() {
        tracing::warn!(%error, "the disk has no space to keep in reserve");
        shared.report_full_disk();
    }
    shared.measure();
    while shared.checkpoint.next() {
        let result = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()));
        match result {
            Ok(()) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => shared.report_full_disk(),
            Err(error) => tracing::warn!(%error, "a checkpoint failed; the log keeps everything until one succeeds"),
        }
        shared.measure();
    }
}
