//! Each example does what its first page says.

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(dead_code, unreachable_pub, reason = "an example is a program")]
        mod $name;
    };
}

example!(bank_account, "../../examples/bank_account.rs");
example!(chat_room, "../../examples/chat_room.rs");
example!(counter, "../../examples/counter.rs");
example!(rate_limited_api, "../../examples/rate_limited_api.rs");
example!(sharded_counter, "../../examples/sharded_counter.rs");
example!(task_runner, "../../examples/task_runner.rs");
example!(user_session, "../../examples/user_session.rs");

use std::cell::Cell;

use fleet::sim::{Simulation, Step};
use fleet::{Class, Error, RawValue, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{Server, Socket, error, error_of, eventually, state};

#[tokio::test]
async fn id2_counter_counts_by_name() {
    let mut server = Server::built(counter::server);
    assert_eq!(server.increment("/counters/visits").await, json!(1));
    assert_eq!(server.call("/counters/visits", "add", json!(5)).await, json!(6));
    assert_eq!(server.increment("/counters/other").await, json!(1));
    server.post("/counters/visits:add").json(&json!("five")).await.fails_saying(400, "invalid payload", "bad_request");
    let mut viewer = server.socket("/counters/visits").await;
    viewer.expect(json!({"type": "state", "payload": {"count": 6}})).await;
    server.increment("/counters/visits").await;
    viewer.expect(json!({"type": "state", "payload": {"count": 7}})).await;
    // The built-in class is everywhere else.
    let mut agent = server.watch("/elsewhere").await;
    agent.send(crate::harness::increment()).await;
    agent.expect(state(1)).await;
    drop((viewer, agent));
    server.restart();
    assert_eq!(server.state("/counters/visits").await, json!({"count": 7}));
}

#[tokio::test]
async fn st4_a_transfer_that_fails_rolls_back_and_is_counted() {
    let mut server = Server::built(bank_account::server);
    assert_eq!(server.call("/bank", "deposit", json!({"account": "ann", "amount": 100})).await, json!(100));
    let transfer = |amount: u64| json!({"from": "ann", "to": "bob", "amount": amount});
    assert_eq!(server.call("/bank", "transfer", transfer(30)).await, json!({"done": true}));
    let refused = json!({"done": false, "reason": "Insufficient funds"});
    assert_eq!(server.call("/bank", "transfer", transfer(71)).await, refused);
    for _ in 0..2 {
        let accounts = json!([["account ann", 70], ["account bob", 30]]);
        assert_eq!(server.call("/bank", "accounts", json!(null)).await, accounts);
        assert_eq!(server.state("/bank").await, json!({"refused": 1}));
        server.restart();
    }
    assert_eq!(server.call("/bank", "transfer", transfer(70)).await, json!({"done": true}));
    assert_eq!(server.call("/bank", "balance", json!("bob")).await, json!(100));
}

#[tokio::test]
async fn id2_a_singleton_limits_everybody_exactly() {
    let server = Server::built(rate_limited_api::server);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = (*server).clone();
        calls.spawn(async move { client.post("/limiter:acquire").json(&json!("ann")).await });
    }
    let answers = calls.join_all().await;
    let mut left: Vec<_> =
        answers.iter().filter(|answer| answer.status == 200).map(|answer| answer.json()["left"].clone()).collect();
    left.sort_by_key(Value::as_u64);
    assert_eq!(left, [0, 1, 2, 3, 4]);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.fails_saying(429, "5 requests a minute are the limit", "rate_limited");
    }
    assert_eq!(server.call("/limiter", "acquire", json!("bob")).await, json!({"left": 4}));
}

#[tokio::test]
async fn al1_a_session_ends_when_its_time_is_over() {
    let mut server = Server::built(user_session::server);
    let long = server.call("/sessions/long", "create", json!({"user": "ann"})).await;
    assert_eq!((&long["user"], &long["ttl"]), (&json!("ann"), &json!(30 * 60_000)));
    let touched = server.call("/sessions/long", "touch", json!(null)).await;
    assert!(touched["expires"].as_u64() >= long["expires"].as_u64());
    let again = server.post("/sessions/long:create").json(&json!({"user": "eve"})).await;
    again.fails(409, "There is a session already", "conflict");

    let short = server.call("/sessions/short", "create", json!({"user": "bob", "ttl": 300})).await;
    server.restart();
    let mut viewer = server.socket("/sessions/short").await;
    let over = json!({"type": "state", "payload": {"current": null}});
    drop(viewer.until(&over).await);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(now >= short["expires"].as_u64().unwrap().into(), "never early");
    let gone = server.post("/sessions/short:get").await;
    gone.fails(404, "There is no session", "not_found");
    assert_eq!(server.call("/sessions/long", "get", json!(null)).await, touched, "others live on");
    server.call("/sessions/long", "end", json!(null)).await;
    server.post("/sessions/long:touch").await.fails(404, "There is no session", "not_found");
}

