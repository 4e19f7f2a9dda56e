//! The queue behind a socket, as a plain value: what is pushed with the number of its write set comes out in order once
//! that write set is decided.
//!
//! News of the state (`state` frames of `fleet.v1`, changes of `fleet.v2`) is kept apart, at most twice: the *early* one may
//! be waiting for a commit that is under way, the *late* one takes whatever comes after. So a socket that watches a busy
//! object gets news with every commit, however many turns there are, and holds at most two.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::{AutoResponse, failed};
use crate::limits::{SOCKET_QUEUE_BYTES, SOCKET_QUEUE_FRAMES, SOCKET_SENT_BACK_BYTES, SOCKET_SENT_BACK_FRAMES};
use crate::object::STORAGE_FAILED;
use crate::protocol::{Change, Frame, Id};
use crate::storage::{Outcome, Seq};

/// A change larger than this is told as a whole new state.
const CHANGE_BYTES: usize = 64 << 10;
/// A queue that once held more than this many frames gives its memory back when it is empty.
const QUEUE_KEPT: usize = 32;

/// Why and how a socket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The close code.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    pub(crate) const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }
}

/// How a socket ends whose peer reads too slowly.
const TOO_SLOW: Close = Close::new(1013, "too many messages were waiting for this socket");

/// What the edge writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A message.
    Frame(Frame),
    /// The end.
    Close(Close),
    /// Something that this socket was to be told is lost, or was too much to keep: it must be told the whole state anew.
    Resync,
}

/// Why a drain stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing else can be written now.
    All,
    /// The budget is used up.
    More,
}

#[derive(Debug)]
pub(super) enum Entry {
    Answer {
        id: Option<Id>,
        frame: Frame,
    },
    First(Frame),
    Told(Frame),
    /// What the class sent to the socket that caused it.
    Back(Frame),
    /// Nothing to write: the socket hangs on this write set.
    Noted,
    Close(Close),
}

#[derive(Debug)]
enum News {
    State(Frame),
    Change(Change),
    /// More than is worth keeping.
    Lost,
}

#[derive(Debug)]
struct Queued<T> {
    order: u64,
    seq: Seq,
    what: T,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued<Entry>>,
    early: Option<Box<Queued<News>>>,
    late: Option<Box<Queued<News>>>,
    next_order: u64,
    answer_bytes: usize,
    told_frames: u32,
    back_frames: u32,
    told_bytes: usize,
    pub(super) response: Option<Arc<AutoResponse>>,
    closing: bool,
    /// Whether the class has told it something, or knows something of it, that no whole state would repeat: then it is
    /// closed when something is lost.
    kept: bool,
    /// Whether somebody is going to wake the task.
    pub(super) armed: bool,
}

