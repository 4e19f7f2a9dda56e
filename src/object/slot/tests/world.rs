//! The namespace in miniature: what [`namespace`](crate::object::namespace) and [`run`](crate::object::run) do with slots,
//! cut into the steps between which others may come, and a storage that decides when it is told to.

mod runner;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::store::Store;
use super::super::*;

/// Events that a runner handles before others have their turn.
const SHARE: usize = 3;

pub(super) type Path = &'static str;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    pub(super) sender: usize,
    pub(super) number: usize,
    pub(super) path: Path,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Increment,
    /// Delete the subtree of this path; sent to its parent, or for the topmost to itself.
    Delete(Path),
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Handled by one incarnation, as this turn of this write set.
    Committed(Seq, usize),
    /// Its sender was told that it did not happen.
    Refused,
}

#[derive(Debug)]
pub(super) struct Body {
    load_after: Seq,
    count: Option<u64>,
}

struct Slot {
    path: Path,
    core: Core<Event, Body>,
}

/// What waits for something other than a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Decided(Seq),
    Room,
}

/// One flow of control, and what it does next.
#[derive(Debug)]
pub(super) enum Actor {
    /// Looks a path up.
    Find {
        events: VecDeque<Event>,
        stale: Option<usize>,
    },
    /// Posts into what was found.
    Post {
        events: VecDeque<Event>,
        slot: usize,
    },
    /// A runner at the top of its loop.
    Look {
        slot: usize,
        body: Body,
        turns: usize,
    },
    /// It lays the body down, as it must wait.
    Park {
        slot: usize,
        body: Body,
        events: Vec<Event>,
        wait: Wait,
    },
    /// It asks again, as the wake-up may have come too early.
    AskAgain {
        slot: usize,
        wait: Wait,
    },
    /// It handles events.
    Turn(Runner),
    /// It commits what is done, and goes on or waits.
    Commit(Runner, Option<Wait>),
    /// It deletes a subtree.
    Delete(Box<Deletion>),
    /// It found itself dead.
    Bury {
        slot: usize,
        events: Vec<Event>,
    },
    /// Somebody wakes a slot that waits.
    Wake {
        slot: usize,
    },
    /// Looks whether a path may sleep.
    Hibernate {
        slot: usize,
    },
    Forget {
        slot: usize,
    },
    /// Looks at all paths so many times.
    Idle {
        times: usize,
    },
    Storage {
        times: usize,
    },
}

/// A runner with events; those that are done wait for their commit.
#[derive(Debug)]
pub(super) struct Runner {
    slot: usize,
    body: Body,
    turns: usize,
    events: VecDeque<Event>,
    done: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct Deletion {
    runner: Runner,
    prefix: Path,
    stage: Stage,
    paths: Vec<Path>,
    victims: Vec<usize>,
    remains: Vec<Event>,
    committed: Result<Seq, ()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Gate,
    TakeOut,
    Kill(usize),
    Commit,
    Killed(usize),
    End,
}

/// How the next of several possibilities is chosen.
pub(super) trait Choose {
    /// Below `count`.
    fn choose(&mut self, count: usize) -> usize;
}

pub(super) struct World<'a> {
    pub(super) choices: &'a mut dyn Choose,
    /// Whether storage fails, refuses and is crowded now and then.
    pub(super) trouble: bool,
    slots: Vec<Slot>,
    map: BTreeMap<Path, usize>,
    readers: usize,
    gate_closed: bool,
    barrier: u64,
    store: Store,
    actors: Vec<Actor>,
    waiting: Vec<(Wait, usize)>,
    fates: BTreeMap<Event, Fate>,
    sent: Vec<Event>,
}

impl<'a> World<'a> {
    pub(super) fn new(choices: &'a mut dyn Choose, trouble: bool, actors: Vec<Actor>) -> Self {
        let sent = actors.iter().flat_map(|actor| match actor {
            Actor::Find { events, .. } => events.iter().copied().collect(),
            _ => Vec::new(),
        });
        Self {
            sent: sent.collect(),
            choices,
            trouble,
            slots: Vec::new(),
            map: BTreeMap::new(),
            readers: 0,
            gate_closed: false,
            barrier: 0,
            store: Store::default(),
            actors,
            waiting: Vec::new(),
            fates: BTreeMap::new(),
        }
    }

