//! Data directories that are not what they should be: refused with advice, and left byte for byte as they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::client::Socket;
use crate::eventually;
use crate::server::Server;

const OBJECTS: usize = 3_000;
const PAGE: usize = 4_096;
const ADVICE: &str = "restore a backup or move it away";

/// A data directory with some objects, cleanly closed.
async fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let mut socket = Socket::open_for_changes(server.address(), "/parent").await.unwrap();
    let create = |id| json!({"type": "createAgent", "id": id, "payload": {"name": format!("child{id}")}});
    socket.send((0..OBJECTS).map(create)).await.unwrap();
    for _ in 0..OBJECTS {
        assert_eq!(socket.answer().await.unwrap()["type"], "result");
    }
    assert_eq!(server.stop().await.code(), Some(0));
    let length = database(&directory).len();
    assert!(length > 40 * PAGE, "{length} bytes are too few to be worth damaging");
    directory
}

fn database(directory: &TempDir) -> Vec<u8> {
    fs::read(directory.path().join("fleet.db")).unwrap()
}

/// The files that hold data, with what is in them.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let data = files.filter(|(name, _)| name.starts_with("fleet.db"));
    data.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Asserts that it is refused like this, and that nothing of it changes.
async fn refuses(directory: &TempDir, parts: &[&str]) {
    let before = contents(directory.path());
    let refusal = Server::refused(directory.path()).await;
    let file = directory.path().join("fleet.db").display().to_string();
    refusal.says(&[&[file.as_str()], parts].concat());
    assert!(contents(directory.path()) == before, "its files have changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut noise = vec![0; 10 * PAGE];
    fastrand::fill(&mut noise);
    for bytes in [&noise[..], &noise[..7], b"{\"this\":\"is not a database\"}", &[0; 2 * PAGE]] {
        fs::write(directory.path().join("fleet.db"), bytes).unwrap();
        refuses(&directory, &["is not a Fleet database or is damaged", ADVICE]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_somebody_else_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let other = Connection::open(directory.path().join("fleet.db")).unwrap();
    other.execute_batch("CREATE TABLE objects (path TEXT); INSERT INTO objects VALUES ('/mine');").unwrap();
    other.close().unwrap();
    refuses(&directory, &["application id", ADVICE]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_cut_off_is_refused_and_left_as_it_is() {
    let directory = directory().await;
    let whole = database(&directory);
    for length in [50, 100, PAGE, 3 * PAGE, whole.len() / 2, whole.len() - PAGE] {
        fs::write(directory.path().join("fleet.db"), &whole[..length]).unwrap();
        refuses(&directory, &["damaged", ADVICE]).await;
    }
    fs::write(directory.path().join("fleet.db"), &whole).unwrap();
    let server = Server::start(directory.path()).await;
    assert_eq!(server.http().await.objects("/parent").await.len(), OBJECTS + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_database_is_refused_and_left_as_it_is() {
    let directory = directory().await;
    let server = Server::start(directory.path()).await;
    server.http().await.increment("/a").await.unwrap().ok();
    server.kill().await;
    for empty in [false, true] {
        let file = directory.path().join("fleet.db");
        if empty {
            fs::write(&file, b"").unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        refuses(&directory, &["fleet.db-wal", ADVICE]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op12_data_of_a_newer_version_is_refused_and_left_as_it_is() {
    let directory = directory().await;
    let newer = Connection::open(directory.path().join("fleet.db")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    refuses(&directory, &["schema version 99", "use a newer one"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_middle_stops_changes_and_is_told() {
    let directory = directory().await;
    let file = directory.path().join("fleet.db");
    let mut bytes = database(&directory);
    let pages = bytes.len() / PAGE;
    // Flipped bits at the beginning of each: a page that is in use does not look like one any more.
    for page in pages / 3..pages / 3 + 8 {
        bytes[page * PAGE..page * PAGE + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    fs::write(&file, &bytes).unwrap();
    let server = Server::start(directory.path()).await;
    let mut http = server.http().await;
    eventually("the damage is told", async || {
        let ready = http.get("/.fleet/ready").await.unwrap();
        ready.status == 503 && ready.json()["reason"].as_str().unwrap().contains("integrity check failed")
    })
    .await;
    assert_eq!(http.increment("/a").await.unwrap().status, 503);
    assert_eq!(http.get("/.fleet/health").await.unwrap().status, 200);
    assert_eq!(http.count("/a").await, 0, "what is not damaged can be read");
    server.kill().await;
    assert!(fs::read(&file).unwrap() == bytes, "the database has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_cannot_be_made_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    for data in [file.join("data"), file.clone()] {
        let refusal = Server::refused(&data).await;
        refusal.says(&[&data.display().to_string(), "must exist or be creatable, and be writable"]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
    let data = directory.path().join("data");
    fs::create_dir_all(data.join("fleet.db")).unwrap();
    Server::refused(&data).await.says(&[&data.join("fleet.db").display().to_string(), "must exist or be creatable"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx7_a_second_server_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let refusal = Server::refused(directory.path()).await;
    let process = format!("(pid {})", server.process());
    refusal.says(&["another server", &process, &directory.path().display().to_string(), "a directory of its own"]);
    let mut http = server.http().await;
    http.increment("/a").await.unwrap().ok();
    // Its lock goes with it, however it ends.
    server.kill().await;
    let server = Server::start(directory.path()).await;
    assert_eq!(server.http().await.count("/a").await, 1);
}
