//! The 100th child of an object beside the 10,000th of another, created in turn, so that both see the same disk.

use std::time::Instant;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::http::Http;
use crate::load::meter::median;
use crate::load::table::{Row, milliseconds};

/// Children of the large parent before anything is timed.
const MANY: u64 = 10_000;
/// The timed children of the small parent, around the 100th.
const TIMED: std::ops::Range<u64> = 50..150;
/// What one may cost more than the other.
const NOISE: f64 = 1.2;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let server = bench.server()?;
    let large = format!("/{}/large", bench.label);
    bench
        .post_all(server.address, MANY, |number| (format!("{large}:createAgent"), child(&format!("child-{number}"))))?;
    let mut http = Http::connect(server.address)?;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        let small = format!("/{}/small-{round}", bench.label);
        for number in 0..TIMED.end {
            let first = create(&mut http, &small, &format!("child-{number}"))?;
            if TIMED.contains(&number) {
                few.push(first);
                many.push(create(&mut http, &large, &format!("late-{round}-{number}"))?);
            }
        }
    }
    server.stop()?;
    let (few, many) = (median(few), median(many));
    let row = Row::new("createAgent: the 10,000th child", milliseconds([many]))
        .raw(format!("the 100th {}", milliseconds([few])))
        .ratio(many / few)
        .goal(format!("≤ {NOISE} × the 100th"), many <= NOISE * few);
    bench.rows.push(row);
    Ok(())
}

fn child(name: &str) -> String {
    format!(r#"{{"name":"{name}"}}"#)
}

/// Creates one child; gives the milliseconds it took.
fn create(http: &mut Http, parent: &str, name: &str) -> Result<f64> {
    let began = Instant::now();
    http.expect_ok("POST", &format!("{parent}:createAgent"), &child(name))?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
