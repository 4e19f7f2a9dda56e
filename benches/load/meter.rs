//! What the kernel says about a process and the machine, and the arithmetic of several rounds.

use std::fs;
use std::time::{Duration, Instant};

use crate::Result;

/// Resident memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// All resident bytes.
    pub(crate) resident: u64,
    /// Without pages of files.
    pub(crate) anonymous: u64,
}

/// Reads the memory of a process; what the kernel holds for its sockets is not in it.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |name: &str| -> Result<u64> {
        let line = text.lines().find(|line| line.starts_with(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kibibytes.ok_or("smaps_rollup without a line")?.parse::<u64>()? << 10)
    };
    Ok(Memory { resident: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
}

/// Reads the memory of a process once it no longer changes by much: allocators give pages back some time after they were
/// freed.
pub(crate) fn settled_memory(pid: u32) -> Result<Memory> {
    const STEP: Duration = Duration::from_secs(1);
    let mut last = memory(pid)?;
    let settled = |last: u64, now: u64| last.abs_diff(now) <= now / 500;
    wait_until(STEP * 15, Duration::ZERO, || {
        pause(STEP);
        let before = std::mem::replace(&mut last, memory(pid)?);
        Ok(settled(before.resident, last.resident))
    })?;
    Ok(last)
}

/// Growth from one measurement to another, by each of `count`; negative when memory was given back.
pub(crate) fn growth(before: u64, after: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / count as f64
}

/// Processor time of two processes while something runs: this one, which is the client, and the server.
pub(crate) struct Cpu {
    began: Instant,
    server: Option<u32>,
    before: (f64, f64),
}

impl Cpu {
    pub(crate) fn start(server: Option<u32>) -> Result<Self> {
        Ok(Self { began: Instant::now(), server, before: times(server)? })
    }

    /// Cores that the client and the server were busy on, on average.
    pub(crate) fn cores(&self) -> Result<(f64, f64)> {
        let after = times(self.server)?;
        let seconds = self.began.elapsed().as_secs_f64();
        Ok(((after.0 - self.before.0) / seconds, (after.1 - self.before.1) / seconds))
    }
}

fn times(server: Option<u32>) -> Result<(f64, f64)> {
    let server = server.map_or(Ok(0.0), processor_seconds)?;
    Ok((processor_seconds(std::process::id())?, server))
}

fn processor_seconds(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program may hold anything, so count from behind it: user and system time are the 12th and 13th.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<std::result::Result<u64, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Processes that ran or wanted to, over the last minute.
pub(crate) fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The middle of some values; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2)) else {
        return 0.0;
    };
    f64::midpoint(*low, *high)
}

/// Waits, where there is nothing to wait *for*: the pace of an open loop, or a state of another process that can only be
/// asked for again.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for; every caller is bounded")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Asks again and again until the answer is yes, for at most `patience`; says whether it became yes.
pub(crate) fn wait_until(patience: Duration, every: Duration, mut ask: impl FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + patience;
    loop {
        if ask()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        pause(every);
    }
}
