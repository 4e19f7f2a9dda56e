//! A socket of `fleet.v1`: what comes out, in which order, and when.

use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// An answer, with an `id` or without.
    Answer {
        id: bool,
        wrote: bool,
    },
    /// A frame caused by somebody else.
    Told {
        wrote: bool,
    },
    /// A state, of a turn that wrote or of one that did not.
    State {
        wrote: bool,
    },
    Succeed(u64),
    Fail,
    Drain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<(bool, bool)>().prop_map(|(id, wrote)| Step::Answer { id, wrote }),
        2 => any::<bool>().prop_map(|wrote| Step::Told { wrote }),
        4 => any::<bool>().prop_map(|wrote| Step::State { wrote }),
        4 => (1u64..4).prop_map(Step::Succeed),
        1 => Just(Step::Fail),
        4 => prop_oneof![Just(PLENTY), 0usize..60].prop_map(Step::Drain),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answer,
    Told,
    State,
}

#[derive(Debug, Clone, Copy)]
struct Pushed {
    kind: Kind,
    id: bool,
    seq: Seq,
}

/// A socket of `fleet.v1`: everything that was pushed, in order, and what of it came out.
#[derive(Default)]
struct Socket {
    outbox: Outbox,
    commits: Commits,
    pushed: Vec<Pushed>,
    /// Indices of answers and told frames that are not out, in order.
    queued: VecDeque<usize>,
    /// The newest state that came out, and how many times the whole state was asked for.
    newest: Option<usize>,
    resyncs: usize,
}

impl Socket {
    fn push(&mut self, kind: Kind, id_given: bool, wrote: bool) {
        let seq = if wrote { self.commits.next() } else { Seq(self.commits.last) };
        let number = self.pushed.len();
        let frame = frame(&json!({"n": number}));
        match kind {
            Kind::Answer => self.outbox.push(seq, Entry::Answer { id: id_given.then(|| id(number)), frame }),
            Kind::Told => self.outbox.push_bounded(seq, frame),
            Kind::State => self.outbox.push_state(seq, frame),
        }
        if kind != Kind::State {
            self.queued.push_back(number);
        }
        self.pushed.push(Pushed { kind, id: id_given, seq });
    }

    fn drain(&mut self, bytes: usize) {
        let mut out = Vec::new();
        let (drained, answers) = self.outbox.drain(bytes, &mut out, |seq| self.commits.outcome(seq));
        let sizes: Vec<usize> =
            out.iter().map(|one| if let Outgoing::Frame(frame) = one { frame.len() } else { 0 }).collect();
        let total: usize = sizes.iter().sum();
        assert!(total - sizes.last().unwrap_or(&0) < bytes.max(1), "{total} bytes for a budget of {bytes}");
        match drained {
            Drained::More => assert!(total >= bytes),
            Drained::All => assert!(
                self.outbox.next_seq().is_none_or(|seq| self.commits.outcome(seq) == Outcome::Pending),
                "something that is decided was left behind"
            ),
        }
        let answered = out.into_iter().filter(|outgoing| self.came_out(outgoing)).count();
        assert_eq!(answers, answered);
        let waiting = self.queued.iter().filter(|&&number| self.pushed[number].kind == Kind::Answer);
        let waiting: usize = waiting.map(|number| frame(&json!({"n": number})).len()).sum();
        assert_eq!(self.outbox.answer_bytes(), waiting);
    }

    /// Checks one frame; answers whether it is an answer.
    fn came_out(&mut self, outgoing: &Outgoing) -> bool {
        let frame = match outgoing {
            Outgoing::Frame(frame) => value(frame),
            Outgoing::Resync => {
                self.resyncs += 1;
                return false;
            }
            Outgoing::Close(close) => panic!("{close:?}"),
        };
        if let Some(number) = frame["n"].as_u64().map(|number| usize::try_from(number).unwrap())
            && self.pushed[number].kind == Kind::State
        {
            assert_eq!(self.commits.outcome(self.pushed[number].seq), Outcome::Durable);
            assert!(self.newest < Some(number), "the state {number} after {:?}", self.newest);
            self.newest = Some(number);
            return false;
        }
        loop {
            let number = self.queued.pop_front().expect("nothing that was pushed");
            let Pushed { kind, id, seq } = self.pushed[number];
            let failed = match self.commits.outcome(seq) {
                Outcome::Pending => panic!("{number} came out before its commit"),
                Outcome::Durable => false,
                Outcome::Failed(_) => true,
            };
            match (kind, failed) {
                (Kind::Told, true) => continue,
                (_, false) => assert_eq!(frame, json!({"n": number})),
                (_, true) => {
                    assert_eq!(frame["type"], "error");
                    let expected =
                        if id { (json!(number), json!("commit_unknown")) } else { (json!(null), json!(null)) };
                    assert_eq!((frame["id"].clone(), frame["payload"]["code"].clone()), expected);
                }
            }
            if kind == Kind::Answer {
                self.state_came_before(number);
            }
            return kind == Kind::Answer;
        }
    }

    /// FX1: the state of a turn comes before its answer, unless a newer one has replaced it.
    fn state_came_before(&self, answer: usize) {
        let states = |range: std::ops::Range<usize>| range.filter(|&n| self.pushed[n].kind == Kind::State);
        let Some(before) = states(0..answer).next_back() else { return };
        if states(answer..self.pushed.len()).next().is_some() {
            return;
        }
        match self.commits.outcome(self.pushed[before].seq) {
            Outcome::Durable => assert!(self.newest >= Some(before), "the answer {answer} before the state {before}"),
            Outcome::Failed(_) => assert!(self.resyncs > 0, "nothing instead of the state {before}"),
            Outcome::Pending => panic!("the state {before} waits and the answer {answer} does not"),
        }
    }

    fn end(mut self) {
        self.commits.succeed(u64::MAX >> 1);
        self.drain(PLENTY);
        self.queued.retain(|&number| {
            let Pushed { kind, seq, .. } = self.pushed[number];
            kind != Kind::Told || self.commits.outcome(seq) == Outcome::Durable
        });
        assert!(self.queued.is_empty(), "{:?} never came out", self.queued);
        let last = (0..self.pushed.len()).rev().find(|&number| self.pushed[number].kind == Kind::State);
        match last.map(|last| self.commits.outcome(self.pushed[last].seq)) {
            Some(Outcome::Durable) => assert_eq!(self.newest, last),
            Some(_) => assert!(self.resyncs > 0),
            None => {}
        }
        let failed = |pushed: &&Pushed| matches!(self.commits.outcome(pushed.seq), Outcome::Failed(_));
        assert!(self.resyncs <= self.pushed.iter().filter(failed).count());
        assert!(self.outbox.next_seq().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fx1_fx3_frames_come_in_order_once_their_commit_is_decided(steps in prop::collection::vec(step(), 0..60)) {
        let mut socket = Socket::default();
        for step in steps {
            match step {
                Step::Answer { id, wrote } => socket.push(Kind::Answer, id, wrote),
                Step::Told { wrote } => socket.push(Kind::Told, false, wrote),
                Step::State { wrote } => socket.push(Kind::State, false, wrote),
                Step::Succeed(count) => socket.commits.succeed(count),
                Step::Fail => socket.commits.fail(),
                Step::Drain(bytes) => socket.drain(bytes),
            }
        }
        socket.end();
    }
}
