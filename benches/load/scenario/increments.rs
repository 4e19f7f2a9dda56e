//! Durable increments over WebSockets: acknowledged a second, and latency, beside the bare echo of the same rounds.

use std::net::SocketAddr;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::closed_loop::{self, Measured, Plan};
use crate::load::counted_loop;
use crate::load::http::Http;
use crate::load::meter::{Cpu, median};
use crate::load::socket::open_all;
use crate::load::table::{Row, milliseconds, rate};
use crate::load::traffic::{Increments, IncrementsWithId};

/// Paths, connections of all paths together, requests in flight on each connection.
#[derive(Debug, Clone, Copy)]
struct Case {
    paths: usize,
    connections: usize,
    in_flight: usize,
}

const CASES: [Case; 6] = [
    Case { paths: 1, connections: 1, in_flight: 1 },
    Case { paths: 1, connections: 1, in_flight: 16 },
    Case { paths: 1, connections: 50, in_flight: 1 },
    Case { paths: 1, connections: 50, in_flight: 16 },
    Case { paths: 100, connections: 100, in_flight: 1 },
    Case { paths: 100, connections: 100, in_flight: 16 },
];

impl Case {
    /// Several connections on one path: see [`counted_loop`].
    fn is_shared(self) -> bool {
        self.connections > self.paths
    }

    fn name(self) -> String {
        let Self { paths, connections, in_flight } = self;
        let each = connections / paths;
        let (path, connection) = (plural("path", paths), plural("connection", each));
        format!("{path} × {connection}, {in_flight} in flight")
    }

    /// The path of each connection.
    fn paths(self, label: &str) -> Vec<String> {
        let path = |number| format!("/{label}/i{}-{}/{}", self.connections, self.in_flight, number % self.paths);
        (0..self.connections).map(path).collect()
    }
}

fn plural(word: &str, count: usize) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// One round of one side.
struct Round {
    rate: f64,
    /// p50, p99, p99.9, in milliseconds.
    latency: [f64; 3],
    /// Cores of client and server.
    cores: (f64, f64),
}

impl Round {
    fn new(measured: &Measured, cores: (f64, f64)) -> Self {
        let latency = [0.5, 0.99, 0.999].map(|share| measured.latency.milliseconds(share));
        let rate = measured.rate();
        Self { rate, latency, cores }
    }
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    for case in CASES {
        let (mut disk, mut raw, mut fleet) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=bench.args.rounds {
            eprintln!("  {}: round {round} of {}", case.name(), bench.args.rounds);
            disk.push(bench.disk.sample()?);
            raw.push(echo_round(bench, case)?);
            fleet.push(fleet_round(bench, case, server.address, server.pid())?);
        }
        report(bench, case, median(disk), &raw, &fleet);
    }
    server.stop()
}

fn plan(bench: &Bench, case: Case) -> Plan {
    Plan::timed(case.in_flight, bench.args.client_threads, bench.args.seconds)
}

fn echo_round(bench: &Bench, case: Case) -> Result<Round> {
    let sockets = open_all(bench.echo.address, &case.paths(&bench.label))?;
    let cpu = Cpu::start(Some(bench.echo.pid()))?;
    let measured = closed_loop::run(&Increments::new(), sockets, &plan(bench, case))?;
    Ok(Round::new(&measured, cpu.cores()?))
}

/// Loads the server, and checks that its objects counted exactly what was acknowledged.
fn fleet_round(bench: &Bench, case: Case, address: SocketAddr, pid: Option<u32>) -> Result<Round> {
    let paths = case.paths(&bench.label);
    let count = || sum_of_counts(address, &paths[..case.paths]);
    let before = count()?;
    let sockets = open_all(address, &paths)?;
    let cpu = Cpu::start(pid)?;
    if !case.is_shared() {
        let measured = closed_loop::run(&Increments::new(), sockets, &plan(bench, case))?;
        let round = Round::new(&measured, cpu.cores()?);
        expect_count(count()?, before + measured.total)?;
        return Ok(round);
    }
    let counted = counted_loop::run(sockets, before, &plan(bench, case))?;
    let cores = cpu.cores()?;
    let middle = count()?;
    expect_count(middle, counted.count)?;
    let sockets = open_all(address, &paths)?;
    let measured = closed_loop::run(&IncrementsWithId::new(), sockets, &plan(bench, case))?;
    expect_count(count()?, middle + measured.total)?;
    let round = Round::new(&measured, cores);
    Ok(Round { rate: counted.rate, ..round })
}

/// What the objects count, by a connection of its own: an idle one would be closed during a long run.
fn sum_of_counts(address: SocketAddr, paths: &[String]) -> Result<u64> {
    let mut http = Http::connect(address)?;
    paths.iter().map(|path| http.count(path)).sum()
}

fn expect_count(found: u64, expected: u64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("the objects count {found} increments, but {expected} were acknowledged").into())
}

fn report(bench: &mut Bench, case: Case, fdatasync: f64, raw: &[Round], fleet: &[Round]) {
    let rates = |rounds: &[Round]| median(rounds.iter().map(|round| round.rate));
    let ratio = median(raw.iter().zip(fleet).map(|(raw, fleet)| fleet.rate / raw.rate));
    let mut row = Row::new(case.name(), rate(rates(fleet)))
        .raw(format!("echo {}", rate(rates(raw))))
        .ratio(ratio)
        .note(format!("cores: {}; echo: {}", cores(fleet), cores(raw)));
    match (case.paths, case.in_flight) {
        (100, 16) => row = row.goal("≥ 0.60 and ≥ 200,000/s", ratio >= 0.6 && rates(fleet) >= 200_000.0),
        (100, _) => row = row.goal("≥ 0.60", ratio >= 0.6),
        _ => {}
    }
    bench.rows.push(row);

    let p50 = median(fleet.iter().map(|round| round.latency[0]));
    if case.connections == 1 && case.in_flight == 1 {
        let most = 2.0 * fdatasync + 0.1;
        let row = Row::new("  latency p50", milliseconds([p50]))
            .raw(format!("fdatasync p50 {}", milliseconds([fdatasync])))
            .ratio(p50 / fdatasync)
            .goal(format!("≤ 2 × + 0.1 = {}", milliseconds([most])), p50 <= most);
        bench.rows.push(row);
    }
    let ids = if case.is_shared() { ", messages with ids" } else { "" };
    let what = format!("  latency p50 / p99 / p99.9{ids}");
    let note = format!("fdatasync p50 {}", milliseconds([fdatasync]));
    let row = Row::new(what, latencies(fleet)).raw(format!("echo {}", latencies(raw)));
    bench.rows.push(row.note(note));
}

/// Cores that were busy, so that one can see whether the client held up the server.
fn cores(rounds: &[Round]) -> String {
    let client = median(rounds.iter().map(|round| round.cores.0));
    let server = median(rounds.iter().map(|round| round.cores.1));
    format!("client {client:.2}, server {server:.2}")
}

fn latencies(rounds: &[Round]) -> String {
    let middle = |place: usize| median(rounds.iter().map(|round| round.latency[place]));
    milliseconds([0, 1, 2].map(middle))
}
