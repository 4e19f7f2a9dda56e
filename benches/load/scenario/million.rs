//! A batch of a million tasks: how soon tasks end again after a `kill -9` in it, and whether the server's memory grows with it.
//!
//! # Why
//! From its start on the server's memory grows until its caches are full, whatever it does: the pages that SQLite keeps, 64 MiB,
//! are most of it, and some 350,000 tasks fill them. So what counts is whether the last quarter needs more than was needed
//! before. What the submission needed is over by then: the process is another.

use std::time::{Duration, Instant};

use crate::Result;
use crate::load::bench::Bench;
use crate::load::manager::{Manager, tasks};
use crate::load::meter::{memory, wait_until};
use crate::load::scenario::start_up::ready;
use crate::load::table::{Row, milliseconds, rate, thousands};

/// How long the first task after a restart may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a quarter of the tasks may take.
const QUARTER: Duration = Duration::from_mins(5);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(500);
const MEBIBYTE: f64 = 1_048_576.0;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.args.url.is_some() {
        eprintln!("  left out: a server at --url is not killed here");
        return Ok(());
    }
    let count = bench.args.tasks;
    let data = bench.new_data_dir();
    let (process, _) = ready(|| bench.start(&data))?;
    let mut manager = Manager::create(process.address, "", "million")?;
    let (batch, submitted) = manager.submit(&tasks(count, "echo"))?;
    eprintln!("  submitted in {submitted:.0} ms");
    if !wait_until(QUARTER, Duration::from_millis(20), || Ok(manager.status(&batch)?.completed >= count / 4))? {
        return Err(format!("a quarter of {count} tasks is not done {QUARTER:?} after the submission").into());
    }
    process.kill()?;
    let (process, time) = ready(|| bench.start(&data))?;
    let mut manager = Manager::at(process.address, &manager.path)?;
    let began = Instant::now();
    let before = manager.status(&batch)?.completed;
    let again = wait_until(PATIENCE, Duration::from_millis(1), || Ok(manager.status(&batch)?.completed > before))?;
    let first = began.elapsed().as_secs_f64() * 1e3;
    if !again {
        return Err(format!("no task has ended {PATIENCE:?} after the restart").into());
    }
    let (mut earlier, mut last) = (Most::of(process.pid()), Most::of(process.pid()));
    let (status, _) = manager.watch(&batch, |status| {
        let quarter = if status.completed < count / 4 * 3 { &mut earlier } else { &mut last };
        quarter.look()
    })?;
    if status.completed != count {
        return Err(format!("{} of {count} tasks are completed", status.completed).into());
    }
    process.stop()?;
    let row = Row::new(format!("submit of {} tasks", thousands(count as f64)), milliseconds([submitted]));
    bench.rows.push(row);
    let row = Row::new("  kill -9 when a quarter is done: from ready until a task ends", milliseconds([first]));
    bench.rows.push(row.goal("≤ 1,000 ms", first <= 1e3).note(format!("ready after {}", milliseconds([time]))));
    let row =
        Row::new("  memory in its last quarter, without pages of files", format!("{:.0} MiB at most", last.mebibytes));
    let note = format!("before: {:.0} MiB; {} with the restart", earlier.mebibytes, rate(status.rate()));
    bench.rows.push(row.goal("≤ 1.1 × before", last.mebibytes <= earlier.mebibytes * 1.1).note(note));
    Ok(())
}

/// The most memory that a process was seen to have.
struct Most {
    pid: u32,
    looked: Instant,
    mebibytes: f64,
}

impl Most {
    fn of(pid: u32) -> Self {
        Self { pid, looked: Instant::now(), mebibytes: 0.0 }
    }

    /// Looks, if it is time.
    fn look(&mut self) -> Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.mebibytes = self.mebibytes.max(memory(self.pid)?.anonymous as f64 / MEBIBYTE);
        }
        Ok(())
    }
}
