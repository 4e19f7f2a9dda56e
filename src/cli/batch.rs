//! `fleet batch`: what has become of a batch.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::progress::{self, Status, Which};
use super::remote::{self, Object, Remote};
use super::{Error, print};
use crate::limits::LIST_ROWS;

/// Shown below the options.
const MORE: &str = "\
Examples:
  fleet batch /jobs BATCH              How far it is
  fleet batch /jobs BATCH --watch      The same until it has ended
  fleet batch /jobs BATCH --results    What its tasks have answered, one a line, in the order in which they ended
  fleet batch /jobs BATCH --failed     The tasks that failed, one a line

Exit status: 0 success, 1 failure (with --watch: also if not every task succeeded), 2 unusable command line.";

/// What may be typed.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = MORE)]
pub struct Batch {
    /// The fleet-manager: a path such as /jobs, or a URL
    #[arg(value_name = "PATH")]
    manager: String,
    /// The batch, as `fleet submit` printed it
    #[arg(value_name = "BATCH-ID")]
    id: String,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    remote: Remote,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag as it is typed, and they exclude each other")]
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(multiple = false)]
struct What {
    /// Show how far it is until it has ended
    #[arg(long)]
    watch: bool,
    /// Print the results so far, as JSON lines
    #[arg(long)]
    results: bool,
    /// Print the tasks that failed, as JSON lines
    #[arg(long)]
    failed: bool,
    /// Cancel it: what waits never runs, what runs is told to stop
    #[arg(long)]
    cancel: bool,
}

impl Batch {
    /// # Errors
    /// [`Error::Usage`], or [`Error::Failure`] that says what went wrong.
    pub(super) fn run(&self) -> Result<(), Error> {
        let manager = self.remote.object(&self.manager)?;
        remote::wait(self.look(&manager))
    }

    async fn look(&self, manager: &Object) -> Result<(), Error> {
        let What { watch, results, failed, cancel } = self.what;
        match () {
            () if watch => progress::follow(manager, &self.id).await?.verdict(&self.id),
            () if results => self.list(manager, "getBatchResults").await,
            () if failed => self.list(manager, "getFailedTasks").await,
            () if cancel => self.cancel(manager).await,
            () => {
                let which = Which { batch_id: &self.id };
                let status: Status =
                    manager.call("getBatchStatus", &which).await.map_err(|error| manager.explained(&error))?;
                print(&format!("{}\n", status.line()))
            }
        }
    }

    /// Prints every item of a list, page by page.
    async fn list(&self, manager: &Object, method: &str) -> Result<(), Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Query<'a> {
            batch_id: &'a str,
            limit: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<String>,
        }
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Box<RawValue>>,
            cursor: Option<String>,
        }
        let mut query = Query { batch_id: &self.id, limit: LIST_ROWS, cursor: None };
        loop {
            let page: Page = manager.call(method, &query).await.map_err(|error| manager.explained(&error))?;
            print(&page.items.iter().flat_map(|item| [item.get(), "\n"]).collect::<String>())?;
            query.cursor = page.cursor;
            if query.cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn cancel(&self, manager: &Object) -> Result<(), Error> {
        let which = Which { batch_id: &self.id };
        let cancelled: bool = manager.call("cancelBatch", &which).await.map_err(|error| manager.explained(&error))?;
        if cancelled {
            return print(&format!("cancelled {}\n", self.id));
        }
        Err(Error::Failure(format!("there is nothing to cancel: batch {} has ended, or never was", self.id)))
    }
}