impl Outbox {
    pub(super) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Frames that wait which the class sent to the socket that caused them.
    pub(super) fn sent_back(&self) -> usize {
        self.back_frames as usize
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// What is pushed with this number cannot be told anew.
    pub(super) fn keep(&mut self, seq: Seq) {
        self.kept |= seq != Seq::NONE;
    }

    pub(super) fn push(&mut self, seq: Seq, what: Entry) {
        if self.closing {
            return;
        }
        match &what {
            Entry::Answer { frame, .. } | Entry::Back(frame) => self.answer_bytes += frame.len(),
            // A whole state holds all news before it, which must not merge with what comes after it.
            Entry::First(_) => (self.early, self.late) = (None, None),
            Entry::Told(_) | Entry::Noted | Entry::Close(_) => {}
        }
        let order = self.order();
        self.queue.push_back(Queued { order, seq, what });
    }

    pub(super) fn push_bounded(&mut self, seq: Seq, frame: Frame) {
        if self.closing {
            return;
        }
        self.told_frames += 1;
        self.told_bytes += frame.len();
        if self.told_frames as usize > SOCKET_QUEUE_FRAMES || self.told_bytes > SOCKET_QUEUE_BYTES {
            self.end(TOO_SLOW);
        } else {
            self.push(seq, Entry::Told(frame));
        }
    }

    pub(super) fn push_back(&mut self, seq: Seq, frame: Frame) {
        if self.closing {
            return;
        }
        self.back_frames += 1;
        if self.sent_back() > SOCKET_SENT_BACK_FRAMES || self.answer_bytes + frame.len() > SOCKET_SENT_BACK_BYTES {
            self.end(TOO_SLOW);
        } else {
            self.push(seq, Entry::Back(frame));
        }
    }

    /// Drops what waits, and closes the socket at once.
    fn end(&mut self, close: Close) {
        *self = Self { armed: self.armed, ..Self::default() };
        self.push_close(Seq::NONE, close);
    }

    pub(super) fn push_close(&mut self, seq: Seq, close: Close) {
        self.push(seq, Entry::Close(close));
        self.closing = true;
    }

    pub(super) fn push_state(&mut self, seq: Seq, frame: Frame) {
        // It replaces whatever there is.
        self.push_news(seq, News::State(frame), |_| Outcome::Durable);
    }

    pub(super) fn push_change(&mut self, seq: Seq, change: &Change, outcome: impl Fn(Seq) -> Outcome) {
        self.push_news(seq, News::Change(change.clone()), outcome);
    }

    fn push_news(&mut self, seq: Seq, newer: News, outcome: impl Fn(Seq) -> Outcome) {
        if self.closing {
            return;
        }
        let order = self.order();
        let place = if self.early.is_none() { &mut self.early } else { &mut self.late };
        let what = match place.take() {
            // What has failed must not come out with what is durable.
            Some(unsent) if matches!(outcome(unsent.seq), Outcome::Failed(_)) => News::Lost.and(newer),
            Some(unsent) => unsent.what.and(newer),
            None => newer,
        };
        *place = Some(Box::new(Queued { order, seq, what }));
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// The write set that the next entry waits for.
    pub(super) fn next_seq(&self) -> Option<Seq> {
        let news = self.early.as_ref().map(|news| (news.order, news.seq));
        let entry = self.queue.front().map(|entry| (entry.order, entry.seq));
        news.into_iter().chain(entry).min().map(|(_, seq)| seq)
    }

    /// Moves what is decided into `out`; says why it stopped and how many answers it moved.
    pub(super) fn drain(
        &mut self,
        bytes: usize,
        out: &mut Vec<Outgoing>,
        outcome: impl Fn(Seq) -> Outcome,
    ) -> (Drained, usize) {
        let (mut answers, mut taken) = (0, 0);
        while let Some(seq) = self.next_seq() {
            if taken >= bytes {
                return (Drained::More, answers);
            }
            let decided = outcome(seq);
            if decided == Outcome::Pending {
                break;
            }
            let news_first = match (&self.early, self.queue.front()) {
                (Some(news), Some(entry)) => news.order < entry.order,
                (news, _) => news.is_some(),
            };
            let next =
                if news_first { self.take_news(decided, &outcome) } else { self.take_entry(decided, &mut answers) };
            if let Some(next) = next {
                taken += if let Outgoing::Frame(frame) = &next { frame.len() } else { 0 };
                out.push(next);
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > QUEUE_KEPT {
            self.queue = VecDeque::new();
        }
        (Drained::All, answers)
    }

    fn take_entry(&mut self, decided: Outcome, answers: &mut usize) -> Option<Outgoing> {
        let Queued { what, .. } = self.queue.pop_front()?;
        let error = if let Outcome::Failed(error) = decided { Some(error) } else { None };
        Some(match (what, error) {
            (Entry::Answer { id, frame }, error) => {
                *answers += 1;
                self.answer_bytes -= frame.len();
                Outgoing::Frame(match error {
                    None => frame,
                    Some(error) => failed(id.as_ref(), error),
                })
            }
            (Entry::Told(frame), error) => {
                self.told_frames -= 1;
                self.told_bytes -= frame.len();
                return if error.is_none() { Some(Outgoing::Frame(frame)) } else { self.lost(None) };
            }
            (Entry::Back(frame), error) => {
                self.back_frames -= 1;
                self.answer_bytes -= frame.len();
                return if error.is_none() { Some(Outgoing::Frame(frame)) } else { self.lost(None) };
            }
            (Entry::First(frame), None) => Outgoing::Frame(frame),
            (Entry::Close(close), None) => Outgoing::Close(close),
            (Entry::Noted, None) => return None,
            (Entry::First(_) | Entry::Noted, Some(_)) => return self.lost(Some(Outgoing::Resync)),
            (Entry::Close(_), Some(_)) => {
                self.closing = false;
                return self.lost(Some(Outgoing::Resync));
            }
        })
    }

    /// What to write in place of something that is lost with its write set.
    fn lost(&mut self, otherwise: Option<Outgoing>) -> Option<Outgoing> {
        if self.kept {
            self.end(STORAGE_FAILED);
            return None;
        }
        otherwise
    }

    fn take_news(&mut self, decided: Outcome, outcome: &impl Fn(Seq) -> Outcome) -> Option<Outgoing> {
        let early = self.early.take()?.what;
        self.early = self.late.take();
        if let Outcome::Failed(_) = decided {
            return self.lost(Some(Outgoing::Resync));
        }
        // If the later news may go too, it takes the earlier along.
        if let Some(late) = self.early.as_mut().filter(|late| outcome(late.seq) == Outcome::Durable) {
            let newer = std::mem::replace(&mut late.what, News::Lost);
            late.what = early.and(newer);
            return None;
        }
        match early {
            News::State(frame) => Some(Outgoing::Frame(frame)),
            News::Change(change) => (!change.is_empty()).then(|| Outgoing::Frame(change.frame())),
            News::Lost => Some(Outgoing::Resync),
        }
    }
}

impl News {
    /// This news and a later one.
    fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Change(mut change), Self::Change(later)) => {
                change.merge(&later);
                if change.len() > CHANGE_BYTES { Self::Lost } else { Self::Change(change) }
            }
            (Self::Lost, Self::Change(_)) => Self::Lost,
            (_, later) => later,
        }
    }
}

#[cfg(test)]
mod tests;
