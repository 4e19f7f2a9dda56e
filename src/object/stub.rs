//! What the edge holds: [`Namespace`] to reach objects, and [`Socket`], one connected WebSocket.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::Error;
use super::activity::{self, ClassMetrics};
use super::deferred::Asker;
use super::event::{Event, Reply};
use super::idle;
use super::inbox;
use super::namespace::{Inner, Offered, Options, Slot};
use super::pulse;
use super::registry::Registry;
use super::services::Services;
use super::session::{Drained, Outgoing, Session};
use super::timeouts;
use super::wakes;
use crate::metrics::Metrics;
use crate::path::ObjectPath;
use crate::protocol::{self, Closed, Frame, Version};
use crate::storage::{Outcome, Storage};

/// The close code of a peer that said nothing.
const VANISHED: u16 = 1006;

/// Every object of a server, by path; clones are handles to the same.
#[derive(Clone)]
pub struct Namespace(pub(super) Arc<Inner>);

/// One line of [`Namespace::list`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// The path, as people see it.
    pub path: String,
    /// The class it was created with.
    pub class: String,
    /// Listed children.
    pub children: u64,
    /// Open sockets.
    pub sockets: usize,
}

impl Namespace {
    /// Objects on that storage. Tasks are spawned on `tasks`, one of which runs until it is dropped or aborted.
    pub fn new(
        storage: Storage,
        registry: Registry,
        options: Options,
        metrics: Metrics,
        services: Services,
        tasks: &TaskTracker,
    ) -> Self {
        Self(Inner::new(storage, registry, options, metrics, services, tasks.clone()))
    }

