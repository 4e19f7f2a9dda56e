//! First writes on new paths: each `POST` increments an object that never was.

use std::net::SocketAddr;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::closed_loop::{self, Measured, Plan};
use crate::load::http::Http;
use crate::load::meter::{Cpu, median};
use crate::load::socket::Socket;
use crate::load::table::{Row, milliseconds, rate};
use crate::load::traffic::Posts;

/// Kept connections, and requests written ahead on each, so that the client never makes the server wait.
const CONNECTIONS: usize = 64;
const IN_FLIGHT: usize = 4;
/// Paths that are looked at afterwards.
const LOOKS: u64 = 50;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    let (mut raw, mut fleet, mut cores, mut disk) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        eprintln!("  round {round} of {}", bench.args.rounds);
        disk.push(bench.disk.sample()?);
        raw.push(one_round(bench, bench.echo.address, round)?);
        let cpu = Cpu::start(server.pid())?;
        let measured = one_round(bench, server.address, round)?;
        cores.push(cpu.cores()?);
        expect_counts(bench, server.address, round, measured.total)?;
        fleet.push(measured);
    }
    server.stop()?;

    let rates = |rounds: &[Measured]| median(rounds.iter().map(Measured::rate));
    let all: u64 = fleet.iter().map(|measured| measured.total).sum();
    let (client, server) = (median(cores.iter().map(|cores| cores.0)), median(cores.iter().map(|cores| cores.1)));
    let row = Row::new("first writes on new paths", rate(rates(&fleet)))
        .raw(format!("bare POST {}", rate(rates(&raw))))
        .ratio(median(raw.iter().zip(&fleet).map(|(raw, fleet)| fleet.rate() / raw.rate())))
        .goal("≥ 30,000/s", rates(&fleet) >= 30_000.0)
        .note(format!("{all} objects in all; cores: client {client:.2}, server {server:.2}"));
    bench.rows.push(row);
    let p99 = |rounds: &[Measured]| median(rounds.iter().map(|round| round.latency.milliseconds(0.99)));
    let row = Row::new("  latency p99, with what waits in the connection", milliseconds([p99(&fleet)]))
        .raw(milliseconds([p99(&raw)]))
        .note(format!("fdatasync p50 {}", milliseconds([median(disk)])));
    bench.rows.push(row);
    Ok(())
}

fn one_round(bench: &Bench, address: SocketAddr, round: u32) -> Result<Measured> {
    let make = |number| (path(bench, round, number) + ":increment", String::new());
    let posts = Posts::new(address, u64::MAX, make);
    let sockets = (0..CONNECTIONS).map(|_| Socket::connect(address)).collect::<Result<_>>()?;
    let plan = Plan::timed(IN_FLIGHT, bench.args.client_threads, bench.args.seconds);
    closed_loop::run(&posts, sockets, &plan)
}

/// Names come in no order, as names do: in order, every row would go to the end of the same page of the database.
fn path(bench: &Bench, round: u32, number: u64) -> String {
    let mut name = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    name = (name ^ (name >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    name ^= name >> 31;
    format!("/{}/first-{round}/{name:016x}", bench.label)
}

/// Looks at some of the objects: each has to have exactly one increment.
fn expect_counts(bench: &Bench, address: SocketAddr, round: u32, total: u64) -> Result<()> {
    let mut http = Http::connect(address)?;
    for look in 0..LOOKS.min(total) {
        let path = path(bench, round, look * (total / LOOKS.min(total)));
        match http.count(&path)? {
            1 => {}
            count => return Err(format!("{path} was incremented once and counts {count}").into()),
        }
    }
    Ok(())
}
