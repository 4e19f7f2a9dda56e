//! Durable messages between two objects: sent, handled once and in order, and gone, all of it on the disk.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::http::Http;
use crate::load::meter::{Cpu, median, wait_until};
use crate::load::table::{Row, milliseconds, rate};

/// Pairs that are at it at the same time.
const PAIRS: [usize; 2] = [1, 8];
/// How long the last messages may take.
const DRAIN: Duration = Duration::from_mins(1);

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(server) = bench.class_server()? else { return Ok(()) };
    for pairs in PAIRS {
        let (mut disk, mut rates, mut cores) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=bench.args.rounds {
            eprintln!("  {pairs} pairs: round {round} of {}", bench.args.rounds);
            disk.push(bench.disk.sample()?);
            let cpu = Cpu::start(server.pid())?;
            rates.push(one_round(bench, server.address, &format!("{pairs}-{round}"), pairs)?);
            cores.push(cpu.cores()?.1);
        }
        let all = median(rates);
        let what = if pairs == 1 { "send between two objects".to_owned() } else { format!("  {pairs} pairs at once") };
        let note = format!("fdatasync p50 {}; server {:.2} cores", milliseconds([median(disk)]), median(cores));
        let row = Row::new(what, rate(all)).note(note);
        bench.rows.push(if pairs == 1 { row.goal("≥ 50,000/s", all >= 50_000.0) } else { row });
    }
    server.stop()
}

/// Messages handled a second, of all pairs.
fn one_round(bench: &Bench, address: SocketAddr, name: &str, pairs: usize) -> Result<f64> {
    let path = |class: &str, pair: usize| format!("/{}/{class}/{name}/{pair}", bench.label);
    let mut http = Http::connect(address)?;
    for pair in 0..pairs {
        let body = serde_json::json!([path("receiver", pair), bench.args.seconds.as_millis()]).to_string();
        http.expect_ok("POST", &format!("{}:start", path("sender", pair)), &body)?;
    }
    let mut sum = 0.0;
    for pair in 0..pairs {
        let mut last = (0, 0, 0, 0);
        let all_handled = wait_until(bench.args.seconds + DRAIN, Duration::from_millis(100), || {
            let mut http = Http::connect(address)?;
            let handled = http.expect_ok("POST", &format!("{}:handled", path("receiver", pair)), "null")?;
            let sent = http.expect_ok("POST", &format!("{}:sent", path("sender", pair)), "null")?;
            let (handled, out_of_order, ms): (u64, u64, u64) = serde_json::from_str(&handled)?;
            let sent = serde_json::from_str::<u64>(&sent)?;
            // It is over when nothing has come since the last look.
            let over = handled == sent && last == (sent, handled, out_of_order, ms);
            last = (sent, handled, out_of_order, ms);
            Ok(over)
        })?;
        let (sent, handled, out_of_order, ms) = last;
        if !all_handled || out_of_order > 0 {
            return Err(format!("{sent} sent, {handled} handled, {out_of_order} of them out of order").into());
        }
        sum += handled as f64 / (ms.max(1) as f64 / 1e3);
    }
    Ok(sum)
}
