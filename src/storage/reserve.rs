//! A file that only takes up space, so that there is some to give back when the disk is full.
//!
//! # Why
//! Deleting needs space before it frees any: a tombstone is a row, and a row is written to the log first. On a full disk
//! the file goes, and only deletions use what it leaves; it comes back when the disk has twice that much to spare, so
//! that the server does not go back and forth between the two.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
    bytes: u64,
}

impl Reserve {
    pub(super) fn new(file: PathBuf, bytes: u64) -> Self {
        Self { file, bytes }
    }

    /// How much space it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the space, unless it is taken already.
    ///
    /// # Errors
    /// The disk has not that much.
    pub(super) fn take(&self) -> io::Result<()> {
        if self.is_taken() {
            return Ok(());
        }
        self.fill_or_release(self.bytes)
    }

    /// Takes the space back after it was given away.
    ///
    /// # Errors
    /// The disk has not twice as much.
    pub(super) fn take_back(&self) -> io::Result<()> {
        self.fill_or_release(2 * self.bytes)
    }

    fn fill_or_release(&self, bytes: u64) -> io::Result<()> {
        let taken = self.fill(bytes);
        if taken.is_err() {
            self.release();
        }
        taken
    }

    /// Whether the space is held.
    pub(super) fn is_taken(&self) -> bool {
        std::fs::metadata(&self.file).is_ok_and(|meta| meta.len() == self.bytes)
    }

    /// Gives the space back.
    pub(super) fn release(&self) {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, file = %self.file.display(), "the disk space held in reserve cannot be released");
            }
            _ => {}
        }
    }

    fn fill(&self, bytes: u64) -> io::Result<()> {
        let mut file = File::create(&self.file)?;
        // Noise, as some file systems store zeros in no space at all.
        let mut noise = vec![0; 256 << 10];
        let mut left = bytes;
        while left > 0 {
            fastrand::fill(&mut noise);
            let length = left.min(noise.len() as u64);
            file.write_all(&noise[..usize::try_from(length).unwrap_or(noise.len())])?;
            left -= length;
        }
        file.set_len(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_takes_space_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("reserve");
        let reserve = Reserve::new(file.clone(), 300_000);
        reserve.release();
        reserve.take().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 300_000);
        reserve.take().unwrap();
        reserve.release();
        assert!(!file.exists());
        reserve.take_back().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 300_000);
    }
}