#[tokio::test]
async fn al3_a_task_that_fails_is_tried_again_before_the_next() {
    let server = Server::built(task_runner::server);
    for task in [json!({"name": "one"}), json!({"name": "two", "fails": 1}), json!({"name": "three"})] {
        server.call("/tasks", "add", task).await;
    }
    eventually("all are done", async || {
        let status = server.call("/tasks", "status", json!(null)).await;
        status["done"] == json!(["one", "two", "three"]) && status["waiting"] == 0
    })
    .await;
    let status = server.call("/tasks", "status", json!(null)).await;
    assert_eq!((&status["given_up"], &status["reported"]), (&json!([]), &json!(null)));
    // Monday, nine o'clock in Berlin: 1970 began on a Thursday.
    let next = status["next_report"].as_u64().unwrap() / 3_600_000;
    assert!((next / 24 + 4) % 7 == 1 && matches!(next % 24, 7 | 8), "{status}");
    server.call("/tasks", "reportNow", json!(null)).await;
    eventually("the report", async || server.call("/tasks", "status", json!(null)).await["reported"] == json!(3)).await;
}

#[tokio::test]
async fn id2_a_sharded_counter_sums_what_was_written_to_any_shard() {
    let mut server = Server::built(sharded_counter::server);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..64 {
        let client = (*server).clone();
        calls.spawn(async move {
            client.increment(&format!("/likes/video/{}", number % 8)).await;
            let sum = client.post("/likes/video:sum").await.ok();
            assert!((1..=64).contains(&sum.as_u64().unwrap()), "{sum}");
        });
    }
    calls.join_all().await;
    server.restart();
    assert_eq!(server.post("/likes/video:sum").await.ok(), json!(64));
    assert_eq!(server.post("/likes/song:sum").await.ok(), json!(0));
    assert_eq!(server.state("/likes/video").await, json!({"sums": 65, "readings": {}}));
}

const ROOM: &str = "/rooms/lobby";

async fn join(server: &Server, name: &str, members: &[&str]) -> Socket {
    let mut socket = server.socket(ROOM).await;
    let (_, view) = socket.ask(json!({"type": "join", "payload": name})).await;
    assert_eq!(view["members"], json!(members));
    socket
}

fn say(text: &str) -> Value {
    json!({"type": "say", "payload": text})
}

/// What is told of somebody.
fn news(kind: &str, name: &str) -> Value {
    json!({"type": kind, "payload": {"name": name}})
}

/// The next frame says that this was said.
async fn hears(socket: &mut Socket, by: &str, text: &str) {
    let said = socket.json().await;
    assert_eq!(
        (&said["type"], &said["payload"]["by"], &said["payload"]["text"]),
        (&json!("said"), &json!(by), &json!(text))
    );
}

