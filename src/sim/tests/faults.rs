//! The faults themselves: each is met by what it is for, once, and made good where that was promised.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::super::*;
use crate::object::{Ask, Caller, Class, Error, Replied, SocketId, Turn, json as answer, read, unknown_method};
use crate::path::ObjectPath;
use crate::protocol::{Closed, Frame};

/// Notes what comes, in order.
#[derive(Default, Serialize, Deserialize)]
struct Noter {
    notes: Vec<String>,
}

impl Class for Noter {
    const NAME: &'static str = "noter";
    const TELLS_STATE: bool = false;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let other = ObjectPath::parse("/b").expect("a path");
        match method {
            "get" => return answer(&self.notes),
            "note" => self.notes.push(read(payload)?),
            "tell" => turn.tell(&other, &"told")?,
            "send" => turn.send(&other, &"sent")?,
            "ask" => drop(turn.call(&other, "get", &(), Ask::new())?),
            "run" => drop(turn.run("slow", &(), Ask::new().timeout(read(payload)?))?),
            "alarm" => {
                let now = turn.now();
                turn.set_alarm(now + 100)?;
            }
            other => return Err(unknown_method(other)),
        }
        answer(&())
    }

    fn message(&mut self, _: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        self.notes.push(read(message)?);
        Ok(())
    }

    fn alarm(&mut self, _: &mut Turn<'_>, _: u32) -> Result<(), Error> {
        self.notes.push("woken".to_owned());
        Ok(())
    }

    fn replied(&mut self, _: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        self.notes.push(match &reply.result {
            Ok(answer) => format!("answer {}", answer.get()),
            Err(error) => error.to_string(),
        });
        Ok(())
    }

    fn websocket_open(&mut self, turn: &mut Turn<'_>, socket: SocketId) -> Result<(), Error> {
        let upgrade = turn.upgrade().ok_or_else(|| Error::internal("a socket without a request"))?;
        let header = |name| upgrade.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        let note = format!("open {} {}", upgrade.uri().query().unwrap_or("-"), header("x-name"));
        turn.send_frame(socket, Frame::Text(note.clone().into()));
        self.notes.push(note);
        Ok(())
    }

    fn websocket_message(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) -> Result<(), Error> {
        let Frame::Text(text) = frame else { return Err(Error::bad_request("no text")) };
        if text == "bye" {
            turn.close_socket(socket, 4_001, "as asked")?;
        }
        self.notes.push(String::from_utf8_lossy(text).into_owned());
        Ok(())
    }

    fn websocket_close(&mut self, turn: &mut Turn<'_>, _: SocketId, closed: &Closed) -> Result<(), Error> {
        assert!(matches!(turn.caller(), Caller::Socket(_)));
        self.notes.push(format!("closed {}", closed.code));
        Ok(())
    }
}

/// What `path` has noted after these steps, for every seed the same.
#[track_caller]
fn notes(path: &'static str, steps: &[Step], expected: &[&str]) {
    let expected = json!(expected);
    for seed in 0..5 {
        let expected = expected.clone();
        steps
            .iter()
            .fold(Simulation::new(seed).class::<Noter>(), |simulation, step| simulation.step(step.clone()))
            .job("slow", |_| async {
                tokio::time::sleep(std::time::Duration::from_secs(20)).await;
                answer(&"done")
            })
            .check(move |world| match world.call(path, "get", ())? {
                found if found == expected => Ok(()),
                found => Err(format!("{path} has noted {found}")),
            })
            .run();
    }
}

fn tell() -> Step {
    Step::call("/a", "tell", ())
}

#[test]
fn co1_a_tell_that_is_lost_is_lost_and_only_that_one() {
    notes("/b", &[Step::Lose, tell(), Step::Settle, Step::Pass { ms: 60_000 }], &[]);
    notes("/b", &[Step::Lose, tell(), Step::Settle, tell(), Step::Settle, Step::Pass { ms: 1 }], &["told"]);
}

#[test]
fn co1_a_notice_that_is_lost_is_made_good() {
    let send = [Step::Pass { ms: 1 }, Step::Lose, Step::call("/a", "send", ()), Step::Settle];
    let after = |ms| [&send[..], &[Step::Pass { ms }]].concat();
    notes("/b", &after(4_000), &[]);
    notes("/b", &after(6_000), &["sent"]);
}

#[test]
fn co1_what_is_noticed_twice_is_handled_once() {
    for ms in [1, 60_000] {
        notes("/b", &[Step::Repeat, Step::call("/a", "send", ()), Step::Settle, Step::Pass { ms }], &["sent"]);
    }
}

#[test]
fn al2_a_wake_up_that_is_lost_is_made_good_and_one_that_comes_twice_does_nothing() {
    let alarm = |fault| vec![fault, Step::call("/a", "alarm", ()), Step::Settle];
    let after = |fault, ms| [alarm(fault), vec![Step::Pass { ms }]].concat();
    notes("/a", &after(Step::Lose, 9_000), &[]);
    notes("/a", &after(Step::Lose, 12_000), &["woken"]);
    notes("/a", &after(Step::Repeat, 12_000), &["woken"]);
}

