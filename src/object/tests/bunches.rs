//! CO2: answers that are there together come in one turn to a class that takes several.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::task::TaskTracker;

use super::roomy;
use crate::metrics::Metrics;
use crate::object::{
    Ask, Class, Deferred, Error, Namespace, Registry, Replied, Services, Turn, json, read, unknown_method,
};
use crate::path::ObjectPath;
use crate::storage::{self, Storage};

/// The note of an answer that no turn can handle.
const POISON: u64 = 3;
/// The note of one that brings the memory down.
const BOMB: u64 = 13;

/// The notes of each turn that handled answers.
#[derive(Default, Serialize, Deserialize)]
struct Crowd {
    turns: Vec<Vec<u64>>,
}

impl Class for Crowd {
    const NAME: &'static str = "crowd";
    const REPLIES: usize = 4;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "ask" => {
                let (from, to, in_memory): (u64, u64, bool) = read(payload)?;
                for note in from..to {
                    let ask = Ask::new().note(&note);
                    let ask = if in_memory { ask.in_memory() } else { ask };
                    turn.call(&path("/debtor"), "owe", &(), ask)?;
                }
                json(&())
            }
            "turns" => json(&self.turns),
            other => Err(unknown_method(other)),
        }
    }

    fn replied_all(&mut self, _: &mut Turn<'_>, replies: &[Replied<'_>]) -> Result<(), Error> {
        let notes: Vec<u64> = replies.iter().map(|reply| read(reply.note)).collect::<Result<_, _>>()?;
        assert!(!notes.contains(&BOMB), "on purpose");
        let poisoned = notes.contains(&POISON);
        self.turns.push(notes);
        if poisoned { Err(Error::conflict("on purpose")) } else { Ok(()) }
    }
}

/// Answers all at once.
#[derive(Default, Serialize, Deserialize)]
struct Debtor {
    owed: Vec<Deferred>,
}

impl Class for Debtor {
    const NAME: &'static str = "debtor";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "owe" => self.owed.push(turn.defer()?),
            "pay" => self.owed.drain(..).for_each(|owed| _ = turn.answer_deferred(&owed, json(&()))),
            "owed" => return json(&self.owed.len()),
            other => return Err(unknown_method(other)),
        }
        json(&())
    }
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a path")
}

/// Questions under these notes, answered at once; what the turns were that heard of it, and how many answers were lost.
async fn turns(from: u64, to: u64, in_memory: bool) -> (Vec<Vec<u64>>, u64) {
    let (data, metrics) = (tempfile::tempdir().expect("a directory"), Metrics::new());
    let files = storage::Options { data_dir: data.path().to_owned(), ..storage::Options::default() };
    let storage = Storage::open(files, &metrics).expect("storage opens");
    let mut registry = Registry::new::<Crowd>(&metrics).expect("a registry");
    registry.add::<Debtor>().expect("another class");
    let registry = registry.routed(|path| path.as_str().starts_with("/debtor").then(|| "debtor".to_owned()));
    let tasks = TaskTracker::new();
    let namespace = Namespace::new(storage.clone(), registry, roomy(), metrics.clone(), Services::default(), &tasks);
    let call = async |at: &str, method: &str, payload: &RawValue| {
        namespace.call(&path(at), method, payload.to_owned()).await.expect(method)
    };
    let asked = to_raw_value(&(from, to, in_memory)).expect("JSON");
    call("/crowd", "ask", &asked).await;
    let all = json(&(to - from)).expect("JSON");
    while call("/debtor", "owed", RawValue::NULL).await != all {
        tokio::task::yield_now().await;
    }
    // On one thread: its answers are all there before the other object runs.
    call("/debtor", "pay", RawValue::NULL).await;
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        seen = call("/crowd", "turns", RawValue::NULL).await;
    }
    storage.close();
    (serde_json::from_slice(&seen).expect("turns"), metrics.undelivered.get())
}

#[tokio::test]
async fn co2_answers_that_are_there_together_come_in_one_turn() {
    let (turns, lost) = turns(20, 29, true).await;
    assert_eq!((turns.concat(), lost), ((20..29).collect(), 0), "each once, in order");
    assert!(turns.iter().all(|turn| turn.len() <= Crowd::REPLIES), "{turns:?}");
    assert!(turns.iter().any(|turn| turn.len() == Crowd::REPLIES), "{turns:?}");
}

#[tokio::test]
async fn co2_answers_that_are_rows_come_one_by_one() {
    let (turns, lost) = turns(20, 29, false).await;
    assert_eq!((turns, lost), ((20..29).map(|note| vec![note]).collect(), 0));
}

#[tokio::test]
async fn co2_an_answer_that_no_turn_handles_takes_no_other_with_it() {
    let (turns, lost) = turns(0, 9, true).await;
    let expected: Vec<u64> = (0..9).filter(|note| *note != POISON).collect();
    assert_eq!((turns.concat(), lost), (expected, 1));
}

#[tokio::test]
async fn co2_a_panic_takes_what_only_memory_waits_for() {
    let (turns, lost) = turns(12, 15, true).await;
    assert_eq!((turns, lost), (vec![], 1));
}
