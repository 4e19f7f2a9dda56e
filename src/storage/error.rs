//! Why storage cannot be opened or read, in words that say what to do about it.

use std::path::PathBuf;

/// What failed. Commits have their own, [`CommitError`](super::CommitError).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory, or a file in it, cannot be used.
    #[error("cannot use {}: {source}; the data directory must exist or be creatable, and be writable", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another server has the data directory.
    #[error(
        "another server{} uses the data directory {}; stop it, or give this one a directory of its own",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Its process, if it could be found out.
        pid: Option<u32>,
    },
    /// The file is something else, or damaged.
    #[error(
        "{} is not a Fleet database or is damaged ({detail}); it was left as it is; restore a backup or move it away",
        file.display()
    )]
    Damaged {
        /// The database file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file was written by a newer server.
    #[error("{} has schema version {found}; this server knows versions up to {known}: use a newer one", file.display())]
    Newer {
        /// The database file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The database engine reported an error: trying again may help.
    #[error("database: {source}")]
    Database {
        /// What the engine said; for the log, not for clients.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system gives no thread.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What it said.
        source: std::io::Error,
    },
    /// [`Storage::close`](super::Storage::close) was called.
    #[error("storage is closed")]
    Closed,
}

impl Error {
    /// Wraps the engine's error, so that its type stays inside the module.
    pub(super) fn database(error: rusqlite::Error) -> Self {
        Self::Database { source: error.into() }
    }
}
