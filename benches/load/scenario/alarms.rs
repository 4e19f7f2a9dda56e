//! Many alarms that are pending on objects which sleep: what they cost in memory and at the start, and how late others fire
//! meanwhile.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::load::bench::{Bench, Server};
use crate::load::http::Http;
use crate::load::meter::{growth, median, memory, pause};
use crate::load::objects;
use crate::load::scenario::start_up;
use crate::load::table::{Row, milliseconds, thousands};

/// Siblings below one parent.
const BRANCH: u64 = 1_000;
/// Alarms that fall due a second, one each a millisecond, and for how long.
const DUE_A_SECOND: u64 = 1_000;
const DUE_SECONDS: u64 = 10;
/// By then the objects have been set up and are asleep.
const LEAD: Duration = Duration::from_secs(20);
/// The pending ones are for the day after this many days.
const FAR_DAYS: u64 = 3_650;
/// Growth that is noise: of a million objects 8 MB.
const NOISE_BYTES: f64 = 8.0;
/// How late the last alarm may be before it is lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.args.url.is_some() {
        eprintln!("  left out: a server at --url has none of the classes");
        return Ok(());
    }
    let alarms = bench.args.alarms;
    let data = bench.kept_data_dir("alarms", alarms);
    create(bench, &data)?;
    let (mut empty, mut full, mut each) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        eprintln!("  start {round} of {}", bench.args.rounds);
        let nothing = bench.new_data_dir();
        let (process, time) = start_up::ready(|| bench.start_classes(&nothing))?;
        let before = memory(process.pid())?.resident;
        process.stop()?;
        empty.push(time);
        let (process, time) = start_up::ready(|| bench.start_classes(&data))?;
        each.push(growth(before, memory(process.pid())?.resident, usize::try_from(alarms)?));
        process.stop()?;
        full.push(time);
    }
    let pending = thousands(alarms as f64);
    let (time, each) = (median(full), median(each));
    let row = Row::new(format!("ready with {pending} pending alarms"), milliseconds([time]))
        .raw(format!("empty {}", milliseconds([median(empty)])))
        .goal("≤ 150 ms", time <= 150.0);
    bench.rows.push(row);
    let row = Row::new("  memory of a sleeping object with an alarm", format!("{each:.1} B"))
        .goal(format!("0 (noise: {NOISE_BYTES} B)"), each <= NOISE_BYTES);
    bench.rows.push(row);
    let fdatasync = bench.disk.sample()?;
    let mut lags = fire(bench, &data)?;
    lags.sort_unstable();
    let share = |percent: usize| lags.get(lags.len() * percent / 100).copied().unwrap_or(0) as f64;
    let (p50, p99) = (share(50), share(99));
    let row = Row::new(format!("alarm lag p50 / p99, {DUE_A_SECOND} due a second"), milliseconds([p50, p99]))
        .goal("p99 < 50 ms", p99 < 50.0)
        .note(format!(
            "{} alarms of objects asleep; worst {} ms; fdatasync p50 {}",
            lags.len(),
            lags.last().copied().unwrap_or(0),
            milliseconds([fdatasync])
        ));
    bench.rows.push(row);
    Ok(())
}

/// Sets alarms that do not fire here, unless an earlier run left them.
fn create(bench: &Bench, data: &Path) -> Result<()> {
    let complete = data.with_extension("complete");
    if complete.exists() && data.exists() {
        eprintln!("  taking the alarms in {}", data.display());
        return Ok(());
    }
    let alarms = bench.args.alarms;
    eprintln!("  setting {alarms} alarms in {}", data.display());
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    let at = now()? + FAR_DAYS * 86_400_000;
    let process = bench.start_classes(data)?;
    let target = |number: u64| {
        (format!("/far/alarm/{:04}/{:03}:set", number / BRANCH, number % BRANCH), (at + number).to_string())
    };
    let measured = bench.post_all(process.address, alarms, target)?;
    eprintln!("  set at {} a second", thousands(measured.rate()));
    process.stop()?;
    fs::write(complete, "")?;
    Ok(())
}

/// Has alarms fire on sleeping objects; gives how late each was, in milliseconds.
fn fire(bench: &Bench, data: &Path) -> Result<Vec<i64>> {
    let server = Server::own(bench.start_classes(data)?);
    let count = DUE_A_SECOND * DUE_SECONDS;
    let first = now()? + u64::try_from(LEAD.as_millis())?;
    let path = |number: u64| format!("/{}/alarm/{number:06}", bench.label);
    let target = |number: u64| (path(number) + ":set", (first + number * 1_000 / DUE_A_SECOND).to_string());
    bench.post_all(server.address, count, target)?;
    objects::wait_for_none(server.address)?;
    if now()? >= first {
        return Err("the objects were not asleep before the first alarm was due".into());
    }
    eprintln!("  waiting for {count} alarms");
    pause(Duration::from_millis((first + DUE_SECONDS * 1_000).saturating_sub(now()?)));
    let mut http = Http::connect(server.address)?;
    let until = now()? + u64::try_from(PATIENCE.as_millis())?;
    let mut lags = Vec::new();
    for number in 0..count {
        let lag = loop {
            let answer = http.expect_ok("POST", &format!("{}:lag", path(number)), "null")?;
            match serde_json::from_str::<Option<i64>>(&answer)? {
                Some(lag) if lag < 0 => return Err(format!("alarm {number} was {} ms early", -lag).into()),
                Some(lag) => break lag,
                None if now()? > until => return Err(format!("alarm {number} is lost").into()),
                None => pause(Duration::from_millis(10)),
            }
        };
        lags.push(lag);
    }
    server.stop()?;
    Ok(lags)
}

/// In milliseconds since the epoch.
fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
