//! `fleet submit`: a file of tasks becomes a batch.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::remote::{self, Object, Remote};
use super::tasks::Tasks;
use super::{Error, print, progress};
use crate::limits::CLIENT_SUBMIT_TIME;

/// Shown below the options.
const MORE: &str = "\
Tasks:
  FILE is a JSON array of tasks, or one task a line: {\"type\":\"resize\",\"data\":{\"width\":80}}
  Fields: type, data, id, priority (higher first), timeout (ms), retries. Tasks without an id are t1, t2, …
  by their position. All of a batch is taken, or nothing.

Examples:
  fleet submit /jobs tasks.jsonl --wait
  generate | fleet submit /jobs - --type resize
  fleet submit https://fleet.example/jobs tasks.json --idempotency-key night-2026-11-22

The id of the batch is printed on standard output.
Exit status: 0 success, 1 failure (with --wait: also if not every task succeeded), 2 unusable command line.";

/// What may be typed.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = MORE)]
pub struct Submit {
    /// The fleet-manager: a path such as /jobs, or a URL
    #[arg(value_name = "PATH")]
    manager: String,
    /// The tasks; - is standard input
    file: PathBuf,
    /// The type of the tasks that name none
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Wait until the batch has ended, and show how far it is
    #[arg(long)]
    wait: bool,
    /// The same key gives the same batch, however often it is submitted
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Submit {
    /// # Errors
    /// [`Error::Usage`], or [`Error::Failure`] that says what went wrong.
    pub(super) fn run(&self) -> Result<(), Error> {
        let manager = self.remote.object(&self.manager)?;
        if self.idempotency_key.as_ref().is_some_and(|key| !is_key(key)) {
            return Err(Error::Usage("--idempotency-key must be 1 to 255 visible ASCII characters".to_owned()));
        }
        let name = if is_stdin(&self.file) { "standard input".to_owned() } else { self.file.display().to_string() };
        let tasks = Tasks::read(open(&self.file)?, &name, self.kind.as_deref())?;
        remote::wait(self.submit(&manager, tasks))
    }

    async fn submit(&self, manager: &Object, tasks: Tasks<'_>) -> Result<(), Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Submitted {
            batch_id: String,
        }
        let key = self.idempotency_key.as_deref().map(|key| ("idempotency-key", key));
        let payload = tasks.payload()?;
        let sent = manager.client.send(&manager.path, "submitBatch", key.as_slice(), payload, CLIENT_SUBMIT_TIME).await;
        let answer = sent.and_then(|answer| manager.read::<Submitted>(&answer));
        let Submitted { batch_id } = answer.map_err(|error| manager.explained(&error))?;
        print(&format!("{batch_id}\n"))?;
        if !self.wait {
            return Ok(());
        }
        progress::follow(manager, &batch_id).await?.verdict(&batch_id)
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, Error> {
    if is_stdin(file) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let failed = |error: io::Error| Error::Failure(format!("{} cannot be read: {error}", file.display()));
    Ok(Box::new(BufReader::new(File::open(file).map_err(failed)?)))
}

fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}
