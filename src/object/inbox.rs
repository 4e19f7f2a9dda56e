//! Durable messages: how many of a sender wait, and the turns that handle those of an inbox.
//!
//! A message is a row that is written in the commit of its sender and goes in the commit of the turn that handled it. When
//! the first is durable, the target is told that there is mail; it reads on behind the last message that it has handled,
//! because those between may still be on the disk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;
use super::attempt::Source;
use super::body::Body;
use super::commit::Run;
use super::errand::{Aside, Errand};
use super::event::{Caller, Effect, Event};
use super::faults::{Delivery, Fault};
use super::instance::Input;
use super::namespace::{Inner, Slot};
use super::replies::any_pending;
use crate::limits::{
    DELIVERY_TICK, INBOX_BYTES, INBOX_MESSAGES, INBOXES_AT_ONCE, INBOXES_MISSED, INTERRUPTED, LONGEST_WAIT,
    MESSAGE_BYTES, OUTBOX_BYTES, OUTBOX_MESSAGES, RUN_TIME,
};
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::{Backlog, Outcome, Position, Received, Seq, Storage};

/// Inboxes that are found before others get a turn.
const PAGE: usize = 256;

/// What an incarnation knows of its durable messages.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Behind this message of the inbox it goes on.
    cursor: Option<Position>,
    outbox: Option<Box<Outbox>>,
}

/// Messages that were sent and may not be handled yet.
#[derive(Debug, Default)]
struct Outbox {
    /// Not less than there are.
    waiting: Backlog,
    /// Those of the run that goes on.
    fresh: Backlog,
    /// Those of runs that may not be durable, so that storage cannot count them.
    undecided: VecDeque<(Seq, Backlog)>,
    /// The last write set that was decided when storage counted; `None` before it has.
    counted: Option<Seq>,
}

/// Inboxes that are to be looked at again.
pub(super) struct Undelivered {
    /// Whether all are: those from before the start, too.
    all: AtomicBool,
    some: Mutex<BTreeSet<ObjectPath>>,
    pub(super) places: Arc<Semaphore>,
}

impl Mail {
    /// Whether these messages may wait: what the turn sends, with the one that it is about to send.
    ///
    /// # Errors
    /// `overloaded` when they may not; storage that cannot be read.
    pub(super) fn admit(&mut self, storage: &Storage, path: &ObjectPath, sent: Backlog) -> Result<(), Error> {
        let counted = self.outbox.as_ref().filter(|outbox| outbox.counted.is_some());
        if counted.is_some_and(|outbox| outbox.check(path, sent).is_ok()) {
            return Ok(());
        }
        let outbox = self.outbox.get_or_insert_default();
        outbox.recount(storage, path)?;
        outbox.check(path, sent)
    }

    /// A turn that sent these has succeeded.
    pub(super) fn sent(&mut self, sent: Backlog) {
        if sent.messages > 0 {
            let outbox = self.outbox.get_or_insert_default();
            outbox.fresh += sent;
            outbox.waiting += sent;
        }
    }

    /// What was sent since the last call is in this write set.
    pub(super) fn committed(&mut self, storage: &Storage, seq: Seq) {
        if let Some(outbox) = self.outbox.as_mut().filter(|outbox| outbox.fresh.messages > 0) {
            outbox.forget_decided(storage);
            outbox.undecided.push_back((seq, std::mem::take(&mut outbox.fresh)));
        }
    }
}

impl Outbox {
    fn recount(&mut self, storage: &Storage, path: &ObjectPath) -> Result<(), Error> {
        let decided = Some(storage.decided());
        if self.counted == decided {
            // It would count the same, and that takes milliseconds while very many wait.
            return Ok(());
        }
        // Before storage counts: what becomes durable in between counts twice, and nothing is missed.
        self.forget_decided(storage);
        let mut waiting = storage.outbox(path, OUTBOX_MESSAGES)?;
        self.undecided.iter().for_each(|(_, undecided)| waiting += *undecided);
        waiting += self.fresh;
        (self.waiting, self.counted) = (waiting, decided);
        Ok(())
    }