    /// Steps until nobody has anything left to do, and checks what must hold then. Answers how many steps it took.
    pub(super) fn run(mut self) -> usize {
        for step in 0..100_000 {
            let ready: Vec<usize> =
                (0..self.actors.len()).filter(|&index| self.is_ready(&self.actors[index])).collect();
            if ready.is_empty() {
                assert!(self.actors.is_empty(), "a deadlock: {:?}", self.actors);
                if self.settle() {
                    self.check_end();
                    return step;
                }
                continue;
            }
            let chosen = if ready.len() == 1 { 0 } else { self.choices.choose(ready.len()) };
            let mut next = Some(self.actors.swap_remove(ready[chosen]));
            while let Some(actor) = next.take() {
                next = self.step(actor);
                // What nobody else can see needs no choice of who goes first.
                if self.trouble || !matches!(next, Some(Actor::Turn(_))) {
                    break;
                }
            }
            self.actors.extend(next);
            self.check_always();
        }
        panic!("it does not end: {:?}", self.actors);
    }

    fn sometimes(&mut self, one_in: usize) -> bool {
        self.trouble && self.choices.choose(one_in) == 0
    }

    fn is_ready(&self, actor: &Actor) -> bool {
        match actor {
            Actor::Find { events, stale: None } => {
                events.front().is_none_or(|event| self.map.contains_key(event.path)) || !self.gate_closed
            }
            Actor::Hibernate { .. } => !self.gate_closed,
            Actor::Delete(deletion) if deletion.stage == Stage::Gate => !self.gate_closed && self.readers == 0,
            Actor::Bury { slot, .. } => self.slots[*slot].core.life() != Life::Deleting,
            _ => true,
        }
    }

    /// The end of all trouble: what still waits for storage goes on. Answers whether there was nothing to do.
    fn settle(&mut self) -> bool {
        self.trouble = false;
        self.store.down = false;
        self.store.crowded = false;
        self.decide(self.store.next() - 1);
        self.actors.is_empty()
    }

    fn decide(&mut self, seq: u64) {
        self.store.decided = seq;
        let (decided, crowded) = (self.store.decided, self.store.crowded);
        let due = |wait: &Wait| match wait {
            Wait::Decided(seq) => seq.0 <= decided,
            Wait::Room => !crowded,
        };
        let woken = self.waiting.extract_if(.., |(wait, _)| due(wait));
        self.actors.extend(woken.map(|(_, slot)| Actor::Wake { slot }));
    }

    /// Whether it need not wait; otherwise the slot will be woken.
    fn ask(&mut self, slot: usize, wait: Wait) -> bool {
        let ready = match wait {
            Wait::Decided(seq) => self.store.outcome(seq).is_some(),
            Wait::Room => !self.store.crowded,
        };
        if !ready {
            self.waiting.push((wait, slot));
        }
        ready
    }

    fn fate(&mut self, event: Event, fate: Fate) {
        let before = self.fates.insert(event, fate);
        assert_eq!(before, None, "{event:?} has two fates");
    }

