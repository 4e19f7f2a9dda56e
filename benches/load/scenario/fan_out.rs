//! One message to 1,000 sockets of one path, beside plain writes by a process that does nothing else.

use std::net::SocketAddr;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::fan_loop::{self, Fanned};
use crate::load::meter::{Cpu, median};
use crate::load::socket::open_all;
use crate::load::table::{Row, milliseconds, rate};

const SOCKETS: usize = 1_000;
/// Messages that some socket still lacks: one gives the time until the last has it, more the frames a second.
const IN_FLIGHT: [usize; 2] = [1, 16];

struct Round {
    fanned: Fanned,
    /// Cores of client and server.
    cores: (f64, f64),
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    let plain = Bench::start_raw_fan()?;
    let path = format!("/{}/fan", bench.label);
    for in_flight in IN_FLIGHT {
        let (mut raw, mut fleet) = (Vec::new(), Vec::new());
        for round in 1..=bench.args.rounds {
            eprintln!("  {in_flight} in flight: round {round} of {}", bench.args.rounds);
            raw.push(one_round(bench, plain.address, Some(plain.pid()), &path, in_flight)?);
            fleet.push(one_round(bench, server.address, server.pid(), &path, in_flight)?);
        }
        report(bench, in_flight, &raw, &fleet);
    }
    server.stop()
}

fn one_round(bench: &Bench, address: SocketAddr, pid: Option<u32>, path: &str, in_flight: usize) -> Result<Round> {
    let paths = vec![path.to_owned(); SOCKETS];
    let sockets = open_all(address, &paths)?;
    let cpu = Cpu::start(pid)?;
    let fanned = fan_loop::run(address, path, sockets, in_flight, bench.args.seconds)?;
    let cores = cpu.cores()?;
    Ok(Round { fanned, cores })
}

fn report(bench: &mut Bench, in_flight: usize, raw: &[Round], fleet: &[Round]) {
    let rates = |rounds: &[Round]| median(rounds.iter().map(|round| round.fanned.rate));
    let last = |rounds: &[Round], share| median(rounds.iter().map(|round| round.fanned.last.milliseconds(share)));
    let (client, server) =
        (median(fleet.iter().map(|round| round.cores.0)), median(fleet.iter().map(|round| round.cores.1)));
    let ratio = median(raw.iter().zip(fleet).map(|(raw, fleet)| fleet.fanned.rate / raw.fanned.rate));
    let what = format!("fan-out to {SOCKETS} sockets, {in_flight} in flight: frames");
    let row = Row::new(what, rate(rates(fleet)))
        .raw(format!("writes {}", rate(rates(raw))))
        .ratio(ratio)
        .note(format!("cores: client {client:.2}, server {server:.2}"));
    bench.rows.push(row);
    let both = |rounds| milliseconds([last(rounds, 0.5), last(rounds, 0.99)]);
    let row = Row::new("  time until the last socket has it, p50 / p99", both(fleet))
        .raw(both(raw))
        .ratio(last(fleet, 0.5) / last(raw, 0.5));
    bench.rows.push(row);
}
