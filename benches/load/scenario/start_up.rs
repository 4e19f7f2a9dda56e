//! Start with many objects on disk: from the spawn of the process until `/.fleet/ready` answers 200.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::bench::Bench;
use crate::load::http::Http;
use crate::load::meter::{growth, median, memory, wait_until};
use crate::load::process::Process;
use crate::load::table::{Row, milliseconds, thousands};

/// How long it may take to become ready.
const PATIENCE: Duration = Duration::from_mins(1);
/// Siblings below one parent.
const BRANCH: u64 = 1_000;
/// Writes before a `kill -9`, which the next start finds in the log.
const WRITES: u64 = 20_000;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.args.url.is_some() {
        eprintln!("  left out: a server at --url is not started here");
        return Ok(());
    }
    let objects = bench.args.objects;
    let data = bench.kept_data_dir("objects", objects);
    create(bench, &data)?;
    let (mut empty, mut clean, mut killed, mut resident) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        eprintln!("  round {round} of {}", bench.args.rounds);
        let (process, time) = start(bench, &bench.new_data_dir())?;
        let before = memory(process.pid())?.resident;
        process.stop()?;
        empty.push(time);
        let (process, time) = start(bench, &data)?;
        resident.push(growth(before, memory(process.pid())?.resident, 1));
        clean.push(time);
        bench.post_all(process.address, WRITES.min(objects), target)?;
        process.kill()?;
        let (process, time) = start(bench, &data)?;
        killed.push(time);
        expect_last(&process, objects)?;
        process.stop()?;
    }
    let objects = thousands(objects as f64);
    let raw = format!("empty {}", milliseconds([median(empty)]));
    for (how, times) in [("a clean stop", clean), ("kill -9", killed)] {
        let time = median(times);
        let row = Row::new(format!("ready after {how}, {objects} objects on disk"), milliseconds([time]))
            .raw(raw.clone())
            .goal("≤ 150 ms", time <= 150.0);
        bench.rows.push(row);
    }
    let more = thousands(median(resident) / f64::from(1 << 10)) + " KiB";
    bench.rows.push(Row::new(format!("  memory with {objects} objects on disk, more than empty"), more));
    Ok(())
}

fn start(bench: &Bench, data: &Path) -> Result<(Process, f64)> {
    ready(|| bench.start(data))
}

/// Starts a server; gives the milliseconds until it is ready.
pub(crate) fn ready(start: impl FnOnce() -> Result<Process>) -> Result<(Process, f64)> {
    let began = Instant::now();
    let process = start()?;
    let ready = wait_until(PATIENCE, Duration::from_millis(1), || {
        let mut http = Http::connect(process.address)?;
        Ok(http.request("GET", "/.fleet/ready", "")?.0 == 200)
    })?;
    let time = began.elapsed().as_secs_f64() * 1e3;
    if ready { Ok((process, time)) } else { Err(format!("not ready after {PATIENCE:?}").into()) }
}

/// Creates the objects through the server, unless an earlier run left them.
fn create(bench: &Bench, data: &Path) -> Result<()> {
    let complete = data.with_extension("complete");
    if complete.exists() && data.exists() {
        eprintln!("  taking the objects in {}", data.display());
        return Ok(());
    }
    let objects = bench.args.objects;
    eprintln!("  creating {objects} objects in {}", data.display());
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    let process = bench.start(data)?;
    let measured = bench.post_all(process.address, objects, target)?;
    eprintln!("  created at {} a second", thousands(measured.rate()));
    process.stop()?;
    fs::write(complete, "")?;
    Ok(())
}

/// The path is the same in every run, because the data may be kept.
fn path(number: u64) -> String {
    format!("/many/{:04}/{:03}", number / BRANCH, number % BRANCH)
}

fn target(number: u64) -> (String, String) {
    (path(number) + ":increment", String::new())
}

/// An error if the last object that was created is not there.
fn expect_last(process: &Process, objects: u64) -> Result<()> {
    let path = path(objects - 1);
    match Http::connect(process.address)?.count(&path)? {
        0 => Err(format!("{path} was created and is not there").into()),
        _ => Ok(()),
    }
}