#[test]
fn co2_an_answer_that_comes_twice_is_handled_once() {
    let steps = vec![Step::Repeat, Step::call("/a", "ask", ()), Step::Settle, Step::Pass { ms: 60_000 }];
    notes("/a", &steps, &["answer []"]);
}

#[test]
fn ob5_a_full_mailbox_refuses_one_request_drops_one_tell_and_keeps_a_frame() {
    let full = || Step::FullMailbox { path: "/b".to_owned() };
    let note = |text: &str| Step::call("/b", "note", text);
    let refused = "overloaded: /b has";
    Simulation::new(1)
        .class::<Noter>()
        .step(full())
        .step(note("refused"))
        .step(note("taken"))
        .check(move |world| match world.history().map(|(_, outcome)| outcome).collect::<Vec<_>>()[..] {
            [Outcome::Refused(error), Outcome::Answered(_)] if error.starts_with(refused) => Ok(()),
            ref other => Err(format!("{other:?}")),
        })
        .run();
    notes("/b", &[full(), tell(), Step::Settle, Step::Pass { ms: 60_000 }], &[]);
    let asked = vec![full(), Step::call("/a", "ask", ()), Step::Settle, Step::Pass { ms: 1_000 }];
    notes("/a", &asked, &["overloaded: /b has too many requests waiting; try again"]);
    let connect = Step::Connect { client: 1, path: "/b".to_owned() };
    let send = Step::Send { client: 1, text: "kept".to_owned() };
    let frame = vec![connect, full(), send, Step::Pass { ms: 1 }, Step::Read { client: 1 }, Step::Settle];
    notes("/b", &frame, &["open - -", "kept"]);
}

#[test]
fn ob6_a_job_takes_made_time() {
    let run = |timeout: u64| vec![Step::call("/a", "run", timeout), Step::Pass { ms: 60_000 }];
    notes("/a", &run(30_000), &[r#"answer "done""#]);
    notes("/a", &run(10_000), &["timed out: job `slow` gave no answer in the time given; it may have been done"]);
    let crash = vec![Step::call("/a", "run", 30_000), Step::Pass { ms: 5_000 }, Step::Crash, Step::Pass { ms: 5_000 }];
    let text = "interrupted: the server was restarted before job `slow` gave an answer; it may have been done";
    notes("/a", &crash, &[text]);
}

#[test]
fn ws1_ws4_a_class_sees_the_request_of_a_socket_and_both_sides_how_it_ends() {
    let connect = |client, path: &str| Step::Connect { client, path: path.to_owned() };
    let headers = vec![("X-Name".to_owned(), "ann".to_owned())];
    let send = |client, text: &str| Step::Send { client, text: text.to_owned() };
    Simulation::new(1)
        .class::<Noter>()
        .step(connect(1, "/a?room=1"))
        .step(Step::Upgrade { client: 2, path: "/a?room=2".to_owned(), headers })
        .step(Step::Settle)
        .step(send(2, "bye"))
        .step(Step::Settle)
        .step(Step::Read { client: 2 })
        .step(Step::Close { client: 1, code: 4_002 })
        .step(connect(3, "/a"))
        .step(Step::Vanish { client: 3 })
        .step(Step::Settle)
        .check(|world| {
            let notes = world.call("/a", "get", ())?;
            let expected =
                ["open room=1 -", "open room=2 ann", "bye", "closed 4001", "closed 4002", "open - -", "closed 1006"];
            let ends = (world.closed(1), world.closed(2), world.closed(3));
            let closed = |code, reason: &str| Some(Closed { code, reason: reason.to_owned() });
            if notes != json!(expected) || ends != (closed(4_002, ""), closed(4_001, "as asked"), None) {
                return Err(format!("{notes}, {ends:?}"));
            }
            match world.frames(2) {
                (frames, Some(4_001)) if frames == ["open room=2 ann"] => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .run();
}

#[test]
fn fp3_a_client_speaks_what_it_offers() {
    let speaks = |offer: &'static str, expected: &'static str| {
        let headers = vec![("sec-websocket-protocol".to_owned(), offer.to_owned())];
        Simulation::new(1)
            .class::<super::Counter>()
            .step(Step::Upgrade { client: 1, path: "/a".to_owned(), headers })
            .step(Step::Settle)
            .step(Step::call("/a", "publish", ()))
            .step(Step::Settle)
            .check(move |world| match &world.frames(1).0[..] {
                [first, second] if first.contains(r#""state""#) && second.contains(expected) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .run();
    };
    speaks("token, fleet.v2", r#""change""#);
    speaks("fleet.v1, fleet.v2", r#""state""#);
}
