//! What the server says about its objects in memory, by `/.fleet/metrics`.

use std::net::SocketAddr;
use std::time::Duration;

use super::http::Http;
use super::meter::wait_until;
use crate::Result;

/// Objects may stay in memory for this long after their last event.
const PATIENCE: Duration = Duration::from_mins(1);

/// The sum of `fleet_objects` over all classes, of one state (`active`, `asleep`) or, with an empty text, of both.
pub(crate) fn in_memory(address: SocketAddr, state: &str) -> Result<u64> {
    let metrics = Http::connect(address)?.expect_ok("GET", "/.fleet/metrics", "")?;
    let label = format!("state=\"{state}");
    let lines = metrics.lines().filter(|line| line.starts_with("fleet_objects{") && line.contains(&label));
    let values = lines.filter_map(|line| line.rsplit(' ').next()).map(str::parse::<f64>);
    let sum = values.sum::<std::result::Result<f64, _>>()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok(sum.max(0.0) as u64)
}

/// Waits until all objects are out of memory.
pub(crate) fn wait_for_none(address: SocketAddr) -> Result<()> {
    if wait_until(PATIENCE, Duration::from_millis(200), || Ok(in_memory(address, "")? == 0))? {
        return Ok(());
    }
    let left = in_memory(address, "")?;
    Err(format!("{left} objects are in memory {PATIENCE:?} after their last event").into())
}
