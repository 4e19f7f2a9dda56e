//! A batch of 100,000 tasks that workers in the server's process do: how long it takes to submit it, how fast they are, and
//! how long a look at it takes meanwhile.

use crate::Result;
use crate::load::bench::Bench;
use crate::load::manager::{Manager, tasks};
use crate::load::meter::{Cpu, median};
use crate::load::table::{Row, milliseconds, rate, thousands};

const TASKS: u64 = 100_000;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    let text = tasks(TASKS, "echo");
    let (mut disk, mut submitted, mut rates, mut cores) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        eprintln!("  round {round} of {}", bench.args.rounds);
        disk.push(bench.disk.sample()?);
        let mut manager = Manager::create(server.address, &format!("/{}", bench.label), &format!("batches-{round}"))?;
        let (batch, time) = manager.submit(&text)?;
        let cpu = Cpu::start(server.pid())?;
        let (status, latency) = manager.watch(&batch, |_| Ok(()))?;
        cores.push(cpu.cores()?.1);
        eprintln!("    {time:.0} ms, then {} tasks a second", thousands(status.rate()));
        submitted.push(time);
        rates.push(status.rate());
        p50.push(latency.milliseconds(0.5));
        p99.push(latency.milliseconds(0.99));
    }
    let (time, all, look) = (median(submitted), median(rates), median(p50));
    let disk = milliseconds([median(disk)]);
    let tasks = thousands(TASKS as f64);
    let row = Row::new(format!("submit of {tasks} tasks"), milliseconds([time])).goal("≤ 1,000 ms", time <= 1e3);
    bench.rows.push(row.note(format!("fdatasync p50 {disk}")));
    let row = Row::new("tasks by workers in process", rate(all)).goal("≥ 20,000/s", all >= 2e4);
    bench.rows.push(row.note(format!("server {:.2} cores", median(cores))));
    let row = Row::new("  getBatchStatus meanwhile p50 / p99", milliseconds([look, median(p99)]));
    bench.rows.push(row.goal("p50 < 1 ms", look < 1.0));
    server.stop()
}
