//! Memory of hibernated objects without sockets, which has to be none.
//!
//! # Why
//! Touching new objects and comparing before with after also measures what a server may keep: the allocator's free pages
//! and the database's page cache (bounded, but far from full here). So the objects are created first, by another process
//! on the same data, and then touched in waves, each of which hibernates before the next. The objects of one wave lie
//! between those of the others, in the same pages of the database; so the first wave fills allocator and caches, and what
//! grows from the first to the last is what hibernated objects keep. The waves between make it large beside the noise.

use crate::Result;
use crate::load::bench::Bench;
use crate::load::meter::{growth, memory, settled_memory};
use crate::load::objects;
use crate::load::table::{Row, thousands};

/// How often as many objects are touched and hibernate.
const WAVES: u64 = 4;
/// Growth that is noise: of 150,000 objects, 4.8 MB in all. An entry of a map would be more.
const NOISE_BYTES: f64 = 32.0;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if bench.args.url.is_some() {
        eprintln!("  left out: a server at --url has a process that cannot be seen");
        return Ok(());
    }
    let count = bench.args.sockets * 5;
    let data = bench.new_data_dir();
    let target = |number: u64| (format!("/{}/asleep/{number:08}:increment", bench.label), String::new());
    let process = bench.start(&data)?;
    bench.post_all(process.address, count as u64 * WAVES, target)?;
    process.stop()?;

    let process = bench.start(&data)?;
    let mut after = Vec::new();
    let mut live = Vec::new();
    for wave in 0..WAVES {
        eprintln!("  {count} objects, {} of {WAVES} times", wave + 1);
        bench.post_all(process.address, count as u64, |number| target(number * WAVES + wave))?;
        live.push((memory(process.pid())?.resident, objects::in_memory(process.address, "active")?));
        if live[0].1 == 0 {
            return Err("no object is live right after a write: does `fleet_objects` count?".into());
        }
        objects::wait_for_none(process.address)?;
        after.push(settled_memory(process.pid())?.resident);
    }
    process.stop()?;

    let later = after.len() - 1;
    let each = growth(after[0], after[later], count * later);
    let row = Row::new("memory of a hibernated object", thousands(each) + " B")
        .goal(format!("0 (noise: {NOISE_BYTES} B)"), each <= NOISE_BYTES)
        .note(format!("{} were live, {} B each", live[later].1, thousands(growth(after[later], live[later].0, count))));
    bench.rows.push(row);
    Ok(())
}
