//! Delete of a large subtree, in two levels; meanwhile increments on other objects at a fixed pace.

use std::time::{Duration, Instant};

use crate::Result;
use crate::load::bench::{Bench, Server};
use crate::load::http::Http;
use crate::load::meter::{median, pause};
use crate::load::objects;
use crate::load::open_loop::{OpenLoop, Sample, p99};
use crate::load::table::{Row, milliseconds, thousands};

/// Descendants below each of the upper level, with itself.
const BRANCH: u64 = 1_000;
/// Other objects, and the pace of increments on each.
const OTHERS: usize = 4;
const PERIOD: Duration = Duration::from_millis(1);
/// Before the delete, and after it: what is reaped in the background may disturb others too.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(2);

/// Milliseconds of one delete, and of what others felt.
struct Round {
    delete: f64,
    /// Latencies of increments that were under way while it ran, and of those due in the time after it.
    during: Vec<f64>,
    after: Vec<f64>,
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    let mut live = Vec::new();
    for round in 1..=bench.args.rounds {
        eprintln!("  round {round} of {}", bench.args.rounds);
        live.push(one_round(bench, &server, &format!("live-{round}"), false)?);
    }
    report(bench, "live", &live);
    if server.pid().is_some() {
        eprintln!("  once with hibernated objects");
        let asleep = one_round(bench, &server, "asleep", true)?;
        report(bench, "hibernated", &[asleep]);
    }
    server.stop()
}

fn one_round(bench: &Bench, server: &Server, name: &str, hibernated: bool) -> Result<Round> {
    let root = format!("/{}/{name}", bench.label);
    Http::connect(server.address)?.expect_ok("POST", &format!("{root}:increment"), "")?;
    let path = |number: u64| match (number / BRANCH, number % BRANCH) {
        (branch, 0) => format!("{root}/{branch}"),
        (branch, leaf) => format!("{root}/{branch}/{leaf}"),
    };
    let descendants = bench.args.descendants;
    bench.post_all(server.address, descendants, |number| (path(number) + ":increment", String::new()))?;
    if hibernated {
        objects::wait_for_none(server.address)?;
    }
    let others: Vec<String> = (0..OTHERS).map(|other| format!("/{}/other/{other}", bench.label)).collect();
    let load = OpenLoop::start(server.address, &others, PERIOD)?;
    pause(BEFORE);
    let mut http = Http::connect(server.address)?;
    let from = Instant::now();
    let deleted = http.request("DELETE", &root, "");
    let until = Instant::now();
    pause(AFTER);
    let samples = load.finish()?;
    match deleted? {
        (200, body) if body.trim() == "OK" => {}
        (status, body) => return Err(format!("DELETE {root}: {status} {body}").into()),
    }
    expect_gone(&mut http, &root, &path(descendants - 1))?;
    Ok(Round {
        delete: (until - from).as_secs_f64() * 1e3,
        during: latencies(&samples, |due, done| due < until && done > from),
        after: latencies(&samples, |due, _| due >= until && due < until + AFTER),
    })
}

fn expect_gone(http: &mut Http, root: &str, leaf: &str) -> Result<()> {
    let count = http.count(leaf)?;
    let list = http.expect_ok("GET", &format!("/.fleet/objects?prefix={root}&limit=1"), "")?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let none = list["items"].as_array().is_some_and(Vec::is_empty);
    if count == 0 && none {
        return Ok(());
    }
    Err(format!("{root} was deleted, but {leaf} counts {count} and the list says {list}").into())
}

/// Sorted latencies, in milliseconds, of the samples that are chosen by when they were due and when they were done.
fn latencies(samples: &[Sample], choose: impl Fn(Instant, Instant) -> bool) -> Vec<f64> {
    let chosen = samples.iter().filter(|(due, latency)| choose(*due, *due + *latency));
    let mut latencies: Vec<f64> = chosen.map(|(_, latency)| latency.as_secs_f64() * 1e3).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

fn report(bench: &mut Bench, kind: &str, rounds: &[Round]) {
    let delete = median(rounds.iter().map(|round| round.delete));
    let what = format!("delete of {} {kind} descendants", thousands(bench.args.descendants as f64));
    let row = Row::new(what, milliseconds([delete])).goal("≤ 300 ms", delete <= 300.0);
    bench.rows.push(row);
    let during = median(rounds.iter().map(|round| p99(&round.during)));
    let after = median(rounds.iter().map(|round| p99(&round.after)));
    let worst = rounds.iter().flat_map(|round| round.during.iter().chain(&round.after));
    let worst = worst.copied().fold(0.0, f64::max);
    let count = median(rounds.iter().map(|round| round.during.len() as f64));
    let row = Row::new("  other objects meanwhile / in the 2 s after, p99", milliseconds([during, after]))
        .goal("< 50 ms", during.max(after) < 50.0)
        .note(format!("worst {}; {} increments under way meanwhile", milliseconds([worst]), thousands(count)));
    bench.rows.push(row);
}
