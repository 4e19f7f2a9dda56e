//! The queue against what it promises, with commits that end in every way, at every moment.

mod changes;
mod order;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::protocol::Message;
use crate::storage::CommitError;

const PLENTY: usize = 1 << 30;

fn frame(value: &Value) -> Frame {
    Frame::Text(value.to_string().into())
}

fn value(frame: &Frame) -> Value {
    let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame;
    serde_json::from_slice(bytes).unwrap()
}

fn id(number: usize) -> Id {
    let text = format!(r#"{{"type":"a","id":{number}}}"#);
    Message::parse(text.as_bytes()).unwrap().id.unwrap()
}

/// Commits as a socket sees them: decided in order, and a failure takes along whatever is queued behind it.
#[derive(Default)]
struct Commits {
    last: u64,
    decided: u64,
    failed: BTreeMap<u64, CommitError>,
}

impl Commits {
    fn next(&mut self) -> Seq {
        self.last += 1;
        Seq(self.last)
    }

    fn outcome(&self, seq: Seq) -> Outcome {
        match self.failed.get(&seq.0) {
            _ if seq.0 > self.decided => Outcome::Pending,
            Some(error) => Outcome::Failed(*error),
            None => Outcome::Durable,
        }
    }

    fn succeed(&mut self, count: u64) {
        self.decided = self.last.min(self.decided + count);
    }

    fn fail(&mut self) {
        self.failed.extend((self.decided + 1..=self.last).map(|seq| (seq, CommitError::Unknown)));
        self.decided = self.last;
    }
}

fn drain(outbox: &mut Outbox, commits: &Commits) -> Vec<Outgoing> {
    let mut out = Vec::new();
    assert_eq!(outbox.drain(PLENTY, &mut out, |seq| commits.outcome(seq)).0, Drained::All);
    out
}

fn change(outbox: &mut Outbox, commits: &Commits, seq: Seq, change: &Change) {
    outbox.push_change(seq, change, |seq| commits.outcome(seq));
}

/// What the frames say, `resync` and `close` among them.
fn told(out: &[Outgoing]) -> Vec<Value> {
    let told = out.iter().map(|outgoing| match outgoing {
        Outgoing::Frame(frame) => value(frame),
        Outgoing::Close(close) => json!({"close": close.code}),
        Outgoing::Resync => json!("resync"),
    });
    told.collect()
}

#[test]
fn fx3_a_slow_reader_holds_two_states_and_gets_one_with_every_commit() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    for number in 1..=100 {
        outbox.push_state(commits.next(), frame(&json!(number)));
    }
    assert!(drain(&mut outbox, &commits).is_empty());
    commits.succeed(1);
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!(1)], "the one whose commit was under way");
    commits.succeed(50);
    assert!(drain(&mut outbox, &commits).is_empty(), "the newest is not durable");
    commits.succeed(49);
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!(100)]);
}

#[test]
fn fx1_a_replaced_state_goes_to_the_tail() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let mut turn = |outbox: &mut Outbox, number: usize| {
        let seq = commits.next();
        outbox.push_state(seq, frame(&json!({"state": number})));
        outbox.push(seq, Entry::Answer { id: Some(id(number)), frame: frame(&json!({"answer": number})) });
        commits.decided = seq.0;
    };
    turn(&mut outbox, 1);
    turn(&mut outbox, 2);
    turn(&mut outbox, 3);
    let out = told(&drain(&mut outbox, &commits));
    assert_eq!(out, [json!({"answer": 1}), json!({"answer": 2}), json!({"state": 3}), json!({"answer": 3})]);
}

#[test]
fn a_whole_state_stands_for_the_changes_before_it() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let seq = commits.next();
    change(&mut outbox, &commits, seq, &Change::added("a"));
    outbox.push(seq, Entry::First(frame(&json!(["a"]))));
    let seq = commits.next();
    change(&mut outbox, &commits, seq, &Change::added("b"));
    commits.succeed(2);
    let change = json!({"type": "change", "payload": {"added": ["b"]}});
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!(["a"]), change]);
}

#[test]
fn what_failed_is_an_error_for_who_asked_and_nothing_for_the_others() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let seq = commits.next();
    outbox.push(seq, Entry::Answer { id: Some(id(7)), frame: frame(&json!("answer")) });
    outbox.push_bounded(seq, frame(&json!("told")));
    outbox.push(seq, Entry::First(frame(&json!("first"))));
    outbox.push(Seq::NONE, Entry::Answer { id: None, frame: frame(&json!("after")) });
    commits.fail();
    let out = told(&drain(&mut outbox, &commits));
    let text = CommitError::Unknown.to_string();
    let error = json!({"type": "error", "id": 7, "payload": {"error": text, "code": "commit_unknown"}});
    assert_eq!(out, [error, json!("resync"), json!("after")]);
}

