//! Random histories against a model: everything that can be read equals it, and the count of objects is exact.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(String, u8),
    List(String, String),
    Unlist(String),
    Delete(Vec<String>),
    /// Deletes a child and lists it anew, in one write set.
    Replace(String, String),
    Settle,
    Reopen,
}

#[derive(Debug, Default)]
struct Model {
    objects: BTreeMap<ObjectPath, Vec<u8>>,
    lists: BTreeMap<ObjectPath, BTreeMap<u64, String>>,
    ordinal: u64,
}

impl Model {
    fn delete(&mut self, prefix: &ObjectPath) {
        self.objects.retain(|at, _| !prefix.contains(at));
        self.lists.retain(|at, _| !prefix.contains(at));
    }

    fn list(&mut self, at: &str, child: &str) -> WriteSet {
        self.ordinal += 1;
        self.lists.entry(path(at)).or_default().insert(self.ordinal, child.to_owned());
        self.objects.entry(path(at).child(&name(child))).or_default();
        list(at, self.ordinal, child)
    }

    /// Takes the step in the model; the write set is what storage is given.
    fn step(&mut self, step: &Step) -> WriteSet {
        match step {
            Step::Put(at, state) => {
                let state = state.to_string();
                self.objects.insert(path(at), state.clone().into());
                put(at, &state)
            }
            Step::List(at, child) => self.list(at, child),
            Step::Unlist(at) => {
                let mut set = WriteSet::new(path(at));
                if let Some((ordinal, _)) = self.lists.get_mut(&path(at)).and_then(BTreeMap::pop_first) {
                    set.children.insert(ordinal, None);
                }
                set
            }
            Step::Delete(prefixes) => {
                for prefix in prefixes {
                    self.delete(&path(prefix));
                }
                delete(&prefixes.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Step::Replace(at, child) => {
                let child_path = path(at).child(&name(child));
                self.delete(&child_path);
                let mut set = self.list(at, child);
                set.deleted.push(child_path);
                set
            }
            Step::Settle | Step::Reopen => unreachable!("not a write set"),
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
        }
    }
}

const NAMES: [&str; 3] = ["a", "a-b", "b"];

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

fn any_step() -> impl Strategy<Value = Step> {
    let child = || prop::sample::select(&NAMES).prop_map(str::to_owned);
    prop_oneof![
        8 => (any_path(), any::<u8>()).prop_map(|(at, state)| Step::Put(at, state)),
        6 => (any_path(), child()).prop_map(|(at, child)| Step::List(at, child)),
        2 => any_path().prop_map(Step::Unlist),
        4 => prop::collection::vec(any_path(), 1..3).prop_map(Step::Delete),
        2 => (any_path(), child()).prop_map(|(at, child)| Step::Replace(at, child)),
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
                    let set = model.step(step);
                    let gone = set.deleted.clone();
                    last = bed.storage().commit(set, last).unwrap();
                    if let Step::Delete(_) = step {
                        // From the moment commit returns: all gone, wherever their own commits stand.
                        for prefix in gone {
                            prop_assert_eq!(bed.objects(prefix.as_str()), Vec::<String>::new());
                            prop_assert_eq!(bed.children(prefix.as_str()), vec![]);
                        }
                    }
                }
            }
        }
        prop_assert_eq!(bed.decided(last), Outcome::Durable);
        model.check(&bed);
        bed.reap();
        model.check(&bed);
        prop_assert_eq!(bed.storage().object_count(), model.objects.len() as u64);
        bed.reopen();
        model.check(&bed);
        prop_assert_eq!(bed.storage().object_count(), model.objects.len() as u64);
    }
}
