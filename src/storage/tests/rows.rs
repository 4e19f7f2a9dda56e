//! Rows of an object: what a range answers, and dropping them all.

use super::*;

fn keys(bed: &Bed, range: &Range) -> Vec<String> {
    let rows = bed.storage().rows(&path("/a"), Space::User, range).unwrap();
    rows.into_iter().map(|(key, _)| key.into()).collect()
}

#[test]
fn st1_a_row_is_read_as_it_was_put_also_after_a_restart() {
    let mut bed = Bed::new();
    let mut set = row("/a", "", Some(""));
    set.merge(row("/a", "k\0\u{fffd}", Some("in the middle: \0")));
    set.rows.insert((Space::Runtime, "alarm".into()), Some(b"due".as_slice().into()));
    set.record = Some(Record { rows: 2, ..record("x") });
    bed.durable(set);
    for _ in 0..2 {
        let get = |space, key| bed.storage().get(&path("/a"), space, key).unwrap().map(|value| utf8(&value));
        assert_eq!(get(Space::User, ""), Some(String::new()));
        assert_eq!(get(Space::User, "k\0\u{fffd}").as_deref(), Some("in the middle: \0"));
        assert_eq!((get(Space::User, "k"), get(Space::User, "alarm")), (None, None));
        assert_eq!(get(Space::Runtime, "alarm").as_deref(), Some("due"));
        assert_eq!(bed.storage().get(&path("/"), Space::User, "").unwrap(), None);
        assert_eq!(bed.storage().load(&path("/a")).unwrap().unwrap().rows, 2);
        bed.reopen();
    }
    bed.durable(row("/a", "", None));
    assert_eq!(bed.storage().get(&path("/a"), Space::User, "").unwrap(), None);
    assert_eq!(bed.rows("/a").len(), 1);
}

#[test]
fn st2_a_range_is_in_the_order_of_key_bytes_whatever_its_ends() {
    let bed = Bed::new();
    let seek = |at: &str, key: &str| {
        let (value, next) = bed.storage().seek(&path(at), Space::User, key).unwrap();
        (value.map(|value| utf8(&value)), next.map(String::from))
    };
    assert_eq!(seek("/a", ""), (None, None));
    // By bytes: NUL directly after its prefix, upper case before lower case, what is not ASCII last.
    let all = ["", "B", "a", "a\0", "a\0\0", "a\u{1}", "ab", "b", "é", "\u{10ffff}"];
    let mut set = WriteSet::new(path("/a"));
    for key in all {
        set.merge(row("/a", key, Some("v")));
        set.rows.insert((Space::Runtime, format!("{key}-runtime").into()), Some(b"r".as_slice().into()));
    }
    bed.durable(set);
    bed.durable(row("/a/b", "below", Some("v")));
    let ends = |key: &str| [Bound::<Box<str>>::Included(key.into()), Bound::Excluded(key.into()), Bound::Unbounded];
    for start in all.iter().chain(&["aa", "~"]).flat_map(|key| ends(key)) {
        for end in all.iter().chain(&["aa", "~"]).flat_map(|key| ends(key)) {
            let low = |key: &str| match &start {
                Bound::Included(start) => key >= &**start,
                Bound::Excluded(start) => key > &**start,
                Bound::Unbounded => true,
            };
            let high = |key: &str| match &end {
                Bound::Included(end) => key <= &**end,
                Bound::Excluded(end) => key < &**end,
                Bound::Unbounded => true,
            };
            let mut expected: Vec<_> = all.into_iter().filter(|key| low(key) && high(key)).collect();
            let mut range = Range { start: start.clone(), end: end.clone(), ..whole() };
            assert_eq!(keys(&bed, &range), expected, "{range:?}");
            expected.reverse();
            range.reverse = true;
            assert_eq!(keys(&bed, &range), expected, "{range:?}");
        }
    }
    assert_eq!(seek("/a", "b"), (Some("v".into()), None));
    assert_eq!(seek("/a", "aa"), (None, Some("ab".into())));
    assert_eq!(seek("/a", "~"), (None, Some("é".into())));
    assert_eq!(seek("/a", "\u{10ffff}\0"), (None, None));
    assert_eq!(seek("/a/b", "a"), (None, Some("below".into())));
}

#[test]
fn st2_a_page_ends_at_its_limit_or_its_bytes_but_never_before_its_first_row() {
    let bed = Bed::new();
    let mut set = WriteSet::new(path("/a"));
    for key in 0..10 {
        set.merge(row("/a", &key.to_string(), Some("123456789")));
    }
    bed.durable(set);
    let page = |limit, bytes| keys(&bed, &Range { limit, bytes, ..whole() }).len();
    assert_eq!((page(0, usize::MAX), page(3, usize::MAX), page(30, usize::MAX)), (0, 3, 10));
    assert_eq!((page(30, 0), page(30, 10), page(30, 29), page(30, 30), page(2, 30)), (1, 1, 2, 3, 2));
}

#[test]
fn st1_dropping_all_rows_is_seen_at_once_and_takes_no_others() {
    let bed = Bed::new();
    for at in ["/", "/a", "/a/b", "/a-b"] {
        let mut set = row(at, "key", Some("v"));
        set.rows.insert((Space::Runtime, "kept".into()), Some(b"v".as_slice().into()));
        bed.durable(set);
    }
    bed.durable(put("/a", "state"));
    let mut set = clear("/a");
    set.merge(row("/a", "new", Some("v")));
    let seq = bed.storage().commit(set, Seq::NONE).unwrap();
    assert_eq!(bed.storage().get(&path("/a"), Space::User, "key").unwrap(), None);
    assert_eq!(bed.decided(seq), Outcome::Durable);
    for _ in 0..2 {
        assert_eq!(bed.rows("/a"), [("new".to_owned(), "v".to_owned())]);
        assert_eq!(bed.state("/a").as_deref(), Some("state"));
        for at in ["/", "/a/b", "/a-b"] {
            assert_eq!(bed.rows(at).len(), 1, "{at}");
        }
        for at in ["/", "/a", "/a/b", "/a-b"] {
            assert!(bed.storage().get(&path(at), Space::Runtime, "kept").unwrap().is_some(), "{at}");
        }
        bed.reap();
    }
    assert_eq!(bed.stored("rows"), 8);
    bed.durable(clear("/"));
    bed.reap();
    assert_eq!((bed.rows("/"), bed.stored("rows")), (vec![], 7));
    assert_eq!(bed.objects("/"), ["/a"]);
}

#[test]
fn dropping_many_rows_is_one_small_commit_and_is_reaped_in_chunks() {
    let mut bed = Bed::new();
    for chunk in 0..50 {
        let mut set = WriteSet::new(path("/a"));
        for index in 0..100 {
            set.merge(row("/a", &format!("{chunk}-{index}"), Some("v")));
        }
        bed.storage().commit(set, Seq::NONE).unwrap();
    }
    bed.durable(row("/b", "kept", Some("v")));
    let set = clear("/a");
    assert_eq!(set.rows(), 1);
    bed.durable(set);
    for round in 0..3 {
        bed.reopen();
        assert_eq!(bed.rows("/a").len(), usize::from(round > 0));
        bed.durable(row("/a", "new", Some("v")));
    }
    bed.reap();
    assert_eq!((bed.rows("/a").len(), bed.stored("rows")), (1, 2));
}
