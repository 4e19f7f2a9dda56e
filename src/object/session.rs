//! One open WebSocket as its object sees it: a queue of frames, each of which waits for its commit.
//!
//! Frames that answer this socket's own messages are bounded by the edge, which stops reading a socket that does not take
//! its answers. Frames caused by others are bounded here: news of the state merges while it is unsent; anything else that
//! overflows the queue closes the socket with 1013.

mod outbox;
mod response;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

pub use self::outbox::{Close, Drained, Outgoing};
use self::outbox::{Entry, Outbox};
pub(crate) use self::response::{AutoResponse, ResponseChange};
use super::namespace::SocketPermit;
use super::turn::SocketId;
use crate::limits::{SOCKET_ANSWER_BYTES, SOCKET_QUEUE_FRAMES, SOCKET_UNANSWERED};
use crate::protocol::{self, Change, Frame, Id, Version};
use crate::storage::{Outcome, Seq, Storage};

/// One open socket.
pub(crate) struct Session {
    id: SocketId,
    version: Version,
    /// Whether there is an automatic response: asked with every message, so without a lock.
    responds: AtomicBool,
    storage: Storage,
    outbox: Mutex<Outbox>,
    /// Messages that were handed to the object and have no answer written yet.
    unanswered: AtomicUsize,
    /// The edge's task.
    task: AtomicWaker,
    /// The socket's place in the counts of its object and of the server.
    _permit: SocketPermit,
}

impl Session {
    pub(crate) fn new(id: SocketId, version: Version, storage: Storage, permit: SocketPermit) -> Arc<Self> {
        Arc::new(Self {
            id,
            version,
            responds: AtomicBool::new(false),
            storage,
            outbox: Mutex::default(),
            unanswered: AtomicUsize::new(0),
            task: AtomicWaker::new(),
            _permit: permit,
        })
    }

    pub(crate) fn id(&self) -> SocketId {
        self.id
    }

    /// The subprotocol it speaks.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// An answer to a message of this socket, or an error; `id` is the message's.
    pub(crate) fn answer(self: &Arc<Self>, seq: Seq, id: Option<Id>, frame: Frame) {
        self.push(seq, |outbox| outbox.push(seq, Entry::Answer { id, frame }));
    }

    /// A message was handled and has no answer of its own.
    pub(crate) fn handled(&self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        self.task.wake();
    }

    /// The first `state` of this socket, which nothing replaces.
    pub(crate) fn first_state(self: &Arc<Self>, seq: Seq, frame: Frame) {
        self.push(seq, |outbox| outbox.push(seq, Entry::First(frame)));
    }

    /// The socket could not join: it is told why, and closed.
    pub(crate) fn refuse(self: &Arc<Self>, seq: Seq, error: super::Error) {
        let error = error.redacted();
        let frame = protocol::error(None, error.code(), error.message());
        self.push(seq, |outbox| {
            outbox.push(seq, Entry::First(frame));
            outbox.push_close(seq, Close::new(1011, "the object could not be opened"));
        });
    }

    /// Whether it is being closed: nothing more is taken from it.
    pub(crate) fn is_closing(&self) -> bool {
        self.outbox.lock().is_closing()
    }

    /// A state that replaces an older one which is still unsent.
    pub(crate) fn state(self: &Arc<Self>, seq: Seq, frame: Frame) {
        self.push(seq, |outbox| outbox.push_state(seq, frame));
    }

    /// A change that merges with an older one which is still unsent.
    pub(crate) fn change(self: &Arc<Self>, seq: Seq, change: &Change) {
        if !change.is_empty() {
            self.push(seq, |outbox| outbox.push_change(seq, change, |seq| self.storage.outcome(seq)));
        }
    }

    /// A frame caused by somebody else.
    pub(crate) fn tell(self: &Arc<Self>, seq: Seq, frame: Frame) {
        self.push(seq, |outbox| outbox.push_bounded(seq, frame));
    }

    /// A frame of the object's class. If its commit fails the socket is closed, because nothing else says what is lost.
    pub(crate) fn send(self: &Arc<Self>, seq: Seq, frame: Frame) {
        self.push(seq, |outbox| {
            outbox.keep(seq);
            outbox.push_bounded(seq, frame);
        });
    }

    /// A frame of the object's class to the socket that caused it: as with answers, the edge stops reading a socket that
    /// does not take them.
    pub(crate) fn send_back(self: &Arc<Self>, seq: Seq, frame: Frame) {
        self.push(seq, |outbox| {
            outbox.keep(seq);
            outbox.push_back(seq, frame);
        });
    }

