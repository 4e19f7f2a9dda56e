//! The messages of a socket: what they do, and exactly what is answered.

use serde_json::{Value, json};

use crate::harness::{
    Server, body, broadcast, create, delete, error, error_of, increment, message, result, send_to, state, state_with,
    with_id,
};

#[tokio::test]
async fn fp4_every_success_sends_the_state_to_every_socket() {
    let server = Server::start();
    let mut one = server.watch("/team").await;
    let mut two = server.watch("/team").await;
    for (message, after) in [
        (increment(), state(1)),
        (create("bob"), state_with(1, &["bob"])),
        (create("eve"), state_with(1, &["bob", "eve"])),
        (send_to("bob", "hi"), state_with(1, &["bob", "eve"])),
        (broadcast("all"), state_with(1, &["bob", "eve"])),
        (delete("bob"), state_with(1, &["eve"])),
        (increment(), state_with(2, &["eve"])),
    ] {
        one.send(message).await;
        one.expect(after.clone()).await;
        two.expect(after).await;
    }
    one.expect_nothing().await;
    two.expect_nothing().await;
}

#[tokio::test]
async fn fp4_a_call_over_http_tells_the_sockets_too() {
    let server = Server::start();
    let mut socket = server.watch("/team").await;
    server.increment("/team").await;
    socket.expect(state(1)).await;
    server.create("/team", "bob").await;
    socket.expect(state_with(1, &["bob"])).await;
    server.call("/team", "broadcast", json!({"message": 1})).await;
    socket.expect(state_with(1, &["bob"])).await;
    server.call("/team", "deleteAgent", json!({"name": "bob"})).await;
    socket.expect(state(1)).await;
}

#[tokio::test]
async fn fp4_extra_fields_do_not_matter() {
    let server = Server::start();
    let mut socket = server.watch("/a").await;
    socket.send(json!({"type": "increment", "payload": {"count": 100}, "more": [1]})).await;
    socket.expect(state(1)).await;
    socket.send(json!({"type": "increment", "payload": null})).await;
    socket.expect(state(2)).await;
    socket.send_text(" {\n\"payload\":{\"x\":1,\"name\":\"b\"},\"type\":\"create\\u0041gent\"} ").await;
    socket.expect(state_with(2, &["b"])).await;
}

#[tokio::test]
async fn fp5_failures_go_to_the_sender_alone_and_the_connection_stays() {
    let server = Server::start();
    let mut sender = server.watch("/a").await;
    let mut other = server.watch("/a").await;
    for bad in [
        "",
        " ",
        "{",
        "nonsense",
        "[]",
        "42",
        "\"increment\"",
        "null",
        "{}",
        "{\"type\":5}",
        "{\"type\":null}",
        "{\"a\":1}x",
    ] {
        sender.send_text(bad).await;
        let frame = sender.json().await;
        assert_eq!(frame["type"], "error", "{bad}: {frame}");
        let payload = frame["payload"].as_object().unwrap();
        assert_eq!(payload.keys().collect::<Vec<_>>(), ["error"], "{bad}");
        assert_eq!(frame.as_object().unwrap().len(), 2, "{bad}: {frame}");
    }
    for kind in ["delete", "Increment", "", "_message", "state", "message", "toString", "__proto__"] {
        sender.send(json!({"type": kind})).await;
        sender.expect(error(&format!("Unknown message type: {kind}"))).await;
    }
    sender.send(increment()).await;
    sender.expect(state(1)).await;
    other.expect(state(1)).await;
    other.expect_nothing().await;
}

