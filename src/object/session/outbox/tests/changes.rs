//! A socket of `fleet.v2`: what its changes add up to.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A fleet.v2 object with a socket that takes its time.
#[derive(Default)]
struct Watched {
    outbox: Outbox,
    commits: Commits,
    truth: Names,
    /// The states that may be seen, each with its write set.
    history: Vec<(Seq, Names)>,
    client: Names,
    /// Whether the client was told that it must ask, has not asked yet, or has no answer yet.
    must_ask: bool,
    asked: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Names {
    count: u64,
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    Count,
    Toggle(&'static str),
    Answer,
    Succeed(u64),
    Fail,
    Drain,
    /// The client that must ask for the state does.
    Ask,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        2 => Just(Turn::Count),
        6 => prop::sample::select(vec!["a", "b", "c"]).prop_map(Turn::Toggle),
        2 => Just(Turn::Answer),
        5 => (1u64..4).prop_map(Turn::Succeed),
        1 => Just(Turn::Fail),
        5 => Just(Turn::Drain),
        3 => Just(Turn::Ask),
    ]
}

impl Watched {
    fn new() -> Self {
        Self { history: vec![(Seq::NONE, Names::default())], ..Self::default() }
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Count => {
                self.truth.count += 1;
                self.changed(&Change::field("count", self.truth.count));
            }
            Turn::Toggle(name) => {
                if let Some(index) = self.truth.names.iter().position(|known| known == name) {
                    self.truth.names.remove(index);
                    self.changed(&Change::removed(name));
                } else {
                    self.truth.names.push(name.to_owned());
                    self.changed(&Change::added(name));
                }
            }
            Turn::Answer => {
                let frame = frame(&json!({"type": "result"}));
                self.outbox.push(Seq(self.commits.last), Entry::Answer { id: Some(id(1)), frame });
            }
            Turn::Succeed(count) => self.commits.succeed(count),
            Turn::Fail => {
                self.commits.fail();
                self.history.retain(|(seq, _)| self.commits.outcome(*seq) == Outcome::Durable);
                self.truth = self.history.last().unwrap().1.clone();
            }
            Turn::Drain => self.drain(),
            Turn::Ask => self.ask(),
        }
    }

    fn changed(&mut self, change: &Change) {
        let seq = self.commits.next();
        self.history.push((seq, self.truth.clone()));
        self.outbox.push_change(seq, change, |seq| self.commits.outcome(seq));
    }

    fn ask(&mut self) {
        if std::mem::take(&mut self.must_ask) {
            let state = json!({"type": "state", "payload": {"count": self.truth.count, "names": self.truth.names}});
            self.outbox.push(self.history.last().unwrap().0, Entry::First(frame(&state)));
            self.asked = true;
        }
    }

    fn drain(&mut self) {
        for outgoing in drain(&mut self.outbox, &self.commits) {
            let frame = match &outgoing {
                Outgoing::Frame(frame) => value(frame),
                Outgoing::Resync => {
                    self.must_ask = true;
                    self.asked = false;
                    continue;
                }
                Outgoing::Close(close) => panic!("{close:?}"),
            };
            let payload = &frame["payload"];
            let names = |key: &str| -> Vec<String> { serde_json::from_value(payload[key].clone()).unwrap_or_default() };
            match frame["type"].as_str().unwrap() {
                "state" => {
                    self.client = Names { count: payload["count"].as_u64().unwrap(), names: names("names") };
                    self.asked = false;
                }
                "change" => {
                    self.client.count = payload["count"].as_u64().unwrap_or(self.client.count);
                    let removed = names("removed");
                    self.client.names.retain(|name| !removed.contains(name));
                    self.client.names.extend(names("added"));
                }
                _ => continue,
            }
            // Between the loss of something and the new state a client knows that it does not know.
            if !self.must_ask && !self.asked {
                let seen = |(seq, names): &(Seq, Names)| {
                    *names == self.client && self.commits.outcome(*seq) == Outcome::Durable
                };
                assert!(self.history.iter().any(seen), "{:?} was never durable: {:?}", self.client, self.history);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn fx8_merged_changes_lead_to_states_that_were_durable(turns in prop::collection::vec(turn(), 0..60)) {
        let mut watched = Watched::new();
        for turn in turns {
            watched.take(turn);
        }
        watched.commits.succeed(u64::MAX >> 1);
        watched.drain();
        watched.ask();
        watched.drain();
        prop_assert!(!watched.must_ask && !watched.asked);
        prop_assert_eq!(watched.client, watched.truth);
    }
}
