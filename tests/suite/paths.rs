//! What is an object's path, what is a file, and what is neither.

use crate::harness::{Server, body, create, error, error_of, increment, state, state_with, with_id};

const RULE: &str = "^[A-Za-z0-9_-]{1,32}$";

#[tokio::test]
async fn fp1_empty_segments_are_dropped() {
    let server = Server::start();
    server.increment("/a/b").await;
    for same in ["/a/b", "/a//b/", "//a/b", "/a/b///"] {
        assert_eq!(server.state(same).await, body(1, &[]), "{same}");
    }
    server.increment("/a//b/").await;
    server.increment("//a///b").await;
    assert_eq!(server.state("/a/b").await, body(3, &[]));
    server.increment("//").await;
    assert_eq!(server.state("/").await, body(1, &[]));
    assert_eq!(server.objects().await, ["/", "/a/b"]);
}

#[tokio::test]
async fn fp1_sockets_meet_whatever_the_spelling() {
    let server = Server::start();
    let mut plain = server.watch("/a/b").await;
    let mut slashed = server.watch("//a//b/").await;
    slashed.send(increment()).await;
    plain.expect(state(1)).await;
    slashed.expect(state(1)).await;
}

#[tokio::test]
async fn fp1_names_are_1_to_32_of_the_alphabet() {
    let server = Server::start();
    let longest = "x".repeat(32);
    for good in ["a", "-", "_", "--", "0", "AZaz09_-", "_messages", "_Message", "message", &longest] {
        assert_eq!(server.increment(&format!("/{good}")).await["count"], 1, "{good}");
        assert_eq!(server.increment(&format!("/p/{good}/q")).await["count"], 1, "{good}");
    }
}

#[tokio::test]
async fn fp1_bad_segments_are_refused_with_the_rule_and_spawn_nothing() {
    let server = Server::start();
    let long = "x".repeat(33);
    for bad in
        [&long, "%61", "a%2Fb", "%2e%2e", "a%", "a~b", "a+b", "a,b", "a@b", "(a)", "a=b", "a&b", "a*", "$", "!", "'"]
    {
        for path in [format!("/{bad}"), format!("/ok/{bad}"), format!("/{bad}/ok")] {
            server.get(&path).await.fails_saying(400, RULE, "bad_request");
            server.request("GET", &path).await.fails_saying(400, RULE, "bad_request");
            server.delete(&path).await.fails_saying(400, RULE, "bad_request");
            server.request("PUT", &path).await.fails_saying(400, RULE, "bad_request");
            server.post(&format!("{path}:increment")).await.fails_saying(400, RULE, "bad_request");
            server.post(&format!("{path}/_message")).await.fails_saying(400, RULE, "bad_request");
            let refused = server.upgrade(&path).await.err().expect(&path);
            refused.saying(400, RULE, "bad_request");
        }
    }
    assert_eq!(server.objects().await, [""; 0]);
    assert_eq!(server.metrics().await.activations(), 0);
}

#[tokio::test]
async fn fp1_bytes_beyond_ascii_are_no_names() {
    let server = Server::start();
    for bad in ["/ä", "/日本", "/a\u{a0}"] {
        let status = server.get(bad).await.status;
        assert_eq!(status, 400, "{bad}");
    }
    assert_eq!(server.metrics().await.activations(), 0);
}

#[tokio::test]
async fn fp1_a_dashed_uuid_gets_advice() {
    let server = Server::start();
    let dashed = "/3fa85f64-5717-4562-b3fc-2c963f66afa6";
    let text = server.get(dashed).await.fails_saying(400, RULE, "bad_request");
    assert!(text.contains("32 hex digits") && text.contains("dashed"), "{text}");
    server.increment(&dashed.replace('-', "")).await;
}

