//! The server's own endpoints.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Binary, Server, increment, state, with_id};

#[tokio::test]
async fn op2_the_first_line_says_where_it_listens() {
    let server = Binary::start(&[("RUST_LOG", "info")]).await;
    // The harness has read that line, and this is the port that it named.
    assert_ne!(server.address().port(), 0);
    assert_eq!(server.get("/.fleet/health").await.ok(), json!({"status": "ok"}));
    assert!(server.directory().join("data/fleet.db").exists());
    let log = server.logged().await;
    assert!(log.contains("serving on http://127.0.0.1:") && log.contains("data_dir"), "{log}");
}

#[tokio::test]
async fn op3_health_and_ready() {
    let server = Server::start();
    for (target, answer) in [("/.fleet/health", r#"{"status":"ok"}"#), ("/.fleet/ready", r#"{"ready":true}"#)] {
        let response = server.request("GET", target).await.assert(200);
        assert_eq!(response.text(), answer);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        for method in ["POST", "DELETE", "PUT"] {
            let refused = server.request(method, target).await;
            refused.fails_saying(405, method, "method_not_allowed");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"));
        }
    }
    server.get("/.fleet/nothing").await.fails_saying(404, "", "not_found");
}

#[tokio::test]
async fn op3_metrics_have_their_names_and_bounded_labels() {
    let server = Server::start();
    server.create("/secret-path", "secret-kid").await;
    let mut socket = server.watch("/secret-path").await;
    socket.send(with_id("secret-id", increment())).await;
    socket.json().await;
    server.get("/secret-path/%").await.assert(400);
    server.get("/secret.file").await.assert(404);
    server.request("SECRET", "/secret-path").await.assert(405);
    let answer = server.get("/.fleet/metrics").await.assert(200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let metrics = server.metrics().await;
    for name in [
        "fleet_objects",
        "fleet_activations_total",
        "fleet_evictions_total",
        "fleet_requests_total",
        "fleet_request_duration_seconds",
        "fleet_turn_seconds",
        "fleet_commit_seconds",
        "fleet_commit_batch_size",
        "fleet_storage_bytes",
        "fleet_websockets",
        "fleet_frames_total",
        "fleet_overloaded_total",
    ] {
        assert!(metrics.has(name), "{name}");
    }
    let labels = metrics.labels();
    let known = ["class", "direction", "kind", "le", "outcome", "state"];
    assert!(labels.is_subset(&BTreeSet::from(known.map(str::to_owned))), "{labels:?}");
    assert!(!metrics.text().to_lowercase().contains("secret"), "a metric that names a path");
}

#[tokio::test]
async fn op3_metrics_count() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    let mut other = server.watch("/t").await;
    for count in 1..=5 {
        socket.send(increment()).await;
        socket.expect(state(count)).await;
    }
    let (seen, _) = other.ask(json!({"type": "nothing"})).await;
    server.increment("/u").await;
    server.post("/u:fly").await.assert(404);
    let metrics = server.metrics().await;
    for (name, value) in [
        (r#"fleet_requests_total{kind="call",outcome="ok"}"#, 1),
        (r#"fleet_requests_total{kind="call",outcome="refused"}"#, 1),
        (r#"fleet_requests_total{kind="upgrade",outcome="ok"}"#, 2),
        (r#"fleet_websockets{class="agent"}"#, 2),
        (r#"fleet_objects{class="agent",state="active"}"#, 2),
        (r#"fleet_frames_total{direction="in"}"#, 6),
        // Two first states, five answers, what the other one saw, and its answer.
        (r#"fleet_frames_total{direction="out"}"#, 8 + seen.len() as u64),
        ("fleet_overloaded_total", 0),
        ("fleet_panics_total", 0),
    ] {
        assert_eq!(metrics.value(name), value, "{name}");
    }
    assert!(metrics.activations() >= 2);
    assert!(metrics.value("fleet_commit_seconds_count") >= 1);
    assert!(metrics.value("fleet_commit_batch_size_sum") >= 1);
    assert!(metrics.value(r#"fleet_turn_seconds_count{class="agent"}"#) >= 9);
    assert!(metrics.value("fleet_request_duration_seconds_count") >= 4);
    assert!(metrics.value("fleet_storage_bytes") > 4096);
}
