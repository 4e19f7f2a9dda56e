//! Which objects are in memory: the map from a path to its slot, and everything that changes that map.
//!
//! Three locks, always taken in this order and never held while a turn runs or across an await: the *gate* (creating and
//! evicting slots share it, deleting a subtree has it alone), a slot, the queue of the writer.
//!
//! Beside the map stands an ordered index of its paths, so that the live part of a subtree is one range of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::Error;
use super::body::Body;
use super::choices::Choices;
use super::deferred::Deferrals;
use super::doing::Doing;
use super::errand::Errands;
use super::event::Event;
use super::idle::Idle;
use super::inbox::Undelivered;
use super::jobs::Running;
use super::pulse::Pulse;
use super::registry::Registry;
use super::services::Services;
use super::session::Session;
use super::slot::{Core, Life, Posted};
use super::timeouts::Timeouts;
use super::turn::SocketId;
use super::wakes::Wakes;
use crate::metrics::Metrics;
use crate::path::ObjectPath;
use crate::protocol::{Code, Version};
use crate::storage::{Outcome, Seq, Storage};

/// The bounds that an operator sets.
#[derive(Debug, Clone)]
pub struct Options {
    /// Listed children of one object.
    pub children_per_object: u64,
    /// Open sockets of one object.
    pub sockets_per_object: usize,
    /// Bytes stored of one object.
    pub storage_per_object: u64,
    /// Objects that exist.
    pub objects: u64,
    /// Open sockets of the server.
    pub sockets: usize,
}

/// Everything that the objects of one server share.
pub(crate) struct Inner {
    pub(super) slots: DashMap<ObjectPath, Arc<Slot>>,
    pub(super) index: Mutex<BTreeSet<ObjectPath>>,
    pub(super) gate: RwLock<()>,
    /// A slot that is created now reads storage only once this write set is decided.
    pub(super) barrier: AtomicU64,
    sockets: Arc<AtomicUsize>,
    next_session: AtomicU64,
    pub(super) idle: Idle,
    pub(super) pulse: Pulse,
    pub(super) wakes: Wakes,
    pub(super) timeouts: Timeouts,
    pub(super) storage: Storage,
    pub(super) registry: Registry,
    pub(super) options: Options,
    pub(super) services: Services,
    /// The number of this start of the server, which no other has.
    pub(super) start: u64,
    pub(super) jobs: Running,
    pub(super) deferred: Deferrals,
    pub(super) choices: Arc<Choices>,
    pub(super) undelivered: Undelivered,
    pub(super) metrics: Metrics,
    tasks: TaskTracker,
    /// Where turns run that no edge runs: the writer, which wakes them, is no thread of it.
    runtime: Handle,
}

type Mailbox = Core<Event, Box<Body>>;

/// The place of one object in memory.
pub(crate) struct Slot {
    pub(super) path: ObjectPath,
    pub(super) core: Mutex<Mailbox>,
    /// What is to be done behind its commits.
    pub(super) errands: Mutex<Errands>,
    /// Whether an [`Event::Inbox`] waits in the mailbox.
    pub(super) mail: AtomicBool,
    /// Edges that wait for room in the mailbox.
    waiting: Mutex<Vec<Waker>>,
    /// Open sockets, and those that are being opened.
    pub(super) sockets: AtomicUsize,
    /// Whether the idle queue has an entry for it.
    pub(super) watched: AtomicBool,
    /// When it last had an event, in milliseconds of [`Idle`]'s clock.
    pub(super) last_event: AtomicU64,
    /// Whether an [`Event::Wake`] waits in the mailbox.
    pub(super) waking: AtomicBool,
    /// What its turn is doing.
    pub(super) doing: Doing,
    namespace: std::sync::Weak<Inner>,
}

/// A socket's place in the counts of its object and of the server; given back when dropped.
pub(crate) struct SocketPermit {
    slot: Arc<Slot>,
    all: Arc<AtomicUsize>,
}

/// What became of events that were offered to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// It has them all.
    Taken,
    /// The mailbox is full; the waker is woken when there is room.
    Full,
    /// The slot no longer stands for its path.
    Gone,
}

/// What became of an object that was to give its memory back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// It has none any more.
    Over,
    /// It has events, or a runner, which comes back to this.
    Busy,
    /// Its last write set is not decided.
    Undecided(Seq),
    /// What only its memory knows is still needed.
    Needed,
}

