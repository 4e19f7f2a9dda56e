//! The open sockets of one object, and what its class keeps of them for as long as they are open.
//!
//! All of it stays when the object hibernates, and none of it is durable: a server that starts has no sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Gauge;
use crate::object::instance::Definition;
use crate::object::session::{AutoResponse, Session};
use crate::object::turn::{SocketChanges, SocketId};
use crate::protocol::{Closed, Version};
use crate::storage::{Outcome, Seq};

/// The open sockets of an object, oldest first.
#[derive(Default)]
pub(in crate::object) struct Sockets {
    sessions: Vec<Arc<Session>>,
    gauges: Vec<Gauge>,
    /// Sockets that are told whole states.
    whole: usize,
    /// Whether the object's class tells its sockets the state.
    tells_state: bool,
    kept: Option<Box<Kept>>,
}

/// What only some objects have.
#[derive(Default)]
struct Kept {
    notes: BTreeMap<SocketId, Notes>,
    tagged: BTreeMap<Arc<str>, BTreeSet<SocketId>>,
    response: Option<Arc<AutoResponse>>,
    /// Sockets that are gone, and the class has yet to be told.
    gone: VecDeque<(SocketId, Closed)>,
    /// Sockets that were opened by a write set which was not decided then.
    opening: Vec<(SocketId, Seq)>,
}

/// What a class keeps of one socket.
#[derive(Debug, Clone, Default)]
pub(in crate::object) struct Notes {
    pub(in crate::object) tags: Vec<Arc<str>>,
    pub(in crate::object) attachment: Option<Arc<[u8]>>,
}

/// A socket that joined in a run.
pub(in crate::object) struct Joined {
    pub(in crate::object) session: Arc<Session>,
    /// Whether the class did something when it opened, which is lost if the run's commit fails.
    pub(in crate::object) noted: bool,
}

impl Sockets {
    /// Answers whether it is new.
    pub(in crate::object) fn insert(&mut self, session: &Arc<Session>, definition: &Definition) -> bool {
        let joins = !self.has(session);
        if joins {
            self.tells_state = definition.tells_state;
            self.whole += usize::from(self.tells_state && session.version() == Version::V1);
            self.gauges.push(Gauge::new(&definition.websockets));
            // Sockets join in the order of their numbers but for a race between two that open at once.
            let at = self.sessions.partition_point(|other| other.id() < session.id());
            self.sessions.insert(at, Arc::clone(session));
        }
        joins
    }

    /// A socket is not one of the object's any more; answers whether it was.
    pub(in crate::object) fn remove(&mut self, session: &Session) -> bool {
        let left = self.take_out(session.id());
        self.forget(session.id());
        left
    }

    /// A socket is gone, which the class is told when it can be: until then what it noted of the socket stays.
    pub(in crate::object) fn leave(&mut self, session: &Session, closed: Closed) {
        if self.take_out(session.id()) {
            self.kept().gone.push_back((session.id(), closed));
        }
    }

    /// The next socket that is gone, and the class has yet to be told.
    pub(in crate::object) fn next_gone(&mut self) -> Option<(SocketId, Closed)> {
        self.kept.as_mut()?.gone.pop_front()
    }

