//! Subtrees with thousands of descendants: all there or all gone, also while what is left of them is cleaned up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::client::Socket;
use crate::server::Server;
use crate::{eventually, seeded};

const ROUNDS: usize = 6;
/// How often a client looks for the answer to a deletion, at most, before the server is killed.
const LOOKS: usize = 3_000;
const PARENTS: usize = 3;
const CHILDREN: usize = 1_000;

/// Creates a subtree: `PARENTS` objects with `CHILDREN` each, and one far below that nobody lists.
async fn grow(server: &Server) {
    let mut http = server.http().await;
    for parent in 0..PARENTS {
        http.create("/forest/old", &format!("p{parent}")).await.unwrap().ok();
        let path = format!("/forest/old/p{parent}");
        let mut socket = Socket::open_for_changes(server.address(), &path).await.unwrap();
        let create = |id| json!({"type": "createAgent", "id": id, "payload": {"name": format!("c{id}")}});
        socket.send((0..CHILDREN).map(create)).await.unwrap();
        for _ in 0..CHILDREN {
            let answer = socket.answer().await.unwrap();
            assert_eq!(answer["type"], "result", "{answer}");
        }
    }
    http.increment("/forest/old/nobody/lists/this").await.unwrap().ok();
}

/// How many objects there are at and below `/forest/old` (which exists only as long as it has rows).
async fn size(server: &Server) -> usize {
    let mut http = server.http().await;
    let found = http.objects("/forest/old").await;
    if found.is_empty() {
        let state = http.get("/forest/old").await.unwrap().ok().json();
        assert_eq!(state, json!({"data": {"count": 0}, "agents": []}), "something came back");
        assert_eq!(http.count("/forest/old/nobody/lists/this").await, 0);
    }
    found.len()
}

/// Rows of deleted objects that are still to be cleaned up, and of those below `/forest/old`.
fn rows(data: &Path) -> (u64, u64) {
    let database = Connection::open_with_flags(data.join("fleet.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    let count = |sql: &str| database.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap().cast_unsigned();
    let below = "SELECT (SELECT count(*) FROM objects WHERE path >= '/forest/old/' AND path < '/forest/old0') \
                 + (SELECT count(*) FROM agents WHERE parent >= '/forest/old/' AND parent < '/forest/old0')";
    (count("SELECT count(*) FROM tombstones"), count(below))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fp9_fp10_a_large_subtree_is_all_there_or_all_gone_however_often_it_is_killed() {
    let mut rng = seeded();
    let directory = tempfile::tempdir().unwrap();
    let whole = 1 + PARENTS * (1 + CHILDREN) + 1;
    let mut server = Server::start(directory.path()).await;
    // Beside it in the order of paths, and not part of it.
    server.http().await.increment("/forest/old-one").await.unwrap().ok();
    for round in 0..ROUNDS {
        grow(&server).await;
        assert_eq!(size(&server).await, whole);
        // Killed while it is being deleted.
        let mut http = server.http().await;
        let deleting = http.delete("/forest/old");
        let looks = rng.usize(..LOOKS);
        let pause = async {
            for _ in 0..looks {
                tokio::task::yield_now().await;
            }
        };
        let answered = tokio::select! {
            biased;
            reply = deleting => { reply.unwrap().ok(); true }
            () = pause => false,
        };
        server.kill().await;
        server = Server::start(directory.path()).await;
        let found = size(&server).await;
        assert!(found == 0 || (found == whole && !answered), "{found} of {whole} are there, answered: {answered}");
        println!("round {round}: answered {answered}, found {found}");
        server.http().await.delete("/forest/old").await.unwrap().ok();
        // Killed while it is cleaned up, twice.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_micros(rng.u64(..5_000))).await;
            server.kill().await;
            server = Server::start(directory.path()).await;
            assert_eq!(size(&server).await, 0);
        }
        // What is created meanwhile in its place is new, and stays.
        let mut http = server.http().await;
        http.create("/forest/old/p0", "fresh").await.unwrap().ok();
        server.kill().await;
        server = Server::start(directory.path()).await;
        let mut http = server.http().await;
        let fresh = [("/forest/old/p0".to_owned(), 1), ("/forest/old/p0/fresh".to_owned(), 0)];
        assert_eq!(http.objects("/forest/old").await, fresh);
        assert_eq!(http.get("/forest/old/p0").await.unwrap().json()["agents"], json!(["fresh"]));
        http.delete("/forest/old").await.unwrap().ok();
        assert_eq!(http.count("/forest/old-one").await, 1);
    }
    eventually("the end of cleaning up", async || rows(directory.path()).0 == 0).await;
    assert_eq!(rows(directory.path()).1, 0);
    assert_eq!(server.stop().await.code(), Some(0));
}
