//! One request to an object with 100 keys that sleeps, beside the same request right after it.

use std::time::Instant;

use crate::Result;
use crate::load::bench::Bench;
use crate::load::histogram::Histogram;
use crate::load::http::Http;
use crate::load::objects;
use crate::load::table::{Row, milliseconds};

const OBJECTS: u64 = 2_000;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(server) = bench.class_server()? else { return Ok(()) };
    let path = |number: u64| format!("/{}/shelf/{number:06}", bench.label);
    bench.post_all(server.address, OBJECTS, |number| (path(number) + ":fill", String::new()))?;
    eprintln!("  waiting until {OBJECTS} objects are asleep");
    objects::wait_for_none(server.address)?;
    let fdatasync = bench.disk.sample()?;
    let mut http = Http::connect(server.address)?;
    let (mut asleep, mut awake) = (Histogram::new(), Histogram::new());
    for number in 0..OBJECTS {
        let target = path(number) + ":count";
        for latency in [&mut asleep, &mut awake] {
            let began = Instant::now();
            let keys = http.expect_ok("POST", &target, "null")?;
            latency.record(began.elapsed());
            if keys != "100" {
                return Err(format!("{target}: {keys} keys instead of 100").into());
            }
        }
    }
    server.stop()?;
    let (p50, p99) = (asleep.milliseconds(0.5), asleep.milliseconds(0.99));
    let row = Row::new("request that wakes an object with 100 keys, p50 / p99", milliseconds([p50, p99]))
        .raw(format!("awake {}", milliseconds([awake.milliseconds(0.5), awake.milliseconds(0.99)])))
        .ratio(p50 / awake.milliseconds(0.5))
        .goal("p50 < 1 ms", p50 < 1.0)
        .note(format!("fdatasync p50 {}", milliseconds([fdatasync])));
    bench.rows.push(row);
    Ok(())
}
