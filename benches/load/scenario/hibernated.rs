//! Memory of hibernated objects without sockets, which has to be none.
//!
//! # Why
//! Touching new objects and comparing before with after also measures what a server may keep: the allocator's free pages
//! and the database's page cache (bounded, but far from full here). So the objects are created first, by another process
//! on the same data; then the even ones are touched and hibernate, which fills allocator and caches; then the odd ones,
//! which lie between the even ones, in the same pages of the database. What grows from the first time to the second is
//! what hibernated objects keep.

use crate::Result;
use crate::load::bench::Bench;
use crate::load::http::Http;
use crate::load::meter::{growth, memory};
use crate::load::objects;
use crate::load::table::{Row, thousands};

/// Growth that is noise: of 50,000 objects, 1.6 MB in all. An entry of a map would be more.
const NOISE_BYTES: f64 = 32.0;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.args.url.is_some() {
        eprintln!("  left out: a server at --url has a process that cannot be seen");
        return Ok(());
    }
    let count = bench.args.sockets as u64 * 5;
    let data = bench.new_data_dir();
    let target = |number: u64| (format!("/{}/asleep/{number:08}:increment", bench.label), String::new());
    let process = bench.start(&data)?;
    bench.post_all(process.address, 2 * count, target)?;
    process.stop()?;

    let process = bench.start(&data)?;
    let mut http = Http::connect(process.address)?;
    eprintln!("  first {count} objects");
    bench.post_all(process.address, count, |number| target(2 * number))?;
    hibernate(&mut http)?;
    let before = memory(process.pid())?;
    eprintln!("  second {count} objects");
    bench.post_all(process.address, count, |number| target(2 * number + 1))?;
    let live = memory(process.pid())?;
    let seen = hibernate(&mut http)?;
    let after = memory(process.pid())?;
    process.stop()?;

    let count = usize::try_from(count)?;
    let each = growth(before.resident, after.resident, count);
    let row = Row::new("memory of a hibernated object", thousands(each) + " B")
        .goal(format!("0 (noise: {NOISE_BYTES} B)"), each <= NOISE_BYTES)
        .note(format!(
            "{seen} were live, {} B each",
            thousands(growth(before.resident, live.resident, count))
        ));
    bench.rows.push(row);
    Ok(())
}

/// Waits until nothing is in memory; gives how much was.
fn hibernate(http: &mut Http) -> Result<u64> {
    let seen = objects::in_memory(http, "active")?;
    if seen == 0 {
        return Err("no object is live right after a write: does `fleet_objects` count?".into());
    }
    objects::wait_for_none(http)?;
    Ok(seen)
}
