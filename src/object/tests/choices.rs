//! FP2, FP9: the class that a parent lists its child with is the child's own, whoever of the two comes first.

use std::sync::{Arc, Barrier};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::stepped::World;
use crate::object::{Class, Error, Registry, Services, Turn, json, read, unknown_method};
use crate::path::{ObjectName, ObjectPath};
use crate::storage::Fate;

/// What a turn that is told `hold` waits for: once to say that it is there, once to go on.
static HELD: Mutex<Option<Arc<Barrier>>> = Mutex::new(None);

#[derive(Default, Serialize, Deserialize)]
struct Node<const TWIN: bool> {
    heard: Vec<u64>,
}

impl<const TWIN: bool> Class for Node<TWIN> {
    const NAME: &'static str = if TWIN { "twin" } else { "node" };

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let name = ObjectName::parse("b").expect("a name");
        match method {
            "class" => return json(&(Self::NAME, &self.heard)),
            "hear" => self.heard.push(read(payload)?),
            "hold" => {
                let held = HELD.lock().clone();
                if let Some(held) = held.filter(|_| !TWIN) {
                    held.wait();
                    held.wait();
                }
                self.heard.push(read(payload)?);
            }
            "list" => drop(turn.create_child_as(&name, "twin")?),
            "listAndFail" => {
                turn.create_child_as(&name, "twin")?;
                return Err(Error::conflict("on purpose"));
            }
            "again" => {
                turn.delete_child(&name)?;
                turn.create_child_as(&name, read::<String>(payload)?.as_str())?;
            }
            "listed" => return json(&turn.children(None)?.map(|child| child.class.to_owned()).collect::<Vec<_>>()),
            other => return Err(unknown_method(other)),
        }
        json(&())
    }
}

fn world() -> World {
    World::of(Services::default(), |metrics| {
        let mut registry = Registry::new::<Node<false>>(metrics)?;
        registry.add::<Node<true>>().map(|()| registry)
    })
}

#[tokio::test]
async fn fp2_a_child_whose_first_write_is_on_its_way_is_listed_with_its_own_class() {
    let mut world = world();
    let write = world.begin("/a/b", "hear", 1).await;
    let list = world.begin("/a", "list", ()).await;
    world.end(write).await.expect("a write");
    world.end(list).await.expect("a list");
    assert_eq!(world.ask("/a", "listed").await, r#"["node"]"#);
    assert_eq!(world.ask("/a/b", "class").await, r#"["node",[1]]"#);
}

#[tokio::test]
async fn fp2_a_child_whose_listing_is_on_its_way_has_the_class_it_is_listed_with() {
    let mut world = world();
    let list = world.begin("/a", "list", ()).await;
    let write = world.begin("/a/b", "hear", 1).await;
    world.end(write).await.expect("a write");
    world.end(list).await.expect("a list");
    assert_eq!(world.ask("/a", "listed").await, r#"["twin"]"#);
    assert_eq!(world.ask("/a/b", "class").await, r#"["twin",[1]]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn fp2_a_first_turn_during_which_the_child_is_listed_is_one_of_the_listed_class() {
    // The listing may become durable before the turn ends, or after.
    for durable in [false, true] {
        let mut world = world();
        let held = Arc::new(Barrier::new(2));
        *HELD.lock() = Some(Arc::clone(&held));
        let (namespace, path) = (world.namespace.clone(), ObjectPath::parse("/a/b").expect("a path"));
        let write = world.namespace.0.spawn(async move {
            let payload = to_raw_value(&7).expect("JSON");
            namespace.call(&path, "hold", payload).await
        });
        tokio::task::block_in_place(|| held.wait());
        let list = world.begin("/a", "list", ()).await;
        if durable {
            world.end(list).await.expect("a list");
            tokio::task::block_in_place(|| held.wait());
        } else {
            tokio::task::block_in_place(|| held.wait());
            world.end(list).await.expect("a list");
        }
        world.end(write).await.expect("a write");
        assert_eq!(world.ask("/a", "listed").await, r#"["twin"]"#);
        assert_eq!(world.ask("/a/b", "class").await, r#"["twin",[7]]"#);
    }
}

#[tokio::test]
async fn fp2_a_listing_that_fails_chooses_nothing() {
    let mut world = world();
    let list = world.begin("/a", "listAndFail", ()).await;
    let write = world.begin("/a/b", "hear", 1).await;
    world.end(list).await.expect_err("it fails");
    world.end(write).await.expect("a write");
    assert_eq!(world.ask("/a/b", "class").await, r#"["node",[1]]"#);
    // So does one whose commit fails; whoever has looked at the child in between looks again.
    let list = world.begin("/c", "list", ()).await;
    let look = world.begin("/c/b", "class", ()).await;
    world.stepper.step(1, Fate::Lost);
    world.end(list).await.expect_err("its commit failed");
    world.end(look).await.expect("looking needs no commit");
    let write = world.begin("/c/b", "hear", 1).await;
    world.end(write).await.expect("a write");
    assert_eq!(world.ask("/c/b", "class").await, r#"["node",[1]]"#);
}

#[tokio::test]
async fn fp2_a_child_that_is_deleted_and_listed_again_has_the_new_class() {
    let mut world = world();
    let write = world.begin("/a/b", "hear", 1).await;
    let list = world.begin("/a", "list", ()).await;
    // Nothing is durable yet; then everything.
    let again = world.begin("/a", "again", "twin").await;
    let fresh = world.begin("/a/b", "hear", 2).await;
    for call in [write, list, again, fresh] {
        world.end(call).await.expect("a call");
    }
    assert_eq!(world.ask("/a", "listed").await, r#"["twin"]"#);
    assert_eq!(world.ask("/a/b", "class").await, r#"["twin",[2]]"#);
    let again = world.begin("/a", "again", "node").await;
    let fresh = world.begin("/a/b", "hear", 3).await;
    for call in [again, fresh] {
        world.end(call).await.expect("a call");
    }
    assert_eq!(world.ask("/a", "listed").await, r#"["node"]"#);
    assert_eq!(world.ask("/a/b", "class").await, r#"["node",[3]]"#);
}