#[tokio::test]
async fn fp1_message_is_reserved_everywhere() {
    let server = Server::start();
    for path in ["/_message", "/a/_message", "/_message/a", "/a/_message/b", "/a//_message//"] {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_eq!(server.request(method, path).await.status, 400, "{method} {path}");
        }
        server.get(path).await.fails_saying(400, "_message", "bad_request");
        server.upgrade(path).await.err().expect(path).saying(400, "_message", "bad_request");
        server.post(&format!("{path}:increment")).await.fails_saying(400, "_message", "bad_request");
    }
    for path in ["/_message/a", "/a/_message/b", "/_message/_message"] {
        server.post(path).await.fails_saying(400, "_message", "bad_request");
    }
    server.post("/:createAgent").json(&serde_json::json!({"name": "_message"})).await.fails(
        400,
        "Invalid agent name",
        "bad_request",
    );
    let mut socket = server.watch("/").await;
    socket.send(create("_message")).await;
    socket.expect(error("Invalid agent name")).await;
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fp1_a_segment_with_a_dot_is_a_file_or_nothing() {
    let server = Server::start();
    for (file, kind) in [("/ui.js", "text/javascript"), ("/style.css", "text/css"), ("/favicon.svg", "image/svg+xml")] {
        let found = server.request("GET", file).await.assert(200);
        assert_eq!(found.header("content-type"), Some(kind), "{file}");
        assert!(!found.body.is_empty(), "{file}");
    }
    for nothing in
        ["/a.b", "/robots.txt", "/..", "/.", "/a/../b", "/a/ui.js", "/ui.js/a", "/.env", "/.fleet", "/.fleet/nothing"]
    {
        server.get(nothing).await.fails_saying(404, "", "not_found");
        assert_eq!(server.upgrade(nothing).await.err().expect(nothing).status, 404, "{nothing}");
    }
    assert_eq!(server.delete("/ui.js").await.assert(405).header("allow"), Some("GET, HEAD"));
    assert_eq!(server.metrics().await.activations(), 0);
}

#[tokio::test]
async fn fp1_a_path_over_8192_characters_is_414() {
    let server = Server::start();
    let fits = "/a".repeat(4_096);
    assert_eq!(fits.len(), 8_192);
    let mut socket = server.socket(&fits).await;
    socket.expect(state(0)).await;
    socket.send(increment()).await;
    socket.expect(state(1)).await;
    assert_eq!(server.state(&fits).await, body(1, &[]));
    let longer = format!("{fits}a");
    server.get(&longer).await.fails_saying(414, "8192", "path_too_long");
    server.delete(&longer).await.fails_saying(414, "8192", "path_too_long");
    server.upgrade(&longer).await.err().unwrap().saying(414, "8192", "path_too_long");
    server.get(&"/".repeat(60_000)).await.fails_saying(414, "8192", "path_too_long");
}

