//! The lock that makes one server the owner of a data directory.
//!
//! # Why
//! SQLite's own locks would let two servers share the file, each with its own objects in memory: two incarnations of
//! every object. The lock is the operating system's, so it goes with the process, however that ends. A process that was
//! killed may take a moment to be gone, above all when it waits for its disk: who starts the next one need not know.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::Error;
use crate::limits::LOCK_WAIT;

/// How often it is tried.
const LOCK_TICK: Duration = Duration::from_millis(10);

/// Held as long as the data directory is used.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Creates the directory if it is not there, and takes it, if its owner lets it go within [`LOCK_WAIT`].
    ///
    /// # Errors
    /// [`Error::Directory`] and [`Error::InUse`].
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        let unusable = |path: &Path, source| Error::Directory { path: path.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(|error| unusable(dir, error))?;
        let path = dir.join("fleet.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| unusable(&path, error))?;
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::park_timeout(LOCK_TICK),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::InUse { dir: dir.to_owned(), pid: read_pid(&mut file) });
                }
                Err(TryLockError::Error(error)) => return Err(unusable(&path, error)),
            }
        }
        if let Err(error) = write_pid(&mut file) {
            // Only the other server's error message is the poorer for it; a full disk must not keep us from starting.
            tracing::warn!(%error, path = %path.display(), "the process id cannot be written into the lock file");
        }
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    /// Closing would not do while a process that this one starts at the moment has the file open, too.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the lock of the data directory cannot be released before its file is closed");
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fx7_a_second_server_is_refused_and_told_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        let error = DirectoryLock::take(dir.path()).unwrap_err();
        assert!(matches!(error, Error::InUse { pid, .. } if pid == Some(std::process::id())));
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        DirectoryLock::take(dir.path()).unwrap();
    }

    #[test]
    fn fx7_a_server_that_is_ending_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        let at = dir.path().to_owned();
        let second = thread::spawn(move || DirectoryLock::take(&at).map(drop));
        thread::park_timeout(LOCK_TICK);
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn a_process_that_is_being_started_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        // What it has of the file until it becomes another program.
        let inherited = first.file.try_clone().unwrap();
        drop(first);
        DirectoryLock::take(dir.path()).unwrap();
        drop(inherited);
    }

    #[test]
    fn an_unusable_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = DirectoryLock::take(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains(file.join("data").to_str().unwrap()), "{error}");
    }
}
