//! Durable messages: how many of a sender wait, and the turns that handle those of an inbox.
//!
//! A message is a row that is written in the commit of its sender and goes in the commit of the turn that handled it. When
//! the first is durable, the target is told that there is mail; it reads on behind the last message that it has handled,
//! because those between may still be on the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::value::RawValue;

use super::Error;
use super::attempt::Source;
use super::body::Body;
use super::commit::Run;
use super::errand::{Aside, Errand};
use super::event::{Caller, Effect, Event};
use super::instance::Input;
use super::namespace::{Inner, Slot};
use super::replies::any_pending;
use crate::limits::{
    DELIVERY_TICK, INBOX_BYTES, INBOX_MESSAGES, INTERRUPTED, LONGEST_WAIT, MESSAGE_BYTES, OUTBOX_MESSAGES, RUN_TIME,
};
use crate::path::ObjectPath;
use crate::protocol::Code;
use crate::storage::{Outcome, Position, Received, Seq, Storage};

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
    waiting: u64,
    /// Those of the run that goes on.
    fresh: u64,
    /// Those of runs that may not be durable, so that storage cannot count them.
    undecided: VecDeque<(Seq, u64)>,
    /// The last write set that was decided when storage counted; `None` before it has.
    counted: Option<Seq>,
}

impl Mail {
    /// Whether another message may wait, beside those that the turn sends already.
    ///
    /// # Errors
    /// `overloaded` when it may not; storage that cannot be read.
    pub(super) fn admit(&mut self, storage: &Storage, path: &ObjectPath, sent: u64) -> Result<(), Error> {
        let counted = self.outbox.as_ref().filter(|outbox| outbox.counted.is_some());
        let known = counted.map(|outbox| outbox.waiting + sent);
        if known.is_some_and(|waiting| waiting < OUTBOX_MESSAGES) {
            return Ok(());
        }
        let outbox = self.outbox.get_or_insert_default();
        outbox.recount(storage, path)?;
        if outbox.waiting + sent >= OUTBOX_MESSAGES {
            let text = format!("outbox full: {path} has {OUTBOX_MESSAGES} messages that wait; the limit is that");
            return Err(Error::new(Code::Overloaded, text));
        }
        Ok(())
    }

    /// A turn that sent so many has succeeded.
    pub(super) fn sent(&mut self, count: u64) {
        if count > 0 {
            let outbox = self.outbox.get_or_insert_default();
            outbox.fresh += count;
            outbox.waiting += count;
        }
    }

    /// What was sent since the last call is in this write set.
    pub(super) fn committed(&mut self, storage: &Storage, seq: Seq) {
        if let Some(outbox) = self.outbox.as_mut().filter(|outbox| outbox.fresh > 0) {
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
        let undecided: u64 = self.undecided.iter().map(|(_, count)| count).sum();
        self.waiting = storage.outbox(path, OUTBOX_MESSAGES)? + undecided + self.fresh;
        self.counted = decided;
        Ok(())
    }

    fn forget_decided(&mut self, storage: &Storage) {
        while self.undecided.pop_front_if(|(seq, _)| storage.outcome(*seq) != Outcome::Pending).is_some() {}
    }
}

impl Inner {
    /// Tells an object that there is mail, unless that is waiting for it already.
    pub(super) fn notify(self: &Arc<Self>, path: &ObjectPath) {
        loop {
            let slot = self.slot(path);
            if slot.mail.swap(true, Ordering::AcqRel) {
                return;
            }
            match self.post_to(&slot, Event::Inbox) {
                Aside::Taken => return,
                Aside::Gone(_) => self.forget(&slot),
                Aside::Full(_) => {
                    slot.mail.store(false, Ordering::Release);
                    return self.sweep_inboxes();
                }
            }
        }
    }

    /// Has every inbox looked at, soon.
    pub(super) fn sweep_inboxes(&self) {
        self.sweep.store(true, Ordering::Release);
    }

    /// Handles what waits in an object's inbox, up to a bound: what is left brings another event.
    pub(super) fn read_inbox(self: &Arc<Self>, slot: &Arc<Slot>, body: &mut Body, run: &mut Run) {
        let cursor = body.stored.as_ref().and_then(|stored| stored.mail.cursor);
        let found = match self.storage.inbox(&slot.path, cursor, INBOX_MESSAGES) {
            Ok(found) if found.is_empty() => return,
            Ok(found) => found,
            Err(error) => {
                tracing::error!(path = %slot.path, %error, "an inbox cannot be read");
                return self.sweep_inboxes();
            }
        };
        if let Err(error) = self.activate(slot, body, run) {
            tracing::warn!(path = %slot.path, %error, "messages wait: the object cannot be activated");
            return self.sweep_inboxes();
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
                        self.notify(path);
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
}

/// Delivers what waits from before the start, and later what could not be delivered at its time; for as long as it is
/// polled.
pub(super) async fn deliver(namespace: Arc<Inner>) {
    let mut tick = tokio::time::interval(DELIVERY_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    namespace.interrupt().await;
    loop {
        tick.tick().await;
        let sweep = namespace.storage.status().ready && namespace.sweep.swap(false, Ordering::AcqRel);
        if sweep && !namespace.notify_all().await {
            namespace.sweep_inboxes();
        }
    }
}
