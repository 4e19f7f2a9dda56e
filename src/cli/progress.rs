//! A batch that is waited for: a bar on a terminal, else a line whenever something has changed.

use std::io::{self, Write as _};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::Error;
use super::remote::Object;
use crate::client;
use crate::limits::{CLIENT_LOOK, CLIENT_PATIENCE};

/// What is asked of a batch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Which<'a> {
    pub(super) batch_id: &'a str,
}

/// How far a batch is.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(rename = "status")]
    name: String,
    total_tasks: u64,
    completed_tasks: u64,
    failed_tasks: u64,
}

impl Status {
    fn has_ended(&self) -> bool {
        matches!(&*self.name, "completed" | "failed" | "partial" | "cancelled")
    }

    fn ended_tasks(&self) -> u64 {
        self.completed_tasks + self.failed_tasks
    }

    /// One line.
    pub(super) fn line(&self) -> String {
        let Self { name, total_tasks, failed_tasks, .. } = self;
        format!("{name}: {} of {total_tasks} tasks done, {failed_tasks} failed", self.ended_tasks())
    }

    /// # Errors
    /// [`Error::Failure`] unless every task has succeeded.
    pub(super) fn verdict(&self, batch: &str) -> Result<(), Error> {
        if self.name == "completed" {
            return Ok(());
        }
        let Self { name, total_tasks, completed_tasks, failed_tasks } = self;
        let text = format!("{completed_tasks} of {total_tasks} tasks succeeded, {failed_tasks} failed");
        Err(Error::Failure(format!("batch {batch} is {name}: {text}")))
    }
}

/// Shows a batch until it has ended, and also waits for a server that starts anew meanwhile.
///
/// # Errors
/// What the server answers, or that it is away.
pub(super) async fn follow(manager: &Object, batch: &str) -> Result<Status, Error> {
    let mut shown = Shown::new();
    let (mut pause, longest) = CLIENT_LOOK;
    let mut away: Option<Instant> = None;
    loop {
        match manager.call::<Status>("getBatchStatus", &Which { batch_id: batch }).await {
            Ok(status) => {
                away = None;
                shown.show(&status);
                if status.has_ended() {
                    shown.end();
                    return Ok(status);
                }
            }
            Err(error) if may_pass(&error) && away.get_or_insert_with(Instant::now).elapsed() < CLIENT_PATIENCE => {}
            Err(error) => {
                shown.end();
                return Err(manager.explained(&error));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Whether it may be otherwise soon: the server starts, or has much to do.
fn may_pass(error: &client::Error) -> bool {
    match error {
        client::Error::Unreachable { .. } | client::Error::Broken { .. } => true,
        client::Error::Refused { status, .. } => *status == 503,
        client::Error::Invalid(_) => false,
    }
}

/// What was shown last.
struct Shown {
    bar: ProgressBar,
    line: String,
}

impl Shown {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{msg:>10} [{bar:40}] {pos}/{len} {percent}%, {elapsed}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        Self { bar, line: String::new() }
    }

    fn show(&mut self, status: &Status) {
        let line = status.line();
        if line == self.line {
            return;
        }
        if self.bar.is_hidden() {
            // Nobody is there to be told that nobody can be told.
            let _ = writeln!(io::stderr(), "{line}");
        } else {
            self.bar.set_length(status.total_tasks);
            self.bar.set_position(status.ended_tasks());
            let failed = status.failed_tasks;
            let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
            self.bar.set_message(format!("{}{failed}", status.name));
        }
        self.line = line;
    }

    /// Leaves the last state on the screen.
    fn end(&self) {
        self.bar.abandon();
    }
}
