//! OB1: what one object says to many arrives in the order in which it was said.

use std::sync::Arc;
use std::task::Context;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::{open, roomy};
use crate::limits::FAN_OUT_CHUNK;
use crate::object::{Class, Error, Outgoing, Socket, Turn, json};
use crate::path::{ObjectName, ObjectPath};
use crate::protocol::{Frame, Version};

/// More than are told in one go.
const CHILDREN: usize = 2 * FAN_OUT_CHUNK + 1;
const MESSAGES: usize = 20;

#[derive(Default, Serialize, Deserialize)]
struct Herald;

impl Class for Herald {
    const NAME: &'static str = "herald";
    const TELLS_STATE: bool = false;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        if method == "found" {
            for index in 0..CHILDREN {
                turn.create_child(&ObjectName::parse(&format!("c{index}")).expect("a name"))?;
            }
        } else {
            turn.message_children(payload)?;
        }
        json(&())
    }
}

fn texts(socket: &Socket) -> Vec<String> {
    let mut due = Vec::new();
    socket.drain(&Context::from_waker(std::task::Waker::noop()), usize::MAX, &mut due);
    let text = |outgoing| match outgoing {
        Outgoing::Frame(Frame::Text(text)) => String::from_utf8(text.to_vec()).expect("text"),
        other => panic!("{other:?}"),
    };
    due.into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ob1_large_broadcasts_do_not_overtake_each_other() {
    let data = tempfile::tempdir().expect("a directory");
    let tasks = TaskTracker::new();
    let (namespace, storage) = open::<Herald>(&data, roomy(), &tasks);
    let top = ObjectPath::parse("/top").expect("a path");
    namespace.call(&top, "found", RawValue::NULL.to_owned()).await.expect("children");
    let mut sockets = Vec::new();
    for index in 0..CHILDREN {
        let path = top.child(&ObjectName::parse(&format!("c{index}")).expect("a name"));
        let mut socket = namespace.socket(&path, Version::V1).expect("a place");
        socket.open().expect("it opens");
        sockets.push(socket);
    }
    let namespace = Arc::new(namespace);
    let mut calls = JoinSet::new();
    for number in 0..MESSAGES {
        let (namespace, top) = (Arc::clone(&namespace), top.clone());
        let payload = to_raw_value(&number).expect("JSON");
        namespace.call(&top, "say", payload.clone()).await.expect("said");
        // And one that nobody waits for, so that runs meet.
        calls.spawn(async move { drop(namespace.call(&top, "again", payload).await) });
    }
    calls.join_all().await;
    tasks.close();
    tasks.wait().await;
    let mut orders = sockets.iter().map(texts);
    let first = orders.next().expect("a socket");
    assert_eq!(first.len(), 2 * MESSAGES);
    assert!(orders.all(|order| order == first), "all have heard the same in the same order");
    drop(sockets);
    storage.close();
}
