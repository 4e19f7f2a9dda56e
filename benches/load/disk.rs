//! The raw limit of every durable write: 4 KiB overwritten in a file that has its blocks already, and `fdatasync`, in the
//! directory where the data are.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::histogram::Histogram;
use crate::Result;

const BLOCK_BYTES: usize = 4 << 10;
const BLOCKS: u64 = 4_096;
/// Writes of one sample.
const WRITES: u32 = 200;

/// A file to write to.
pub(crate) struct Disk {
    file: File,
    block: Vec<u8>,
    /// Blocks written so far.
    written: u64,
}

impl Disk {
    /// Creates the file and gives it its blocks.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let file = File::create_new(directory.join("raw-disk"))?;
        let block = vec![1; BLOCK_BYTES];
        for number in 0..BLOCKS {
            file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
        }
        file.sync_all()?;
        let written = 0;
        Ok(Self { file, block, written })
    }

    /// The median of some writes, in milliseconds.
    pub(crate) fn sample(&mut self) -> Result<f64> {
        let mut latency = Histogram::new();
        for _ in 0..WRITES {
            // Other bytes each time: a disk that sees the same may not write.
            self.block[..8].copy_from_slice(&self.written.to_le_bytes());
            let began = Instant::now();
            self.file.write_all_at(&self.block, self.written % BLOCKS * BLOCK_BYTES as u64)?;
            self.file.sync_data()?;
            latency.record(began.elapsed());
            self.written += 1;
        }
        Ok(latency.milliseconds(0.5))
    }
}
