//! Write sets mean the same however they are batched.

use super::batch::Batch;
use super::queue::{Queue, Work};
use super::*;

/// The write sets of a history, committed in batches that end where the mask has a bit; answers what is alive, by the
/// definition and not by the code.
fn replay(history: &[WriteSet], mask: u32) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let connection = schema::open(&dir.path().join("fleet.db"), Duration::ZERO, false).unwrap();
    let (queue, gate, tombstones) = (Queue::new(0), Gate::new(0), Tombstones::default());
    let presence = Presence::new(&connection, 0, 100);
    for (index, set) in history.iter().enumerate() {
        queue.commit(set.clone(), Seq::NONE, &gate, &tombstones, &presence).unwrap();
        if index + 1 == history.len() || mask & (1 << index) != 0 {
            let Work::Batch(sets) = queue.take(None) else { panic!("no batch") };
            let batch = Batch::coalesce(sets);
            batch.apply(&connection, &tombstones).unwrap();
            tombstones.settle(batch.last);
        }
    }
    let mut statement = connection
        .prepare(
            "WITH alive(what, path, other, seq) AS ( \
               SELECT 'row ' || path || ' ' || key || ' ' || CAST(value AS TEXT), path, path, seq FROM rows UNION ALL \
               SELECT 'wake ' || path || ' ' || at, path, path, seq FROM wakes UNION ALL \
               SELECT 'send ' || target || ' ' || number || ' ' || CAST(message AS TEXT), target, sender, seq FROM sends) \
             SELECT what || ' of ' || seq FROM alive WHERE NOT EXISTS (SELECT 1 FROM tombstones \
               WHERE alive.seq < tombstones.seq AND prefix IN \
                 (substr(path, 1, length(prefix)), substr(other, 1, length(prefix)))) ORDER BY 1",
        )
        .unwrap();
    statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Every way to batch them is the same; answers what is there then.
fn agree(history: &[WriteSet]) -> Vec<String> {
    let one_by_one = replay(history, u32::MAX);
    for mask in 0..1 << (history.len() - 1) {
        assert_eq!(replay(history, mask), one_by_one, "{mask:b}");
    }
    one_by_one
}

fn both(mut one: WriteSet, other: WriteSet) -> WriteSet {
    one.merge(other);
    one
}

#[test]
fn dropping_rows_and_putting_some_keep_their_order() {
    let put = |key: &str, value: &str| row("/a", key, Some(value));
    let history = [put("k", "1"), both(clear("/a"), put("l", "2")), put("m", "3"), row("/a", "l", None), put("k", "4")];
    assert_eq!(agree(&history), ["row /a// k 4 of 5", "row /a// m 3 of 3"]);
    let history = [put("k", "1"), row("/a/b", "k", Some("1")), both(put("k", "2"), clear("/a"))];
    assert_eq!(agree(&history), ["row /a/b// k 1 of 2"]);
    let history = [both(clear("/a"), put("k", "1")), clear("/a"), put("n", "2"), delete(&["/a"]), put("k", "3")];
    assert_eq!(agree(&history), ["row /a// k 3 of 5"]);
}

#[test]
fn the_last_wake_time_holds() {
    let history = [wake("/a", Some(1)), wake("/a", None), wake("/b", Some(1)), wake("/a", Some(2)), clear("/a")];
    assert_eq!(agree(&history), ["wake /a/ 2 of 4", "wake /b/ 1 of 3"]);
    let history = [wake("/a", Some(1)), delete(&["/a"]), wake("/a/b", Some(3)), wake("/a/b", None)];
    assert_eq!(agree(&history), [""; 0]);
}

#[test]
fn co4_messages_go_with_their_sender_and_their_target() {
    let mut handled = WriteSet::new(path("/t"));
    handled.handled.push(Position { seq: Seq(1), number: 1 });
    let history = [
        send("/a", &[("/t", "dead"), ("/t", "handled")]),
        send("/b", &[("/t", "kept"), ("/a/c", "dead"), ("/a-c", "kept")]),
        handled,
        delete(&["/a"]),
        send("/a", &[("/a", "fresh")]),
    ];
    let expected = ["send /a-c/ 2 kept of 2", "send /a/ 0 fresh of 5", "send /t/ 0 kept of 2"];
    assert_eq!(agree(&history), expected);
}

#[test]
fn what_is_merged_counts_and_is_not_empty() {
    let sets = [
        row("/a", "key", None),
        clear("/a"),
        wake("/a", None),
        send("/a", &[("/b", "message")]),
        WriteSet { handled: vec![Position { seq: Seq(1), number: 0 }], ..WriteSet::new(path("/a")) },
    ];
    let mut all = WriteSet::new(path("/a"));
    assert!(all.is_empty() && all.rows() == 0 && all.bytes() == 0);
    for set in sets {
        assert!(!set.is_empty() && set.rows() == 1 && set.bytes() >= "/a/".len(), "{set:?}");
        all.merge(set);
    }
    // The row that was to be deleted went with the others.
    assert_eq!(all.rows(), 4);
    all.merge(row("/a", "key", Some("value")));
    assert!(all.clear && all.bytes() > "message".len() + "key".len() + "value".len());
    // Sent before the deletion, which comes first in a write set.
    all.merge(WriteSet { deleted: vec![path("/b")], ..send("/a", &[("/b", "later")]) });
    assert_eq!(all.sends, send("/a", &[("/b", "later")]).sends);
}