    /// The class has done something with the socket that only it knows of: if the commit fails, the socket is closed.
    pub(crate) fn noted(self: &Arc<Self>, seq: Seq) {
        if self.storage.outcome(seq) != Outcome::Durable {
            self.push(seq, |outbox| {
                outbox.keep(seq);
                outbox.push(seq, Entry::Noted);
            });
        }
    }

    /// Sets what the edge answers by itself.
    pub(crate) fn respond_with(&self, response: Option<Arc<AutoResponse>>) {
        self.responds.store(response.is_some(), Ordering::Relaxed);
        self.outbox.lock().response = response;
    }

    /// Answers a message that was just [`Session::asked`] without its object, if it can be and no other waits for its answer.
    pub(crate) fn respond(self: &Arc<Self>, frame: &Frame) -> bool {
        if !self.responds.load(Ordering::Relaxed) || self.unanswered.load(Ordering::Relaxed) > 1 {
            return false;
        }
        let response = self.outbox.lock().response.clone();
        let Some((response, answer)) = response.and_then(|response| response.to(frame).map(|to| (response, to))) else {
            return false;
        };
        // Set by a turn that is lost: its class knows better.
        let lost = matches!(self.storage.outcome(response.seq), Outcome::Failed(_));
        if !lost {
            self.answer(response.seq, None, answer);
        }
        !lost
    }

    /// Closes the socket once `seq` is durable; if it fails, the socket stays and is told the state anew.
    pub(crate) fn close(self: &Arc<Self>, seq: Seq, close: Close) {
        self.push(seq, |outbox| outbox.push_close(seq, close));
    }

    /// The class closes the socket. If the commit fails it is closed all the same, and told to connect again.
    pub(crate) fn close_for(self: &Arc<Self>, seq: Seq, close: Close) {
        self.push(seq, |outbox| {
            outbox.keep(seq);
            outbox.push_close(seq, close);
        });
    }

    fn push(self: &Arc<Self>, seq: Seq, push: impl FnOnce(&mut Outbox)) {
        let arm = {
            let mut outbox = self.outbox.lock();
            push(&mut outbox);
            !std::mem::replace(&mut outbox.armed, true)
        };
        // Armed before: whoever armed it wakes the task, and the task looks at the whole queue.
        if arm && self.storage.wait(seq, &Waker::from(Arc::clone(self))) != Outcome::Pending {
            Arc::clone(self).wake();
        }
    }

    /// Notes that a message of this socket was handed to its object.
    pub(crate) fn asked(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages of this socket the edge may read before it asks again.
    pub(crate) fn room(&self) -> usize {
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        let outbox = self.outbox.lock();
        let takes = outbox.answer_bytes() < SOCKET_ANSWER_BYTES
            && outbox.sent_back() < SOCKET_QUEUE_FRAMES
            && !outbox.is_closing();
        if takes { SOCKET_UNANSWERED.saturating_sub(unanswered) } else { 0 }
    }

    /// Whether every message is answered and nothing waits to be written.
    pub(crate) fn is_settled(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) == 0 && self.outbox.lock().next_seq().is_none()
    }

    /// Takes what may be written now, up to about `bytes`. Unless the answer is [`Drained::More`], the task of `context` is
    /// woken when there is more.
    pub(crate) fn drain(self: &Arc<Self>, context: &Context<'_>, bytes: usize, out: &mut Vec<Outgoing>) -> Drained {
        self.task.register(context.waker());
        loop {
            let (drained, pending) = {
                let mut outbox = self.outbox.lock();
                let (drained, answers) = outbox.drain(bytes, out, |seq| self.storage.outcome(seq));
                self.unanswered.fetch_sub(answers, Ordering::Relaxed);
                let pending = outbox.next_seq().filter(|_| drained == Drained::All);
                let arm = pending.filter(|_| !std::mem::replace(&mut outbox.armed, pending.is_some()));
                if pending.is_none() {
                    outbox.armed = false;
                }
                (drained, arm)
            };
            match pending {
                Some(seq) if self.storage.wait(seq, &Waker::from(Arc::clone(self))) != Outcome::Pending => {
                    self.outbox.lock().armed = false;
                }
                _ => return drained,
            }
        }
    }
}

impl Wake for Session {
    fn wake(self: Arc<Self>) {
        self.outbox.lock().armed = false;
        self.task.wake();
    }
}

/// What stands in for an answer whose commit failed.
fn failed(id: Option<&Id>, error: crate::storage::CommitError) -> Frame {
    let error = super::Error::from(error);
    protocol::error(id, error.code(), error.message())
}
