//! A batch of a million tasks: the server's memory while it runs, and how soon tasks end again after a `kill -9` in its middle.

use std::time::{Duration, Instant};

use crate::Result;
use crate::load::bench::Bench;
use crate::load::manager::{Manager, tasks};
use crate::load::meter::{memory, pause, wait_until};
use crate::load::scenario::start_up::ready;
use crate::load::table::{Row, milliseconds, rate, thousands};

/// How long the first task after a restart may take.
const PATIENCE: Duration = Duration::from_mins(1);
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
    while manager.status(&batch)?.completed < count / 2 {
        pause(Duration::from_millis(20));
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
    let mut resident: Vec<f64> = Vec::new();
    let from = Instant::now();
    let (status, _) = manager.watch(&batch, |status| {
        // What was given back since the start is not what is looked for.
        if status.completed > count * 6 / 10 && from.elapsed() > Duration::from_secs(2) * u32::try_from(resident.len())?
        {
            resident.push(memory(process.pid())?.anonymous as f64 / MEBIBYTE);
        }
        Ok(())
    })?;
    if status.completed != count {
        return Err(format!("{} of {count} tasks are completed", status.completed).into());
    }
    process.stop()?;
    let tasks = thousands(count as f64);
    let row = Row::new(format!("submit of {tasks} tasks"), milliseconds([submitted]));
    bench.rows.push(row);
    let row = Row::new("  kill -9 in its middle: from ready until a task ends", milliseconds([first]));
    bench.rows.push(row.goal("≤ 1,000 ms", first <= 1e3).note(format!("ready after {}", milliseconds([time]))));
    let (low, high) = resident.iter().fold((f64::MAX, 0.0_f64), |(low, high), now| (low.min(*now), high.max(*now)));
    let row = Row::new("  memory while it runs, without pages of files", format!("{low:.0} to {high:.0} MiB"));
    let note = format!("{} with the restart", rate(status.rate()));
    bench.rows.push(row.goal("flat", high < low * 1.25).note(note));
    Ok(())
}