#[tokio::test]
async fn fp5_exact_text_of_an_error_frame() {
    let server = Server::start();
    let mut socket = server.watch("/a").await;
    socket.send_text(r#"{"type":"fly"}"#).await;
    assert_eq!(socket.text().await, r#"{"type":"error","payload":{"error":"Unknown message type: fly"}}"#);
    socket.send_text(r#"{"type":"fly","id":"x"}"#).await;
    assert_eq!(
        socket.text().await,
        r#"{"type":"error","id":"x","payload":{"error":"Unknown message type: fly","code":"not_found"}}"#
    );
}

/// A method, its payload, and what must be answered: `Ok` or a text and its code.
type Case = (&'static str, Value, Result<Value, (&'static str, &'static str)>);

/// FP6 on an object with the one child `kid`: each row is right only if the checks come in the right order.
fn checks() -> Vec<Case> {
    let bad = |text| Err((text, "bad_request"));
    let (name_required, invalid) = (bad("Agent name required"), bad("Invalid agent name"));
    let (message, recipient) = (bad("Message required"), bad("Recipient required"));
    let (no_agent, no_recipient) = (Err(("Agent not found", "not_found")), Err(("Recipient not found", "not_found")));
    let sent = |recipients: u64| Ok(json!({"recipients": recipients}));
    let mut cases = Vec::new();
    for method in ["createAgent", "deleteAgent"] {
        for payload in
            [json!(null), json!({}), json!({"name": null}), json!({"name": ""}), json!([]), json!("kid"), json!(7)]
        {
            cases.push((method, payload, name_required.clone()));
        }
        for name in [
            json!(5),
            json!(true),
            json!(["kid"]),
            json!({}),
            json!("a b"),
            json!("a/b"),
            json!("_message"),
            json!(" "),
        ] {
            cases.push((method, json!({"name": name}), invalid.clone()));
        }
        for name in ["x".repeat(33), "é".to_owned(), "a.b".to_owned(), "%61".to_owned(), "a\u{0}".to_owned()] {
            cases.push((method, json!({"name": name}), invalid.clone()));
        }
    }
    cases.push(("createAgent", json!({"name": "kid"}), Err(("Agent already exists", "conflict"))));
    cases.push(("deleteAgent", json!({"name": "nobody"}), no_agent));
    for payload in [json!(null), json!({}), json!([]), json!({"message": null}), json!({"message": ""})] {
        cases.push(("broadcast", payload.clone(), message.clone()));
        cases.push(("sendMessage", payload, message.clone()));
    }
    cases.push(("sendMessage", json!({"recipient": "kid"}), message.clone()));
    cases.push(("sendMessage", json!({"recipient": "nobody", "message": ""}), message.clone()));
    cases.push(("sendMessage", json!({"recipient": "", "message": null}), message));
    for empty in
        [json!({"message": 1}), json!({"message": 1, "recipient": ""}), json!({"message": 1, "recipient": null})]
    {
        cases.push(("sendMessage", empty, recipient.clone()));
    }
    for nobody in
        [json!("nobody"), json!("Kid"), json!("/team/kid"), json!(".."), json!(5), json!(["kid"]), json!("_message")]
    {
        cases.push(("sendMessage", json!({"message": 1, "recipient": nobody}), no_recipient.clone()));
    }
    for any in [json!("text"), json!(0), json!(false), json!([]), json!({}), json!({"deep": [null]}), json!(" ")] {
        cases.push(("sendMessage", json!({"message": any, "recipient": "kid"}), sent(1)));
        cases.push(("broadcast", json!({"message": any}), sent(1)));
    }
    cases
}

#[tokio::test]
async fn fp6_texts_and_their_order_over_a_socket_with_an_id() {
    let server = Server::start();
    server.create("/team", "kid").await;
    let mut socket = server.watch("/team").await;
    for (id, (method, payload, expected)) in checks().into_iter().enumerate() {
        socket.send(json!({"type": method, "id": id, "payload": payload})).await;
        match expected {
            Ok(answer) => {
                socket.expect(state_with(0, &["kid"])).await;
                socket.expect(result(id, answer)).await;
            }
            Err((text, code)) => {
                let got = socket.json().await;
                assert_eq!(got, error_of(id, text, code), "{method} {payload}");
            }
        }
    }
}

#[tokio::test]
async fn fp6_texts_and_their_order_over_a_socket_without_an_id() {
    let server = Server::start();
    server.create("/team", "kid").await;
    let mut socket = server.watch("/team").await;
    for (method, payload, expected) in checks() {
        let what = format!("{method} {payload}");
        socket.send(json!({"type": method, "payload": payload})).await;
        let expected = expected.map_or_else(|(text, _)| error(text), |_| state_with(0, &["kid"]));
        assert_eq!(socket.json().await, expected, "{what}");
    }
}

#[tokio::test]
async fn fp6_texts_and_their_order_over_http() {
    let server = Server::start();
    server.create("/team", "kid").await;
    for (method, payload, expected) in checks() {
        let answer = server.post(&format!("/team:{method}")).json(&payload).await;
        match expected {
            Ok(result) => assert_eq!(answer.ok(), result, "{method} {payload}"),
            Err((text, code)) => {
                let status = match code {
                    "bad_request" => 400,
                    "not_found" => 404,
                    "conflict" => 409,
                    other => panic!("{other}"),
                };
                answer.fails(status, text, code);
            }
        }
    }
    assert_eq!(server.state("/team").await, body(0, &["kid"]));
}

#[tokio::test]
async fn fp7_a_message_reaches_every_socket_of_the_child_and_no_other() {
    let server = Server::start();
    for child in ["bob", "eve"] {
        server.create("/team", child).await;
    }
    let mut parent = server.watch("/team").await;
    let mut bobs = [server.watch("/team/bob").await, server.watch("/team/bob").await];
    let mut eve = server.watch("/team/eve").await;
    let mut grandchild = server.watch("/team/bob/bob").await;
    for text in [json!("hi"), json!({"a": [1, null, "é\u{0}\"<b>"]}), json!(0), json!(false)] {
        parent.send(send_to("bob", text.clone())).await;
        parent.expect(state_with(0, &["bob", "eve"])).await;
        for bob in &mut bobs {
            bob.expect(message(text.clone(), "team")).await;
        }
    }
    parent.send(broadcast("to all")).await;
    parent.expect(state_with(0, &["bob", "eve"])).await;
    for socket in bobs.iter_mut().chain([&mut eve]) {
        socket.expect(message("to all", "team")).await;
        socket.expect_nothing().await;
    }
    grandchild.expect_nothing().await;
    parent.expect_nothing().await;
}

#[tokio::test]
async fn fp7_exact_text_of_a_message_and_its_sender() {
    let server = Server::start();
    server.create("/", "a").await;
    server.create("/a", "b").await;
    let mut a = server.watch("/a").await;
    let mut b = server.watch("/a/b").await;
    server.call("/", "sendMessage", json!({"recipient": "a", "message": {"k": "v"}})).await;
    assert_eq!(a.text().await, r#"{"type":"message","payload":{"message":{"k":"v"},"sender":"root"}}"#);
    server.call("/a", "broadcast", json!({"message": "x"})).await;
    a.expect(state_with(0, &["b"])).await;
    assert_eq!(b.text().await, r#"{"type":"message","payload":{"message":"x","sender":"a"}}"#);
}

#[tokio::test]
async fn fp7_only_listed_children_receive() {
    let server = Server::start();
    server.create("/t", "listed").await;
    server.increment("/t/unlisted").await;
    let mut listed = server.watch("/t/listed").await;
    let mut unlisted = server.watch("/t/unlisted").await;
    let answer = server.post("/t:sendMessage").json(&json!({"recipient": "unlisted", "message": 1})).await;
    answer.fails(404, "Recipient not found", "not_found");
    assert_eq!(server.call("/t", "broadcast", json!({"message": 2})).await, json!({"recipients": 1}));
    listed.expect(message(2, "t")).await;
    server.create("/t", "unlisted").await;
    assert_eq!(server.call("/t", "broadcast", json!({"message": 3})).await, json!({"recipients": 2}));
    listed.expect(message(3, "t")).await;
    unlisted.expect(message(3, "t")).await;
    server.delete("/t/listed").await.assert(200);
    assert_eq!(server.call("/t", "broadcast", json!({"message": 4})).await, json!({"recipients": 1}));
    unlisted.expect(message(4, "t")).await;
    assert_eq!(server.state("/t/unlisted").await, body(1, &[]), "it was adopted as it was");
}

#[tokio::test]
async fn fp7_messages_keep_their_order() {
    let server = Server::start();
    server.create("/t", "kid").await;
    let mut kid = server.watch("/t/kid").await;
    let mut parent = server.watch("/t").await;
    for number in 0..300 {
        let one = if number % 3 == 0 { broadcast(number) } else { send_to("kid", number) };
        parent.feed(&with_id(number, one)).await;
    }
    parent.flush().await;
    for number in 0..300 {
        kid.expect(message(number, "t")).await;
    }
}

#[tokio::test]
async fn fp7_a_broadcast_to_nobody_succeeds() {
    let server = Server::start();
    assert_eq!(server.call("/", "broadcast", json!({"message": "x"})).await, json!({"recipients": 0}));
    let mut socket = server.watch("/").await;
    socket.send(broadcast("x")).await;
    socket.expect(state(0)).await;
}

#[tokio::test]
async fn fx1_exactly_one_answer_after_the_state() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    for (id, (message, after, payload)) in [
        (increment(), state(1), json!({"count": 1})),
        (create("bob"), state_with(1, &["bob"]), json!({"name": "bob", "path": "/t/bob"})),
        (send_to("bob", 1), state_with(1, &["bob"]), json!({"recipients": 1})),
        (broadcast(1), state_with(1, &["bob"]), json!({"recipients": 1})),
        (delete("bob"), state(1), json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        socket.send(with_id(id, message)).await;
        socket.expect(after).await;
        socket.expect(result(id, payload)).await;
    }
    socket.expect_nothing().await;
    let mut root = server.watch("/").await;
    root.send(with_id("r", create("x"))).await;
    root.expect(state_with(0, &["x"])).await;
    root.expect(result("r", json!({"name": "x", "path": "/x"}))).await;
}

#[tokio::test]
async fn fx1_ids_come_back_as_they_were_written() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    for (count, id) in
        [r#""a""#, "1", "0", "-7", "1.50", "1e3", r#""\u0041\n""#, r#""""#, "9007199254740993"].iter().enumerate()
    {
        let count = count + 1;
        socket.send_text(&format!(r#"{{"id":{id},"type":"increment"}}"#)).await;
        socket.expect(state(count as u64)).await;
        assert_eq!(socket.text().await, format!(r#"{{"type":"result","id":{id},"payload":{{"count":{count}}}}}"#));
    }
}

#[tokio::test]
async fn fx1_an_id_that_is_neither_is_an_error_and_does_nothing() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    for id in [json!(true), json!([]), json!({}), json!([1])] {
        socket.send(json!({"type": "increment", "id": id})).await;
        let frame = socket.json().await;
        assert_eq!((&frame["type"], frame.get("id")), (&json!("error"), None), "{id}: {frame}");
    }
    assert_eq!(server.state("/t").await, body(0, &[]));
    // No id at all is the same as null.
    socket.send(json!({"type": "increment", "id": null})).await;
    socket.expect(state(1)).await;
    socket.expect_nothing().await;
}

#[tokio::test]
async fn fx1_what_has_an_id_and_no_type_is_answered_by_it() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    socket.send(json!({"id": 3})).await;
    let frame = socket.json().await;
    assert_eq!(
        (&frame["type"], &frame["id"], &frame["payload"]["code"]),
        (&json!("error"), &json!(3), &json!("bad_request"))
    );
}

#[tokio::test]
async fn fx1_repeated_ids_are_the_clients_affair() {
    let server = Server::start();
    let mut socket = server.watch("/t").await;
    for _ in 0..20 {
        socket.feed(&with_id("same", increment())).await;
    }
    socket.flush().await;
    let mut results = Vec::new();
    while results.len() < 20 {
        let frame = socket.json().await;
        if frame["type"] == "result" {
            results.push(frame["payload"]["count"].as_u64().unwrap());
        }
    }
    assert_eq!(results, (1..=20).collect::<Vec<_>>());
}
