//! ST3, OB7, OB5, CO1 and others: promises that no larger test names.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::task::TaskTracker;

use super::{open, roomy};
use crate::limits::{INBOXES_AT_ONCE, MAILBOX_EVENTS, OUTBOX_BYTES, OUTBOX_MESSAGES};
use crate::object::inbox::Mail;
use crate::object::{Ask, Caller, Class, Error, Namespace, Options, Replied, Turn, json, read, unknown_method};
use crate::path::ObjectPath;
use crate::protocol::{Closed, Code, Version};
use crate::storage::{Backlog, Storage};

const BOUND: usize = 1_000;

/// Objects whose class does not start.
static SHUT: Mutex<Option<String>> = Mutex::new(None);

/// What a turn that holds waits for: once to say that it is there, once to go on.
static HELD: Mutex<Option<Arc<Barrier>>> = Mutex::new(None);

/// The same of one that goes on for longer.
static ENDLESS: Mutex<Option<Arc<Barrier>>> = Mutex::new(None);

/// Has a bound of its own, and a value that JSON may not be able to hold.
#[derive(Default, Serialize, Deserialize)]
struct Own {
    value: f64,
    none: Option<u8>,
    seen: Vec<String>,
}

impl Class for Own {
    const NAME: &'static str = "own";
    const STORAGE_BYTES: Option<u64> = Some(BOUND as u64);
    const TELLS_STATE: bool = false;

    fn activate(&mut self, turn: &mut Turn<'_>) -> Result<(), Error> {
        let shut = SHUT.lock().as_deref() == Some(turn.path().as_str());
        if shut { Err(Error::conflict("shut")) } else { Ok(()) }
    }

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        assert_eq!(turn.caller(), &Caller::Http);
        json(&self.value)
    }

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let to = |payload: &RawValue| Ok::<_, Error>(ObjectPath::parse(&read::<String>(payload)?).expect("a path"));
        match method {
            "put" => turn.put("row", &"x".repeat(read(payload)?))?,
            "caller" => assert_eq!(turn.caller(), &Caller::Http),
            "divide" => self.value /= read::<f64>(payload)?,
            "get" => return json(&self.value),
            "seen" => return json(&self.seen),
            "none" => self.none = None,
            "send" => turn.send(&to(payload)?, &"sent")?,
            "fill" => {
                let to = to(payload)?;
                (0..MAILBOX_EVENTS).try_for_each(|_| turn.tell(&to, &"told"))?;
            }
            "ask" => drop(turn.call(&to(payload)?, "get", &(), Ask::new())?),
            "alarm" => {
                let now = turn.now();
                turn.set_alarm(now)?;
            }
            "hold" | "endless" => {
                let held = if method == "hold" { &HELD } else { &ENDLESS }.lock().clone();
                if let Some(held) = held {
                    held.wait();
                    held.wait();
                }
            }
            other => return Err(unknown_method(other)),
        }
        json(&())
    }

    fn fetch(&mut self, turn: &mut Turn<'_>, _: &http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        assert_eq!(turn.caller(), &Caller::Http);
        Ok(http::Response::new(Bytes::new()))
    }

    fn message(&mut self, _: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        let message: String = read(message)?;
        if message == "sent" {
            self.seen.push(message);
        }
        Ok(())
    }

    fn alarm(&mut self, _: &mut Turn<'_>, _: u32) -> Result<(), Error> {
        self.seen.push("alarm".to_owned());
        Ok(())
    }

    fn replied(&mut self, _: &mut Turn<'_>, _: &Replied<'_>) -> Result<(), Error> {
        self.seen.push("answer".to_owned());
        Ok(())
    }

    fn websocket_close(&mut self, _: &mut Turn<'_>, _: crate::SocketId, _: &Closed) -> Result<(), Error> {
        self.seen.push("close".to_owned());
        Ok(())
    }
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

async fn call(namespace: &Namespace, at: &str, method: &str, payload: impl Serialize) -> Result<String, Error> {
    let answer = namespace.call(&path(at), method, to_raw_value(&payload).expect("JSON")).await?;
    Ok(String::from_utf8(answer).expect("text"))
}

/// Asks until it is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let so = async {
        while !is().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), so).await.is_ok(), "{what}");
}

