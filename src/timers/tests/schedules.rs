//! AL4.

use super::*;
use crate::limits::{SCHEDULE_ERROR_BYTES, SCHEDULE_HISTORY};

const HOUR: u64 = 3_600_000;

#[test]
fn al4_an_interval_ticks_from_its_registration_and_does_not_drift() {
    let mut timers = Timers::default();
    timers.schedule("a", every(10_000), 500).unwrap();
    assert_eq!(timers.begin("a", 10_499), None, "never early");
    assert_eq!(fire(&mut timers, 10_900).unwrap().due, 10_500);
    assert_eq!(timers.next_wake(), Some(20_500), "not 10 s after a late tick");
}

#[test]
fn al4_one_tick_is_one_firing() {
    let mut timers = with(once(1_000));
    assert_eq!(fire(&mut timers, 999), None);
    assert!(fire(&mut timers, 5_000).is_some());
    assert_eq!((fire(&mut timers, 6_000), timers.next_wake()), (None, None));
    timers.schedule("a", once(1_000), 7_000).unwrap();
    assert_eq!(timers.next_wake(), None, "an object that registers it at each start does not repeat it");
    timers.schedule("a", once(8_000), 7_000).unwrap();
    assert_eq!(timers.next_wake(), Some(8_000));
}

#[test]
fn al4_registering_twice_is_one_schedule_and_the_newer_specification_wins() {
    let mut timers = with(every(10_000));
    fire(&mut timers, 10_000).unwrap();
    timers.pause("a").unwrap();
    timers.take_changes();
    timers.schedule("a", every(10_000), 13_000).unwrap();
    assert_eq!(timers.take_changes(), [], "the same again changes nothing");
    assert_eq!(timers.get("a").unwrap().next, Some(20_000));

    timers.schedule("a", every(60_000), 13_000).unwrap();
    let schedule = timers.get("a").unwrap();
    assert_eq!((schedule.next, schedule.history.len(), schedule.paused), (Some(73_000), 1, true));
    assert_eq!(timers.schedules().count(), 1);
}

#[test]
fn al4_overlap_is_skipped() {
    let mut timers = with(every(10_000));
    let tick = timers.begin("a", 10_000).unwrap();
    assert_eq!((timers.next_wake(), timers.begin("a", 20_000)), (None, None), "it runs");
    assert!(timers.finish("a", tick.started, 35_000, Outcome::Done));
    let schedule = timers.get("a").unwrap();
    assert_eq!((schedule.next, schedule.overlaps), (Some(40_000), 1));
    assert_eq!(schedule.history, [Firing { at: 10_000, took: 25_000, error: None }]);
    assert!(!timers.finish("a", tick.started, 35_000, Outcome::Done), "only once");
}

#[test]
fn al4_missed_ticks_fire_once_after_a_restart() {
    let mut disk = Disk::default();
    for spec in [every(10_000), Spec::cron("*/10 * * * * *", "UTC").unwrap()] {
        disk.commit(&mut with(spec));
        let mut timers = disk.load();
        assert_eq!(timers.due(95_000), [Due::Schedule { at: 10_000, name: "a".into() }]);
        assert_eq!(fire(&mut timers, 95_000), Some(Tick { due: 10_000, started: 95_000 }));
        assert_eq!((fire(&mut timers, 95_000), timers.next_wake()), (None, Some(100_000)));
        disk = Disk::default();
    }
}

#[test]
fn al4_a_firing_that_a_crash_interrupts_is_told_and_the_missed_tick_fires() {
    let (mut timers, mut disk) = (with(every(10_000)), Disk::default());
    let tick = timers.begin("a", 10_000).unwrap();
    disk.commit(&mut timers);
    let mut timers = disk.load();
    assert_eq!(timers.get("a").unwrap().running, Some(10_000));
    assert!(timers.finish("a", tick.started, 95_000, Outcome::Interrupted));
    let schedule = timers.get("a").unwrap();
    assert_eq!(schedule.history[0].error.as_deref(), Some("interrupted"));
    assert_eq!((schedule.overlaps, fire(&mut timers, 95_000).unwrap().due), (0, 20_000));
    assert_eq!(timers.next_wake(), Some(100_000));
}

