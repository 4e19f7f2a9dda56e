//! Deleted subtrees: dead at once, reaped later, never back.

use super::*;

#[test]
fn fp9_a_subtree_goes_and_its_neighbours_stay() {
    let bed = Bed::new();
    for at in ["/a", "/a/b", "/a/b/c", "/a-b", "/a-b/c", "/ab", "/a0"] {
        bed.durable(put(at, "x"));
    }
    bed.durable(list("/a", 0, "b"));
    let seq = bed.storage().commit(delete(&["/a"]), Seq::NONE).unwrap();
    for _ in 0..2 {
        assert_eq!(bed.objects("/"), ["/a-b", "/a-b/c", "/a0", "/ab"]);
        assert_eq!(bed.objects("/a/b"), [""; 0]);
        assert_eq!(bed.state("/a/b/c"), None);
        assert_eq!(bed.children("/a"), []);
        assert_eq!(bed.state("/a-b/c").as_deref(), Some("x"));
        assert_eq!(bed.decided(seq), Outcome::Durable);
        bed.reap();
    }
    assert_eq!(bed.storage().object_count(), 4);
}

#[test]
fn fp9_the_parents_list_changes_with_the_deletion() {
    let bed = Bed::new();
    bed.durable(list("/p", 0, "child"));
    let mut set = WriteSet::new(path("/p"));
    set.children.insert(0, None);
    set.deleted.push(path("/p/child"));
    bed.durable(set);
    assert_eq!((bed.children("/p"), bed.state("/p/child")), (vec![], None));
}

#[test]
fn a_child_deleted_and_created_in_one_write_set_is_there_and_fresh() {
    let bed = Bed::new();
    bed.durable(put("/p/child", "old"));
    bed.durable(put("/p/child/below", "old"));
    let mut set = list("/p", 1, "child");
    set.deleted.push(path("/p/child"));
    bed.durable(set);
    bed.reap();
    assert_eq!(bed.state("/p/child").as_deref(), Some(""));
    assert_eq!(bed.objects("/p"), ["/p/child"]);
    assert_eq!(bed.storage().object_count(), 1);
}

#[test]
fn fp10_a_new_object_has_nothing_of_the_old_one() {
    let mut bed = Bed::new();
    bed.durable(put("/a", "old"));
    bed.durable(list("/a", 0, "child"));
    // All in the queue at once, so that they meet in one batch or in several.
    let deleted = bed.storage().commit(delete(&["/a"]), Seq::NONE).unwrap();
    let last = bed.storage().commit(put("/a", "new"), deleted).unwrap();
    assert_eq!(bed.decided(last), Outcome::Durable);
    for _ in 0..2 {
        assert_eq!(bed.state("/a").as_deref(), Some("new"));
        assert_eq!(bed.state("/a/child"), None);
        assert_eq!(bed.children("/a"), []);
        bed.reap();
        assert_eq!(bed.storage().object_count(), 1);
        bed.reopen();
    }
}

#[test]
fn fp10_nested_and_repeated_deletes_leave_nothing() {
    let bed = Bed::new();
    let mut last = Seq::NONE;
    for round in 0..20 {
        for at in ["/a", "/a/b", "/a/b/c", "/a/d"] {
            let mut set = put(at, "x");
            set.merge(row(at, "key", Some("x")));
            set.merge(wake(at, Some(1)));
            set.merge(send(at, &[("/a/b", "x"), ("/a/d", "x")]));
            last = bed.storage().commit(set, last).unwrap();
        }
        let prefix = ["/a/b", "/a", "/a/b/c"][round % 3];
        last = bed.storage().commit(delete(&[prefix, "/a/d"]), last).unwrap();
    }
    last = bed.storage().commit(delete(&["/a/b", "/a"]), last).unwrap();
    assert_eq!(bed.objects("/"), [""; 0]);
    assert_eq!(bed.decided(last), Outcome::Durable);
    bed.reap();
    assert_eq!((bed.objects("/"), bed.storage().object_count()), (vec![], 0));
    for table in ["objects", "agents", "rows", "wakes", "sends", "tombstones"] {
        assert_eq!(bed.stored(table), 0, "{table}");
    }
}

#[test]
fn the_root_can_be_deleted_with_everything() {
    let bed = Bed::new();
    bed.durable(put("/", "root"));
    bed.durable(put("/z/z", "x"));
    bed.durable(delete(&["/"]));
    assert_eq!(bed.objects("/"), [""; 0]);
    bed.reap();
    assert_eq!(bed.storage().object_count(), 0);
}

