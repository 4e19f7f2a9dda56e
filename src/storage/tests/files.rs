//! The data directory: what is refused is left as it is, and what grows is bounded.

use super::*;

#[test]
fn fx7_a_second_server_is_refused() {
    let bed = Bed::new();
    let error = Storage::open(bed.options(), &Metrics::new()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
}

#[test]
fn a_newer_database_is_refused_with_both_versions() {
    let mut bed = Bed::new();
    bed.durable(put("/a", "x"));
    bed.close();
    bed.raw().pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    let error = Storage::open(bed.options(), &Metrics::new()).unwrap_err();
    assert!(matches!(error, Error::Newer { .. }), "{error}");
    assert!(error.to_string().contains("version 3") && error.to_string().contains("up to 2"), "{error}");
}

#[test]
fn a_database_of_version_1_is_brought_up_to_date_with_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join("fleet.db")).unwrap();
    old.pragma_update(None, "page_size", 4_096).unwrap();
    old.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
    old.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(include_str!("../../../migrations/0001_objects.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO objects VALUES ('/a/', 'agent', x'6f6e65', 1, 5, 3, 7), ('/a/b/', 'agent', NULL, 0, 0, 0, 7), \
         ('/gone/', 'agent', x'6f6e65', 0, 0, 0, 8); \
         INSERT INTO agents VALUES ('/a/', 4, 'b', 'agent', 7); \
         INSERT INTO tombstones VALUES ('/gone/', 9); \
         UPDATE meta SET seq = 9, objects = 3; \
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let mut bed = Bed::within(dir);
    for _ in 0..2 {
        let expected = Record { children: 1, next_ordinal: 5, ..record("one") };
        assert_eq!(bed.storage().load(&path("/a")).unwrap(), Some(expected));
        assert_eq!(bed.children("/a"), [(4, "b".to_owned())]);
        assert_eq!(bed.objects("/"), ["/a", "/a/b"]);
        assert_eq!((bed.due(), bed.inboxes()), (vec![], vec![]));
        assert!(bed.durable(row("/a", "key", Some("new"))) > Seq(9));
        bed.reopen();
        assert_eq!(bed.rows("/a"), [("key".to_owned(), "new".to_owned())]);
    }
    let version: u32 = bed.raw().query_row("PRAGMA user_version", (), |row| row.get(0)).unwrap();
    assert_eq!(version, schema::VERSION);
}

#[test]
fn what_is_not_a_database_of_ours_is_refused_and_unchanged() {
    let mut bed = Bed::new();
    bed.durable(put("/a", "x"));
    bed.close();
    let ours = std::fs::read(bed.file()).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = ours.clone();
        change(&mut bytes);
        bytes
    };
    let cases = [
        b"hello".to_vec(),
        vec![7; 10_000],
        // Another application's.
        with(&|bytes| bytes[68..72].fill(0)),
        // The page with the schema is damaged.
        with(&|bytes| bytes[100..4_096].fill(0x5a)),
        // Cut off.
        with(&|bytes| bytes.truncate(4_096)),
    ];
    for (case, bytes) in cases.iter().enumerate() {
        std::fs::write(bed.file(), bytes).unwrap();
        let error = Storage::open(bed.options(), &Metrics::new()).expect_err(&format!("case {case}"));
        assert!(matches!(error, Error::Damaged { .. }), "{case}: {error}");
        assert!(error.to_string().contains("left as it is") || error.to_string().contains("left as it was"));
        assert!(std::fs::read(bed.file()).unwrap() == *bytes, "case {case} was changed");
    }
    std::fs::write(bed.file(), &ours).unwrap();
    bed.reopen();
    assert_eq!(bed.state("/a").as_deref(), Some("x"));
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { data_dir: dir.path().to_owned(), ..Options::default() };
    let log = log::path(&dir.path().join("fleet.db"));
    std::fs::write(&log, "commits").unwrap();
    let error = Storage::open(options, &Metrics::new()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read(&log).unwrap(), b"commits");
}

#[test]
fn the_log_stays_bounded_under_commits_without_a_pause() {
    let bed = Bed::new();
    let log = log::path(&bed.file());
    let mut longest = 0;
    let mut window = std::collections::VecDeque::new();
    for number in 0..4_000 {
        // Always some in flight, so that the writer never idles.
        let state = format!("{number}").repeat(500);
        window.push_back(bed.storage().commit(put(&format!("/n{}", number % 50), &state), Seq::NONE).unwrap());
        if window.len() > 8 {
            assert_eq!(bed.decided(window.pop_front().unwrap()), Outcome::Durable);
        }
        longest = longest.max(log.metadata().unwrap().len());
    }
    // Twice its size plus a batch at worst.
    assert!(longest <= 2 << 20, "{longest} bytes");
    assert!(bed.storage().bytes() > 0 && bed.metrics.storage_bytes.get() > 0);
}

#[test]
fn freed_pages_go_back_to_the_file_system() {
    let mut bed = Bed::new();
    for number in 0..400 {
        bed.storage().commit(put(&format!("/big/n{number}"), &"x".repeat(20_000)), Seq::NONE).unwrap();
    }
    bed.durable(put("/big", ""));
    bed.reopen();
    let before = bed.file().metadata().unwrap().len();
    bed.durable(delete(&["/big"]));
    bed.reap();
    let free =
        |_: &Storage| bed.raw().query_row("PRAGMA freelist_count", (), |row| row.get::<_, u32>(0)).unwrap() <= 256;
    bed.eventually("vacuumed", free);
    bed.close();
    let after = bed.file().metadata().unwrap().len();
    assert!(after < before / 4, "{before} to {after}");
}
