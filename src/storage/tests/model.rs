//! Random histories against a model: everything that can be read equals it, the count of objects is exact, and in the
//! end nothing is stored that cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A write set of one object: so many messages of its inbox are handled, then turns are merged.
    Run(String, usize, Vec<Turn>),
    /// A write set of its own: listed and taken off the list in the same, a child would never have been there.
    Unlist(String),
    Delete(Vec<String>),
    Settle,
    Reopen,
}

#[derive(Debug, Clone)]
enum Turn {
    Put(u8),
    List(String),
    DeleteChild(String),
    /// Deletes a child and lists it anew.
    Replace(String),
    Row(Space, String, Option<u8>),
    Clear,
    Wake(Option<u64>),
    Send(String, u8),
}

type Rows = BTreeMap<String, String>;

#[derive(Debug, Default)]
struct Model {
    objects: BTreeMap<ObjectPath, Vec<u8>>,
    lists: BTreeMap<ObjectPath, BTreeMap<u64, String>>,
    ordinal: u64,
    rows: BTreeMap<(ObjectPath, Space), Rows>,
    wakes: BTreeMap<ObjectPath, u64>,
    /// What waits, by position, whoever it is for.
    sends: BTreeMap<(ObjectPath, Position), (ObjectPath, Value)>,
    /// What was handled, durably or not.
    handled: BTreeSet<(ObjectPath, Position)>,
}

impl Model {
    fn delete(&mut self, prefix: &ObjectPath) {
        self.objects.retain(|at, _| !prefix.contains(at));
        self.lists.retain(|at, _| !prefix.contains(at));
        self.rows.retain(|(at, _), _| !prefix.contains(at));
        self.wakes.retain(|at, _| !prefix.contains(at));
        self.sends.retain(|(target, _), (sender, _)| !prefix.contains(target) && !prefix.contains(sender));
    }

    fn list(&mut self, at: &ObjectPath, child: &str) -> WriteSet {
        self.ordinal += 1;
        self.lists.entry(at.clone()).or_default().insert(self.ordinal, child.to_owned());
        self.objects.entry(at.child(&name(child))).or_default();
        list(at.as_str(), self.ordinal, child)
    }

    fn unlist(&mut self, at: &ObjectPath, which: impl Fn(&str) -> bool) -> WriteSet {
        let mut set = WriteSet::new(at.clone());
        if let Some(listed) = self.lists.get_mut(at) {
            for (ordinal, _) in listed.extract_if(.., |_, child| which(child)) {
                set.children.insert(ordinal, None);
            }
        }
        set
    }

    /// Takes the turn in the model; its changes are what storage is given. Messages get their place with the commit.
    fn turn(&mut self, at: &ObjectPath, turn: &Turn) -> WriteSet {
        match turn {
            Turn::Put(state) => {
                let state = state.to_string();
                self.objects.insert(at.clone(), state.clone().into());
                put(at.as_str(), &state)
            }
            Turn::List(child) => self.list(at, child),
            Turn::DeleteChild(child) => {
                self.delete(&at.child(&name(child)));
                let mut set = self.unlist(at, |listed| listed == child);
                set.deleted.push(at.child(&name(child)));
                set
            }
            Turn::Replace(child) => {
                self.delete(&at.child(&name(child)));
                let mut set = self.list(at, child);
                set.deleted.push(at.child(&name(child)));
                set
            }
            Turn::Row(space, key, value) => {
                let value = value.map(|value| value.to_string());
                let rows = self.rows.entry((at.clone(), *space)).or_default();
                match value.clone() {
                    Some(value) => rows.insert(key.clone(), value),
                    None => rows.remove(key),
                };
                let mut set = WriteSet::new(at.clone());
                set.rows.insert((*space, key.as_str().into()), value.map(|value| value.as_bytes().into()));
                set
            }
            Turn::Clear => {
                self.rows.remove(&(at.clone(), Space::User));
                clear(at.as_str())
            }
            Turn::Wake(time) => {
                match time {
                    Some(time) => self.wakes.insert(at.clone(), *time),
                    None => self.wakes.remove(at),
                };
                wake(at.as_str(), *time)
            }
            Turn::Send(target, message) => send(at.as_str(), &[(target, &message.to_string())]),
        }
    }

