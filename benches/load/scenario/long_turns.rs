//! Increments on other objects, at a fixed pace, while handlers compute for seconds.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::load::bench::Bench;
use crate::load::http::Http;
use crate::load::meter::{median, pause};
use crate::load::open_loop::{OpenLoop, p99};
use crate::load::table::{Row, milliseconds, thousands};

/// Handlers that compute, and for how long.
const SPINNERS: usize = 8;
const SPIN: Duration = Duration::from_secs(5);
/// Other objects, and the pace of increments on each.
const OTHERS: usize = 4;
const PERIOD: Duration = Duration::from_millis(2);
const BEFORE: Duration = Duration::from_secs(1);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let (mut disk, mut quiet, mut during, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 1..=bench.args.rounds {
        eprintln!("  round {round} of {}", bench.args.rounds);
        // A new server has not yet seen a long turn of the class.
        let Some(server) = bench.class_server()? else { return Ok(()) };
        disk.push(bench.disk.sample()?);
        let others: Vec<String> = (0..OTHERS).map(|other| format!("/{}/other/{other}", bench.label)).collect();
        let load = OpenLoop::start(server.address, &others, PERIOD)?;
        pause(BEFORE);
        let from = Instant::now();
        spin(bench, server.address)?;
        let until = Instant::now();
        let samples = load.finish()?;
        server.stop()?;
        let latencies = |choose: &dyn Fn(Instant) -> bool| {
            let chosen = samples.iter().filter(|(due, _)| choose(*due));
            let mut latencies: Vec<f64> = chosen.map(|(_, latency)| latency.as_secs_f64() * 1e3).collect();
            latencies.sort_by(f64::total_cmp);
            latencies
        };
        quiet.push(p99(&latencies(&|due| due < from)));
        let meanwhile = latencies(&|due| due >= from && due < until);
        count += meanwhile.len();
        during.push(p99(&meanwhile));
    }
    let (quiet, during) = (median(quiet), median(during));
    let row = Row::new(format!("others while {SPINNERS} handlers loop for {SPIN:?}, p99"), milliseconds([during]))
        .raw(format!("before {}", milliseconds([quiet])))
        .goal("< 100 ms", during < 100.0)
        .note(format!("{} increments; fdatasync p50 {}", thousands(count as f64), milliseconds([median(disk)])));
    bench.rows.push(row);
    Ok(())
}

/// Returns when all of them have ended.
fn spin(bench: &Bench, address: SocketAddr) -> Result<()> {
    thread::scope(|scope| {
        let spinning = (0..SPINNERS).map(|number| {
            let target = format!("/{}/spinner/{number}:spin", bench.label);
            let body = SPIN.as_millis().to_string();
            scope.spawn(move || Http::connect(address)?.expect_ok("POST", &target, &body).map(drop))
        });
        let spinning: Vec<_> = spinning.collect();
        spinning.into_iter().try_for_each(|one| one.join().map_err(|_| "a client thread panicked")?)
    })
}