#[test]
fn fp9_a_close_that_failed_leaves_the_socket_open() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    outbox.push_close(commits.next(), Close::new(1000, "Agent deleted"));
    assert!(outbox.is_closing());
    outbox.push_bounded(Seq::NONE, frame(&json!("too late")));
    commits.fail();
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!("resync")]);
    assert!(!outbox.is_closing());
    outbox.push_bounded(Seq::NONE, frame(&json!("again")));
    outbox.push_close(commits.next(), Close::new(1000, "Agent deleted"));
    commits.succeed(1);
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!("again"), json!({"close": 1000})]);
}

#[test]
fn too_many_messages_of_others_close_the_socket_with_1013() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let seq = commits.next();
    outbox.push(seq, Entry::Answer { id: None, frame: frame(&json!("an answer")) });
    outbox.push_state(seq, frame(&json!("state")));
    for number in 0..SOCKET_QUEUE_FRAMES {
        outbox.push_bounded(seq, frame(&json!(number)));
        assert!(!outbox.is_closing(), "{number}");
    }
    outbox.push_bounded(seq, frame(&json!("one more")));
    assert!(outbox.is_closing());
    outbox.push_state(seq, frame(&json!("late")));
    outbox.push_bounded(seq, frame(&json!("late")));
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!({"close": 1013})], "at once, whatever was waiting");
}

#[test]
fn so_do_too_many_bytes_and_what_was_written_does_not_count() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let large = Frame::Text(vec![b' '; SOCKET_QUEUE_BYTES / 4].into());
    for _ in 0..3 {
        for _ in 0..4 {
            outbox.push_bounded(commits.next(), large.clone());
        }
        assert!(!outbox.is_closing());
        commits.succeed(4);
        let mut out = Vec::new();
        assert_eq!(outbox.drain(PLENTY, &mut out, |seq| commits.outcome(seq)), (Drained::All, 0));
        assert_eq!(out.len(), 4);
    }
    for _ in 0..5 {
        outbox.push_bounded(commits.next(), large.clone());
    }
    assert!(outbox.is_closing());
}

#[test]
fn answers_are_not_bounded_here() {
    let (mut outbox, commits) = (Outbox::default(), Commits::default());
    for number in 0..2 * SOCKET_QUEUE_FRAMES {
        outbox.push(Seq::NONE, Entry::Answer { id: None, frame: frame(&json!(number)) });
    }
    assert!(!outbox.is_closing());
    assert_eq!(drain(&mut outbox, &commits).len(), 2 * SOCKET_QUEUE_FRAMES);
    assert_eq!(outbox.answer_bytes(), 0);
}

#[test]
fn changes_too_large_to_keep_are_told_as_a_whole_state() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let seq = commits.next();
    for number in 0..10_000 {
        change(&mut outbox, &commits, seq, &Change::added(&format!("a-rather-long-name-{number}")));
    }
    commits.succeed(1);
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!("resync")]);
    let seq = commits.next();
    change(&mut outbox, &commits, seq, &Change::field("count", 1));
    commits.succeed(1);
    let change = json!({"type": "change", "payload": {"count": 1}});
    assert_eq!(told(&drain(&mut outbox, &commits)), [change]);
}

#[test]
fn a_change_that_failed_does_not_come_out_with_a_later_one() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let first = commits.next();
    change(&mut outbox, &commits, first, &Change::added("a"));
    commits.succeed(1);
    let lost = commits.next();
    change(&mut outbox, &commits, lost, &Change::added("b"));
    commits.fail();
    let after = commits.next();
    change(&mut outbox, &commits, after, &Change::added("c"));
    commits.succeed(1);
    assert_eq!(told(&drain(&mut outbox, &commits)), [json!("resync")], "the whole state has the first one too");
}

#[test]
fn changes_that_cancel_out_are_not_told() {
    let (mut outbox, mut commits) = (Outbox::default(), Commits::default());
    let seq = commits.next();
    change(&mut outbox, &commits, seq, &Change::added("a"));
    change(&mut outbox, &commits, seq, &Change::removed("a"));
    commits.succeed(1);
    assert!(drain(&mut outbox, &commits).is_empty());
}