    /// Handles what storage shows of an inbox: in order, nothing left out, nothing twice.
    fn handle(&mut self, bed: &Bed, at: &ObjectPath, count: usize) -> Vec<Position> {
        let shown = bed.storage().inbox(at, None, usize::MAX).unwrap();
        let shown: Vec<_> = shown.into_iter().map(|received| received.position).collect();
        let mut new = shown.into_iter().filter(|position| !self.handled.contains(&(at.clone(), *position)));
        let handled: Vec<_> = new.by_ref().take(count).collect();
        let waiting: Vec<_> = self.waiting(at).into_iter().map(|received| received.position).collect();
        let shown: Vec<_> = handled.iter().copied().chain(new).collect();
        assert!(waiting.starts_with(&shown), "{at}: {shown:?} of {waiting:?}");
        for position in &handled {
            self.sends.remove(&(at.clone(), *position));
            self.handled.insert((at.clone(), *position));
        }
        handled
    }

    fn waiting(&self, at: &ObjectPath) -> Vec<Received> {
        let inbox = self.sends.iter().filter(|((target, _), _)| target == at);
        let received = inbox.map(|((_, position), (sender, message))| Received {
            position: *position,
            sender: sender.clone(),
            message: message.clone(),
        });
        received.collect()
    }

    /// The write set of a step.
    fn step(&mut self, bed: &Bed, step: &Step) -> WriteSet {
        match step {
            Step::Run(at, handle, turns) => {
                let at = path(at);
                let mut set = WriteSet::new(at.clone());
                set.handled = self.handle(bed, &at, *handle);
                for turn in turns {
                    let changes = self.turn(&at, turn);
                    set.merge(changes);
                }
                set
            }
            Step::Unlist(at) => self.unlist(&path(at), |_| true),
            Step::Delete(prefixes) => {
                for prefix in prefixes {
                    self.delete(&path(prefix));
                }
                delete(&prefixes.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Step::Settle | Step::Reopen => unreachable!("not a write set"),
        }
    }

    fn committed(&mut self, seq: Seq, set: WriteSet) {
        for (number, send) in (0..).zip(set.sends) {
            let position = Position { seq, number };
            self.sends.insert((send.target, position), (set.path.clone(), send.message));
        }
    }

    fn check(&self, bed: &Bed) {
        let expected: Vec<_> = self.objects.keys().map(ToString::to_string).collect();
        assert_eq!(bed.objects("/"), expected);
        for at in all_paths() {
            let state = bed.state(at.as_str());
            assert_eq!(state.map(String::into_bytes).as_ref(), self.objects.get(&at), "{at}");
            let list = self.lists.get(&at).into_iter().flatten();
            let list: Vec<_> = list.map(|(ordinal, child)| (*ordinal, child.clone())).collect();
            assert_eq!(bed.children(at.as_str()), list, "{at}");
            let below = self.objects.keys().filter(|other| at.contains(other));
            assert_eq!(bed.objects(at.as_str()), below.map(ToString::to_string).collect::<Vec<_>>());
            for space in [Space::User, Space::Runtime] {
                self.check_rows(bed, &at, space);
            }
            assert_eq!(bed.storage().inbox(&at, None, usize::MAX).unwrap(), self.waiting(&at), "{at}");
            let sent = self.sends.values().filter(|(sender, _)| *sender == at).count() as u64;
            assert_eq!(bed.storage().outbox(&at, u64::MAX).unwrap().messages, sent, "{at}");
        }
        let mut due: Vec<_> = self.wakes.iter().map(|(at, time)| (at.to_string(), *time)).collect();
        due.sort_by_key(|(_, time)| *time);
        assert_eq!(bed.storage().next_wake().unwrap(), due.first().map(|(_, time)| *time));
        assert_eq!(bed.due(), due);
        let mut inboxes: Vec<_> = self.sends.keys().map(|(target, _)| target.to_string()).collect();
        inboxes.dedup();
        assert_eq!(bed.inboxes(), inboxes);
    }

    fn check_rows(&self, bed: &Bed, at: &ObjectPath, space: Space) {
        let expected = self.rows.get(&(at.clone(), space)).cloned().unwrap_or_default();
        let storage = bed.storage();
        let found = storage.rows(at, space, &whole()).unwrap();
        let found: Rows = found.into_iter().map(|(key, value)| (key.into(), utf8(&value))).collect();
        assert_eq!(found, expected, "{at} {space:?}");
        for key in KEYS {
            let value = storage.get(at, space, key).unwrap().map(|value| utf8(&value));
            assert_eq!(value.as_ref(), expected.get(key), "{at} {space:?} {key}");
            let (sought, next) = storage.seek(at, space, key).unwrap();
            assert_eq!(sought.map(|value| utf8(&value)), value, "{at} {space:?} {key}");
            let behind =
                expected.range::<str, _>((Bound::Included(key), Bound::Unbounded)).next().filter(|_| value.is_none());
            assert_eq!(next.as_deref(), behind.map(|(key, _)| key.as_str()), "{at} {space:?} {key}");
        }
    }

    /// Nothing else is left in the tables once all that is dead has been reaped.
    fn check_reaped(&self, bed: &Bed) {
        let rows: usize = self.rows.values().map(BTreeMap::len).sum();
        let stored = ["rows", "wakes", "sends"].map(|table| bed.stored(table) as usize);
        assert_eq!(stored, [rows, self.wakes.len(), self.sends.len()]);
    }
}

/// From the moment commit returns: all gone, wherever their own commits stand.
fn check_gone(bed: &Bed, prefix: &ObjectPath) {
    let storage = bed.storage();
    assert_eq!(bed.objects(prefix.as_str()), [""; 0]);
    assert_eq!(bed.children(prefix.as_str()), []);
    for space in [Space::User, Space::Runtime] {
        assert_eq!(storage.rows(prefix, space, &whole()).unwrap(), []);
    }
    assert!(!storage.due(u64::MAX, usize::MAX).unwrap().iter().any(|(at, _)| prefix.contains(at)));
    assert!(!storage.inboxes(None, usize::MAX).unwrap().iter().any(|at| prefix.contains(at)));
    assert_eq!((bed.inbox(prefix.as_str()), storage.outbox(prefix, 1).unwrap().messages), (vec![], 0));
}

const NAMES: [&str; 3] = ["a", "a-b", "b"];
const KEYS: [&str; 3] = ["", "k", "l"];

fn all_paths() -> Vec<ObjectPath> {
    let mut all = vec![ObjectPath::root()];
    let mut from = 0;
    for _ in 0..3 {
        let last = all.len();
        for index in from..last {
            all.extend(NAMES.map(|child| all[index].child(&name(child))));
        }
        from = last;
    }
    all
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&NAMES), 0..3).prop_map(|names| format!("/{}", names.join("/")))
}