    /// Lets idle objects hibernate, for as long as the future is polled.
    pub fn hibernation(&self) -> impl Future<Output = ()> + Send + 'static {
        idle::put_to_sleep(Arc::clone(&self.0))
    }

    /// Delivers what waits from before the start, and what could not be delivered at its time, and ends waits whose time is
    /// up, for as long as the future is polled.
    pub fn deliveries(&self) -> impl Future<Output = ()> + Send + 'static {
        let (inboxes, timeouts) = (inbox::deliver(Arc::clone(&self.0)), timeouts::run(Arc::clone(&self.0)));
        async move {
            tokio::join!(inboxes, timeouts);
        }
    }

    /// Ends what the server's end must not wait for: jobs, and answers that are owed.
    pub fn stop(&self) {
        self.0.jobs.stop();
        for asker in self.0.deferred.stop() {
            self.0.pay(asker, Err(Error::stopping()));
        }
    }

    /// Wakes objects when something of theirs is due, for as long as the future is polled.
    pub fn alarms(&self) -> impl Future<Output = ()> + Send + 'static {
        wakes::fire(Arc::clone(&self.0))
    }

    /// Calls a method of an object; answers JSON text.
    ///
    /// # Errors
    /// What the class answers, or what kept the call from it: see [`Error::code`].
    pub async fn call(&self, path: &ObjectPath, method: &str, payload: Box<RawValue>) -> Result<Vec<u8>, Error> {
        self.call_with_key(path, method, payload, None).await
    }

    /// Calls a method of an object, with what [`Turn::idempotency_key`](super::Turn::idempotency_key) is to say.
    ///
    /// # Errors
    /// As [`Namespace::call`].
    pub async fn call_with_key(
        &self,
        path: &ObjectPath,
        method: &str,
        payload: Box<RawValue>,
        key: Option<Box<str>>,
    ) -> Result<Vec<u8>, Error> {
        // Whoever asks again under the same key is to hear the same again: that is the turn's to say.
        if key.is_none()
            && let Some(answer) = self.0.look(path, method, &payload)
        {
            return answer;
        }
        let method = method.into();
        self.ask(path, |reply| Event::Call { method, payload, asker: Asker::Edge(reply, key) }).await
    }

    /// The largest body that the class of an object takes, if it says so.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn body_bytes(&self, path: &ObjectPath) -> Result<Option<usize>, Error> {
        let class = match self.0.storage.class(path)? {
            Some(class) => class,
            None => self.0.class_by_path(path)?,
        };
        Ok(self.0.registry.body_bytes(&class))
    }

    /// What a viewer of the object sees, as JSON text.
    ///
    /// # Errors
    /// As [`Namespace::call`].
    pub async fn state(&self, path: &ObjectPath) -> Result<Vec<u8>, Error> {
        self.ask(path, |reply| Event::State { reply }).await
    }

    /// Hands a request to the class.
    ///
    /// # Errors
    /// As [`Namespace::call`].
    pub async fn fetch(
        &self,
        path: &ObjectPath,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Error> {
        let request = Box::new(request);
        self.ask(path, |reply| Event::Fetch { request, reply }).await
    }

    /// Deletes an object and everything below it; done once it is durable.
    ///
    /// # Errors
    /// As [`Namespace::call`]. What does not exist is deleted without an error.
    pub async fn delete(&self, path: &ObjectPath) -> Result<(), Error> {
        let subtree = path.clone();
        let owner = path.parent().unwrap_or_else(ObjectPath::root);
        self.ask(&owner, |reply| Event::Delete { subtree, reply }).await
    }

    /// Sends a message to the sockets of an object: at most once, and not awaited. Without sockets nothing happens.
    pub fn message(&self, path: &ObjectPath, message: &RawValue, sender: &str) {
        if let Some(slot) = self.0.with_sockets(path.key()) {
            self.0.forward(&slot, protocol::message(message, sender));
        }
    }

    /// Objects that exist at and below a path, in the order of their keys, after `after`.
    ///
    /// # Errors
    /// Storage cannot be read.
    pub fn list(&self, prefix: &ObjectPath, after: Option<&ObjectPath>, limit: usize) -> Result<Vec<Listed>, Error> {
        let found = self.0.storage.objects(prefix, after, limit)?;
        let listed = found.into_iter().map(|object| Listed {
            sockets: self.0.socket_count(object.path.key()),
            path: object.path.to_string(),
            class: object.class.to_string(),
            children: object.children,
        });
        Ok(listed.collect())
    }

    /// What the objects of a class do; `None` if there is no such class.
    pub fn class_metrics(&self, class: &str) -> Option<ClassMetrics> {
        self.0.registry.get(class).ok().map(|definition| definition.class_metrics())
    }

    /// Keeps the last minute of every class, for as long as the future is polled.
    pub fn sampling(&self) -> impl Future<Output = ()> + Send + 'static {
        activity::sample(Arc::clone(&self.0))
    }

    /// Keeps sockets and timers attended while turns run long, for as long as the future is polled.
    pub fn attention(&self) -> impl Future<Output = ()> + Send + 'static {
        pulse::attend(Arc::clone(&self.0))
    }

    /// Takes a place for a socket; [`Socket::open`] then joins the object.
    ///
    /// # Errors
    /// `unavailable` when the object or the server has as many sockets as it may.
    pub fn socket(&self, path: &ObjectPath, version: Version) -> Result<Socket, Error> {
        let (slot, session) = self.0.session(path, version)?;
        Ok(Socket {
            namespace: Arc::clone(&self.0),
            slot,
            session,
            upgrade: None,
            asked: VecDeque::new(),
            heard: 0,
            refused: false,
            over: false,
        })
    }

    async fn ask<T>(&self, path: &ObjectPath, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.post(path, event(reply));
        // The reply is dropped unanswered only when the server stops in between.
        let Ok((seq, result)) = answer.await else {
            return Err(Error::deleted());
        };
        match poll_fn(|context| match self.0.storage.wait(seq, context.waker()) {
            Outcome::Pending => Poll::Pending,
            decided => Poll::Ready(decided),
        })
        .await
        {
            Outcome::Failed(error) => Err(error.into()),
            Outcome::Durable | Outcome::Pending => result,
        }
    }
}

/// One connected WebSocket: the edge hands it messages and writes what it drains.
pub struct Socket {
    namespace: Arc<Inner>,
    slot: Arc<Slot>,
    session: Arc<Session>,
    /// The request that opened it, until it has joined.
    upgrade: Option<Box<http::Request<()>>>,
    /// What the object has yet to be handed.
    asked: VecDeque<Event>,
    /// Messages that the metrics have yet to count: all that came at once are counted at once.
    heard: u64,
    /// Whether the object's mailbox was too full for what was asked.
    refused: bool,
    /// Whether its end is told, or among what was asked.
    over: bool,
}