#[test]
fn al4_a_failed_turn_is_in_the_history_and_is_not_retried() {
    let mut timers = with(every(10_000));
    timers.take_changes();
    timers.begin("a", 10_000).unwrap();
    timers.undo();
    let tick = timers.begin("a", 10_000).unwrap();
    timers.finish("a", tick.started, 10_005, Outcome::Failed("no such table"));
    let error = Some("no such table".into());
    assert_eq!(timers.get("a").unwrap().history, [Firing { at: 10_000, took: 5, error }]);
    assert_eq!(timers.next_wake(), Some(20_000));
}

#[test]
fn al4_the_history_is_bounded_and_its_errors_are_cut() {
    let mut timers = with(every(1_000));
    for second in 1..=20 {
        let tick = timers.begin("a", second * 1_000).unwrap();
        timers.finish("a", tick.started, second * 1_000, Outcome::Failed(&"é".repeat(200)));
    }
    let history = &timers.get("a").unwrap().history;
    assert_eq!(history.len(), SCHEDULE_HISTORY);
    assert_eq!((history[0].at, history[15].at), (5_000, 20_000));
    assert_eq!(history[0].error.as_deref(), Some("é".repeat(SCHEDULE_ERROR_BYTES / 2).as_str()));
    // A character that the bound would split is left out.
    let tick = timers.begin("a", 21_000).unwrap();
    timers.finish("a", tick.started, 21_000, Outcome::Failed(&format!("x{}", "é".repeat(200))));
    let history = &timers.get("a").unwrap().history;
    assert_eq!(history[15].error.as_ref().unwrap().len(), SCHEDULE_ERROR_BYTES - 1);
}

#[test]
fn al4_pause_holds_ticks_back_and_resume_leaves_them_out() {
    let mut timers = with(every(10_000));
    timers.pause("a").unwrap();
    assert_eq!((timers.next_wake(), timers.due(50_000), timers.begin("a", 50_000)), (None, vec![], None));
    timers.resume("a", 55_000).unwrap();
    assert_eq!(timers.next_wake(), Some(60_000));
    timers.resume("a", 65_000).unwrap();
    assert_eq!(timers.next_wake(), Some(60_000), "it was not paused");
    assert_eq!(timers.get("a").unwrap().overlaps, 0);

    let mut timers = with(once(10_000));
    timers.pause("a").unwrap();
    timers.resume("a", 55_000).unwrap();
    assert_eq!(timers.next_wake(), Some(10_000), "its only tick is still to come");
}

#[test]
fn al4_a_tick_that_falls_due_while_a_paused_schedule_runs_is_no_overlap() {
    let mut timers = with(every(10_000));
    let tick = timers.begin("a", 10_000).unwrap();
    timers.pause("a").unwrap();
    timers.finish("a", tick.started, 35_000, Outcome::Done);
    timers.resume("a", 36_000).unwrap();
    assert_eq!((timers.next_wake(), timers.get("a").unwrap().overlaps), (Some(40_000), 0));
}

#[test]
fn al4_run_now_runs_it_once_more_and_leaves_its_ticks() {
    let mut timers = with(every(HOUR));
    timers.run_now("a", 5_000).unwrap();
    timers.run_now("a", 6_000).unwrap();
    assert_eq!(timers.next_wake(), Some(5_000));
    let tick = timers.begin("a", 7_000).unwrap();
    assert_eq!(tick.due, 5_000);
    assert_eq!(timers.run_now("a", 8_000), Err(Error::Running("a".into())));
    timers.finish("a", tick.started, 9_000, Outcome::Done);
    assert_eq!((timers.next_wake(), timers.get("a").unwrap().overlaps), (Some(HOUR), 0));

    // Paused, and over.
    timers.pause("a").unwrap();
    timers.run_now("a", 10_000).unwrap();
    assert!(fire(&mut timers, 2 * HOUR).is_some());
    assert_eq!((timers.next_wake(), timers.get("a").unwrap().next), (None, Some(HOUR)));
    let mut timers = with(once(0));
    fire(&mut timers, 0).unwrap();
    timers.run_now("a", 10).unwrap();
    assert!(fire(&mut timers, 10).is_some());

    // Asked for and due at the same time is one firing.
    let mut timers = with(every(10_000));
    timers.run_now("a", 9_000).unwrap();
    assert!(fire(&mut timers, 10_000).is_some());
    assert_eq!(timers.next_wake(), Some(20_000));
}

