//! A class that reads and writes one key, beside the built-in class that keeps its count in its value: on the same server, by
//! the same client, in turn.

use std::net::SocketAddr;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::closed_loop::{self, Measured, Plan};
use crate::load::http::Http;
use crate::load::meter::median;
use crate::load::socket::open_all;
use crate::load::table::{Row, milliseconds, rate};
use crate::load::traffic::Increments;

/// Paths with one connection each, and messages in flight on each.
const CASES: [(usize, usize); 3] = [(1, 1), (1, 16), (100, 16)];
/// What reading and writing a key may cost.
const GOAL: f64 = 0.9;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(server) = bench.class_server()? else { return Ok(()) };
    for (paths, in_flight) in CASES {
        let (mut disk, mut built_in, mut class) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=bench.args.rounds {
            eprintln!("  {paths} paths, {in_flight} in flight: round {round} of {}", bench.args.rounds);
            disk.push(bench.disk.sample()?);
            let measure = |name| one_round(bench, server.address, name, paths, in_flight);
            // Each is the first in every other round.
            if round % 2 == 0 {
                class.push(measure("cell")?);
                built_in.push(measure("built-in")?);
            } else {
                built_in.push(measure("built-in")?);
                class.push(measure("cell")?);
            }
        }
        let rates = |rounds: &[Measured]| median(rounds.iter().map(Measured::rate));
        let ratio = median(built_in.iter().zip(&class).map(|(built_in, class)| class.rate() / built_in.rate()));
        let p50 = median(class.iter().map(|measured| measured.latency.milliseconds(0.5)));
        let row = Row::new(format!("class with a key, {paths} × 1, {in_flight} in flight"), rate(rates(&class)))
            .raw(format!("built in {}", rate(rates(&built_in))))
            .ratio(ratio)
            .goal(format!("≥ {GOAL}"), ratio >= GOAL)
            .note(format!("p50 {}; fdatasync p50 {}", milliseconds([p50]), milliseconds([median(disk)])));
        bench.rows.push(row);
    }
    server.stop()
}

/// Loads the objects of one class, and checks that they counted exactly what was acknowledged.
fn one_round(bench: &Bench, address: SocketAddr, class: &str, paths: usize, in_flight: usize) -> Result<Measured> {
    let path = |number| format!("/{}/{class}/{paths}-{in_flight}/{number}", bench.label);
    let paths: Vec<String> = (0..paths).map(path).collect();
    let count = || -> Result<u64> {
        let mut http = Http::connect(address)?;
        paths.iter().map(|path| http.count(path)).sum()
    };
    let before = count()?;
    let plan = Plan::timed(in_flight, bench.args.client_threads, bench.args.seconds);
    let measured = closed_loop::run(&Increments::new(), open_all(address, &paths)?, &plan)?;
    match count()? - before {
        counted if counted == measured.total => Ok(measured),
        counted => Err(format!("{class} counts {counted} increments, but {} were acknowledged", measured.total).into()),
    }
}