impl Socket {
    /// Shows the class the request that opens it.
    #[must_use]
    pub fn upgraded(mut self, request: http::Request<()>) -> Self {
        self.upgrade = Some(Box::new(request));
        self
    }

    /// Joins the object: if its class tells the state, the first frame will be that. Asks for the state anew when called
    /// again.
    ///
    /// # Errors
    /// As [`Namespace::socket`]: the object was deleted since, and the new one has no place for the socket.
    pub fn open(&mut self) -> Result<(), Error> {
        loop {
            let mut events = VecDeque::from([Event::Open(Arc::clone(&self.session), self.upgrade.take())]);
            if self.namespace.offer(&self.slot, &mut events, None) != Offered::Gone || self.session.is_closing() {
                return Ok(());
            }
            if let Some(Event::Open(_, upgrade)) = events.pop_front() {
                self.upgrade = upgrade;
            }
            let path = self.slot.path.clone();
            (self.slot, self.session) = self.namespace.session(&path, self.session.version())?;
        }
    }

    /// How many messages may be read before it is asked again.
    pub fn room(&self) -> usize {
        if self.refused { 0 } else { self.session.room() }
    }

    /// Whether everything that was asked is answered, and everything that was to be told is.
    pub fn is_settled(&self) -> bool {
        self.asked.is_empty() && self.session.is_settled()
    }

    /// Takes a message of the peer; [`Socket::submit`] hands it over.
    pub fn ask(&mut self, frame: Frame) {
        self.session.asked();
        self.heard += 1;
        if self.asked.is_empty() && self.session.respond(&frame) {
            return;
        }
        self.asked.push_back(Event::Message(Arc::clone(&self.session), frame));
    }

    /// The connection broke; [`Socket::close`] follows when the socket is dropped.
    pub fn fail(&mut self, error: String) {
        if !self.over {
            self.asked.push_back(Event::Broken(Arc::clone(&self.session), error));
        }
    }

    /// The peer has closed the socket; [`Socket::submit`] tells the object, behind what was asked before. Only the first
    /// end counts.
    pub fn close(&mut self, closed: Closed) {
        if !std::mem::replace(&mut self.over, true) {
            self.asked.push_back(Event::Close(Arc::clone(&self.session), closed));
        }
    }

    /// Hands what was asked to the object. If its mailbox is full, the rest waits, and the task of `context` is woken when
    /// there is room.
    pub fn submit(&mut self, context: &Context<'_>) {
        if self.heard > 0 {
            self.namespace.metrics.frames_in.inc_by(std::mem::take(&mut self.heard));
        }
        if !self.asked.is_empty() {
            let offered = self.namespace.offer(&self.slot, &mut self.asked, Some(context.waker()));
            self.refused = offered == Offered::Full;
            if offered == Offered::Gone {
                // Its object was deleted: what the socket still says is said to nobody, and it is about to be closed.
                self.asked.clear();
            }
        }
    }

    /// Takes what may be written, up to about `bytes`. Unless the answer is [`Drained::More`], the task of `context` is woken
    /// when there is more.
    pub fn drain(&self, context: &Context<'_>, bytes: usize, out: &mut Vec<Outgoing>) -> Drained {
        let before = out.len();
        let drained = self.session.drain(context, bytes, out);
        if out.len() > before {
            self.namespace.metrics.frames_out.inc_by((out.len() - before) as u64);
        }
        drained
    }
}

impl Drop for Socket {
    /// The socket is gone: its object is told, unless it was. Closings have room of their own in the mailbox, and a slot that
    /// is gone has closed its sockets. What else there was no room for goes with the socket.
    fn drop(&mut self) {
        self.close(Closed { code: VANISHED, reason: String::new() });
        self.asked.retain(|event| matches!(event, Event::Broken(..) | Event::Close(..)));
        if self.namespace.offer(&self.slot, &mut self.asked, None) == Offered::Full {
            self.asked.retain(|event| matches!(event, Event::Close(..)));
            self.namespace.offer(&self.slot, &mut self.asked, None);
        }
    }
}