impl Inner {
    pub(super) fn new(
        storage: Storage,
        registry: Registry,
        options: Options,
        metrics: Metrics,
        services: Services,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            slots: DashMap::new(),
            index: Mutex::default(),
            gate: RwLock::new(()),
            barrier: AtomicU64::new(0),
            sockets: Arc::default(),
            next_session: AtomicU64::new(1),
            idle: Idle::new(),
            pulse: Pulse::default(),
            wakes: Wakes::new(),
            timeouts: Timeouts::new(),
            storage,
            registry,
            options,
            start: services.random.number(),
            services,
            jobs: Running::new(),
            deferred: Deferrals::default(),
            choices: Choices::new(),
            undelivered: Undelivered::new(),
            metrics,
            tasks,
            runtime: Handle::current(),
        })
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Slot>> {
        self.slots.get(key).map(|slot| Arc::clone(&slot))
    }

    /// The slot of a path, if it has sockets.
    pub(super) fn with_sockets(&self, key: &str) -> Option<Arc<Slot>> {
        self.find(key).filter(|slot| slot.sockets.load(Ordering::Relaxed) > 0)
    }

    /// The open sockets of an object.
    pub(super) fn socket_count(&self, key: &str) -> usize {
        self.find(key).map_or(0, |slot| slot.sockets.load(Ordering::Relaxed))
    }

    /// The slot of a path, created if there is none.
    pub(super) fn slot(self: &Arc<Self>, path: &ObjectPath) -> Arc<Slot> {
        if let Some(slot) = self.find(path.key()) {
            return slot;
        }
        let _gate = self.gate.read();
        match self.slots.entry(path.clone()) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let body = Box::new(Body::new(Seq(self.barrier.load(Ordering::Relaxed))));
                let slot = Arc::new(Slot {
                    path: path.clone(),
                    // What it shows is only true once the deletion before it is durable.
                    core: Mutex::new(Core::new(body, self.storage.floor(path))),
                    errands: Mutex::default(),
                    mail: AtomicBool::new(false),
                    waiting: Mutex::default(),
                    sockets: AtomicUsize::new(0),
                    watched: AtomicBool::new(false),
                    last_event: AtomicU64::new(0),
                    waking: AtomicBool::new(false),
                    doing: Doing::default(),
                    namespace: Arc::downgrade(self),
                });
                self.index.lock().insert(path.clone());
                entry.insert(Arc::clone(&slot));
                slot
            }
        }
    }

    /// Hands events to a slot, in order, and runs it if nobody does. What it does not take stays in `events`.
    pub(super) fn offer(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        events: &mut VecDeque<Event>,
        waker: Option<&Waker>,
    ) -> Offered {
        let mut body = None;
        let mut offered = Offered::Taken;
        {
            let mut core = slot.core.lock();
            while let Some(event) = events.pop_front() {
                let (event, refused) = match self.put(slot, &mut core, event) {
                    Posted::Run(taken) => {
                        body = Some(taken);
                        continue;
                    }
                    Posted::Queued => continue,
                    Posted::Full(event) => (event, Offered::Full),
                    Posted::Gone(event) => (event, Offered::Gone),
                };
                events.push_front(event);
                offered = refused;
                if offered == Offered::Full {
                    slot.waiting.lock().extend(waker.cloned());
                }
                break;
            }
        }
        if let Some(body) = body {
            self.run(slot, body);
        }
        offered
    }

    /// Puts an event into a mailbox.
    pub(super) fn put(&self, slot: &Slot, core: &mut Mailbox, event: Event) -> Posted<Event, Box<Body>> {
        if self.services.faults.fills(&slot.path, &event) && core.life() == Life::Alive {
            return Posted::Full(event);
        }
        let room = event.room();
        core.post(event, room)
    }

    /// Posts one event to a path; a full mailbox refuses it, which its sender is told.
    pub(super) fn post(self: &Arc<Self>, path: &ObjectPath, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut slot = self.slot(path);
        loop {
            match self.offer(&slot, &mut events, None) {
                Offered::Taken => return,
                Offered::Gone => {
                    self.forget(&slot);
                    slot = self.slot(path);
                }
                Offered::Full => {
                    self.metrics.overloaded.inc();
                    let refused =
                        events.into_iter().filter_map(|event| event.refuse(Error::overloaded(path))).collect();
                    return self.release(&slot, refused, Seq::NONE);
                }
            }
        }
    }

    /// Lets the slots run that stopped because its mailbox was full.
    pub(super) fn wake_waiting(slot: &Slot) {
        let waiting = std::mem::take(&mut *slot.waiting.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// # Errors
    /// There are as many objects as there may be.
    pub(super) fn check_object_limit(&self) -> Result<(), Error> {
        let limit = self.options.objects;
        if self.storage.object_count() >= limit {
            return Err(Error::conflict(format!("objects limit reached: there are {limit} objects already")));
        }
        Ok(())
    }

    /// A new socket's session, with its place taken.
    ///
    /// # Errors
    /// `unavailable` when the object or the server has as many sockets as it may.
    pub(super) fn session(
        self: &Arc<Self>,
        path: &ObjectPath,
        version: Version,
    ) -> Result<(Arc<Slot>, Arc<Session>), Error> {
        let slot = self.slot(path);
        let full = |whose: &str, limit: usize| {
            Error::new(Code::Unavailable, format!("sockets limit reached: {whose} has {limit} open sockets already"))
        };
        if !take_place(&self.sockets, self.options.sockets) {
            return Err(full("the server", self.options.sockets));
        }
        if !take_place(&slot.sockets, self.options.sockets_per_object) {
            self.sockets.fetch_sub(1, Ordering::Relaxed);
            return Err(full(path.as_str(), self.options.sockets_per_object));
        }
        let permit = SocketPermit { slot: Arc::clone(&slot), all: Arc::clone(&self.sockets) };
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        Ok((slot, Session::new(SocketId(id), version, self.storage.clone(), permit)))
    }

    /// Gives the memory of a resting object back; answers whether it has none any more.
    pub(super) fn hibernate(&self, slot: &Arc<Slot>) -> bool {
        self.end_stay(slot) == Stay::Over
    }

    /// Gives the memory of a resting object back; without sockets its slot goes too.
    fn end_stay(&self, slot: &Arc<Slot>) -> Stay {
        let _gate = self.gate.read();
        let mut core = slot.core.lock();
        if core.life() != Life::Alive {
            return Stay::Over;
        }
        if !core.is_resting() {
            return Stay::Busy;
        }
        if self.storage.outcome(core.last_write) == Outcome::Pending {
            return Stay::Undecided(core.last_write);
        }
        if core.body_mut().is_some_and(|body| self.is_needed(slot, body)) {
            return Stay::Needed;
        }
        // A class that could not be told of a socket's end is told later.
        let has_sockets =
            slot.sockets.load(Ordering::Relaxed) > 0 || core.body_mut().is_some_and(|body| body.sockets.any_gone());
        let evicted = if has_sockets { None } else { core.evict() };
        let freed = core.body_mut().and_then(|body| body.sleep());
        drop(core);
        if let Some(mut body) = evicted {
            if body.sleep().is_some() {
                self.metrics.evictions.inc();
            }
            self.forget(slot);
        } else if freed.is_some() {
            self.metrics.evictions.inc();
        }
        Stay::Over
    }

    /// Whether somebody waits for what would go with the memory of an object.
    fn is_needed(&self, slot: &Slot, body: &Body) -> bool {
        let in_memory = body.stored.as_ref().is_some_and(|stored| stored.in_memory);
        body.waits() || (in_memory && self.deferred.owes(&slot.path))
    }

    /// Gives the memory of an object back as soon as it rests and its last write set is decided.
    pub(super) fn leave(self: &Arc<Self>, slot: &Arc<Slot>) {
        loop {
            match self.end_stay(slot) {
                Stay::Over | Stay::Busy => return,
                Stay::Needed => return self.idle.touch(slot),
                Stay::Undecided(seq) => {
                    if self.storage.wait(seq, &Waker::from(Arc::clone(slot))) == Outcome::Pending {
                        return;
                    }
                }
            }
        }
    }

    /// Removes a slot that is out of service, unless another stands there already.
    pub(super) fn forget(&self, slot: &Arc<Slot>) {
        self.slots.remove_if(&slot.path, |path, found| {
            let same = Arc::ptr_eq(found, slot);
            // Under the map's lock, as when a slot is created: the two never disagree.
            same && self.index.lock().remove(path)
        });
    }

    /// Lets a slot go on that waits for storage.
    fn resume(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.do_errands(slot);
        let mut core = slot.core.lock();
        let body = core.resume();
        let leaves = core.is_resting() && core.body_mut().is_some_and(|body| body.is_leaving());
        drop(core);
        if let Some(body) = body {
            self.run(slot, body);
        } else if leaves {
            self.leave(slot);
        }
    }

    /// Gives other work a turn, then lets the slot go on.
    pub(super) fn reschedule(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (namespace, slot) = (Arc::clone(self), Arc::clone(slot));
        self.spawn(async move { namespace.resume(&slot) });
    }

    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn_on(task, &self.runtime)
    }

    pub(super) fn spawn_blocking(&self, task: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn_blocking_on(task, &self.runtime)
    }
}

impl Wake for Slot {
    /// A write set was decided that the slot waited for.
    fn wake(self: Arc<Self>) {
        if let Some(namespace) = self.namespace.upgrade() {
            namespace.reschedule(&self);
        }
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        self.slot.sockets.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take_place(count: &AtomicUsize, limit: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1)).is_ok()
}