    fn refuse(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.fate(event, Fate::Refused));
    }

    fn forget(&mut self, slot: usize) {
        let path = self.slots[slot].path;
        if self.map.get(path) == Some(&slot) {
            self.map.remove(path);
        }
    }

    fn create(&mut self, path: Path) -> usize {
        let body = Body { load_after: Seq(self.barrier), count: None };
        let core = Core::new(body, Seq(self.store.floor(path)));
        self.slots.push(Slot { path, core });
        self.map.insert(path, self.slots.len() - 1);
        self.slots.len() - 1
    }

    fn step(&mut self, actor: Actor) -> Option<Actor> {
        match actor {
            Actor::Find { events, stale: Some(slot) } => {
                self.forget(slot);
                Some(Actor::Find { events, stale: None })
            }
            Actor::Find { events, stale: None } => {
                let path = events.front()?.path;
                let slot = self.map.get(path).copied().unwrap_or_else(|| self.create(path));
                Some(Actor::Post { events, slot })
            }
            Actor::Post { events, slot } => self.post(events, slot),
            Actor::Look { slot, body, turns } => self.look(slot, body, turns),
            Actor::Park { slot, body, events, wait } => match self.slots[slot].core.park(body, events) {
                Some((_, events)) => Some(Actor::Bury { slot, events }),
                None => Some(Actor::AskAgain { slot, wait }),
            },
            Actor::AskAgain { slot, wait } => {
                if self.ask(slot, wait) {
                    self.resume(slot)
                } else {
                    None
                }
            }
            Actor::Turn(runner) => Some(self.turn(runner)),
            Actor::Commit(mut runner, wait) => {
                self.commit(&mut runner);
                Some(match wait {
                    Some(wait) => {
                        let Runner { slot, body, events, .. } = runner;
                        Actor::Park { slot, body, events: events.into(), wait }
                    }
                    None => Self::go_on(runner),
                })
            }
            Actor::Delete(deletion) => Some(self.delete(deletion)),
            Actor::Bury { events, .. } => {
                self.refuse(events);
                None
            }
            Actor::Wake { slot } => self.resume(slot),
            Actor::Hibernate { slot } => self.hibernate(slot),
            Actor::Forget { slot } => {
                self.forget(slot);
                self.readers -= 1;
                None
            }
            Actor::Idle { times } => {
                let slots: Vec<usize> = self.map.values().copied().collect();
                if !slots.is_empty() {
                    let slot = slots[self.choices.choose(slots.len())];
                    self.actors.push(Actor::Hibernate { slot });
                }
                (times > 1).then(|| Actor::Idle { times: times - 1 })
            }
            Actor::Storage { times } => {
                self.storage();
                (times > 1).then(|| Actor::Storage { times: times - 1 })
            }
        }
    }

    fn post(&mut self, mut events: VecDeque<Event>, slot: usize) -> Option<Actor> {
        let event = events.pop_front()?;
        let room = if let Kind::Delete(_) = event.kind { Room::Reserved } else { Room::Ordinary };
        let mut stale = None;
        match self.slots[slot].core.post(event, room) {
            Posted::Run(body) => self.actors.push(Actor::Look { slot, body, turns: 0 }),
            Posted::Queued => {}
            Posted::Full(event) => self.fate(event, Fate::Refused),
            Posted::Gone(event) => {
                events.push_front(event);
                stale = Some(slot);
            }
        }
        let more = !events.is_empty();
        more.then_some(Actor::Find { events, stale })
    }

    fn resume(&mut self, slot: usize) -> Option<Actor> {
        let body = self.slots[slot].core.resume()?;
        Some(Actor::Look { slot, body, turns: 0 })
    }

    fn hibernate(&mut self, slot: usize) -> Option<Actor> {
        // The memory goes and the slot stays if it has sockets.
        let has_sockets = self.sometimes(3);
        let core = &mut self.slots[slot].core;
        if !core.is_resting() || self.store.outcome(core.last_write).is_none() {
            return None;
        }
        if has_sockets {
            core.body_mut().expect("a resting slot has its body").count = None;
            return None;
        }
        core.evict().expect("it is resting");
        self.readers += 1;
        Some(Actor::Forget { slot })
    }

    /// Storage decides what is queued, or fails; is crowded, or not.
    fn storage(&mut self) {
        self.store.crowded = self.sometimes(4);
        self.store.down = self.sometimes(8);
        let last = self.store.next() - 1;
        if self.store.decided < last && self.sometimes(6) {
            self.store.failed.extend(self.store.decided + 1..=last);
            self.decide(last);
        } else {
            let pending = usize::try_from(last - self.store.decided).unwrap();
            let count = if pending == 0 { 0 } else { self.choices.choose(pending + 1) };
            self.decide(self.store.decided + count as u64);
        }
    }

    fn check_always(&self) {
        let mut alive = BTreeSet::new();
        for Slot { path, core } in &self.slots {
            assert!(core.life() != Life::Alive || alive.insert(path), "two slots stand for {path}");
            assert!(core.mailbox.len() <= MAILBOX_EVENTS + MAILBOX_RESERVED_EVENTS + SHARE);
            assert!(core.life() == Life::Alive || core.running || core.mailbox.is_empty(), "events in a dead slot");
            assert!(core.running || core.mailbox.is_empty(), "events wait in {path} and nobody runs it");
        }
    }

    fn check_end(&self) {
        for Slot { path, core } in &self.slots {
            match core.life() {
                Life::Alive => assert!(core.is_resting() && core.body.is_some(), "{path} is stuck: {core:?}"),
                Life::Evicted | Life::Deleted(_) | Life::Dropped => assert!(core.body.is_none()),
                Life::Deleting => panic!("{path} is being deleted for ever"),
            }
            if let (Life::Alive, Some(Body { count: Some(count), .. })) = (core.life(), &core.body)
                && self.store.outcome(core.last_write) == Some(true)
            {
                assert_eq!(*count, self.store.load(path), "{path} is not what is stored");
            }
        }
        let mut counts: BTreeMap<Path, u64> = self.sent.iter().map(|event| (event.path, 0)).collect();
        let mut last: BTreeMap<(Path, usize), (Seq, usize)> = BTreeMap::new();
        for event in &self.sent {
            let Some(fate) = self.fates.get(event) else { panic!("{event:?} is lost") };
            let Fate::Committed(seq, turn) = fate else { continue };
            let before = last.insert((event.path, event.sender), (*seq, *turn));
            assert!(before < Some((*seq, *turn)), "{event:?} came before what its sender sent before it");
            if event.kind == Kind::Increment {
                let kept = self.store.outcome(*seq) == Some(true) && seq.0 >= self.store.floor(event.path);
                let own = self.store.has_count(*seq);
                *counts.get_mut(event.path).unwrap() += u64::from(kept && own);
            }
        }
        for (path, count) in counts {
            assert_eq!(self.store.load(path), count, "{path}");
        }
        assert_eq!(self.fates.len(), self.sent.len());
    }
}