fn any_turn() -> impl Strategy<Value = Turn> {
    let child = || prop::sample::select(&NAMES).prop_map(str::to_owned);
    let key = prop::sample::select(&KEYS).prop_map(str::to_owned);
    let space = prop::sample::select(&[Space::User, Space::User, Space::Runtime]);
    prop_oneof![
        6 => any::<u8>().prop_map(Turn::Put),
        5 => child().prop_map(Turn::List),
        1 => child().prop_map(Turn::DeleteChild),
        2 => child().prop_map(Turn::Replace),
        6 => (space, key, any::<Option<u8>>()).prop_map(|(space, key, value)| Turn::Row(space, key, value)),
        2 => Just(Turn::Clear),
        3 => prop::option::of(0..5_u64).prop_map(Turn::Wake),
        6 => (any_path(), any::<u8>()).prop_map(|(target, message)| Turn::Send(target, message)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let turns = || prop::collection::vec(any_turn(), 0..4);
    prop_oneof![
        16 => (any_path(), 0..3_usize, turns()).prop_map(|(at, handle, turns)| Step::Run(at, handle, turns)),
        1 => any_path().prop_map(Step::Unlist),
        3 => prop::collection::vec(any_path(), 1..3).prop_map(Step::Delete),
        2 => Just(Step::Settle),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn storage_is_what_the_model_says(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut bed = Bed::new();
        let mut model = Model::default();
        let mut last = Seq::NONE;
        for step in &steps {
            match step {
                Step::Settle => {
                    prop_assert_eq!(bed.decided(last), Outcome::Durable);
                    model.check(&bed);
                }
                Step::Reopen => bed.reopen(),
                _ => {
                    let set = model.step(&bed, step);
                    last = bed.storage().commit(set.clone(), last).unwrap();
                    if let Step::Delete(prefixes) = step {
                        for prefix in prefixes {
                            check_gone(&bed, &path(prefix));
                        }
                    }
                    if set.clear {
                        // What there is already is of this write set.
                        let new = set.rows.iter().filter_map(|((_, key), value)| value.as_ref().map(|_| key.to_string()));
                        let new: BTreeSet<_> = new.collect();
                        let shown = bed.rows(set.path.as_str());
                        prop_assert!(shown.iter().all(|(key, _)| new.contains(key)), "{shown:?}");
                    }
                    model.committed(last, set);
                }
            }
        }
        prop_assert_eq!(bed.decided(last), Outcome::Durable);
        model.check(&bed);
        bed.reap();
        model.check(&bed);
        model.check_reaped(&bed);
        prop_assert_eq!(bed.storage().object_count(), model.objects.len() as u64);
        bed.reopen();
        model.check(&bed);
        prop_assert_eq!(bed.storage().object_count(), model.objects.len() as u64);
    }
}