    fn check(&self, path: &ObjectPath, more: Backlog) -> Result<(), Error> {
        let mut waiting = self.waiting;
        waiting += more;
        let Backlog { messages, bytes } = waiting;
        let bound = if messages > OUTBOX_MESSAGES {
            format!("{messages} messages that wait; the limit is {OUTBOX_MESSAGES}")
        } else if bytes > OUTBOX_BYTES {
            format!("{bytes} bytes of messages that wait; the limit is {OUTBOX_BYTES}")
        } else {
            return Ok(());
        };
        Err(Error::new(Code::Overloaded, format!("outbox full: {path} would have {bound}")))
    }

    fn forget_decided(&mut self, storage: &Storage) {
        while self.undecided.pop_front_if(|(seq, _)| storage.outcome(*seq) != Outcome::Pending).is_some() {}
    }
}

impl Undelivered {
    pub(super) fn new() -> Self {
        let places = Arc::new(Semaphore::new(INBOXES_AT_ONCE));
        Self { all: AtomicBool::new(true), some: Mutex::default(), places }
    }

    /// Has every inbox looked at, soon.
    pub(super) fn look_at_all(&self) {
        self.all.store(true, Ordering::Release);
    }

    /// Has one inbox looked at, soon.
    pub(super) fn look_at(&self, path: &ObjectPath) {
        let mut some = self.some.lock();
        if some.len() < INBOXES_MISSED {
            some.insert(path.clone());
        } else {
            self.look_at_all();
        }
    }

    /// How many are to be looked at again, unless all are.
    #[cfg(test)]
    pub(super) fn missed(&self) -> Option<usize> {
        (!self.all.load(Ordering::Acquire)).then(|| self.some.lock().len())
    }

    /// A place among those that are told at once, when there is one.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}

impl Inner {
    /// Tells an object that there is mail, unless that is waiting for it already.
    pub(super) fn notify(self: &Arc<Self>, path: &ObjectPath) {
        self.notify_at(path, None);
    }

    /// The same; the place is given back when the object has looked.
    fn notify_at(self: &Arc<Self>, path: &ObjectPath, mut place: Option<OwnedSemaphorePermit>) {
        match self.services.faults.of(Delivery::Notice) {
            Some(Fault::Lost) => return self.undelivered.look_at(path),
            Some(Fault::Again(after)) => {
                let path = path.clone();
                self.repeat(after, move |namespace| namespace.notify(&path));
            }
            Some(Fault::Full) | None => {}
        }
        loop {
            let slot = self.slot(path);
            if slot.mail.swap(true, Ordering::AcqRel) {
                return;
            }
            match self.post_to(&slot, Event::Inbox(place)) {
                Aside::Taken => return,
                Aside::Gone(event) => {
                    self.forget(&slot);
                    place = if let Event::Inbox(place) = event { place } else { None };
                }
                Aside::Full(_) => {
                    slot.mail.store(false, Ordering::Release);
                    return self.undelivered.look_at(path);
                }
            }
        }
    }

    /// Handles what waits in an object's inbox, up to a bound: what is left brings another event.
    pub(super) fn read_inbox(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        let cursor = body.stored.as_ref().and_then(|stored| stored.mail.cursor);
        let found = match self.storage.inbox(&slot.path, cursor, INBOX_MESSAGES) {
            Ok(found) if found.is_empty() => return,
            Ok(found) => found,
            Err(error) => {
                tracing::error!(path = %slot.path, %error, "an inbox cannot be read");
                return self.undelivered.look_at(&slot.path);
            }
        };
        if let Err(error) = self.activate(slot, body, run) {
            tracing::warn!(path = %slot.path, %error, "messages wait: the object cannot be activated");
            return self.undelivered.look_at(&slot.path);
        }
        let bytes: usize = found.iter().map(|received| received.message.len()).sum();
        let mut more = found.len() == INBOX_MESSAGES || bytes + MESSAGE_BYTES > INBOX_BYTES;
        let started = run.now;
        for received in found {
            if run.is_full() || run.now - started > RUN_TIME {
                more = true;
                break;
            }
            self.receive(slot, body, run, received);
        }
        run.effects.push(Effect::Errand(Errand::Handled));
        run.effects.extend(more.then_some(Effect::ReadOn));
    }

