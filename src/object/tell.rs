//! Messages from one object to the sockets of others: at most once, in order, and nobody waits for them.

use std::sync::Arc;
use std::task::Waker;

use super::event::Event;
use super::namespace::{Inner, Slot};
use super::slot::Posted;
use crate::limits::FAN_OUT_CHUNK;
use crate::protocol::Frame;
use crate::storage::{Outcome, Seq};

impl Inner {
    /// Posts a frame to the sockets of a slot; it is dropped when the mailbox is full or the slot is gone. The slot's turn
    /// is never run here: the caller is in the middle of something else.
    pub(super) fn tell(self: &Arc<Self>, slot: &Arc<Slot>, frame: Frame) {
        let event = Event::Tell(frame);
        let room = event.room();
        let posted = slot.core.lock().post(event, room);
        match posted {
            Posted::Queued | Posted::Gone(_) => {}
            Posted::Full(_) => self.metrics.overloaded.inc(),
            Posted::Run(body) => {
                let (namespace, slot) = (Arc::clone(self), Arc::clone(slot));
                self.spawn(async move { namespace.run(&slot, body) });
            }
        }
    }

    /// Queues a tell of a slot behind its commit.
    pub(super) fn tell_after(self: &Arc<Self>, slot: &Arc<Slot>, seq: Seq, to: Vec<Arc<Slot>>, frame: Frame) {
        let first = {
            let mut tells = slot.tells.lock();
            tells.push_back((seq, to, frame));
            tells.len() == 1
        };
        if first {
            self.release_tells(slot);
        }
    }

    /// Sends the tells of a slot whose commits are durable, and comes back for the others.
    pub(super) fn release_tells(self: &Arc<Self>, slot: &Arc<Slot>) {
        let mut tells = slot.tells.lock();
        while let Some((seq, _, _)) = tells.front() {
            match self.storage.wait(*seq, &Waker::from(Arc::clone(slot))) {
                Outcome::Pending => return,
                Outcome::Failed(_) => drop(tells.pop_front()),
                Outcome::Durable => {
                    if let Some((_, to, frame)) = tells.pop_front() {
                        self.fan_out(to, frame);
                    }
                }
            }
        }
    }

    fn fan_out(self: &Arc<Self>, to: Vec<Arc<Slot>>, frame: Frame) {
        if to.len() <= FAN_OUT_CHUNK {
            return to.iter().for_each(|slot| self.tell(slot, frame.clone()));
        }
        let namespace = Arc::clone(self);
        self.spawn(async move {
            for chunk in to.chunks(FAN_OUT_CHUNK) {
                for slot in chunk {
                    namespace.tell(slot, frame.clone());
                }
                tokio::task::yield_now().await;
            }
        });
    }
}
