//! AL1 to AL3.

use super::*;
use crate::limits::ALARM_RETRIES;

#[test]
fn al1_a_newer_alarm_replaces_and_a_past_one_is_due() {
    let mut timers = Timers::default();
    assert_eq!(timers.alarm(), None);
    timers.set_alarm(5_000).unwrap();
    timers.set_alarm(3_000).unwrap();
    assert_eq!((timers.alarm(), timers.next_wake()), (Some(3_000), Some(3_000)));
    timers.set_alarm(0).unwrap();
    assert_eq!(timers.due(1_000_000), [Due::Alarm { at: 0 }]);
    assert!(timers.delete_alarm());
    assert!(!timers.delete_alarm());
    assert_eq!((timers.alarm(), timers.next_wake()), (None, None));
    assert_eq!(timers.fire_alarm(u64::MAX), None);
}

#[test]
fn an_alarm_beyond_the_calendar_is_refused() {
    let mut timers = Timers::default();
    timers.set_alarm(LATEST_MS).unwrap();
    let error = timers.set_alarm(LATEST_MS + 1).unwrap_err();
    let text = "the time is 253370764800001 ms since the epoch; the limit is 253370764800000 (the year 9999)";
    assert_eq!(error.to_string(), text);
    assert_eq!(timers.alarm(), Some(LATEST_MS), "the refused one changed nothing");
}

#[test]
fn al2_an_alarm_is_never_early_and_empty_while_its_handler_runs() {
    let mut timers = Timers::default();
    timers.set_alarm(1_000).unwrap();
    assert_eq!(timers.fire_alarm(999), None);
    assert_eq!(timers.due(999), []);
    assert_eq!(timers.alarm(), Some(1_000));
    assert_eq!(timers.fire_alarm(1_000), Some(Alarm { at: 1_000, retry: 0 }));
    assert_eq!(timers.alarm(), None);
    assert_eq!(timers.fire_alarm(1_000), None, "once a turn");
}

#[test]
fn al2_a_crash_before_the_commit_of_its_turn_leaves_the_alarm_with_its_retry_count() {
    let (mut timers, mut disk) = (Timers::default(), Disk::default());
    timers.set_alarm(1_000).unwrap();
    let fired = timers.fire_alarm(1_000).unwrap();
    timers.undo();
    assert_eq!(timers.alarm(), None, "it was set in the turn that failed");

    timers.set_alarm(1_000).unwrap();
    disk.commit(&mut timers);
    assert_eq!(timers.fire_alarm(1_000), Some(fired));
    timers.undo();
    let Retry::Waits(retry) = timers.retry_alarm(fired, 1_000, 0) else { panic!("a retry") };
    disk.commit(&mut timers);

    let running = timers.fire_alarm(retry.at).unwrap();
    assert_eq!(running.retry, 1);
    // The server dies here: the turn was not committed.
    let mut timers = disk.load();
    assert_eq!(timers.fire_alarm(u64::MAX), Some(running));
    assert_eq!(disk.commit(&mut timers), [ALARM.into()]);
    assert_eq!(disk.load().alarm(), None, "handled with the commit of its turn");
}

#[test]
fn al2_an_alarm_that_its_handler_sets_is_kept_in_the_same_commit() {
    let (mut timers, mut disk) = (Timers::default(), Disk::default());
    timers.set_alarm(1_000).unwrap();
    disk.commit(&mut timers);
    timers.fire_alarm(1_000).unwrap();
    timers.set_alarm(2_000).unwrap();
    assert_eq!(disk.commit(&mut timers), [ALARM.into()]);
    assert_eq!(disk.load().alarm(), Some(2_000));
}

#[test]
fn al3_six_retries_wait_twice_as_long_each_and_then_the_alarm_is_dropped() {
    let (mut timers, mut disk) = (Timers::default(), Disk::default());
    timers.set_alarm(0).unwrap();
    disk.commit(&mut timers);
    let mut now = 0;
    for (retry, wait) in (0..).zip([2_000, 4_000, 8_000, 16_000, 32_000, 64_000]) {
        let fired = timers.fire_alarm(now).unwrap();
        assert_eq!(fired.retry, retry);
        timers.undo();
        let next = Alarm { at: now + wait, retry: retry + 1 };
        assert_eq!(timers.retry_alarm(fired, now, 0), Retry::Waits(next));
        disk.commit(&mut timers);
        // A restart does not begin the count anew.
        timers = disk.load();
        assert_eq!(timers.fire_alarm(next.at - 1), None);
        now = next.at;
    }
    let fired = timers.fire_alarm(now).unwrap();
    assert_eq!(fired.retry, ALARM_RETRIES);
    timers.undo();
    assert_eq!(timers.retry_alarm(fired, now, 0), Retry::Dropped);
    disk.commit(&mut timers);
    assert_eq!((timers.next_wake(), disk), (None, Disk::default()));
}

#[test]
fn al3_jitter_adds_up_to_a_quarter() {
    let fired = Alarm { at: 0, retry: 0 };
    let at = |random| fired.after_failure(10_000, random).unwrap().at;
    assert_eq!((at(0), at(500), at(501)), (12_000, 12_500, 12_000));
}

#[test]
fn al3_a_newer_alarm_replaces_the_retries() {
    let mut timers = Timers::default();
    timers.set_alarm(1_000).unwrap();
    timers.take_changes();
    // After the failed turn.
    let fired = timers.fire_alarm(1_000).unwrap();
    timers.undo();
    timers.retry_alarm(fired, 1_000, 0);
    timers.set_alarm(9_000).unwrap();
    let fired = timers.fire_alarm(9_000).unwrap();
    assert_eq!(fired, Alarm { at: 9_000, retry: 0 }, "the count begins anew");
    // In a failed turn that is kept.
    timers.set_alarm(20_000).unwrap();
    assert_eq!(timers.retry_alarm(fired, 9_000, 0), Retry::Replaced);
    assert_eq!(timers.alarm(), Some(20_000));
    // And deleted between the failure and the retry.
    timers.delete_alarm();
    assert_eq!(timers.next_wake(), None);
}

#[test]
fn a_failed_turn_that_is_kept_is_retried_as_well() {
    let mut timers = Timers::default();
    timers.set_alarm(1_000).unwrap();
    let fired = timers.fire_alarm(1_000).unwrap();
    assert_eq!(timers.retry_alarm(fired, 1_000, 0), Retry::Waits(Alarm { at: 3_000, retry: 1 }));
}