#[test]
fn fp10_reaping_goes_on_after_a_restart() {
    const MANY: u64 = 5_000;
    let mut bed = Bed::new();
    let mut set = WriteSet::new(path("/big"));
    for ordinal in 0..MANY {
        let listed = list("/big", ordinal, &format!("n{ordinal}"));
        set.children.extend(listed.children);
    }
    bed.durable(set);
    assert_eq!(bed.storage().object_count(), MANY);
    bed.durable(put("/other", "kept"));
    bed.durable(delete(&["/big"]));
    for _ in 0..3 {
        bed.reopen();
        assert_eq!(bed.objects("/"), ["/other"]);
        assert_eq!(bed.children("/big"), []);
    }
    bed.durable(put("/big/n7", "new"));
    bed.reap();
    assert_eq!(bed.objects("/"), ["/big/n7", "/other"]);
    assert_eq!(bed.storage().object_count(), 2);
    assert_eq!(bed.stored("agents"), 0);
}

/// An object with one of everything that can be stored for it.
fn furnish(bed: &Bed, at: &str) {
    let mut set = row(at, "key", Some("value"));
    set.rows.insert((Space::Runtime, "alarm".into()), Some(b"1".as_slice().into()));
    set.merge(wake(at, Some(7)));
    set.merge(send(at, &[("/elsewhere", "from"), (at, "to itself")]));
    bed.durable(set);
    bed.durable(send("/elsewhere", &[(at, "to")]));
}

#[test]
fn fp9_co4_rows_wake_times_and_messages_go_with_the_subtree_at_once() {
    let bed = Bed::new();
    for at in ["/a", "/a/b", "/a-b"] {
        furnish(&bed, at);
    }
    // Not durable yet, and yet all of it is gone.
    let seq = bed.storage().commit(delete(&["/a"]), Seq::NONE).unwrap();
    for _ in 0..2 {
        for at in ["/a", "/a/b"] {
            let storage = bed.storage();
            for (space, key) in [(Space::User, "key"), (Space::Runtime, "alarm")] {
                assert_eq!(storage.get(&path(at), space, key).unwrap(), None);
                assert_eq!(storage.rows(&path(at), space, &whole()).unwrap(), []);
                assert_eq!(storage.seek(&path(at), space, "").unwrap(), (None, None));
            }
            assert_eq!((bed.inbox(at), storage.outbox(&path(at), 10).unwrap().messages), (vec![], 0));
        }
        assert_eq!(bed.due(), [("/a-b".to_owned(), 7)]);
        assert_eq!(bed.storage().next_wake().unwrap(), Some(7));
        assert_eq!(bed.inbox("/elsewhere"), [("/a-b".to_owned(), "from".to_owned())]);
        assert_eq!(bed.storage().outbox(&path("/elsewhere"), 10).unwrap().messages, 1);
        assert_eq!(bed.inboxes(), ["/a-b", "/elsewhere"]);
        assert_eq!(bed.rows("/a-b"), [("key".to_owned(), "value".to_owned())]);
        assert_eq!(bed.decided(seq), Outcome::Durable);
        bed.reap();
    }
    assert_eq!((bed.stored("rows"), bed.stored("wakes"), bed.stored("sends")), (2, 1, 3));
}

#[test]
fn fp10_co4_what_comes_after_a_deletion_reaches_the_fresh_object() {
    let mut bed = Bed::new();
    furnish(&bed, "/a/b");
    let mut set = send("/a", &[("/a/b", "fresh")]);
    set.deleted.push(path("/a/b"));
    let seq = bed.storage().commit(set, Seq::NONE).unwrap();
    let last = bed.storage().commit(row("/a/b", "key", Some("fresh")), seq).unwrap();
    assert_eq!(bed.decided(last), Outcome::Durable);
    for _ in 0..2 {
        assert_eq!(bed.rows("/a/b"), [("key".to_owned(), "fresh".to_owned())]);
        assert_eq!(bed.inbox("/a/b"), [("/a".to_owned(), "fresh".to_owned())]);
        assert_eq!(bed.due(), []);
        bed.reap();
        bed.reopen();
    }
}

#[test]
fn fp10_reaping_rows_and_messages_goes_on_after_a_restart() {
    let mut bed = Bed::new();
    let value = "x".repeat(1_000);
    for number in 0..40 {
        let mut set = WriteSet::new(path("/big"));
        for index in 0..100 {
            set.merge(row("/big", &format!("{number}-{index}"), Some(&value)));
            set.merge(send("/big", &[("/kept", &value), ("/big/child", &value)]));
        }
        bed.storage().commit(set, Seq::NONE).unwrap();
    }
    bed.durable(send("/kept", &[("/other", "x")]));
    assert_eq!((bed.stored("rows"), bed.stored("sends")), (4_000, 8_001));
    bed.durable(delete(&["/big"]));
    for _ in 0..3 {
        bed.reopen();
        assert_eq!((bed.rows("/big"), bed.inboxes()), (vec![], vec!["/other".to_owned()]));
    }
    bed.reap();
    assert_eq!((bed.stored("rows"), bed.stored("sends")), (0, 1));
}