#[test]
fn a_deleted_schedule_is_gone_and_its_late_work_ends_nothing() {
    let mut timers = with(every(10_000));
    let old = timers.begin("a", 10_000).unwrap();
    assert!(timers.delete("a"));
    assert!(!timers.delete("a"));
    assert!(!timers.finish("a", old.started, 11_000, Outcome::Done));
    timers.schedule("a", every(1_000), 11_000).unwrap();
    let new = timers.begin("a", 12_000).unwrap();
    assert!(!timers.finish("a", old.started, 12_500, Outcome::Done));
    assert_eq!(timers.get("a").unwrap().running, Some(new.started));
}

#[test]
fn what_is_due_comes_in_the_order_of_time() {
    let mut timers = Timers::default();
    for (name, at) in [("late", 3_000), ("b", 2_000), ("a", 2_000), ("tomorrow", 24 * HOUR)] {
        timers.schedule(name, once(at), 0).unwrap();
    }
    timers.set_alarm(2_000).unwrap();
    let due = |at, name: &str| Due::Schedule { at, name: name.into() };
    let expected = [Due::Alarm { at: 2_000 }, due(2_000, "a"), due(2_000, "b"), due(3_000, "late")];
    assert_eq!(timers.due(5_000), expected);
}

#[test]
fn bad_input_is_refused_in_words_that_name_the_bound() {
    let mut timers = Timers::default();
    let name = |characters| {
        let text = format!("the name of a schedule has {characters} characters; ");
        text + "it must have 1 to 128 and no control characters"
    };
    for (bad, error) in [("", name(0)), (&*"é".repeat(129), name(129)), ("a\nb", name(3))] {
        assert_eq!(timers.schedule(bad, once(0), 0).unwrap_err().to_string(), error);
    }
    timers.schedule(&"é".repeat(128), once(0), 0).unwrap();

    let interval = |ms: u64| format!("the interval is {ms} ms; it must be 1000 to 31622400000");
    for ms in [0, 999, 366 * 24 * HOUR + 1, u64::MAX] {
        assert_eq!(Spec::every(ms).unwrap_err().to_string(), interval(ms));
    }
    assert!(Spec::every(1_000).is_ok() && Spec::every(366 * 24 * HOUR).is_ok());
    assert_eq!(Spec::once(u64::MAX).unwrap_err(), Error::Late(u64::MAX));

    let unknown = "there is no schedule `nobody`";
    assert_eq!(timers.pause("nobody").unwrap_err().to_string(), unknown);
    assert_eq!(timers.resume("nobody", 0).unwrap_err().to_string(), unknown);
    assert_eq!(timers.run_now("nobody", 0).unwrap_err().to_string(), unknown);
    assert_eq!(Timers::default().pause("nobody").unwrap_err().to_string(), unknown);
    assert!(timers.pause(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 200);
}

#[test]
fn an_object_that_sets_a_thousand_schedules_is_told_where_it_ends() {
    let mut timers = Timers::default();
    let mut set = |number: usize| timers.schedule(&number.to_string(), every(1_000), 0);
    let room = (0..1_000).map_while(|number| set(number).is_ok().then_some(())).count();
    assert_eq!(room, SCHEDULES);
    let text = "no room for another schedule: an object has at most 256; delete one first";
    assert_eq!(set(1_000).unwrap_err().to_string(), text);
    assert!(set(0).is_ok(), "one that it has may still be changed");
    assert_eq!(timers.schedules().count(), SCHEDULES);
}

#[test]
fn schedules_that_are_over_make_room_the_oldest_first() {
    let (mut timers, mut disk) = (Timers::default(), Disk::default());
    for number in 0..SCHEDULES {
        timers.schedule(&number.to_string(), once(10), 0).unwrap();
    }
    assert_eq!(timers.schedule("new", once(10), 0), Err(Error::Full));
    for (name, now) in [("7", 300), ("3", 200)] {
        let tick = timers.begin(name, now).unwrap();
        timers.finish(name, tick.started, now, Outcome::Done);
    }
    disk.commit(&mut timers);
    timers.schedule("new", once(10), 0).unwrap();
    assert!(timers.get("3").is_none() && timers.get("7").is_some());
    assert_eq!(disk.commit(&mut timers), ["timer/schedule/3".into(), "timer/schedule/new".into()]);
}
