//! What is refused before a server starts, each with the name of what is wrong.

use serde::{Deserialize, Serialize};

use super::*;
use crate::path::ObjectPath;

macro_rules! class {
    ($type:ident, $name:literal) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $type;

        impl Class for $type {
            const NAME: &'static str = $name;
        }
    };
}

class!(Counter, "counter");
class!(Impostor, "counter");
class!(Room, "room");
class!(Nameless, "");
class!(Spaced, "two words");
class!(SecondAgent, "agent");

#[derive(Default, Serialize, Deserialize)]
struct Parent;

impl Class for Parent {
    const NAME: &'static str = "parent";
    const CHILDREN: Option<&'static str> = Some("room");
}

fn refusal(builder: &Builder) -> String {
    builder.registry(&Metrics::new()).err().expect("it is refused").to_string()
}

fn class_of(builder: &Builder, path: &str) -> String {
    let registry = builder.registry(&Metrics::new()).expect("it is fine");
    registry.class_for(&ObjectPath::parse(path).unwrap()).to_string()
}

fn configured(pattern: &str, class: &str) -> Config {
    let routes = Routes::compile(BTreeMap::from([(pattern.to_owned(), class.to_owned())])).unwrap();
    Config { routes, ..Config::default() }
}

#[test]
fn two_classes_of_one_name_are_refused() {
    let text = "two classes are named `counter`; a class is found by its name";
    assert_eq!(refusal(&Server::builder().class::<Counter>().class::<Impostor>()), text);
    assert_eq!(refusal(&Server::builder().class::<Counter>().class::<Counter>()), text);
    assert_eq!(refusal(&Server::builder().default_class::<Impostor>().class::<Counter>()), text);
    assert!(refusal(&Server::builder().class::<SecondAgent>()).contains("`agent`"));
}

#[test]
fn names_that_cannot_be_are_refused() {
    assert!(refusal(&Server::builder().class::<Nameless>()).starts_with("`` cannot be the name of a class"));
    assert!(refusal(&Server::builder().class::<Spaced>()).starts_with("`two words` cannot be the name of a class"));
}

#[test]
fn classes_that_are_named_must_be_registered() {
    let builder = || Server::builder().class::<Counter>();
    let text = "route `/x/*` names the class `nothing`, which is not registered";
    assert_eq!(refusal(&builder().route("/x/*", "nothing")), text);
    assert_eq!(refusal(&builder().config(configured("/x/*", "nothing"))), text);
    let text = "class `parent` names `room` for its children, which is not registered";
    assert_eq!(refusal(&builder().class::<Parent>()), text);
    builder().class::<Parent>().class::<Room>().registry(&Metrics::new()).expect("the room is there");
}

#[test]
fn routes_that_tie_are_refused_wherever_they_come_from() {
    let builder = || Server::builder().class::<Counter>().class::<Room>();
    let text = "routes `/**/a/**` and `/**/b/**` can match the same path, and neither is more specific";
    assert!(refusal(&builder().route("/**/a/**", "counter").route("/**/b/**", "room")).starts_with(text));
    assert!(refusal(&builder().route("/**/a/**", "counter").config(configured("/**/b/**", "room"))).starts_with(text));
    let text = "routes `/a` and `/a` can match the same path";
    assert!(refusal(&builder().route("/a", "counter").config(configured("/a", "room"))).starts_with(text));
    assert!(refusal(&builder().route("a", "counter")).contains("start with `/`"));
    assert_eq!(class_of(&builder().route("/a", "room").config(configured("/a", "room")), "/a"), "room");
}

#[test]
fn the_most_specific_route_wins_and_then_the_default() {
    let builder = || {
        let builder = Server::builder().class::<Counter>().class::<Room>().route("/counters/*", "counter");
        builder.config(configured("/counters/**", "room"))
    };
    for (path, class) in [("/counters/a", "counter"), ("/counters/a/b", "room"), ("/other", "agent")] {
        assert_eq!(class_of(&builder(), path), class, "{path}");
    }
    assert_eq!(class_of(&builder().default_class::<Counter>(), "/other"), "counter");
    assert_eq!(class_of(&Server::builder().default_class::<Room>(), "/other"), "room");
    assert_eq!(class_of(&Server::builder().default_class::<Agent>(), "/other"), "agent");
}

#[test]
fn ob6_two_jobs_of_one_name_are_refused() {
    let builder = || Server::builder().job("mail", |_| async { Ok(Vec::new()) });
    builder().job("print", |_| async { Ok(Vec::new()) }).registry(&Metrics::new()).expect("two names");
    let text = refusal(&builder().job("mail", |_| async { Ok(Vec::new()) }));
    assert_eq!(text, "two jobs are named `mail`; a job is found by its name");
}

#[test]
fn workforce_two_handlers_of_one_type_are_refused() {
    let builder = || Server::builder().task("resize", async |_| Ok(Vec::new()));
    builder().task("print", async |_| Ok(Vec::new())).registry(&Metrics::new()).expect("two types");
    let text = |kind| {
        format!("two handlers are registered for tasks of type `{kind}`; `echo`, `sleep` and `http` are built in")
    };
    assert_eq!(refusal(&builder().task("resize", async |_| Ok(Vec::new()))), text("resize"));
    for kind in ["echo", "sleep", "http"] {
        assert_eq!(refusal(&builder().task(kind, async |_| Ok(Vec::new()))), text(kind));
    }
    // One could not tell them apart.
    let job = builder().job("task:resize", |_| async { Ok(Vec::new()) });
    assert_eq!(refusal(&job), "two jobs are named `task:resize`; a job is found by its name");
}

#[test]
fn workforce_a_type_that_no_task_has_is_refused() {
    let text = |kind: &str| format!("`{kind}` cannot be the type of a task: it must have 1 to 64 characters");
    for kind in [String::new(), "x".repeat(65)] {
        assert_eq!(refusal(&Server::builder().task(kind.clone(), async |_| Ok(Vec::new()))), text(&kind));
    }
    Server::builder().task("ä".repeat(64), async |_| Ok(Vec::new())).registry(&Metrics::new()).expect("it is fine");
}
