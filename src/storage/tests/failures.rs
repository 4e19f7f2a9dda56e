//! Commits that fail: everything behind them fails too, nothing acknowledged is lost, and it ends.

use std::collections::BTreeSet;
use std::process::Command;

use super::*;

#[test]
fn a_failed_commit_takes_everything_behind_it_along_and_is_recovered_from() {
    let bed = Bed::new();
    bed.durable(put("/kept", "1"));
    bed.durable(put("/kept/below", "1"));
    let lock = bed.raw();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let storage = bed.storage();
    let first = storage.commit(put("/kept", "2"), Seq::NONE).unwrap();
    let behind = storage.commit(delete(&["/kept/below"]), Seq::NONE);
    assert_eq!(bed.decided(first), Outcome::Failed(CommitError::Unknown));
    if let Ok(behind) = behind {
        assert_eq!(storage.outcome(behind), Outcome::Failed(CommitError::Unknown));
    }
    assert_eq!(storage.commit(put("/kept", "3"), first), Err(CommitError::Unknown));
    assert!(!storage.status().ready && storage.status().reason.is_some());
    assert_eq!(bed.objects("/kept"), ["/kept", "/kept/below"]);
    assert_eq!(bed.metrics.commit_failures.get(), 1);
    lock.execute_batch("ROLLBACK").unwrap();
    bed.eventually("ready", |storage| storage.status().ready);
    assert_eq!(storage.commit(put("/kept", "3"), first), Err(CommitError::Unknown));
    bed.durable(put("/kept", "4"));
    assert_eq!(storage.outcome(first), Outcome::Failed(CommitError::Unknown));
    assert_eq!((bed.state("/kept").as_deref(), storage.object_count()), (Some("4"), 2));
}

#[test]
fn a_deletion_that_fails_is_withdrawn() {
    let bed = Bed::new();
    bed.durable(put("/a/b", "x"));
    let lock = bed.raw();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let seq = bed.storage().commit(delete(&["/a"]), Seq::NONE).unwrap();
    assert_eq!(bed.decided(seq), Outcome::Failed(CommitError::Unknown));
    assert_eq!(bed.state("/a/b").as_deref(), Some("x"));
    lock.execute_batch("ROLLBACK").unwrap();
    bed.eventually("ready", |storage| storage.status().ready);
    assert_eq!(bed.objects("/"), ["/a/b"]);
}

#[test]
fn st4_of_a_write_set_that_fails_nothing_is_there_and_what_it_dropped_is_back() {
    let bed = Bed::new();
    let mut before = row("/a", "old", Some("1"));
    before.merge(wake("/a", Some(1)));
    bed.durable(before);
    bed.durable(send("/b", &[("/a", "1")]));
    let received = bed.storage().inbox(&path("/a"), None, 1).unwrap();
    let lock = bed.raw();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut set = clear("/a");
    set.merge(row("/a", "new", Some("2")));
    set.merge(wake("/a", None));
    set.merge(send("/a", &[("/b", "2")]));
    set.handled.push(received[0].position);
    let seq = bed.storage().commit(set, Seq::NONE).unwrap();
    assert_eq!(bed.decided(seq), Outcome::Failed(CommitError::Unknown));
    for _ in 0..2 {
        assert_eq!(bed.rows("/a"), [("old".to_owned(), "1".to_owned())]);
        assert_eq!(bed.due(), [("/a".to_owned(), 1)]);
        assert_eq!(bed.storage().inbox(&path("/a"), None, 2).unwrap(), received);
        assert_eq!(bed.inboxes(), ["/a"]);
        let _ = lock.execute_batch("ROLLBACK");
        bed.eventually("ready", |storage| storage.status().ready);
    }
}

#[test]
fn damage_is_found_in_the_background_and_stops_writes() {
    let mut bed = Bed::new();
    for number in 0..200 {
        bed.storage().commit(put(&format!("/n{number}"), &"x".repeat(900)), Seq::NONE).unwrap();
    }
    bed.durable(put("/a", "x"));
    bed.close();
    let mut bytes = std::fs::read(bed.file()).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0xa5);
    std::fs::write(bed.file(), bytes).unwrap();
    bed.reopen();
    bed.eventually("found", |storage| !storage.status().ready);
    let reason = bed.storage().status().reason.unwrap();
    assert!(reason.contains("integrity"), "{reason}");
    assert_eq!(bed.storage().commit(put("/a", "y"), Seq::NONE), Err(CommitError::Unknown));
    assert_eq!(bed.state("/a").as_deref(), Some("x"));
}

/// Runs itself again on a disk of 8 MiB.
#[test]
fn on_a_full_disk_reads_and_deletes_work_and_space_brings_everything_back() {
    const INNER: &str = "FLEET_TEST_SMALL_DISK";
    const NO_MOUNT: i32 = 77;
    if let Some(dir) = std::env::var_os(INNER) {
        return full_disk(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=8m fleet \"${INNER}\" || exit {NO_MOUNT}; exec \"$0\" \"$@\"");
    let result = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--nocapture", "on_a_full_disk_reads_and_deletes_work"])
        .env(INNER, dir.path())
        .output();
    match result {
        Ok(output) if output.status.code() != Some(NO_MOUNT) => {
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        _ => println!("SKIPPED: no small disk can be mounted here (needs root and `unshare -m`)"),
    }
}

fn full_disk(dir: &Path) {
    let mut bed = Bed::within(tempfile::tempdir_in(dir).unwrap());
    let big = "x".repeat(64 << 10);
    let mut acknowledged = BTreeSet::new();
    bed.durable(row("/rows", "k", Some("v")));
    for number in 0.. {
        let at = format!("/data/n{number}");
        match bed.storage().commit(put(&at, &big), Seq::NONE).map(|seq| bed.decided(seq)) {
            Ok(Outcome::Durable) => acknowledged.insert(at),
            Ok(Outcome::Failed(CommitError::Full)) | Err(CommitError::Full) => break,
            other => panic!("{other:?}"),
        };
    }
    assert!(acknowledged.len() > 32, "{acknowledged:?}");
    bed.eventually("full", |storage| !storage.status().ready);
    assert_eq!(bed.storage().commit(put("/more", &big), Seq::NONE), Err(CommitError::Full));
    // Dropping all rows is a deletion, too; putting one is not.
    assert_eq!(bed.storage().commit(row("/rows", "k", None), Seq::NONE), Err(CommitError::Full));
    bed.durable(clear("/rows"));
    assert_eq!(bed.rows("/rows"), []);
    for at in &acknowledged {
        assert_eq!(bed.state(at).as_deref(), Some(&*big), "{at}");
    }
    let doomed: Vec<_> = acknowledged.iter().take(acknowledged.len() / 2).cloned().collect();
    for at in &doomed {
        bed.durable(delete(&[at]));
        acknowledged.remove(at);
    }
    bed.eventually("ready", |storage| storage.status().ready);
    bed.durable(put("/more", &big));
    for _ in 0..2 {
        assert_eq!(bed.objects("/data"), acknowledged.iter().cloned().collect::<Vec<_>>());
        assert_eq!(bed.state("/more").as_deref(), Some(&*big));
        bed.reopen();
    }
    bed.reap();
    assert_eq!(bed.storage().object_count(), acknowledged.len() as u64 + 1);
}
