//! AL4: named schedules.

use super::*;
use crate::limits::{SCHEDULE_HISTORY, SCHEDULES};

#[tokio::test(start_paused = true)]
async fn al4_every_ticks_at_its_interval_and_remembers_its_runs() {
    let mut world = World::new();
    world.ok("schedule", ("tick", Tick::Every(10_000))).await;
    for round in 1..=20 {
        world.settled(Some(START + round * 10_000)).await;
        world.hibernate("/a").await;
        world.advance(9_999).await;
        world.nothing_runs().await;
        world.advance(1).await;
        world.schedule_runs("tick").await;
    }
    let tick = world.show("tick").await;
    assert_eq!((tick.next, tick.running), (Some(START + 210_000), None));
    assert_eq!(tick.history.len(), SCHEDULE_HISTORY);
    assert_eq!(tick.history.back().map(|firing| (firing.at, firing.took)), Some((START + 200_000, 0)));
}

#[tokio::test(start_paused = true)]
async fn al4_cron_follows_its_time_zone() {
    let mut world = World::new();
    let nine = |zone: &str| Tick::Cron("0 9 * * *".to_owned(), zone.to_owned());
    world.ok("schedule", ("utc", nine("UTC"))).await;
    world.ok("schedule", ("kyoto", nine("Asia/Tokyo"))).await;
    // 22:13:20 UTC is 07:13:20 in Japan.
    world.advance(6_400_000 - 1).await;
    world.nothing_runs().await;
    world.advance(1).await;
    world.schedule_runs("kyoto").await;
    world.settled(Some(START + 38_800_000)).await;
    world.advance(9 * 3_600_000).await;
    world.schedule_runs("utc").await;
    assert_eq!(world.show("kyoto").await.next, Some(START + 6_400_000 + 86_400_000));
}

#[tokio::test(start_paused = true)]
async fn al4_once_runs_once_also_if_it_is_past_and_registered_again() {
    let mut world = World::new();
    world.ok("schedule", ("past", Tick::Once(7))).await;
    world.schedule_runs("past").await;
    world.ok("schedule", ("later", Tick::Once(START + 5_000))).await;
    world.advance(5_000).await;
    world.schedule_runs("later").await;
    for (name, at) in [("past", 7), ("later", START + 5_000)] {
        world.ok("schedule", (name, Tick::Once(at))).await;
    }
    world.settled(None).await;
    world.nothing_runs().await;
}

#[tokio::test(start_paused = true)]
async fn al4_the_same_name_is_one_schedule() {
    let mut world = World::new();
    for _ in 0..3 {
        world.ok("schedule", ("tick", Tick::Every(5_000))).await;
        world.advance(1_000).await;
    }
    assert_eq!(world.ok("names", ()).await, r#"["tick"]"#);
    world.advance(2_000).await;
    world.schedule_runs("tick").await;
    world.nothing_runs().await;
    world.ok("schedule", ("tick", Tick::Every(60_000))).await;
    assert_eq!(world.show("tick").await.next, Some(world.now() + 60_000), "another specification changes it");
}

#[tokio::test(start_paused = true)]
async fn al4_ticks_that_were_missed_run_once() {
    let mut world = World::new();
    world.ok("schedule", ("tick", Tick::Every(1_000))).await;
    world.ok("schedule", ("tock", Tick::Every(1_000))).await;
    world.restart(3_600_500).await;
    world.schedule_runs("tick").await;
    world.schedule_runs("tock").await;
    world.settled(Some(START + 3_601_000)).await;
    world.nothing_runs().await;
    // The same where the object was busy: what fell due meanwhile is left out.
    world.advance(60_000).await;
    world.schedule_runs("tick").await;
    world.schedule_runs("tock").await;
    world.settled(Some(START + 3_661_000)).await;
    world.nothing_runs().await;
    let tick = world.show("tick").await;
    assert_eq!(tick.history.iter().map(|run| run.at - START).collect::<Vec<_>>(), [3_600_500, 3_660_500]);
}

#[tokio::test(start_paused = true)]
async fn al4_a_failure_is_in_the_history_and_not_retried() {
    let mut world = World::new();
    world.ok("plan", Plan { fails: true, ..Plan::default() }).await;
    world.ok("schedule", ("tick", Tick::Every(30_000))).await;
    world.advance(30_000).await;
    world.schedule_runs("tick").await;
    world.settled(Some(START + 60_000)).await;
    let tick = world.show("tick").await;
    assert_eq!(tick.history[0].error.as_deref(), Some("on purpose"));
    assert_eq!((tick.running, world.metrics.alarms_failed.get()), (None, 1));
    assert_eq!(world.ok("runs", ()).await, "0", "its turn was taken back");
    world.advance(29_999).await;
    world.nothing_runs().await;
    world.restart(1).await;
    world.schedule_runs("tick").await;
    world.settled(Some(START + 90_000)).await;
    assert_eq!(world.show("tick").await.history.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn al4_pause_resume_and_run_now() {
    let mut world = World::new();
    world.ok("schedule", ("tick", Tick::Every(10_000))).await;
    world.ok("pause", "tick").await;
    world.settled(None).await;
    world.advance(35_000).await;
    world.nothing_runs().await;
    world.ok("run", "tick").await;
    world.schedule_runs("tick").await;
    assert!(world.show("tick").await.paused, "it stays so");
    world.ok("resume", "tick").await;
    world.settled(Some(START + 40_000)).await;
    world.nothing_runs().await;
    world.advance(5_000).await;
    world.schedule_runs("tick").await;
    world.ok("run", "tick").await;
    world.schedule_runs("tick").await;
    world.settled(Some(START + 50_000)).await;
    assert_eq!(world.ok("unschedule", "tick").await, "true");
    world.settled(None).await;
    for method in ["pause", "resume", "run"] {
        let error = world.call_at("/a", method, "tick").await.expect_err("it is deleted");
        assert_eq!((error.code(), error.message()), (Code::NotFound, "there is no schedule `tick`"));
    }
}

#[tokio::test(start_paused = true)]
async fn al4_too_many_schedules_are_a_clear_error() {
    let mut world = World::new();
    let error = world.call_at("/a", "schedules", 1_000).await.expect_err("too many");
    assert_eq!(error.code(), Code::Conflict);
    assert!(error.message().contains(&format!("at most {SCHEDULES}")), "{error}");
    assert_eq!(world.ok("names", ()).await, "[]", "nothing of it remains");
    world.ok("schedules", SCHEDULES).await;
    world.advance(60_000).await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..SCHEDULES {
        let ran = world.next().await;
        assert_eq!(ran.at, world.now());
        names.insert(ran.what);
    }
    assert_eq!(names.len(), SCHEDULES, "those due at the same time each have a turn");
    world.settled(Some(START + 120_000)).await;
    world.nothing_runs().await;
}

#[tokio::test(start_paused = true)]
async fn al4_what_cannot_be_a_schedule_is_refused() {
    let world = World::new();
    for (name, when, text) in [
        ("", Tick::Every(1_000), "the name of a schedule has 0 characters"),
        ("a", Tick::Every(999), "the interval is 999 ms"),
        ("a", Tick::Cron("every day".into(), "UTC".into()), "`every day` is not a cron expression"),
        ("a", Tick::Cron("0 9 * * *".into(), "Mars".into()), "`Mars` is not a time zone"),
    ] {
        let error = world.call_at("/a", "schedule", (name, when)).await.expect_err("it is refused");
        assert_eq!(error.code(), Code::BadRequest);
        assert!(error.message().starts_with(text), "{error}");
    }
}
