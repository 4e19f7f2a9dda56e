//! A storage that decides when it is told to.

use std::collections::BTreeSet;

use super::{Path, Seq};

#[derive(Debug)]
pub(super) struct Write {
    pub(super) path: Path,
    pub(super) count: Option<u64>,
    pub(super) deleted: Option<Path>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) writes: Vec<Write>,
    pub(super) decided: u64,
    pub(super) failed: BTreeSet<u64>,
    pub(super) crowded: bool,
    /// Whether it takes no write set at the moment.
    pub(super) down: bool,
}

impl Store {
    pub(super) fn next(&self) -> u64 {
        self.writes.len() as u64 + 1
    }

    pub(super) fn outcome(&self, seq: Seq) -> Option<bool> {
        (seq.0 <= self.decided).then(|| !self.failed.contains(&seq.0))
    }

    pub(super) fn commit(&mut self, write: Write, after: Seq) -> Result<Seq, ()> {
        if self.outcome(after) == Some(false) || self.down {
            return Err(());
        }
        self.writes.push(write);
        Ok(Seq(self.writes.len() as u64))
    }

    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Write)> {
        (1..).zip(&self.writes).filter(|(seq, _)| !self.failed.contains(seq))
    }

    /// The newest deletion that covers a path.
    pub(super) fn floor(&self, path: Path) -> u64 {
        let covers = |write: &Write| write.deleted.is_some_and(|prefix| path.starts_with(prefix));
        self.numbered().filter(|(_, write)| covers(write)).map(|(seq, _)| seq).max().unwrap_or(0)
    }

    pub(super) fn load(&self, path: Path) -> u64 {
        let floor = self.floor(path);
        let rows = self.numbered().filter(|(seq, write)| write.path == path && *seq >= floor && *seq <= self.decided);
        rows.filter_map(|(_, write)| write.count).last().unwrap_or(0)
    }

    /// Whether a write set holds a count.
    pub(super) fn has_count(&self, seq: Seq) -> bool {
        self.numbered().any(|(number, write)| number == seq.0 && write.count.is_some())
    }
}