fn world(data: &tempfile::TempDir, options: Options) -> (Namespace, Storage) {
    open::<Own>(data, options, &TaskTracker::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn st3_a_class_has_its_own_bound_of_storage_below_or_above_that_of_the_server() {
    for server in [10, 1 << 30] {
        let data = tempfile::tempdir().expect("a directory");
        let (namespace, storage) = world(&data, Options { storage_per_object: server, ..roomy() });
        call(&namespace, "/a", "put", BOUND / 2).await.expect("it fits");
        let error = call(&namespace, "/a", "put", BOUND).await.expect_err("it does not");
        assert_eq!(error.code(), Code::StorageFull);
        assert!(
            error.message().starts_with("storage full: /a would hold ") && error.message().ends_with("limit is 1000")
        );
        storage.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ob7_requests_of_every_kind_are_called_by_http() {
    let data = tempfile::tempdir().expect("a directory");
    let (namespace, storage) = world(&data, roomy());
    call(&namespace, "/a", "caller", ()).await.expect("the caller is http");
    namespace.state(&path("/a")).await.expect("the caller is http");
    namespace.fetch(&path("/a"), http::Request::new(Bytes::new())).await.expect("the caller is http");
    storage.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn st1_a_value_that_json_cannot_give_back_fails_the_turn_that_would_save_it() {
    let data = tempfile::tempdir().expect("a directory");
    let (namespace, storage) = world(&data, roomy());
    let error = call(&namespace, "/a", "divide", 0.0).await.expect_err("0 / 0 is not saved");
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().contains("class `own`") && error.message().contains("NaN"), "{error}");
    // The value is as it was, and `null` where it belongs is no matter.
    assert_eq!(call(&namespace, "/a", "get", ()).await.expect("a value"), "0.0");
    call(&namespace, "/a", "none", ()).await.expect("a value");
    storage.close();
    let (namespace, storage) = world(&data, roomy());
    assert_eq!(call(&namespace, "/a", "get", ()).await.expect("a value"), "0.0");
    storage.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn ob5_a_full_mailbox_has_room_for_what_must_not_be_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let (namespace, storage) = world(&data, roomy());
    let mut socket = namespace.socket(&path("/a"), Version::V2).expect("a place");
    socket.open().expect("an object");
    // Its answer and its alarm come while the mailbox is full.
    let held = Arc::new(Barrier::new(2));
    *HELD.lock() = Some(Arc::clone(&held));
    let holder = namespace.clone();
    let holds = namespace.0.spawn(async move { call(&holder, "/c", "hold", ()).await });
    tokio::task::block_in_place(|| held.wait());
    call(&namespace, "/a", "ask", "/c").await.expect("a question");
    call(&namespace, "/a", "alarm", ()).await.expect("an alarm");
    let other = Arc::new(Barrier::new(2));
    *HELD.lock() = Some(Arc::clone(&other));
    let holder = namespace.clone();
    let holds_too = namespace.0.spawn(async move { call(&holder, "/a", "hold", ()).await });
    tokio::task::block_in_place(|| other.wait());
    call(&namespace, "/b", "fill", "/a").await.expect("a flood");
    until("the mailbox is full", async || {
        let error = tokio::time::timeout(Duration::from_millis(50), call(&namespace, "/a", "get", ())).await;
        matches!(error, Ok(Err(error)) if error.message() == "overloaded: /a has too many requests waiting; try again")
    })
    .await;
    let place = namespace.0.wakes.place().await.expect("a place");
    namespace.0.post_wake(&path("/a"), place);
    tokio::task::block_in_place(|| held.wait());
    holds.await.expect("no panic").expect("an answer");
    call(&namespace, "/b", "send", "/a").await.expect("a message");
    drop(socket);
    let deleter = namespace.clone();
    let gone = namespace.0.spawn(async move { deleter.delete(&path("/a/child")).await });
    tokio::task::block_in_place(|| other.wait());
    holds_too.await.expect("no panic").expect("an answer");
    gone.await.expect("no panic").expect("a deletion");
    until("everything came", async || {
        let mut seen: Vec<String> =
            serde_json::from_str(&call(&namespace, "/a", "seen", ()).await.expect("a list")).expect("a list");
        seen.sort_unstable();
        seen == ["alarm", "answer", "close", "sent"]
    })
    .await;
    storage.close();
}

#[test]
fn co1_an_outbox_is_bounded_in_messages_and_bytes_and_says_in_which() {
    let data = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _context = runtime.enter();
    let (_, storage) = world(&data, roomy());
    let admit = |waiting, more| {
        let mut mail = Mail::default();
        mail.sent(waiting);
        mail.admit(&storage, &path("/a"), more).map_err(|error| error.to_string())
    };
    let backlog = |messages, bytes| Backlog { messages, bytes };
    assert_eq!(admit(backlog(1, OUTBOX_BYTES - 5), backlog(1, 5)), Ok(()));
    let text = "outbox full: /a would have 67108865 bytes of messages that wait; the limit is 67108864";
    assert_eq!(admit(backlog(1, OUTBOX_BYTES - 5), backlog(1, 6)), Err(text.to_owned()));
    assert_eq!(admit(backlog(OUTBOX_MESSAGES - 1, 0), backlog(1, 1)), Ok(()));
    let text = "outbox full: /a would have 10001 messages that wait; the limit is 10000";
    assert_eq!(admit(backlog(OUTBOX_MESSAGES, 0), backlog(1, 1)), Err(text.to_owned()));
    storage.close();
}

#[tokio::test(start_paused = true)]
async fn co1_a_start_tells_no_more_inboxes_at_once_than_there_are_places() {
    let data = tempfile::tempdir().expect("a directory");
    *SHUT.lock() = Some("/shut".to_owned());
    {
        let (namespace, storage) = world(&data, roomy());
        call(&namespace, "/a", "send", "/shut").await.expect("a message");
        storage.close();
    }
    let (namespace, storage) = world(&data, roomy());
    let places = u32::try_from(INBOXES_AT_ONCE).expect("a number");
    let all = Arc::clone(&namespace.0.undelivered.places).acquire_many_owned(places).await.expect("places");
    let deliveries = namespace.0.spawn(namespace.deliveries());
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(namespace.0.slots.is_empty(), "nobody is told while all places are taken");
    drop(all);
    // The class does not start: that inbox is looked at again, and no other is.
    until("it is looked at", async || namespace.0.undelivered.missed() == Some(1)).await;
    assert_eq!(namespace.0.undelivered.places.available_permits(), INBOXES_AT_ONCE);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(namespace.0.undelivered.missed(), Some(1));
    *SHUT.lock() = None;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(namespace.0.undelivered.missed(), Some(0));
    assert_eq!(call(&namespace, "/shut", "seen", ()).await.expect("a list"), r#"["sent"]"#);
    deliveries.abort();
    storage.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn ob6_a_turn_that_does_not_end_is_said_once() {
    let data = tempfile::tempdir().expect("a directory");
    let (namespace, storage) = world(&data, roomy());
    let slot = namespace.0.slot(&path("/a"));
    assert!(!namespace.0.look_at_turns(), "nothing runs");
    let held = Arc::new(Barrier::new(2));
    *ENDLESS.lock() = Some(Arc::clone(&held));
    let caller = namespace.clone();
    let turn = namespace.0.spawn(async move { call(&caller, "/a", "endless", ()).await });
    tokio::task::block_in_place(|| held.wait());
    assert!(namespace.0.look_at_turns(), "it may have begun just now");
    assert_eq!(slot.doing.said(), 0);
    assert!(namespace.0.look_at_turns(), "it is the same");
    assert_ne!(slot.doing.said(), 0);
    assert_eq!(slot.doing.name(), "endless");
    assert!(!slot.doing.lasts(), "it was said");
    tokio::task::block_in_place(|| held.wait());
    turn.await.expect("no panic").expect("an answer");
    until("it rests", async || !namespace.0.look_at_turns()).await;
    slot.doing.begin("a method of more than thirty-two bytes");
    assert_eq!(slot.doing.name(), "a method of more than thirty-two");
    assert!(!slot.doing.lasts(), "it may have begun just now");
    assert!(slot.doing.lasts(), "another one, for as long");
    storage.close();
}
