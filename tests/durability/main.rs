//! What was acknowledged stays, however the server ends and whatever the disk does: the real binary, killed, traced, and
//! on broken disks. The names of tests start with the ids of the behaviours that they hold.

// A test that cannot go on should say where.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod classes;
mod client;
mod disk;
mod effects;
mod files;
mod fsync;
mod kill;
mod objects;
mod reaping;
mod server;
mod stop;
mod trace;
mod tree;
mod worker;
mod workforce;

use std::io::Write as _;
use std::time::Duration;

/// How long a test waits for anything before it fails: far longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// A future's value, or a failure that says what was waited for.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let value = tokio::time::timeout(DEADLINE, future).await;
    value.unwrap_or_else(|late| panic!("{what}: nothing within {DEADLINE:?}: {late}"))
}

/// Looks until it is so. Only for what nothing tells of.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        while !holds().await {
            look.tick().await;
        }
    })
    .await;
}

/// Says that a test cannot be run here. In CI that is a failure.
#[expect(clippy::explicit_write, reason = "what is printed by macros is not shown of a test that passes")]
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "this must run in CI: {why}");
    writeln!(std::io::stderr(), "SKIPPED: {why}").unwrap();
}

/// Randomness with a seed that a failing test shows; `FLEET_CRASH_SEED` sets it.
fn seeded() -> fastrand::Rng {
    let given = std::env::var("FLEET_CRASH_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("FLEET_CRASH_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
