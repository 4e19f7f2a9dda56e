//! WC1, WC2, WC3: a worker's connection over real sockets. What needs made time, and a manager that answers what a test
//! wants, stands beside the code, in `src/class/worker_connection/tests.rs`.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::harness::{Binary, Opening, Server, Socket, eventually};

const SECRET: &str = "a secret that nobody guesses, as it is long";

const ROUTED: &str = "[routes]\n\"/ws/*\" = \"worker-connection\"\n";

/// A server whose workers need a token.
fn guarded() -> Server {
    let token = |token: &str, path: &str, scope: &str| {
        format!("[[auth.tokens]]\ntoken = \"{token}\"\npath = \"{path}\"\nscopes = [\"{scope}\"]\n")
    };
    let tokens = token("good", "/ws", "write") + &token("looks", "/", "read") + &token("elsewhere", "/ws/w2", "admin");
    Server::configured(&format!("{ROUTED}[auth]\nenabled = true\njwt_secret = \"{SECRET}\"\n{tokens}"))
}

/// A token that is good from now on for so many seconds.
fn jwt(seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"path": "/ws", "scopes": ["write"], "exp": now.saturating_add_signed(seconds), "sub": "ann"});
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

fn bearer(server: &Server, token: &str) -> Opening {
    server.upgrade("/ws/w1").header("Authorization", &format!("Bearer {token}"))
}

async fn open(opening: Opening) -> Socket {
    opening.await.expect("the upgrade is accepted, whatever the token")
}

async fn is_let_in(mut socket: Socket) {
    let (before, status) = socket.ask(json!({"type": "status"})).await;
    assert_eq!((before, &status["connected"]), (vec![], &json!(true)));
    socket.close().await;
}

const INVALID: &str = "unauthorized: the token is not valid";
const EXPIRED: &str = "unauthorized: the token has expired";
const OUT_OF_REACH: &str = "forbidden: the token does not reach this worker";
const FIRST: &str = "unauthorized: the first message must be auth, with a token";

#[tokio::test]
async fn wc2_a_token_comes_as_header_as_subprotocol_or_as_the_first_message() {
    let server = guarded();
    for token in ["good", &jwt(3_600)] {
        is_let_in(open(bearer(&server, token)).await).await;
        let socket = open(server.upgrade("/ws/w1").protocols(&format!("fleet.v1, fleet.token.{token}"))).await;
        assert_eq!(socket.protocol.as_deref(), Some("fleet.v1"), "the token is not repeated");
        is_let_in(socket).await;
        let mut socket = server.socket("/ws/w1").await;
        socket.send(json!({"type": "auth", "id": 1, "payload": {"token": token}})).await;
        socket.expect(json!({"type": "result", "id": 1, "payload": null})).await;
        is_let_in(socket).await;
    }
}

#[tokio::test]
async fn wc2_a_token_that_is_not_good_enough_is_closed_after_the_upgrade() {
    let server = guarded();
    let expired = jwt(-1);
    for (token, code, reason) in [
        ("bad", 4401, INVALID),
        ("", 4401, INVALID),
        (&*expired, 4401, EXPIRED),
        ("looks", 4403, OUT_OF_REACH),
        ("elsewhere", 4403, OUT_OF_REACH),
    ] {
        open(bearer(&server, token)).await.expect_close(code, reason).await;
        let protocols = format!("fleet.v1, fleet.token.{token}");
        open(server.upgrade("/ws/w1").protocols(&protocols)).await.expect_close(code, reason).await;
        let mut socket = server.socket("/ws/w1").await;
        socket.send(json!({"type": "auth", "payload": {"token": token}})).await;
        socket.expect_close(code, reason).await;
    }
    open(server.upgrade("/ws/w1").header("Authorization", "Basic Z29vZDo=")).await.expect_close(4401, INVALID).await;
    assert_eq!(server.objects().await, Vec::<String>::new(), "strangers leave nothing behind");
}