    fn receive(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run, received: Received) {
        let Received { position, sender, message } = received;
        match serde_json::from_slice::<&RawValue>(&message) {
            Ok(message) => self.hear(slot, body, run, sender, message),
            Err(error) => tracing::error!(path = %slot.path, %sender, %error, "a stored message is no JSON"),
        }
        // Also when it failed: what always fails would hold up everything behind it for ever.
        run.set.handled.push(position);
        if let Some(stored) = &mut body.stored {
            stored.mail.cursor = Some(position);
        }
    }

    /// One message of another object.
    pub(super) fn hear(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        body: &mut Body,
        run: &mut Run,
        sender: ObjectPath,
        message: &RawValue,
    ) {
        let mut source = Source::new(Caller::Object(sender));
        let result = self.attempt(slot, body, run, &mut source, Input::Message(message));
        if let Err(error) = result {
            self.undelivered(slot, body, &error, "a message");
        }
    }

    /// Notes that a handler failed whose failure nobody is told.
    pub(super) fn undelivered(&self, slot: &Slot, body: &Body, error: &Error, what: &str) {
        let class = body.live.as_ref().map_or("", |live| &*live.definition.name);
        tracing::warn!(path = %slot.path, class, %error, "{what} was dropped: its handler failed");
        self.metrics.undelivered.inc();
    }

    /// Has the objects look that were waiting for answers when the server ended: those to be woken soonest. The others find
    /// out when they wake.
    async fn interrupt(self: &Arc<Self>) {
        let latest =
            self.services.clock.now().saturating_add(u64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(u64::MAX));
        let due = match self.storage.due(latest, INTERRUPTED) {
            Ok(due) => due,
            Err(error) => return tracing::error!(%error, "who waits for an answer cannot be read"),
        };
        for chunk in due.chunks(PAGE) {
            for (path, _) in chunk {
                match any_pending(&self.storage, path) {
                    Ok(true) => drop(self.post_aside(path, Event::Overdue)),
                    Ok(false) => {}
                    Err(error) => tracing::error!(%path, %error, "whether it waits for an answer cannot be read"),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether durable messages wait for any object of a subtree, which need not exist for that.
    pub(super) fn has_mail(&self, subtree: &ObjectPath) -> Result<bool, Error> {
        let below = self.storage.inboxes(Some(subtree), 1)?;
        let first = below.first().is_some_and(|path| subtree.contains(path));
        Ok(first || !self.storage.inbox(subtree, None, 1)?.is_empty())
    }

    /// Tells every object that has mail; answers whether it could be found out.
    async fn notify_all(self: &Arc<Self>) -> bool {
        let mut after = None;
        loop {
            match self.storage.inboxes(after.as_ref(), PAGE) {
                Ok(found) => {
                    for path in &found {
                        self.notify_at(path, self.undelivered.place().await);
                    }
                    let Some(last) = found.last() else { return true };
                    after = Some(last.clone());
                }
                Err(error) => {
                    tracing::error!(%error, "inboxes cannot be read");
                    return false;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Tells everybody again who could not be told, or could not read what waits.
    async fn notify_missed(self: &Arc<Self>) {
        let all = self.undelivered.all.swap(false, Ordering::AcqRel);
        let missed = std::mem::take(&mut *self.undelivered.some.lock());
        if all {
            if !self.notify_all().await {
                self.undelivered.look_at_all();
            }
            return;
        }
        for path in &missed {
            self.notify_at(path, self.undelivered.place().await);
        }
    }
}

/// Delivers what waits from before the start, and later what could not be delivered at its time; for as long as it is
/// polled.
pub(super) async fn deliver(namespace: Arc<Inner>) {
    let mut tick = tokio::time::interval(DELIVERY_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    namespace.interrupt().await;
    loop {
        tick.tick().await;
        if namespace.storage.status().ready {
            namespace.notify_missed().await;
        }
    }
}
