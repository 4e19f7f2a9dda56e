//! When objects are to be woken.

use super::*;

#[test]
fn al1_al2_what_is_due_comes_earliest_first_also_after_a_restart() {
    let mut bed = Bed::new();
    assert_eq!((bed.due(), bed.storage().next_wake().unwrap()), (vec![], None));
    for (at, time) in [("/b", 20), ("/c", 10), ("/a", 20), ("/never", u64::MAX), ("/past", 0)] {
        bed.durable(wake(at, Some(time)));
    }
    bed.durable(wake("/c", Some(30)));
    bed.durable(wake("/past", None));
    for _ in 0..2 {
        let due = |now, limit| {
            let due = bed.storage().due(now, limit).unwrap();
            due.into_iter().map(|(path, at)| format!("{path} {at}")).collect::<Vec<_>>()
        };
        assert_eq!(due(19, 10), [""; 0]);
        assert_eq!(due(20, 10), ["/a 20", "/b 20"]);
        assert_eq!(due(29, 1), ["/a 20"]);
        assert_eq!(due(30, 10), ["/a 20", "/b 20", "/c 30"]);
        assert_eq!(bed.storage().next_wake().unwrap(), Some(20));
        bed.reopen();
    }
    // What is too late for the database comes last.
    assert_eq!(bed.due().pop().unwrap().0, "/never");
}

#[test]
fn al1_a_wake_time_is_left_alone_by_what_does_not_name_it() {
    let bed = Bed::new();
    bed.durable(wake("/a", Some(1)));
    bed.durable(put("/a", "x"));
    bed.durable(clear("/a"));
    assert_eq!(bed.due(), [("/a".to_owned(), 1)]);
}