#[tokio::test]
async fn fp1_depth_is_unlimited() {
    let server = Server::start();
    let deep = "/d".repeat(4_000);
    assert_eq!(server.increment(&deep).await["count"], 1);
    let mut socket = server.socket(&deep).await;
    socket.expect(state(1)).await;
    assert_eq!(server.create(&deep, "e").await["path"], format!("{deep}/e"));
    socket.expect(state_with(1, &["e"])).await;
    server.delete("/d").await.assert(200);
    socket.expect_close(1000, "Agent deleted").await;
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fp1_a_child_whose_path_would_be_too_long_is_refused() {
    let server = Server::start();
    let deepest = "/a".repeat(4_096);
    assert_eq!(deepest.len(), 8_192);
    let mut socket = server.watch(&deepest).await;
    // Nobody could ever open, message or delete it by its path.
    socket.send(with_id(1, create("b"))).await;
    socket.expect(error_of(1, "path is 8194 bytes; the limit is 8192", "path_too_long")).await;
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fp1_the_query_is_not_part_of_the_path() {
    let server = Server::start();
    server.increment("/a").await;
    assert_eq!(server.state("/a?x=1.2:3/_message%").await, body(1, &[]));
    assert_eq!(server.state("/a?").await, body(1, &[]));
    assert_eq!(server.objects().await, ["/a"]);
}

#[tokio::test]
async fn fp2_a_fresh_object() {
    let server = Server::start();
    for path in ["/", "/fresh", "/a/b/c"] {
        let answer = server.get(path).await.assert(200);
        assert_eq!(answer.text(), r#"{"data":{"count":0},"agents":[]}"#);
    }
}

#[tokio::test]
async fn fp2_children_are_in_the_order_of_their_creation() {
    let mut server = Server::start();
    let names = ["zoe", "adam", "Mia", "42", "_x", "-"];
    for name in names {
        server.create("/t", name).await;
    }
    assert_eq!(server.state("/t").await, body(0, &names));
    server.delete("/t/adam").await.assert(200);
    server.create("/t", "adam").await;
    let now = ["zoe", "Mia", "42", "_x", "-", "adam"];
    assert_eq!(server.state("/t").await, body(0, &now));
    server.restart();
    assert_eq!(server.state("/t").await, body(0, &now));
}

#[tokio::test]
async fn fp3_the_first_frame_is_the_state() {
    let server = Server::start();
    let mut socket = server.socket("/a").await;
    assert_eq!(socket.text().await, r#"{"type":"state","payload":{"data":{"count":0},"agents":[]}}"#);
    server.increment("/a").await;
    server.create("/a", "kid").await;
    let mut late = server.socket("/a").await;
    assert_eq!(late.text().await, r#"{"type":"state","payload":{"data":{"count":1},"agents":["kid"]}}"#);
}

#[tokio::test]
async fn fp3_get_answers_the_page_or_json() {
    let server = Server::start();
    let page = |accept: &str| server.request("GET", "/a/b").header("Accept", accept);
    for accept in ["*/*", "text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", ""] {
        let page = page(accept).await.assert(200);
        assert_eq!(page.header("content-type"), Some("text/html"), "{accept}");
        assert!(page.text().starts_with("<!doctype html>"), "{:.40}", page.text());
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("vary"), Some("Accept"));
    }
    assert_eq!(server.request("GET", "/a/b").await.header("content-type"), Some("text/html"));
    let json = page("application/json").await;
    assert_eq!(json.header("cache-control"), Some("no-store"));
    assert_eq!(json.json(), body(0, &[]));
}

#[tokio::test]
async fn fx5_head_is_get_without_the_body() {
    let server = Server::start();
    for (path, accept) in [("/a", "*/*"), ("/a", "application/json"), ("/ui.js", "*/*"), ("/.fleet/health", "*/*")] {
        let get = server.request("GET", path).header("Accept", accept).await;
        let head = server.request("HEAD", path).header("Accept", accept).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()), "{path}");
        assert!(head.body.is_empty(), "{path}");
    }
    assert_eq!(server.request("HEAD", "/a%").await.status, 400);
    assert_eq!(server.request("HEAD", "/no.where").await.status, 404);
}

#[tokio::test]
async fn fx5_other_methods_are_405_with_what_is_allowed() {
    let server = Server::start();
    for method in ["POST", "PUT", "PATCH", "OPTIONS", "PROPFIND"] {
        for path in ["/", "/a/b"] {
            let refused = server.request(method, path).await;
            refused.fails_saying(405, method, "method_not_allowed");
            assert_eq!(refused.header("allow"), Some("GET, HEAD, DELETE"), "{method}");
        }
    }
    for method in ["GET", "PUT", "DELETE"] {
        let refused = server.request(method, "/a:increment").await;
        refused.fails_saying(405, method, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("POST"), "{method}");
    }
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fx5_fetch_takes_any_body() {
    let server = Server::start();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json"] {
        server.post("/a").body(kind, b"\xff{not json").await.fails_saying(405, "POST", "method_not_allowed");
    }
    server.post("/a").untyped(b"anything").await.fails_saying(405, "POST", "method_not_allowed");
}
