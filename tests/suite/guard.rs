//! Who may ask, before there is any authorisation.

use serde_json::json;

use crate::harness::{Client, Server, body, state};

const FOREIGN: [&str; 8] = [
    "null",
    "http://evil.example",
    "https://evil.example",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost.evil.example",
    "nonsense",
    "",
];

/// Every way to change something, with this origin.
async fn refuses(server: &Client, origin: &str) {
    let refused = server.upgrade("/t").header("Origin", origin).await.err().expect(origin);
    refused.saying(403, "allowed_origins", "forbidden");
    for (method, target) in [
        ("POST", "/t:increment"),
        ("POST", "/t/_message"),
        ("DELETE", "/t"),
        ("PUT", "/t"),
        ("PATCH", "/t"),
        ("POST", "/t"),
        ("PROPFIND", "/t"),
    ] {
        let answer = server.request(method, target).header("Origin", origin).json(&json!({})).await;
        let text = answer.fails_saying(403, "allowed_origins", "forbidden");
        assert!(text.contains("trusted_proxies"), "{text}");
    }
}

async fn accepts(server: &Client, origin: &str) {
    let mut socket = server.upgrade("/ok").header("Origin", origin).await.expect(origin);
    socket.first_state().await;
    server.post("/ok:increment").header("Origin", origin).await.assert(200);
    server.delete("/ok").header("Origin", origin).await.assert(200);
}

#[tokio::test]
async fn fx9_other_origins_may_not_change_anything() {
    let server = Server::start();
    for origin in FOREIGN {
        refuses(&server, origin).await;
        // A page of another site may ask; what it gets it cannot read without CORS.
        let answer = server.get("/t").header("Origin", origin).await.assert(200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
    }
    assert_eq!(server.objects().await, [""; 0]);
    assert_eq!(server.metrics().await.sockets(), 0);
}

#[tokio::test]
async fn fx9_the_own_origin_and_none_at_all_are_fine() {
    let server = Server::start();
    accepts(&server, &format!("http://{}", server.address())).await;
    accepts(&server, &format!("HTTP://{}", server.address())).await;
    let localhost = format!("localhost:{}", server.address().port());
    let request =
        server.post("/t:increment").header("Host", &localhost).header("Origin", &format!("http://{localhost}"));
    request.await.assert(200);
    // The same machine by another name is another origin.
    let request = server.post("/t:increment").header("Origin", &format!("http://{localhost}"));
    request.await.fails_saying(403, "allowed_origins", "forbidden");
    server.post("/t:increment").await.assert(200);
    assert_eq!(server.state("/t").await, body(2, &[]));
}

#[tokio::test]
async fn fx9_two_origins_are_none() {
    let server = Server::start();
    let own = format!("http://{}", server.address());
    let request = server.post("/t:increment").header("Origin", &own).header("Origin", "http://evil.example");
    request.await.fails_saying(403, "allowed_origins", "forbidden");
}

#[tokio::test]
async fn fx9_listed_origins_may() {
    let server =
        Server::configured("server.allowed_origins = [\"https://Good.example\", \"http://localhost:3000\", \"null\"]");
    for origin in ["https://good.example", "http://localhost:3000", "null"] {
        accepts(&server, origin).await;
    }
    for origin in ["http://good.example", "https://good.example:444", "https://sub.good.example", "http://localhost"] {
        refuses(&server, origin).await;
    }
}

#[tokio::test]
async fn fx9_other_hosts_are_refused_on_loopback() {
    let server = Server::start();
    let port = server.address().port();
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.1.evil",
        "fleet",
        "local",
        "example.org:80",
    ] {
        for target in ["/", "/t", "/ui.js", "/.fleet/health", "/.fleet/objects", "/.fleet/metrics"] {
            let refused = server.get(target).header("Host", host).await;
            refused.fails_saying(403, "allowed_hosts", "forbidden");
        }
        server.post("/t:increment").header("Host", host).await.fails_saying(403, "allowed_hosts", "forbidden");
        server.delete("/t").header("Host", host).await.fails_saying(403, "allowed_hosts", "forbidden");
        let origin = format!("http://{host}");
        let refused = server.upgrade("/t").header("Host", host).header("Origin", &origin).await.err().expect(host);
        refused.saying(403, "allowed_hosts", "forbidden");
    }
    for host in [
        "localhost",
        "LocalHost:1",
        &format!("localhost:{port}"),
        "127.0.0.1",
        "127.0.0.2:80",
        "10.0.0.1",
        "[::1]",
        "[::1]:8787",
    ] {
        assert_eq!(server.get("/t").header("Host", host).await.ok(), body(0, &[]), "{host}");
    }
    assert_eq!(server.objects().await, [""; 0]);
}

