//! The steps of a runner: its loop, its turns, its commits, and how it deletes a subtree.

use super::super::super::*;
use super::store::Write;
use super::{Actor, Body, Deletion, Fate, Kind, Runner, SHARE, Slot, Stage, Wait, World};

impl World<'_> {
    pub(super) fn look(&mut self, slot: usize, body: Body, turns: usize) -> Option<Actor> {
        if turns >= SHARE {
            return match self.slots[slot].core.park(body, Vec::new()) {
                Some((_, events)) => Some(Actor::Bury { slot, events }),
                None => Some(Actor::Wake { slot }),
            };
        }
        if !self.ask(slot, Wait::Room) {
            return Some(Actor::Park { slot, body, events: Vec::new(), wait: Wait::Room });
        }
        match self.slots[slot].core.next(body, SHARE - turns) {
            Next::Run(body, events) => {
                let turns = turns + events.len();
                Some(Actor::Turn(Runner { slot, body, turns, events: events.into(), done: Vec::new() }))
            }
            Next::Rest => None,
            Next::Dead(_, events) => Some(Actor::Bury { slot, events }),
        }
    }

    pub(super) fn go_on(runner: Runner) -> Actor {
        let Runner { slot, body, turns, .. } = runner;
        if runner.events.is_empty() {
            Actor::Look { slot, body, turns }
        } else {
            Actor::Turn(Runner { body, ..runner })
        }
    }

    pub(super) fn turn(&mut self, mut runner: Runner) -> Actor {
        let Runner { slot, body, events, done, .. } = &mut runner;
        let core = &mut self.slots[*slot].core;
        if done.is_empty() && self.store.outcome(core.last_write) == Some(false) {
            core.last_write = Seq::NONE;
            body.count = None;
        }
        let Some(event) = events.pop_front() else {
            return Actor::Commit(runner, None);
        };
        if body.count.is_none() {
            let wait = Wait::Decided(body.load_after);
            if !self.ask(*slot, wait) {
                events.push_front(event);
                return Actor::Commit(runner, Some(wait));
            }
        }
        assert_eq!(event.path, self.slots[*slot].path, "{event:?} at the wrong object");
        let count = body.count.unwrap_or_else(|| self.store.load(event.path));
        body.count = Some(count + u64::from(event.kind == Kind::Increment));
        done.push(event);
        match event.kind {
            Kind::Delete(prefix) => Actor::Delete(Box::new(Deletion {
                runner,
                prefix,
                stage: Stage::Gate,
                paths: Vec::new(),
                victims: Vec::new(),
                remains: Vec::new(),
                committed: Err(()),
            })),
            Kind::Increment if self.sometimes(4) => Actor::Commit(runner, None),
            Kind::Increment => Actor::Turn(runner),
        }
    }

    pub(super) fn commit(&mut self, runner: &mut Runner) {
        if runner.done.is_empty() {
            return;
        }
        let Slot { path, core } = &mut self.slots[runner.slot];
        let committed = match core.life() {
            Life::Alive => self.store.commit(Write { path, count: runner.body.count, deleted: None }, core.last_write),
            _ => Err(()),
        };
        core.last_write = committed.unwrap_or(core.last_write);
        self.end_commit(runner, committed);
    }

    pub(super) fn end_commit(&mut self, runner: &mut Runner, committed: Result<Seq, ()>) {
        let done = std::mem::take(&mut runner.done);
        if let Ok(seq) = committed {
            for (turn, event) in done.into_iter().enumerate() {
                self.fate(event, Fate::Committed(seq, turn));
            }
        } else {
            self.refuse(done);
            runner.body.count = None;
            runner.body.load_after = self.slots[runner.slot].core.last_write;
        }
    }

    pub(super) fn delete(&mut self, mut deletion: Box<Deletion>) -> Actor {
        let Deletion { prefix, runner: Runner { slot, .. }, .. } = *deletion;
        deletion.stage = match deletion.stage {
            Stage::Gate if self.slots[slot].core.life() == Life::Alive => {
                self.gate_closed = true;
                deletion.paths = self.map.range(prefix..).map(|(path, _)| *path).collect();
                deletion.paths.retain(|path| path.starts_with(prefix));
                Stage::TakeOut
            }
            Stage::Gate => Stage::End,
            Stage::TakeOut => {
                if let Some(path) = deletion.paths.pop() {
                    // An evicted one may have been forgotten meanwhile.
                    let found = self.map.remove(path).filter(|slot| self.slots[*slot].core.life() == Life::Alive);
                    deletion.victims.extend(found);
                    Stage::TakeOut
                } else {
                    Stage::Kill(0)
                }
            }
            Stage::Kill(index) => {
                if let Some(victim) = deletion.victims.get(index) {
                    deletion.remains.extend(self.slots[*victim].core.kill().0);
                    Stage::Kill(index + 1)
                } else {
                    Stage::Commit
                }
            }
            Stage::Commit => {
                let Slot { path, core } = &mut self.slots[slot];
                let count = deletion.runner.body.count.filter(|_| *path != prefix);
                deletion.committed = self.store.commit(Write { path, count, deleted: Some(prefix) }, core.last_write);
                core.last_write = deletion.committed.unwrap_or(core.last_write);
                Stage::Killed(0)
            }
            Stage::Killed(index) => {
                if let Some(victim) = deletion.victims.get(index) {
                    let core = &mut self.slots[*victim].core;
                    self.barrier = self.barrier.max(core.last_write.0);
                    core.killed(deletion.committed.map_or(Life::Dropped, Life::Deleted));
                    Stage::Killed(index + 1)
                } else {
                    self.gate_closed = false;
                    Stage::End
                }
            }
            Stage::End => {
                let Deletion { mut runner, remains, committed, .. } = *deletion;
                self.refuse(remains);
                self.end_commit(&mut runner, committed);
                return Self::go_on(runner);
            }
        };
        Actor::Delete(deletion)
    }
}
