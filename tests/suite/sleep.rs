//! Hibernation: what sleeps costs nothing, and nobody notices.

use serde_json::json;

use crate::harness::{Server, body, change, eventually, increment, message, state, state_with};

/// One test, because it must wait for 10 s without an event (`limits::HIBERNATE_AFTER`).
#[tokio::test]
async fn objects_sleep_after_10_s_and_their_sockets_do_not_notice() {
    let server = Server::start();
    server.create("/t", "a").await;
    server.create("/t", "b").await;
    server.increment("/t/a").await;
    server.increment("/no/sockets").await;
    let mut whole = server.watch("/t/a").await;
    let mut changes = server.watch_changes("/t/a").await;
    let mut fresh = server.watch("/t/b").await;
    let mut never_wrote = server.watch("/never/wrote").await;
    let mut parent = server.watch("/t").await;
    let awake = server.metrics().await;
    // One that never wrote does not even wait: there is nothing to remember.
    assert_eq!((awake.active(), awake.asleep(), awake.evictions()), (4, 1, 1));
    let began = std::time::Instant::now();
    eventually("all sleep", async || server.metrics().await.active() == 0).await;
    assert!(began.elapsed().as_secs() >= 9, "they did not have their 10 s");
    let asleep = server.metrics().await;
    // Those without sockets are gone altogether.
    assert_eq!((asleep.asleep(), asleep.evictions(), asleep.sockets()), (4, 5, 5));
    assert_eq!(asleep.activations(), awake.activations());

    // Looking at the list wakes nobody.
    assert_eq!(server.objects().await, ["/no/sockets", "/t", "/t/a", "/t/b"]);
    assert_eq!(server.metrics().await.active(), 0);

    // A message to sleeping children reaches their sockets and wakes none of them; the sender is woken.
    server.call("/t", "broadcast", json!({"message": "psst"})).await;
    whole.expect(message("psst", "t")).await;
    changes.expect(message("psst", "t")).await;
    fresh.expect(message("psst", "t")).await;
    parent.expect(state_with(0, &["a", "b"])).await;
    let delivery = json!({"type": "message", "payload": {"message": 1, "sender": "s"}});
    server.post("/never/wrote/_message").json(&delivery).await.assert(200);
    never_wrote.expect(message(1, "s")).await;
    let metrics = server.metrics().await;
    assert_eq!((metrics.activations() - asleep.activations(), metrics.active(), metrics.asleep()), (1, 1, 3));

    // The next frame wakes an object, and it is what it was.
    whole.send(increment()).await;
    whole.expect(state(2)).await;
    changes.expect(change(json!({"count": 2}))).await;
    never_wrote.send(increment()).await;
    never_wrote.expect(state(1)).await;
    fresh.expect_nothing().await;
    changes.expect_nothing().await;
    let metrics = server.metrics().await;
    assert_eq!((metrics.activations() - asleep.activations(), metrics.asleep()), (4, 0));
    assert_eq!(server.state("/no/sockets").await, body(1, &[]));

    // A deletion reaches sleeping and waking ones alike.
    server.delete("/t").await.assert(200);
    for socket in [&mut whole, &mut changes, &mut fresh, &mut parent] {
        socket.expect_close(1000, "Agent deleted").await;
    }
    assert_eq!(server.objects().await, ["/never/wrote", "/no/sockets"]);
}