#[tokio::test]
async fn ws1_ws2_a_room_tells_who_comes_speaks_types_and_goes() {
    let mut server = Server::built(chat_room::server);
    let mut stranger = server.socket(ROOM).await;
    let mut ann = join(&server, "ann", &["ann"]).await;
    let mut bob = join(&server, "bob", &["ann", "bob"]).await;
    ann.expect(news("joined", "bob")).await;
    // Once more with another socket is no news.
    let bob_again = join(&server, "bob", &["ann", "bob"]).await;

    ann.send(say("hello")).await;
    hears(&mut ann, "ann", "hello").await;
    hears(&mut bob, "ann", "hello").await;
    bob.send(json!({"type": "typing"})).await;
    ann.expect(news("typing", "bob")).await;
    bob.expect_nothing().await;
    assert_eq!(server.state(ROOM).await, json!({"members": ["ann", "bob"], "said": 1}), "typing is not stored");
    ann.send_text("ping").await;
    assert_eq!(ann.text().await, "pong");

    // The first of two sockets to go is no news either.
    bob.close().await;
    bob_again.close().await;
    ann.expect(news("left", "bob")).await;
    ann.expect_nothing().await;

    stranger.send(say("boo")).await;
    stranger.expect(error("Join first")).await;
    stranger.send(json!({"type": "join", "id": 1, "payload": "a b"})).await;
    assert_eq!(stranger.json().await["payload"]["code"], "bad_request");
    ann.send(json!({"type": "join", "id": 1, "payload": "eve"})).await;
    ann.expect(error_of(1, "You are ann already", "conflict")).await;
    let long = say(&"x".repeat(4_097));
    let (_, refused) = ann.ask(long).await;
    assert_eq!(refused["code"], "too_large");
    let posted = server.post(&format!("{ROOM}:say")).json(&json!("hi")).await;
    posted.fails(400, "Only a WebSocket can be in a room", "bad_request");

    server.restart();
    assert_eq!(server.state(ROOM).await, json!({"members": [], "said": 1}));
    join(&server, "bob", &["bob"]).await.close().await;
}

#[tokio::test]
async fn st2_the_history_of_a_room_comes_in_pages_the_newest_first() {
    let mut server = Server::built(chat_room::server);
    let mut ann = join(&server, "ann", &["ann"]).await;
    for number in 1..=120 {
        ann.send(say(&number.to_string())).await;
    }
    ann.ask(say("the last")).await;
    drop(ann);
    server.restart();
    let (mut cursor, mut texts, mut pages) = (json!(null), Vec::new(), Vec::new());
    loop {
        let mut page = server.call(ROOM, "history", cursor).await;
        let messages = page["messages"].as_array().unwrap();
        texts.extend(messages.iter().map(|said| said["text"].as_str().unwrap().to_owned()));
        pages.push(messages.len());
        cursor = page["cursor"].take();
        if cursor.is_null() {
            break;
        }
    }
    let newest_first =
        std::iter::once("the last".to_owned()).chain((1..=120).rev().map(|number: u32| number.to_string()));
    assert_eq!(texts, newest_first.collect::<Vec<_>>());
    assert_eq!(pages, [50, 50, 21]);
}

/// The room of the example; it is known when it started last.
#[derive(Default, Serialize, Deserialize)]
struct Watched(chat_room::ChatRoom);

thread_local! {
    static STARTED: Cell<u64> = const { Cell::new(0) };
}

impl Class for Watched {
    const NAME: &'static str = chat_room::ChatRoom::NAME;
    const TELLS_STATE: bool = chat_room::ChatRoom::TELLS_STATE;

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        STARTED.set(turn.now());
        self.0.activate(turn)
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        self.0.call(turn, method, payload)
    }
}

#[test]
fn ob3_ws2_a_room_that_slept_knows_who_is_who() {
    let connect = |client| Step::Connect { client, path: ROOM.to_owned() };
    let send = |client, message: Value| Step::Send { client, text: message.to_string() };
    let join = |client, name| send(client, json!({"type": "join", "id": 1, "payload": name}));
    let sleep = Step::Pass { ms: 11_000 };
    Simulation::seeds(0..10, |seed| {
        let steps = [
            connect(1),
            join(1, "ann"),
            // Until something is said there is nothing to store, and so no room.
            send(1, say("hello")),
            connect(2),
            join(2, "bob"),
            sleep.clone(),
            // Nobody is woken by it.
            Step::Send { client: 2, text: "ping".to_owned() },
            sleep.clone(),
            send(1, say("are you there?")),
            Step::Settle,
        ];
        steps.into_iter().fold(Simulation::new(seed).class::<Watched>(), Simulation::step).check(|world| {
            let (frames, closed) = world.frames(2);
            let frames: Vec<Value> =
                frames.iter().map(|frame| serde_json::from_str(frame).unwrap_or_default()).collect();
            let [_joined, _answer, pong, said] = &frames[..] else { return Err(format!("{frames:?}")) };
            let payload = &said["payload"];
            let told = (pong, &payload["by"], &payload["at"], closed);
            let expected = (&Value::Null, &json!("ann"), &json!(STARTED.get()), None);
            if told == expected { Ok(()) } else { Err(format!("{told:?}, not {expected:?}")) }
        })
    });
}
