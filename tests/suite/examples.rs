//! Each example does what its first page says.

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(dead_code, unreachable_pub, reason = "an example is a program")]
        mod $name;
    };
}

example!(bank_account, "../../examples/bank_account.rs");
example!(counter, "../../examples/counter.rs");
example!(rate_limited_api, "../../examples/rate_limited_api.rs");

use serde_json::json;

use crate::harness::{Server, state};

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
    left.sort_by_key(serde_json::Value::as_u64);
    assert_eq!(left, [0, 1, 2, 3, 4]);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.fails_saying(429, "5 requests a minute are the limit", "rate_limited");
    }
    assert_eq!(server.call("/limiter", "acquire", json!("bob")).await, json!({"left": 4}));
}
