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
            last = bed.storage().commit(put(at, "x"), last).unwrap();
        }
        let prefix = ["/a/b", "/a", "/a/b/c"][round % 3];
        last = bed.storage().commit(delete(&[prefix, "/a/d"]), last).unwrap();
    }
    last = bed.storage().commit(delete(&["/a/b", "/a"]), last).unwrap();
    assert_eq!(bed.objects("/"), [""; 0]);
    assert_eq!(bed.decided(last), Outcome::Durable);
    bed.reap();
    assert_eq!((bed.objects("/"), bed.storage().object_count()), (vec![], 0));
    let raw = bed.raw();
    for table in ["objects", "agents", "tombstones"] {
        let rows: u32 = raw.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
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
    let left: u32 = bed.raw().query_row("SELECT count(*) FROM agents", (), |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}
