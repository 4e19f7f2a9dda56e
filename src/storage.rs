//! The one place that knows SQLite: load an object, commit write sets, list and delete subtrees.

mod write_set;

pub use write_set::{Child, CommitError, Outcome, Record, Seq, WriteSet};
