//! The integrity check that runs in the background after every start.
//!
//! # Why
//! It reads the whole database, so it can be part of no start. It also keeps the log from starting over as long as it
//! reads: when the log gets too long the check is interrupted and begins again later, a few times.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode, InterruptHandle};

use super::Shared;
use super::queue::Mode;

/// How often a check that was interrupted begins again.
const ATTEMPTS: u32 = 3;
/// How long it waits before it does.
const PAUSE: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct Check {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: Option<InterruptHandle>,
    closing: bool,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

impl Check {
    /// Stops a check that is running; it begins again later.
    pub(super) fn interrupt(&self) {
        if let Some(running) = &self.state.lock().running {
            running.interrupt();
        }
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.interrupt();
        self.changed.notify_one();
    }

    /// Waits; `false` is the end.
    fn pause(&self) -> bool {
        let mut state = self.state.lock();
        state.running = None;
        if !state.closing {
            self.changed.wait_for(&mut state, PAUSE);
        }
        !state.closing
    }

    fn begin(&self, connection: &Connection) -> bool {
        let mut state = self.state.lock();
        state.running = Some(connection.get_interrupt_handle());
        !state.closing
    }
}

/// The thread.
pub(super) fn run(shared: &Arc<Shared>, connection: Connection) {
    for _ in 0..ATTEMPTS {
        if !shared.check.begin(&connection) {
            break;
        }
        let result: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0));
        let damage = match result {
            Ok(finding) if finding == "ok" => {
                tracing::debug!("the integrity check found nothing");
                break;
            }
            Ok(finding) => finding,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                if shared.check.pause() {
                    continue;
                }
                break;
            }
            Err(error) => error.to_string(),
        };
        let reason = format!("the integrity check failed: {damage}");
        tracing::error!(reason, "no more changes are accepted; stop the server and restore a backup");
        shared.queue.set_mode(Mode::Damaged, Some(reason));
        break;
    }
    // The handle must not outlive the connection's use.
    shared.check.state.lock().running = None;
    drop(connection);
}
