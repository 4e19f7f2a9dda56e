//! AL4: cron against dates worked out by hand.

use jiff::Timestamp;

use super::*;

fn ms(text: &str) -> u64 {
    u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
}

/// The ticks of an expression after a time, in UTC.
fn ticks(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let spec = Spec::cron(expression, zone).unwrap();
    let first = spec.first(ms(after));
    let ticks = std::iter::successors(first, |tick| spec.next(*tick, *tick)).take(count);
    ticks.map(|tick| Timestamp::from_millisecond(i64::try_from(tick).unwrap()).unwrap().to_string()).collect()
}

#[track_caller]
fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    assert_eq!(ticks(expression, zone, after, expected.len()), expected, "{expression} in {zone} after {after}");
}

#[test]
fn five_fields_and_six() {
    check("*/20 * * * *", "UTC", "2026-03-01T11:45:30Z", &["2026-03-01T12:00:00Z", "2026-03-01T12:20:00Z"]);
    check("*/20 * * * * *", "UTC", "2026-03-01T11:45:30.5Z", &["2026-03-01T11:45:40Z", "2026-03-01T11:46:00Z"]);
    check("30 9 * * MON-FRI", "UTC", "2026-01-02T09:30:00Z", &["2026-01-05T09:30:00Z", "2026-01-06T09:30:00Z"]);
    check("@daily", "UTC", "2026-12-31T00:00:00Z", &["2027-01-01T00:00:00Z"]);
    check("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", &["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"]);
    // The first Monday and the 15th: either is enough.
    check("0 0 15 * MON#1", "UTC", "2026-06-02T00:00:00Z", &["2026-06-15T00:00:00Z", "2026-07-06T00:00:00Z"]);
    check("0 0 * * 0", "UTC", "2026-11-22T00:00:00Z", &["2026-11-29T00:00:00Z"]);
    check("0 0 * * 7", "UTC", "2026-11-22T00:00:00Z", &["2026-11-29T00:00:00Z"]);
}

#[test]
fn never_the_time_itself() {
    check("* * * * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:00:01Z"]);
    check("* * * * * *", "UTC", "2026-01-01T00:00:00.999Z", &["2026-01-01T00:00:01Z"]);
    check("0 0 1 1 *", "UTC", "2026-01-01T00:00:00Z", &["2027-01-01T00:00:00Z"]);
}

#[test]
fn leap_years() {
    let expected = ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z"];
    check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &expected);
    // 2100 is none.
    check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
    check("0 0 28-31 2 *", "UTC", "2028-02-28T00:00:00Z", &["2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z"]);
}

#[test]
fn an_hour_that_is_left_out_in_berlin() {
    // 2026-03-29: 02:00 becomes 03:00, which is 01:00 in UTC.
    let after = "2026-03-28T12:00:00Z";
    check("30 2 * * *", "Europe/Berlin", after, &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    check("0 9 * * *", "Europe/Berlin", after, &["2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"]);
    check("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]);
}

#[test]
fn an_hour_that_is_repeated_in_berlin() {
    // 2026-10-25: 03:00 becomes 02:00, which is 01:00 in UTC.
    let after = "2026-10-24T12:00:00Z";
    check("30 2 * * *", "Europe/Berlin", after, &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    check("0 9 * * *", "Europe/Berlin", after, &["2026-10-25T08:00:00Z"]);
    let expected = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    check("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", &expected);
}

#[test]
fn both_in_new_york() {
    // 2026-03-08: 02:00 becomes 03:00, which is 07:00 in UTC.
    let spring = ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"];
    check("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", &spring);
    // 2026-11-01: 02:00 becomes 01:00, which is 06:00 in UTC.
    let autumn = ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"];
    check("30 1 * * *", "America/New_York", "2026-10-31T00:00:00Z", &autumn);
    let hourly = ["2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"];
    check("0 * * * *", "America/New_York", "2026-11-01T03:30:00Z", &hourly);
}

#[test]
fn a_time_of_day_fires_once_on_each_day_of_a_year_in_either_place() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"] {
        for expression in ["30 1 * * *", "15 2 * * *", "0 0 * * *"] {
            let (from, to) = ("2026-01-01T12:00:00Z", ms("2027-01-01T12:00:00Z"));
            let ticks = ticks(expression, zone, from, 400);
            let in_year = ticks.iter().filter(|tick| ms(tick) < to).count();
            assert_eq!(in_year, 365, "{expression} in {zone}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |expression: &str, zone: &str| Spec::cron(expression, zone).unwrap_err().to_string();
    for expression in
        ["", " ", "* * * *", "60 * * * *", "* * * * * * *", "0 0 9 * * * 2027", "x", "*/0 * * * *", "é", "@"]
    {
        let text = refused(expression, "UTC");
        assert!(
            text.starts_with(&format!("`{expression}` is not a cron expression of five or six fields: ")),
            "{text}"
        );
    }
    assert_eq!(refused(&"*".repeat(129), "UTC"), "the cron expression is 129 bytes; the limit is 128");
    let zone = "`Mars/Olympus` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`";
    assert_eq!(refused("* * * * *", "Mars/Olympus"), zone);
    assert_eq!(refused("* * * * *", &"x".repeat(65)), "the name of the time zone is 65 bytes; the limit is 64");
    assert!(refused("* * * * *", "").contains("not a time zone"));
}

#[test]
fn a_date_is_refused_only_if_no_calendar_has_it() {
    assert_eq!(ms("4599-12-30T00:00:00Z"), super::super::cron::LAST_CYCLE_MS);
    // A leap day on a Monday, which comes every 28 years, and a fifth Monday in February.
    check("0 0 29 2 +MON", "UTC", "2026-01-01T00:00:00Z", &["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z"]);
    check("0 0 * 2 MON#5", "UTC", "2026-01-01T00:00:00Z", &["2044-02-29T00:00:00Z"]);
    for never in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 28 2 +MON#5"] {
        let error = Spec::cron(never, "Europe/Berlin").unwrap_err();
        assert_eq!(error.to_string(), format!("`{never}` never comes: no date matches it"));
    }
}
