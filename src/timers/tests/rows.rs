//! What is written, what is read back, and what is taken back.

use super::*;

#[test]
fn an_object_without_timers_holds_an_empty_pointer() {
    assert_eq!(size_of::<Timers>(), size_of::<usize>());
    let mut timers = Timers::load::<&str, &[u8]>([]).unwrap();
    assert!(!timers.delete_alarm() && !timers.delete("a"));
    assert_eq!((timers.next_wake(), timers.due(u64::MAX), timers.take_changes()), (None, vec![], vec![]));
    timers.undo();
    assert!(timers.0.is_none());
    timers.set_alarm(1).unwrap();
    timers.delete_alarm();
    assert_eq!(timers.take_changes(), [], "what ends as it began is not written");
    assert!(timers.0.is_none(), "and the memory is given back");
}

#[test]
fn a_change_of_one_schedule_writes_one_row() {
    let mut timers = with(every(10_000));
    timers.schedule("b", once(5), 0).unwrap();
    timers.set_alarm(7).unwrap();
    let mut disk = Disk::default();
    assert_eq!(disk.commit(&mut timers).len(), 3);
    fire(&mut timers, 10_000).unwrap();
    assert_eq!(disk.commit(&mut timers), ["timer/schedule/a".into()]);
    assert!(disk.0.keys().all(|key| key.starts_with(PREFIX)));
}

#[test]
fn rows_are_as_documented() {
    let mut timers = Timers::default();
    timers.set_alarm(7).unwrap();
    let cron = Spec::cron(" 0 9 * * MON ", "europe/berlin").unwrap();
    timers.schedule("a/b", cron, 0).unwrap();
    let mut disk = Disk::default();
    disk.commit(&mut timers);
    let rows: Vec<_> = disk.0.iter().map(|(key, value)| (&**key, std::str::from_utf8(value).unwrap())).collect();
    // 1970-01-05 09:00 in Berlin.
    let schedule = r#"{"spec":{"cron":{"expression":"0 9 * * MON","zone":"Europe/Berlin"}},"next":374400000,"overlaps":0,"history":[]}"#;
    assert_eq!(rows, [("timer/alarm", r#"{"at":7}"#), ("timer/schedule/a/b", schedule)]);
}

#[test]
fn a_specification_is_checked_when_it_is_read() {
    let read = |text: &str| serde_json::from_str::<Spec>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"once":{"at":5}}"#), Ok(once(5)));
    assert_eq!(read(r#"{"every":{"ms":5000}}"#), Ok(every(5_000)));
    let daily = Spec::cron("0 9 * * *", "UTC").unwrap();
    assert_eq!(read(r#"{"cron":{"expression":"0 9 * * *"}}"#), Ok(daily));
    assert_eq!(read(r#"{"every":{"ms":1}}"#).unwrap_err(), Error::Interval(1).to_string());
    assert!(read(r#"{"every":{"ms":5000,"at":1}}"#).unwrap_err().contains("unknown field `at`"));
    assert!(read(r#"{"sometimes":{}}"#).unwrap_err().contains("unknown variant `sometimes`"));
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    for (key, value, detail) in [
        ("timer/alarm", "", "EOF while parsing"),
        ("timer/alarm", r#"{"at":-1}"#, "invalid value"),
        ("timer/schedule/a", r#"{"next":5}"#, "missing field `spec`"),
        ("timer/schedule/a", r#"{"spec":{"every":{"ms":1}}}"#, "the interval is 1 ms"),
        ("timer/other", "{}", "no timer has such a key"),
    ] {
        let error = Timers::load([(key, value)]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("row `{key}` cannot be read: {detail}")), "{text}");
    }
}

#[test]
fn undo_takes_back_a_turn_and_not_the_one_before_it() {
    let mut timers = with(every(10_000));
    timers.set_alarm(7).unwrap();
    timers.take_changes();
    let before = format!("{timers:?}");
    timers.begin("a", 10_000).unwrap();
    timers.pause("a").unwrap();
    timers.delete("a");
    timers.schedule("a", once(3), 0).unwrap();
    timers.schedule("b", once(3), 0).unwrap();
    timers.fire_alarm(7).unwrap();
    timers.set_alarm(9).unwrap();
    timers.undo();
    assert_eq!(format!("{timers:?}"), before);
    assert_eq!(timers.take_changes(), []);
}
