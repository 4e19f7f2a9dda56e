//! Sockets as a class sees them, over storage that commits when the test says so.

mod room;

use serde_json::json;

use self::room::{BROKEN, World};
use crate::protocol::Frame;

#[tokio::test]
async fn ws1_every_socket_is_opened_once_and_closed_once() {
    let world = World::new();
    let mut ann = world.open("ann");
    let mut bob = world.open("bob");
    let mut eve = world.open("eve");
    ann.close(4001, "bye");
    drop(ann);
    bob.socket.fail("it broke".to_owned());
    bob.submit();
    drop(bob);
    assert!(eve.read().is_empty(), "nothing is durable, and no class that tells nothing tells a state");
    assert_eq!(
        world.log().await,
        [
            "open ann",
            "open bob",
            "open eve",
            "close ann 4001 bye, 2 left",
            "error bob it broke, 2 left",
            "close bob 1006 , 1 left",
        ]
    );
    drop(eve);
    assert_eq!(world.log().await.last().expect("a line"), "close eve 1006 , 0 left");
}

#[tokio::test]
async fn ws1_a_socket_that_is_refused_is_told_why_and_never_closed() {
    let world = World::new();
    let mut ann = world.open("ann");
    let mut refused = world.open("refuse");
    refused.say("note too late");
    world.commit();
    assert_eq!(
        refused.read(),
        [r#"{"type":"error","payload":{"error":"not you"}}"#, "close 1011 the object could not be opened"]
    );
    let mut panics = world.open("panic");
    drop(refused);
    assert_eq!(panics.read().last().expect("the close"), "close 1011 the object could not be opened");
    drop(panics);
    assert_eq!(world.log().await, ["open ann"]);
    assert!(ann.read().is_empty(), "what it was to be told when the other opened");
    assert_eq!(world.call("sockets").await, json!([1]));
}

#[tokio::test]
async fn ws1_ob3_a_close_wakes_the_object_which_still_knows_whose_it_was() {
    let world = World::new();
    let mut ann = world.open("ann");
    let bob = world.open("bob");
    world.sleep();
    drop(bob);
    assert_eq!(world.log().await, ["open ann", "open bob", "close bob 1006 , 1 left"]);
    world.sleep();
    ann.say("all still here");
    assert_eq!(ann.read(), ["still here"]);
}

#[tokio::test]
async fn ws1_a_class_that_does_not_start_is_told_when_it_does() {
    let world = World::new();
    let ann = world.open("ann");
    world.sleep();
    BROKEN.set(true);
    drop(ann);
    world.sleep();
    assert!(world.try_call("log").await.is_err());
    world.sleep();
    BROKEN.set(false);
    assert_eq!(world.log().await, ["open ann", "close ann 1006 , 0 left"]);
    assert_eq!(world.log().await.len(), 2);
}

#[tokio::test]
async fn ws1_ob4_a_panic_over_an_error_does_not_take_the_close_along() {
    let world = World::new();
    let mut ann = world.open("ann");
    let bob = world.open("bob");
    ann.socket.fail("panic".to_owned());
    drop(ann);
    assert_eq!(world.log().await, ["open ann", "open bob", "close ann 1006 , 1 left"]);
    drop(bob);
}

#[tokio::test]
async fn ws1_the_request_is_shown_to_open_alone() {
    let world = World::new();
    let mut ann = world.open("ann");
    ann.say("upgrade");
    world.commit();
    assert_eq!(ann.read(), ["none"]);
}

#[tokio::test]
async fn ws2_tags_and_attachments_stay_with_the_socket() {
    let world = World::new();
    let mut ann = world.open("ann");
    let mut bob = world.open("bob");
    let mut eve = world.open("eve");
    eve.say("tag red blue red");
    ann.say("tag red");
    world.sleep();
    for expected in [["1", "3"].as_slice(), &["1"]] {
        bob.say("tagged red");
        assert_eq!(bob.read(), [expected.join(" ")]);
        eve.say("tag blue");
    }
    bob.say("red to the red");
    assert_eq!((ann.read(), eve.read()), (vec!["to the red".to_owned()], vec![]));
    bob.say("attachment");
    assert_eq!(bob.read(), ["bob"]);
    drop(ann);
    bob.say("tagged red");
    world.commit();
    assert_eq!(bob.read(), [""]);
}

#[tokio::test]
async fn ws2_they_go_back_with_the_turn_that_fails() {
    let world = World::new();
    let mut ann = world.open("ann");
    ann.say("tag red");
    ann.say("tag and fail");
    ann.say("tag and panic");
    world.commit();
    assert_eq!(ann.read().len(), 2, "two errors");
    for command in ["tagged red", "attachment", "nested", "tagged red", "attachment"] {
        ann.say(command);
    }
    world.commit();
    assert_eq!(ann.read(), ["1", "ann", "rolled back", "1", "ann"]);
}

#[tokio::test]
async fn ws2_ws3_ws4_bounds_are_named() {
    let world = World::new();
    let mut ann = world.open("ann");
    for (command, bound) in [
        ("bounds tags", "a socket would have 11 tags; the limit is 10"),
        ("bounds tag", "tag is 257 characters; the limit is 256"),
        ("bounds attachment", "attachment is 16387 bytes; the limit is 16384"),
        ("bounds response", "automatic response is 2049 bytes; the limit is 2048"),
        ("bounds code", "close code is 1001; it must be 1000 or 3000 to 4999"),
        ("bounds reason", "close reason is 124 bytes; the limit is 123"),
        ("bounds gone", "socket 99 is not open"),
    ] {
        ann.say(command);
        world.commit();
        let told = ann.read();
        assert!(told[0].contains(bound), "{command}: {told:?}");
    }
    ann.say("bounds all right");
    world.commit();
    assert_eq!(ann.read(), ["close 3000 ".to_owned() + &"x".repeat(123)]);
}

#[tokio::test]
async fn ws3_a_ping_is_answered_without_waking_the_object() {
    let world = World::new();
    let mut ann = world.open("ann");
    world.sleep();
    let activations = world.metrics.activations.get();
    ann.say("ping");
    ann.say("ping");
    assert_eq!(ann.read(), ["pong", "pong"]);
    assert!(world.is_asleep());
    let mut bob = world.open("bob");
    bob.say("ping");
    world.commit();
    assert_eq!(bob.read(), ["pong"]);
    assert_eq!(world.metrics.activations.get(), activations + 1, "the second socket's open");
    for near in ["Ping", "ping ", ""] {
        bob.say(near);
        assert_ne!(bob.read(), ["pong"], "{near:?}");
    }
    bob.ask(Frame::Binary("ping".into()));
    assert_eq!(bob.read(), ["binary ping"]);
}

#[tokio::test]
async fn ws3_its_answers_come_in_order_with_the_others() {
    let world = World::new();
    let mut ann = world.open("ann");
    world.commit();
    ann.say("note one");
    ann.say("ping");
    assert!(ann.read().is_empty(), "the answer before it waits for its commit");
    world.commit();
    assert_eq!(ann.read(), ["noted one", "pong"]);
}

#[tokio::test]
async fn ws3_a_response_holds_when_the_turn_that_set_it_does() {
    let world = World::new();
    let mut ann = world.open("ann");
    world.commit();
    ann.say("respond hi hello");
    assert!(ann.read().is_empty());
    ann.say("hi");
    assert!(ann.read().is_empty(), "it is not durable");
    world.commit();
    assert_eq!(ann.read(), ["hello"]);
    ann.say("respond and fail");
    assert_eq!(ann.read().len(), 1);
    ann.say("hi");
    assert_eq!(ann.read(), ["hello"]);
    ann.say("respond");
    world.commit();
    ann.say("hi");
    assert!(ann.read()[0].contains("unknown command"));
}

#[tokio::test]
async fn ws4_st5_frames_come_in_order_once_their_turn_is_durable() {
    let world = World::new();
    let mut ann = world.open("ann");
    let mut bob = world.open("bob");
    world.commit();
    ann.say("note one");
    ann.say("all two");
    ann.ask(Frame::Binary("three".into()));
    ann.say("all four");
    assert!(ann.read().is_empty() && bob.read().is_empty());
    world.commit();
    assert_eq!(ann.read(), ["noted one", "two", "binary three", "four"]);
    assert_eq!(bob.read(), ["two", "four"]);
}

#[tokio::test]
async fn st5_an_unconfirmed_frame_waits_for_nobody() {
    let world = World::new();
    let mut ann = world.open("ann");
    let mut bob = world.open("bob");
    world.commit();
    ann.say("cursor 7");
    assert_eq!(bob.read(), ["7"]);
    ann.say("note one");
    ann.say("cursor 8");
    assert_eq!(ann.read(), ["7"], "but it overtakes nothing");
    world.fail();
    assert_eq!(bob.read(), ["8"]);
    assert_eq!(ann.read(), ["close 1013 storage failed; connect again"]);
}

#[tokio::test]
async fn ws4_a_class_closes_a_socket_after_what_it_said() {
    let world = World::new();
    let mut ann = world.open("ann");
    ann.say("close 4002 enough");
    ann.say("all too late");
    world.commit();
    assert_eq!(ann.read(), ["closing", "close 4002 enough"]);
    ann.close(4002, "enough");
    drop(ann);
    assert_eq!(world.log().await, ["open ann", "close ann 4002 enough, 0 left"]);
}

#[tokio::test]
async fn a_socket_that_lost_something_with_a_commit_connects_again() {
    let world = World::new();
    let mut quiet = world.open("quiet");
    let mut ann = world.open("ann");
    world.commit();
    assert!(ann.read().is_empty() && quiet.read().is_empty());
    ann.say("note lost");
    let mut opening = world.open("bob");
    world.fail();
    let end = "close 1013 storage failed; connect again";
    assert_eq!((ann.read(), opening.read()), (vec![end.to_owned()], vec![end.to_owned()]));
    assert_eq!(world.call("sockets").await, json!([1, 2]), "the third has never joined");
    drop(opening);
    drop(ann);
    assert_eq!(world.log().await, ["open quiet", "open ann", "close ann 1006 , 1 left"]);
    quiet.say("all still here");
    world.commit();
    assert_eq!(quiet.read(), ["still here"]);
}

#[tokio::test]
async fn ob5_a_socket_that_does_not_read_is_closed_but_one_that_asks_too_much_is_read_slower() {
    let world = World::new();
    let mut ann = world.open("ann");
    let mut bob = world.open("bob");
    world.commit();
    ann.say("many 1024");
    assert_eq!(ann.socket.room(), 0, "it is not read before it takes what it asked for");
    assert_eq!((ann.read().len(), bob.read().len()), (1_024, 1_024));
    assert!(ann.socket.room() > 0);
    ann.say("many 1025");
    assert_eq!(ann.read().len(), 1_025);
    assert_eq!(bob.read(), ["close 1013 too many messages were waiting for this socket"]);
    ann.say("many 16385");
    assert_eq!(ann.read(), ["close 1013 too many messages were waiting for this socket"]);
}

#[tokio::test]
async fn fp4_the_first_state_comes_before_what_the_class_says() {
    let world = World::new();
    let mut ann = world.open_at("/telling", "ann");
    world.commit();
    assert_eq!(ann.read(), [r#"{"type":"state","payload":1}"#, "welcome"]);
    ann.say(r#"{"type":"lose"}"#);
    world.fail();
    assert_eq!(ann.read().last().expect("the close"), "close 1013 storage failed; connect again");
}

#[tokio::test]
async fn ob7_a_turn_knows_the_socket_that_caused_it() {
    let world = World::new();
    let mut ann = world.open("ann");
    ann.say("caller");
    world.commit();
    assert_eq!(ann.read(), ["Socket(SocketId(1))"]);
}

/// `{"type":"state",…}` of an agent without children.
fn state(count: u64) -> String {
    format!(r#"{{"type":"state","payload":{{"data":{{"count":{count}}},"agents":[]}}}}"#)
}

fn result(id: u64, count: u64) -> String {
    format!(r#"{{"type":"result","id":{id},"payload":{{"count":{count}}}}}"#)
}

const INCREMENT: &str = r#"{"type":"increment"}"#;

#[tokio::test]
async fn fx3_of_messages_that_come_at_once_the_last_brings_the_state_before_its_result() {
    let world = World::new();
    let (mut ann, mut bob) = (world.open_at("/agent", "ann"), world.open_at("/agent", "bob"));
    assert_eq!((ann.read(), bob.read()), (vec![state(0)], vec![state(0)]));
    let with_id = |id| format!(r#"{{"type":"increment","id":{id}}}"#);
    ann.say_at_once(&[&with_id(1), &with_id(2), &with_id(3)]);
    assert!(ann.read().is_empty() && bob.read().is_empty(), "nothing is durable");
    world.commit();
    assert_eq!(ann.read(), [result(1, 1), result(2, 2), state(3), result(3, 3)]);
    assert_eq!(bob.read(), [state(3)]);

    ann.say_at_once(&[&with_id(4), r#"{"type":"juggle","id":5}"#]);
    world.commit();
    let unknown = r#"{"type":"error","id":5,"payload":{"error":"Unknown message type: juggle","code":"not_found"}}"#;
    assert_eq!(ann.read(), [&state(4), &result(4, 4), unknown], "also if nothing is published after it");
    assert_eq!(bob.read(), [state(4)]);
}

#[tokio::test]
async fn fx3_what_has_no_id_is_answered_by_its_own_state() {
    let world = World::new();
    let (mut ann, mut bob) = (world.open_at("/agent", "ann"), world.open_at("/agent", "bob"));
    assert_eq!((ann.read(), bob.read()), (vec![state(0)], vec![state(0)]));
    ann.say_at_once(&[INCREMENT, INCREMENT, r#"{"type":"increment","id":7}"#, INCREMENT]);
    world.commit();
    assert_eq!(ann.read(), [state(1), state(2), result(7, 3), state(4)]);
    assert_eq!(bob.read(), [state(4)]);
}

#[tokio::test]
async fn fx3_a_turn_that_is_lost_leaves_the_states_of_those_before_it() {
    let world = World::new();
    let (mut ann, mut bob) = (world.open_at("/telling", "ann"), world.open_at("/telling", "bob"));
    world.commit();
    assert_eq!((ann.read().pop().as_deref(), bob.read().pop().as_deref()), (Some("welcome"), Some("welcome")));
    ann.say_at_once(&[r#"{"type":"x","id":1}"#, r#"{"type":"panic","id":2}"#]);
    world.commit();
    // What was in memory is gone: the state is told once it is read again.
    for _ in 0..10 {
        tokio::task::yield_now().await;
        world.commit();
    }
    let (told, others) = (ann.read(), bob.read());
    let last = |told: &[String]| told.iter().rfind(|frame| frame.contains("state")).cloned();
    assert_eq!(last(&told).as_deref(), Some(r#"{"type":"state","payload":3}"#), "{told:?}");
    assert_eq!(last(&others), last(&told), "{others:?}");
    assert!(told.iter().any(|frame| frame.contains(r#""type":"result","id":1"#)), "{told:?}");
}

#[tokio::test]
async fn fx1_fx3_a_state_that_fails_fails_the_turn_that_it_answers_and_no_other() {
    let world = World::new();
    let mut ann = world.open_at("/telling", "ann");
    world.commit();
    assert_eq!(ann.read(), [r#"{"type":"state","payload":1}"#, "welcome"]);
    ann.say(r#"{"type":"hide"}"#);
    world.commit();
    assert_eq!(ann.read(), [r#"{"type":"error","payload":{"error":"hidden"}}"#]);
    for texts in [&[r#"{"type":"x","id":1}"#][..], &[r#"{"type":"hide","id":2}"#, r#"{"type":"x","id":3}"#]] {
        ann.say_at_once(texts);
        for _ in 0..10 {
            world.commit();
            tokio::task::yield_now().await;
        }
    }
    let told = ann.read();
    let results: Vec<_> = told.iter().filter(|frame| frame.contains("result")).collect();
    let result = |id, payload| format!(r#"{{"type":"result","id":{id},"payload":{payload}}}"#);
    assert_eq!(results, [&result(1, 2), &result(2, 1_002), &result(3, 1_003)], "{told:?}");
    assert!(told.last().expect("an end").starts_with("close 1011"), "{told:?}");
}
