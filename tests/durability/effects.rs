//! The output gate of a user's class, seen from below: neither its answer, nor what it sends to another object, nor what that
//! tells its sockets, leaves before the fdatasync of what caused it has returned.

use serde_json::json;

use crate::client::Http;
use crate::server::Server;
use crate::trace::{Call, SYNCS, Trace, calls};

const TURNS: usize = 10;
/// A whole page of the database is one write.
const SHOWN_BYTES: &str = "5000";

/// Where a text is in a call for the first time.
fn first<'a>(calls: &'a [Call], text: &str, is_wanted: impl Fn(&Call) -> bool) -> &'a Call {
    let found = calls.iter().find(|call| is_wanted(call) && call.arguments.contains(text));
    found.unwrap_or_else(|| panic!("`{text}` is in no such call"))
}

fn is_of_the_log(call: &Call) -> bool {
    call.arguments.contains("/fleet.db-wal>")
}

/// The line in which the log is synced with this text in it: the end of the first sync that began after it was written.
fn synced(calls: &[Call], text: &str) -> usize {
    let written = first(calls, text, |call| call.name == "pwrite64" && is_of_the_log(call));
    let (written, _) = written.end.as_ref().expect("the write of a page has ended");
    let syncs = calls.iter().filter(|call| SYNCS.split(',').any(|name| name == call.name) && is_of_the_log(call));
    let ends = syncs.filter(|call| call.begin > *written).filter_map(|call| call.end.as_ref());
    let synced = ends.filter(|(_, result)| result.starts_with('0')).map(|(line, _)| *line).min();
    synced.unwrap_or_else(|| panic!("`{text}` was never synced"))
}

/// The line in which a text begins to leave the server.
fn left(calls: &[Call], text: &str) -> usize {
    let writes = ["write", "writev", "sendto", "sendmsg"];
    first(calls, text, |call| writes.contains(&call.name.as_str())).begin
}

async fn act(http: &mut Http, label: &str) {
    let reply = http.call("/courier/a", "label", &json!(["/courier/b", label])).await.unwrap();
    assert_eq!(reply.ok().json(), json!(format!("answer-{label}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn st5_co1_nothing_of_a_class_leaves_before_the_fdatasync_of_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start_with_classes(directory.path()).await;
    server.ready().await;
    let mut http = server.http().await;
    let mut socket = server.socket_without_state("/courier/b").await;
    assert_eq!(socket.text().await.unwrap(), "joined");
    act(&mut http, "first").await;
    assert_eq!(socket.text().await.unwrap(), "told-first");
    let file = directory.path().join("trace");
    let traced = format!("trace={SYNCS},pwrite64,write,writev,sendto,sendmsg");
    // Slow enough that whatever does not wait leaves long before.
    let slow = format!("inject={SYNCS}:delay_enter=20000");
    let output = file.to_str().unwrap();
    let arguments = ["-y", "-s", SHOWN_BYTES, "-o", output, "-e", &traced, "-e", &slow];
    let Some(trace) = Trace::attach(&server, &arguments).await else { return };
    let labels: Vec<String> = (0..TURNS).map(|number| format!("turn{number}.")).collect();
    for label in &labels {
        act(&mut http, label).await;
        assert_eq!(socket.text().await.unwrap(), format!("told-{label}"));
    }
    trace.detach().await;
    let calls = calls(&file);
    for label in &labels {
        let (row, message) = (synced(&calls, &format!("row-{label}")), synced(&calls, &format!("sent-{label}")));
        let answered = left(&calls, &format!("answer-{label}"));
        assert!(row.max(message) < answered, "{label} was answered in line {answered}, synced in {row} and {message}");
        let handled = first(&calls, &format!("heard-{label}"), |call| call.name == "pwrite64" && is_of_the_log(call));
        assert!(message < handled.begin, "{label} was handled in line {}, synced in {message}", handled.begin);
        let (heard, told) = (synced(&calls, &format!("heard-{label}")), left(&calls, &format!("told-{label}")));
        assert!(heard < told, "{label} was told in line {told}, synced in {heard}");
    }
    server.kill().await;
}
