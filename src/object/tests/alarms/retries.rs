//! AL3: what becomes of an alarm whose handler fails.

use super::*;

/// A retry chain to its end; answers when each was.
async fn chain(world: &mut World) -> Vec<u64> {
    let mut times = Vec::new();
    world.ok("set", START).await;
    for retry in 0..=6 {
        world.alarm_runs(retry).await;
        times.push(world.now());
        if retry < 6 {
            let at = world.alarm().await.expect("it waits");
            world.settled(Some(at)).await;
            world.advance(at - world.now() - 1).await;
            world.nothing_runs().await;
            world.advance(1).await;
        }
    }
    times
}

#[tokio::test(start_paused = true)]
async fn al3_a_failing_alarm_is_retried_six_times_later_and_later_then_dropped() {
    let mut world = World::new();
    world.ok("plan", Plan { failures: 7, ..Plan::default() }).await;
    let times = chain(&mut world).await;
    let mut jitters = 0;
    for (retry, pair) in times.windows(2).enumerate() {
        let (wait, least) = (pair[1] - pair[0], 2_000 << retry);
        assert!((least..=least + least / 4).contains(&wait), "retry {retry} after {wait} ms");
        jitters += u32::from(wait != least);
    }
    assert!(jitters > 0, "they do not all return together");
    world.settled(None).await;
    assert_eq!(world.alarm().await, None);
    assert_eq!((world.metrics.alarms_failed.get(), world.metrics.alarms_dropped.get()), (7, 1));
    assert_eq!(world.ok("runs", ()).await, "0", "each failed turn was taken back");
    world.advance(86_400_000).await;
    world.nothing_runs().await;
    world.restart(0).await;
    world.nothing_runs().await;
}

#[tokio::test(start_paused = true)]
async fn al3_a_panic_is_a_failure_and_loses_nothing_acknowledged() {
    let mut world = World::new();
    world.ok("plan", Plan { failures: 2, panics: true, ..Plan::default() }).await;
    world.ok("put", ()).await;
    world.ok("set", START + 1_000).await;
    world.advance(1_000).await;
    for retry in 0..2 {
        world.alarm_runs(retry).await;
        let at = world.alarm().await.expect("it waits");
        world.advance(at - world.now()).await;
    }
    world.alarm_runs(2).await;
    world.settled(None).await;
    assert_eq!(world.ok("runs", ()).await, "1");
    assert_eq!(world.ok("keys", ()).await, "1");
    assert_eq!((world.metrics.panics.get(), world.metrics.alarms_dropped.get()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn al3_what_a_failing_handler_says_of_the_alarm_is_taken_back_with_it() {
    let mut world = World::new();
    world.ok("plan", Plan { failures: 1, again: Some(500), ..Plan::default() }).await;
    world.ok("set", START + 1_000).await;
    world.advance(1_000).await;
    world.alarm_runs(0).await;
    let at = world.alarm().await.expect("a retry");
    assert!(at >= world.now() + 2_000, "not the 500 ms of the turn that failed");
    world.advance(at - world.now()).await;
    world.alarm_runs(1).await;
    assert_eq!(world.alarm().await, Some(world.now() + 500));
}

#[tokio::test(start_paused = true)]
async fn al3_a_newer_alarm_replaces_the_retries() {
    let mut world = World::new();
    world.ok("plan", Plan { failures: 1, ..Plan::default() }).await;
    world.ok("set", START).await;
    world.alarm_runs(0).await;
    let retry = world.alarm().await.expect("a retry");
    world.ok("set", START + 60_000).await;
    world.advance(retry - world.now()).await;
    world.nothing_runs().await;
    world.advance(START + 60_000 - world.now()).await;
    world.alarm_runs(0).await;
    assert!(world.alarm().await.is_some(), "which has retries of its own");
    assert_eq!(world.ok("delete", ()).await, "true");
    world.settled(None).await;
    world.advance(60_000).await;
    world.nothing_runs().await;
}

#[tokio::test(start_paused = true)]
async fn al3_the_count_of_retries_survives_a_restart() {
    let mut world = World::new();
    world.ok("plan", Plan { failures: 2, ..Plan::default() }).await;
    world.ok("set", START).await;
    world.alarm_runs(0).await;
    let at = world.alarm().await.expect("a retry");
    world.settled(Some(at)).await;
    world.restart(0).await;
    world.advance(at - world.now() - 1).await;
    world.nothing_runs().await;
    world.advance(1).await;
    world.alarm_runs(1).await;
    world.settled(world.alarm().await).await;
    world.restart(60_000).await;
    world.alarm_runs(2).await;
    world.settled(None).await;
    assert_eq!(world.ok("runs", ()).await, "1");
}
