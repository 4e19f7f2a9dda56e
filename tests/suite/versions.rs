//! The two subprotocols, and that a client which applies changes always has the state.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Client, Server, Socket, body, broadcast, change, create, delete, error, increment, result, send_to, state,
    state_with, with_id, within,
};

#[tokio::test]
async fn fx8_the_server_selects_a_version_and_never_a_token() {
    let server = Server::start();
    for (offered, selected) in [
        ("fleet.v1", Some("fleet.v1")),
        ("fleet.v2", Some("fleet.v2")),
        ("fleet.v1, fleet.token.abc", Some("fleet.v1")),
        ("fleet.token.abc, fleet.v2", Some("fleet.v2")),
        ("fleet.token.fleet.v2,fleet.v1", Some("fleet.v1")),
        ("other, fleet.v2", Some("fleet.v2")),
    ] {
        let socket = server.upgrade("/a").protocols(offered).await.unwrap();
        assert_eq!(socket.protocol.as_deref(), selected, "{offered}");
    }
    let mut plain = server.socket("/a").await;
    assert_eq!(plain.protocol, None);
    plain.expect(state(0)).await;
    plain.send(increment()).await;
    plain.expect(state(1)).await;
}

#[tokio::test]
async fn fx8_what_is_not_offered_is_not_selected() {
    let server = Server::start();
    for offered in ["fleet.token.abc", "other", "fleet.v3", "FLEET.V2"] {
        let (_stream, response) = server.raw_socket("/a", &format!("Sec-WebSocket-Protocol: {offered}\r\n")).await;
        assert_eq!(response.status, 101, "{offered}");
        assert_eq!(response.header("sec-websocket-protocol"), None, "{offered}");
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

#[tokio::test]
async fn fx8_only_what_changed() {
    let server = Server::start();
    server.create("/t", "old").await;
    let mut socket = server.upgrade("/t").protocols("fleet.v2").await.unwrap();
    socket.expect(state_with(0, &["old"])).await;
    for (id, (message, changed, payload)) in [
        (increment(), json!({"count": 1}), json!({"count": 1})),
        (create("new"), json!({"added": ["new"]}), json!({"name": "new", "path": "/t/new"})),
        (delete("old"), json!({"removed": ["old"]}), json!({})),
        (increment(), json!({"count": 2}), json!({"count": 2})),
    ]
    .into_iter()
    .enumerate()
    {
        socket.send(with_id(id, message)).await;
        socket.expect(change(changed)).await;
        socket.expect(result(id, payload)).await;
    }
    server.increment("/t").await;
    assert_eq!(socket.text().await, r#"{"type":"change","payload":{"count":3}}"#);
    socket.expect_nothing().await;
}

#[tokio::test]
async fn fx8_what_changes_nothing_sends_no_frame() {
    let server = Server::start();
    server.create("/t", "kid").await;
    let mut changes = server.watch_changes("/t").await;
    let mut whole = server.watch("/t").await;
    for (id, message) in [send_to("kid", 1), broadcast(2)].into_iter().enumerate() {
        changes.send(message.clone()).await;
        changes.send(with_id(id, message)).await;
        changes.expect(result(id, json!({"recipients": 1}))).await;
    }
    changes.send(send_to("nobody", 1)).await;
    changes.expect(error("Recipient not found")).await;
    changes.expect_nothing().await;
    // Each of the four succeeded, and to the others that is a state; such states may merge.
    let (before, _) = whole.ask(json!({"type": "nothing"})).await;
    assert!(
        (1..=4).contains(&before.len()) && before.iter().all(|frame| *frame == state_with(0, &["kid"])),
        "{before:?}"
    );
}

#[tokio::test]
async fn fx8_messages_come_as_they_do_in_v1() {
    let server = Server::start();
    server.create("/t", "kid").await;
    let mut kid = server.watch_changes("/t/kid").await;
    server.call("/t", "broadcast", json!({"message": "x"})).await;
    kid.expect(crate::harness::message("x", "t")).await;
}

/// A client of `fleet.v2`: the state, and what every frame does to it.
struct Mirror {
    socket: Socket,
    count: u64,
    agents: Vec<String>,
}

impl Mirror {
    async fn open(server: &Client, path: &str) -> Self {
        let mut socket = server.upgrade(path).protocols("fleet.v2").await.unwrap();
        let state = socket.first_state().await;
        let mut mirror = Self { socket, count: 0, agents: Vec::new() };
        mirror.replace(&state);
        mirror
    }

    fn replace(&mut self, state: &Value) {
        self.count = state["data"]["count"].as_u64().unwrap();
        self.agents = names(&state["agents"]).collect();
    }

    fn apply(&mut self, frame: &Value) {
        let payload = &frame["payload"];
        match frame["type"].as_str().unwrap() {
            "state" => self.replace(payload),
            "change" => {
                let fields = payload.as_object().unwrap();
                assert!(!fields.is_empty(), "a change of nothing");
                assert!(fields.keys().all(|key| ["count", "added", "removed"].contains(&key.as_str())), "{frame}");
                self.count = payload.get("count").map_or(self.count, |count| count.as_u64().unwrap());
                for name in names(&payload["removed"]) {
                    let at = self.agents.iter().position(|known| *known == name);
                    self.agents.remove(at.unwrap_or_else(|| panic!("{name} left without having been there")));
                }
                for name in names(&payload["added"]) {
                    assert!(!self.agents.contains(&name), "{name} came twice");
                    self.agents.push(name);
                }
            }
            "result" | "error" | "message" => {}
            other => panic!("{other}"),
        }
    }

    /// Takes what has been sent so far.
    async fn catch_up(&mut self) -> Value {
        let (before, _) = self.socket.ask(json!({"type": "nothing"})).await;
        for frame in &before {
            self.apply(frame);
        }
        self.state()
    }

    fn state(&self) -> Value {
        let agents: Vec<&str> = self.agents.iter().map(String::as_str).collect();
        body(self.count, &agents)
    }
}

fn names(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned())
}

/// One random message to `/t`.
fn any_message(random: &mut fastrand::Rng) -> Value {
    let name = format!("n{}", random.u8(..6));
    match random.u8(..10) {
        0..=2 => increment(),
        3..=5 => create(&name),
        6..=8 => delete(&name),
        _ => broadcast(1),
    }
}

async fn change_at_random(client: Client, seed: u64, steps: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let protocol = if random.bool() { "fleet.v1" } else { "fleet.v2" };
    let mut socket = client.upgrade("/t").protocols(protocol).await.unwrap();
    socket.first_state().await;
    for _ in 0..steps {
        let burst = random.usize(1..30);
        for _ in 0..burst {
            socket.feed(&any_message(&mut random)).await;
        }
        socket.flush().await;
        if random.bool() {
            socket.ask(any_message(&mut random)).await;
        }
        if random.u8(..8) == 0 {
            let name = format!("/t/n{}", random.u8(..6));
            client.delete(&name).await.assert(200);
        }
    }
    socket.ask(increment()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx8_a_client_that_applies_changes_has_the_state() {
    let server = Server::start();
    for seed in 0..8 {
        println!("seed {seed}");
        let mut eager = Mirror::open(&server, "/t").await;
        // This one does not read before the end: its changes merge.
        let mut lazy = Mirror::open(&server, "/t").await;
        let mut tasks = JoinSet::new();
        for task in 0..3 {
            tasks.spawn(change_at_random((*server).clone(), seed * 10 + task, 12));
        }
        while !tasks.is_empty() {
            eager.catch_up().await;
            while let Some(done) = tasks.try_join_next() {
                done.unwrap();
            }
        }
        let now = server.state("/t").await;
        assert_eq!(eager.catch_up().await, now, "seed {seed}");
        assert_eq!(lazy.catch_up().await, now, "seed {seed}");
        let mut fresh = Mirror::open(&server, "/t").await;
        assert_eq!(fresh.catch_up().await, now);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx8_unsent_changes_merge() {
    let server = Server::start();
    let mut lazy = Mirror::open(&server, "/t").await;
    let mut busy = server.watch_changes("/t").await;
    // More than a connection holds: what cannot be sent waits, and merges while it does.
    let rounds = 4_000u64;
    let worker = async {
        for round in 0..rounds {
            for message in [increment(), create("a"), delete("a")] {
                busy.feed(&with_id(round, message)).await;
            }
            if round % 50 == 49 {
                busy.flush().await;
                let last = result(round, json!({}));
                busy.until(&last).await;
            }
        }
    };
    within("the changes", worker).await;
    let (frames, _) = lazy.socket.ask(json!({"type": "nothing"})).await;
    assert!(frames.len() < 3 * 4_000, "{}", frames.len());
    for frame in &frames {
        lazy.apply(frame);
    }
    assert_eq!(lazy.state(), body(rounds, &[]));
    assert!(
        frames.iter().all(|frame| frame["payload"]["added"].is_null() || frame["payload"]["added"] == json!(["a"]))
    );
}

#[tokio::test]
async fn fx8_many_children_can_be_watched() {
    let server = Server::start();
    let mut maker = server.watch_changes("/t").await;
    for number in 0..2_000 {
        maker.feed(&create(&format!("child-number-{number}"))).await;
        if number % 200 == 199 {
            maker.flush().await;
            maker.ask(json!({"type": "nothing"})).await;
        }
    }
    let mut watcher = server.watch_changes("/t").await;
    server.create("/t", "one-more").await;
    let text = watcher.text().await;
    assert_eq!(text, r#"{"type":"change","payload":{"added":["one-more"]}}"#);
    server.delete("/t/child-number-7").await.assert(200);
    watcher.expect(change(json!({"removed": ["child-number-7"]}))).await;
}