    pub(in crate::object) fn any_gone(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| !kept.gone.is_empty())
    }

    /// Drops what was noted of a socket.
    pub(in crate::object) fn forget(&mut self, socket: SocketId) {
        if let Some(kept) = &mut self.kept {
            kept.notes.remove(&socket);
            if kept.is_empty() {
                self.kept = None;
            }
        }
    }

    fn take_out(&mut self, socket: SocketId) -> bool {
        let Ok(at) = self.position(socket) else { return false };
        let session = self.sessions.remove(at);
        self.whole -= usize::from(self.tells_state && session.version() == Version::V1);
        self.gauges.pop();
        if let Some(kept) = &mut self.kept {
            kept.untag(socket);
            kept.opening.retain(|(opening, _)| *opening != socket);
        }
        true
    }

    fn position(&self, socket: SocketId) -> Result<usize, usize> {
        self.sessions.binary_search_by_key(&socket, |session| session.id())
    }

    pub(in crate::object) fn has(&self, session: &Session) -> bool {
        self.position(session.id()).is_ok()
    }

    pub(in crate::object) fn find(&self, socket: SocketId) -> Option<&Arc<Session>> {
        self.position(socket).ok().map(|at| &self.sessions[at])
    }

    pub(in crate::object) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether there are sockets that are told the state.
    pub(in crate::object) fn are_told(&self) -> bool {
        self.tells_state && !self.sessions.is_empty()
    }

    /// Sockets that are told whole states.
    pub(in crate::object) fn whole(&self) -> usize {
        self.whole
    }

    pub(in crate::object) fn all(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// Sockets that are told the state in this way.
    pub(in crate::object) fn of(&self, version: Version) -> Vec<Arc<Session>> {
        let told = self.sessions.iter().filter(|session| self.tells_state && session.version() == version);
        told.map(Arc::clone).collect()
    }

    /// What the class has noted of a socket.
    pub(in crate::object) fn notes(&self, socket: SocketId) -> Option<&Notes> {
        self.kept.as_ref()?.notes.get(&socket)
    }

    /// Sockets that have a tag, oldest first.
    pub(in crate::object) fn tagged(&self, tag: &str) -> impl Iterator<Item = SocketId> {
        let tagged = self.kept.as_ref().and_then(|kept| kept.tagged.get(tag));
        tagged.into_iter().flatten().copied()
    }

    pub(in crate::object) fn response(&self) -> Option<&Arc<AutoResponse>> {
        self.kept.as_ref()?.response.as_ref()
    }

    /// Takes over what a turn noted; answers the sockets concerned.
    pub(in crate::object) fn apply(&mut self, changes: &mut SocketChanges) -> Vec<Arc<Session>> {
        if changes.notes.is_empty() {
            return Vec::new();
        }
        let fresh = std::mem::take(&mut changes.notes);
        let mut concerned = Vec::with_capacity(fresh.len());
        for (socket, notes) in fresh {
            let Some(session) = self.find(socket).map(Arc::clone) else { continue };
            let kept = self.kept();
            kept.untag(socket);
            for tag in &notes.tags {
                kept.tagged.entry(Arc::clone(tag)).or_default().insert(socket);
            }
            kept.notes.insert(socket, notes);
            concerned.push(session);
        }
        concerned
    }

    /// The run in which these sockets joined has this number, or was refused: then none of them has joined.
    pub(in crate::object) fn committed(&mut self, joined: Vec<Joined>, seq: Option<Seq>) {
        for Joined { session, noted } in joined {
            match seq {
                None => drop(self.remove(&session)),
                Some(seq) => {
                    session.respond_with(self.response().cloned());
                    if noted && seq != Seq::NONE {
                        self.kept().opening.push((session.id(), seq));
                    }
                }
            }
        }
    }

    /// From now on the edge gives this response.
    pub(in crate::object) fn respond_with(&mut self, response: Option<AutoResponse>) {
        let response = response.map(Arc::new);
        for session in &self.sessions {
            session.respond_with(response.clone());
        }
        self.kept().response = response;
    }

    /// Sockets whose opening is lost have never joined.
    pub(in crate::object) fn forget_failed(&mut self, outcome: impl Fn(Seq) -> Outcome) {
        let Some(kept) = self.kept.as_mut().filter(|kept| !kept.opening.is_empty()) else { return };
        let opening = std::mem::take(&mut kept.opening);
        for (socket, seq) in opening {
            match outcome(seq) {
                Outcome::Pending => self.kept().opening.push((socket, seq)),
                Outcome::Durable => {}
                Outcome::Failed(_) => {
                    self.take_out(socket);
                    self.forget(socket);
                }
            }
        }
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.response.is_none() && self.gone.is_empty() && self.opening.is_empty()
    }

    fn untag(&mut self, socket: SocketId) {
        let Some(notes) = self.notes.get(&socket) else { return };
        for tag in &notes.tags {
            if let Some(sockets) = self.tagged.get_mut(tag) {
                sockets.remove(&socket);
                if sockets.is_empty() {
                    self.tagged.remove(tag);
                }
            }
        }
    }
}
