//! The scenarios, one file each, and the frame around them: what is said about the machine, and the table.

mod alarms;
mod batches;
mod cascade;
mod children;
mod class_call;
mod elsewhere;
mod fan_out;
mod first_writes;
mod hibernated;
mod increments;
mod long_turns;
mod memory;
mod million;
mod sends;
mod start_up;
mod wake;

use super::args::{Args, Name};
use super::bench::Bench;
use super::meter::load_average;
use super::process::end_of_log;
use super::table::{self, Row};
use crate::Result;

/// Descriptors that a process needs besides the sockets that are counted.
const SPARE_DESCRIPTORS: u64 = 1_000;

type Scenario = fn(&mut Bench) -> Result<()>;

const SCENARIOS: [(Name, Scenario); 16] = [
    (Name::Increments, increments::run),
    (Name::FanOut, fan_out::run),
    (Name::Memory, memory::run),
    (Name::Hibernated, hibernated::run),
    (Name::FirstWrites, first_writes::run),
    (Name::Cascade, cascade::run),
    (Name::StartUp, start_up::run),
    (Name::Children, children::run),
    (Name::ClassCall, class_call::run),
    (Name::Sends, sends::run),
    (Name::Wake, wake::run),
    (Name::LongTurns, long_turns::run),
    (Name::Alarms, alarms::run),
    (Name::Batches, batches::run),
    (Name::Elsewhere, elsewhere::run),
    (Name::Million, million::run),
];

/// Runs what was asked for and prints the table; an error if a scenario failed (a missed goal is none).
pub(crate) fn run_all(mut args: Args) -> Result<()> {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)?;
    let room = usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS))?;
    if args.sockets > room {
        eprintln!("WARNING: {room} sockets instead of {}: the limit is {descriptors} descriptors", args.sockets);
        args.sockets = room;
    }
    let load = load_average()?;
    let mut bench = Bench::new(args)?;
    warn_of_build(&bench);
    let before = bench.disk.sample()?;
    let mut failed = 0;
    for (name, scenario) in SCENARIOS {
        if bench.args.wants(name) {
            eprintln!("{name:?} …");
            if let Err(error) = scenario(&mut bench) {
                eprintln!("{name:?} failed: {error}\n{}", end_of_log(&bench.log()));
                bench.rows.push(Row::new(format!("{name:?}"), "FAILED"));
                failed += 1;
            }
        }
    }
    let after = bench.disk.sample()?;
    println!("\n{}", table::render(&bench.rows));
    report_noise(load, before, after);
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} scenarios failed").into()),
    }
}

fn warn_of_build(bench: &Bench) {
    let binary = bench.binary();
    let release = binary.components().any(|part| part.as_os_str() == "release");
    if bench.args.url.is_some() {
        eprintln!("a server that runs already: whether it is a release build cannot be seen");
    } else if !release || cfg!(debug_assertions) {
        eprintln!("WARNING! WARNING! {} is not a release build: the figures mean nothing.", binary.display());
        eprintln!("WARNING! WARNING! Use `cargo bench --bench load`.");
    } else {
        eprintln!("measuring {}", binary.display());
    }
}

fn report_noise(load: f64, before: f64, after: f64) {
    println!(
        "machine: load average at start {load:.2}; fdatasync p50 {} before, {} after",
        table::milliseconds([before]),
        table::milliseconds([after])
    );
    let (low, high) = (before.min(after), before.max(after));
    if load > 0.5 {
        println!("NOISY: something else was running at the start; wait until the machine is quiet");
    }
    if high > low * 1.3 {
        println!("NOISY: the disk changed its pace; compare ratios within one row only");
    }
    if low < 0.01 {
        println!("NO DISK: fdatasync is too quick for a disk (a tmpfs?); give another --data-dir");
    }
}
