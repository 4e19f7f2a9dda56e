//! A batch that is waited for: a bar on a terminal, else a line whenever something has changed.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::Error;
use super::remote::Object;
use crate::client;
use crate::limits::{CLIENT_LOOK, CLIENT_PATIENCE};

/// Types that nobody handles which a line names.
const UNHANDLED_NAMED: usize = 3;
/// The times that are told of a wait, in milliseconds.
const WAITED: [(u64, &str); 8] = [
    (5_000, "5 s"),
    (30_000, "30 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (21_600_000, "6 h"),
    (86_400_000, "1 day"),
    (604_800_000, "7 days"),
];

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
    #[serde(default)]
    unhandled: Vec<Unhandled>,
}

/// Tasks of a type that nobody handles.
#[derive(Debug, PartialEq, Deserialize)]
struct Unhandled {
    r#type: String,
    tasks: u64,
    /// In milliseconds.
    waited: u64,
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
        let unhandled = self.unhandled();
        format!("{name}: {} of {total_tasks} tasks done, {failed_tasks} failed{unhandled}", self.ended_tasks())
    }

    /// What is told behind all else of tasks that nobody handles, if there are any.
    fn unhandled(&self) -> String {
        let shown: Vec<_> = self.unhandled.iter().take(UNHANDLED_NAMED).map(ToString::to_string).collect();
        let more = match self.unhandled.len().saturating_sub(UNHANDLED_NAMED) {
            0 => "",
            _ => ", and others",
        };
        if shown.is_empty() { String::new() } else { format!("; nobody handles {}{more}", shown.join(", ")) }
    }

    /// # Errors
    /// [`Error::Failure`] unless every task has succeeded.
    pub(super) fn verdict(&self, batch: &str) -> Result<(), Error> {
        if self.name == "completed" {
            return Ok(());
        }
        let Self { name, total_tasks, completed_tasks, failed_tasks, .. } = self;
        let text = format!("{completed_tasks} of {total_tasks} tasks succeeded, {failed_tasks} failed");
        Err(Error::Failure(format!("batch {batch} is {name}: {text}")))
    }
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { r#type, tasks, waited } = self;
        // Whatever a terminal would take for more than a character is written out.
        write!(f, "`{}` ({tasks} task{}", r#type.escape_debug(), if *tasks == 1 { "" } else { "s" })?;
        // In steps, so that a line that is watched does not change with every look.
        match WAITED.iter().rev().find(|(ms, _)| waited >= ms) {
            Some((_, text)) => write!(f, ", for over {text})"),
            None => f.write_str(")"),
        }
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
            self.bar.set_message(format!("{}{failed}{}", status.name, status.unhandled()));
        }
        self.line = line;
    }

    /// Leaves the last state on the screen.
    fn end(&self) {
        self.bar.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(unhandled: &[(&str, u64, u64)]) -> Status {
        let unhandled = unhandled.iter().map(|(kind, tasks, waited)| Unhandled {
            r#type: (*kind).to_owned(),
            tasks: *tasks,
            waited: *waited,
        });
        let name = "pending".to_owned();
        Status { name, total_tasks: 9, completed_tasks: 0, failed_tasks: 0, unhandled: unhandled.collect() }
    }

    #[test]
    fn batch_says_who_is_missing_and_for_how_long_in_steps() {
        let told = |unhandled: &[_]| status(unhandled).line().replace("pending: 0 of 9 tasks done, 0 failed", "");
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[("render", 1, 4_999)]), "; nobody handles `render` (1 task)");
        for waited in [5_000, 29_999] {
            assert_eq!(told(&[("render", 2, waited)]), "; nobody handles `render` (2 tasks, for over 5 s)");
        }
        let many = [("a", 1, 1 << 50), ("b", 1, 90_000), ("\u{1b}[2J\n", 1, 0), ("d", 1, 0)];
        let wanted = "; nobody handles `a` (1 task, for over 7 days), `b` (1 task, for over 1 min), \
                      `\\u{1b}[2J\\n` (1 task), and others";
        assert_eq!(told(&many), wanted);
    }
}