#[tokio::test]
async fn wc5_before_authentication_nothing_but_auth_is_taken() {
    let server = guarded();
    for text in
        [r#"{"type":"ready","payload":{"capacity":1}}"#, r#"{"type":"status","id":1}"#, r#"{"type":"auth"}"#, "x"]
    {
        let mut socket = server.socket("/ws/w1").await;
        socket.send_text(text).await;
        socket.send(json!({"type": "auth", "payload": {"token": "good"}})).await;
        socket.expect_close(4401, FIRST).await;
    }
}

#[tokio::test]
async fn wc2_a_token_that_expires_closes_its_socket_by_alarm() {
    let server = guarded();
    // What is left of a second, and one more.
    let mut short = open(bearer(&server, &jwt(2))).await;
    let mut long = open(bearer(&server, &jwt(3_600))).await;
    short.expect_close(4401, EXPIRED).await;
    let (_, status) = long.ask(json!({"type": "status"})).await;
    assert_eq!((&status["connected"], &status["sessions"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn wc2_a_token_is_never_shown() {
    const TOKEN: &str = "sesame-open-yourself";
    let tokens = format!(r#"[{{token = "{TOKEN}", path = "/ws", scopes = ["write"]}}]"#);
    let variables = [
        ("FLEET_AUTH__ENABLED", "true"),
        ("FLEET_AUTH__JWT_SECRET", SECRET),
        ("FLEET_AUTH__TOKENS", &*tokens),
        ("RUST_LOG", "debug"),
    ];
    let server = Binary::start(&variables).await;
    server.call("/", "createAgent", json!({"name": "w1", "class": "worker-connection"})).await;
    let token = format!("{TOKEN}!");
    for shown in [TOKEN, &token, "secret-of-nobody.a.b"] {
        let opening = server.upgrade("/w1").header("Authorization", &format!("Bearer {shown}"));
        open(opening).await.until_closed().await;
        open(server.upgrade("/w1").protocols(&format!("fleet.v1, fleet.token.{shown}"))).await.until_closed().await;
        let mut socket = server.socket("/w1").await;
        socket.send(json!({"type": "auth", "payload": {"token": shown}})).await;
        socket.until_closed().await;
        let mut socket = server.socket("/w1").await;
        socket.send(json!({"type": "auth", "payload": shown})).await;
        socket.until_closed().await;
    }
    let log = server.logged().await;
    assert!(log.contains("`auth.enabled` guards only the connections of workers so far"), "{log}");
    for secret in [TOKEN, SECRET, "secret-of-nobody"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn wc3_a_connection_that_is_half_open_is_found_and_closed() {
    let server = Server::configured(&format!("{ROUTED}[server]\nping_interval = \"50ms\"\nping_timeout = \"50ms\"\n"));
    let mut alive = server.socket("/ws/w1").await;
    // Its client does not read, so it does not answer pings.
    let (dead, _) = server.raw_socket("/ws/w1", "").await;
    let sessions = async |count: u64| server.call("/ws/w1", "status", json!({})).await["sessions"] == json!(count);
    let keep = async {
        eventually("both are there", async || sessions(2).await).await;
        eventually("one is given up", async || sessions(1).await).await;
    };
    tokio::select! {
        () = keep => {}
        // The living one answers pings by reading.
        frame = alive.text() => panic!("{frame}"),
    }
    drop(dead);
    assert_eq!(server.call("/ws/w1", "status", json!({})).await["connected"], json!(true));
}

#[tokio::test]
async fn wc1_a_route_makes_a_worker_and_its_status_and_messages_are_methods() {
    let mut server = Server::configured(ROUTED);
    let nothing = json!({"connected": false, "sessions": 0, "lastConnectedAt": null, "lastDisconnectedAt": null,
                         "currentTasks": []});
    assert_eq!(server.call("/ws/w1", "status", json!({})).await, nothing);
    let seen = server.state("/ws/w1").await;
    assert_eq!((&seen["class"], &seen["lastTasks"]), (&json!("worker-connection"), &json!([])));
    assert_eq!((&seen["connected"], &seen["currentTasks"]), (&nothing["connected"], &nothing["currentTasks"]));
    assert_eq!(server.objects().await, Vec::<String>::new(), "looking creates nothing");
    let send = async |server: &Server, body: Value| server.post("/ws/w1:send").json(&body).await;
    let offline = "offline: the worker /ws/w1 is not connected";
    send(&server, json!({"message": "hello"})).await.fails(409, offline, "conflict");
    send(&server, json!({"queue": true})).await.fails(400, "Message required", "bad_request");
    server.post("/ws/w1:start").json(&json!({})).await.fails(409, offline, "conflict");
    server.post("/ws/w1:assign").json(&json!({"tasks": []})).await.fails_saying(403, "only the manager", "forbidden");
    server.post("/ws/w1:wait").json(&json!(1)).await.fails_saying(403, "only the manager", "forbidden");
    server.post("/ws/w1:dance").json(&json!({})).await.fails(404, "Unknown message type: dance", "not_found");
    for number in 0..3 {
        let queued = send(&server, json!({"message": {"number": number}, "queue": true})).await.ok();
        assert_eq!(queued, json!({"sessions": 0, "queued": true}));
    }
    server.restart();

    let mut worker = server.socket("/ws/w1").await;
    let message = |message: Value| json!({"type": "message", "payload": {"message": message, "sender": ""}});
    for number in 0..3 {
        worker.expect(message(json!({"number": number}))).await;
    }
    assert_eq!(send(&server, json!({"message": "now"})).await.ok(), json!({"sessions": 1, "queued": false}));
    worker.expect(message(json!("now"))).await;
    server.call("/ws/w1", "stop", json!({"why": "late"})).await;
    worker.expect(json!({"type": "stop", "payload": {"why": "late"}})).await;
    // A second session is no other worker.
    let second = server.socket("/ws/w1").await;
    let status = server.call("/ws/w1", "status", json!({})).await;
    assert_eq!((&status["connected"], &status["sessions"]), (&json!(true), &json!(2)));
    second.close().await;
    worker.close().await;
    eventually("it is seen", async || server.state("/ws/w1").await["connected"] == json!(false)).await;
    let status = server.state("/ws/w1").await;
    assert!(status["lastDisconnectedAt"].as_u64() >= status["lastConnectedAt"].as_u64(), "{status}");
    // There is no manager above it, which a worker is told.
    let mut worker = server.socket("/ws/w1").await;
    worker.send(json!({"type": "ready", "payload": {"capacity": 1}})).await;
    let refused = "the manager does not take this worker: Unknown message type: workerReady";
    worker.expect(json!({"type": "error", "payload": {"error": refused}})).await;
}