#[tokio::test]
async fn fx9_the_target_of_a_request_may_name_the_host_too() {
    let server = Server::start();
    // A proxy's form: what it names counts, not the header.
    server.get("http://evil.example/t").await.fails_saying(403, "allowed_hosts", "forbidden");
    assert_eq!(server.get(&format!("http://{}/t", server.address())).await.ok(), body(0, &[]));
}

#[tokio::test]
async fn fx9_listed_hosts_are_served() {
    let server = Server::configured("server.allowed_hosts = [\"fleet.example.org\", \"other.example:8080\"]");
    for host in ["fleet.example.org", "FLEET.example.org:1234", "other.example:8080"] {
        server.get("/t").header("Host", host).await.assert(200);
        let origin = format!("http://{host}");
        let mut socket = server.upgrade("/t").header("Host", host).header("Origin", &origin).await.expect(host);
        socket.expect(state(0)).await;
    }
    for host in ["other.example", "other.example:80", "sub.fleet.example.org"] {
        server.get("/t").header("Host", host).await.fails_saying(403, "allowed_hosts", "forbidden");
    }
}

#[tokio::test]
async fn fx9_only_trusted_proxies_say_what_the_client_asked_for() {
    let hosts = "server.allowed_hosts = [\"fleet.example.org\"]\n";
    for (proxies, trusted) in
        [("[\"127.0.0.1\"]", true), ("[\"127.0.0.0/8\"]", true), ("[]", false), ("[\"10.0.0.0/8\"]", false)]
    {
        let server = Server::configured(&format!("{hosts}server.trusted_proxies = {proxies}"));
        let request = server
            .post("/t:increment")
            .header("X-Forwarded-Host", "fleet.example.org")
            .header("X-Forwarded-Proto", "https")
            .header("Origin", "https://fleet.example.org");
        let answer = request.await;
        let upgrade = server
            .upgrade("/t")
            .header("X-Forwarded-Host", "fleet.example.org")
            .header("X-Forwarded-Proto", "https")
            .header("Origin", "https://fleet.example.org")
            .await;
        if trusted {
            answer.assert(200);
            upgrade.unwrap().first_state().await;
            // What the proxy names is held to the same list.
            let other = server.get("/t").header("X-Forwarded-Host", "evil.example").await;
            other.fails_saying(403, "allowed_hosts", "forbidden");
            // And the origin's scheme must be that of the client's connection.
            let insecure = server
                .post("/t:increment")
                .header("X-Forwarded-Host", "fleet.example.org")
                .header("X-Forwarded-Proto", "https")
                .header("Origin", "http://fleet.example.org");
            insecure.await.fails_saying(403, "allowed_origins", "forbidden");
        } else {
            answer.fails_saying(403, "trusted_proxies", "forbidden");
            upgrade.err().unwrap().saying(403, "trusted_proxies", "forbidden");
        }
    }
}

#[tokio::test]
async fn fx9_every_answer_says_how_to_treat_it() {
    let server = Server::start();
    for target in ["/", "/t", "/a%b", "/ui.js", "/no.where", "/.fleet/health", "/.fleet/objects?limit=0"] {
        let answer = server.get(target).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{target}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{target}");
    }
}
