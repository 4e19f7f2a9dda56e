//! What a worker says, and what the manager is told of it.
//!
//! Every report is a question to the manager that is kept in memory; its answer is what the worker is told. Of a kind one
//! is under way at a time: what the worker says meanwhile goes with the next one.
//!
//! # Why
//! A manager has one mailbox for all its workers and for everybody else. With a question for each thing that a worker says,
//! a few dozen busy workers fill it, and others are refused.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::frames::{self, Auth, Heartbeat, Ready, Welcome};
use super::session::{OPEN, READY, ready_session, what_is_taken};
use super::{WorkerConnection, is_connected};
use crate::limits::{REPORT_AGAIN_MS, REPORT_MS, REPORT_QUESTION_BYTES, TASK_PROGRESS_BYTES, WORKER_METRICS_BYTES};
use crate::object::{Ask, Error, Replied, SocketId, Turn, json, read};
use crate::protocol::{self, Code, Frame, Id, Message};

/// What a question of this object was about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Note {
    Ready,
    Heartbeat,
    Gone,
    Progress,
    Results,
    /// Nobody: it was to wait until then.
    Wake(u64),
}

/// What the manager has yet to be told.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// When to tell it again that the worker is there, or that it is gone.
    state_again: Option<u64>,
    /// Whether it has been told that the worker is there.
    announced: bool,
    /// Whether a heartbeat is on its way.
    beats: bool,
    /// Whether it is being told how far tasks are.
    progress: bool,
}

#[derive(Serialize)]
struct Announcement<'a> {
    #[serde(flatten)]
    ready: &'a Ready,
    running: Vec<&'a str>,
    sessions: usize,
}

#[derive(Serialize)]
struct Told {
    progress: Vec<Box<RawValue>>,
}

/// The manager's answer to an announcement.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    heartbeat_interval: u64,
    lease_timeout: u64,
    #[serde(default)]
    lost: Vec<Box<str>>,
}

impl WorkerConnection {
    /// A message of the worker.
    pub(super) fn heard(&mut self, turn: &mut Turn<'_>, socket: SocketId, frame: &Frame) {
        let (id, result) = match parse(frame) {
            Ok(message) => {
                let id = message.id.clone();
                (id, self.take(turn, socket, &message))
            }
            Err((id, error)) => (id, Err(error)),
        };
        match result {
            Ok(Some(answer)) => {
                turn.expect_answer(id);
                turn.answer(answer);
            }
            Ok(None) => {}
            Err(error) => {
                let error = error.redacted();
                turn.send_frame(socket, protocol::error(id.as_ref(), error.code(), error.message()));
            }
        }
    }

    fn take(&mut self, turn: &mut Turn<'_>, socket: SocketId, message: &Message<'_>) -> Result<Option<Vec<u8>>, Error> {
        match &*message.kind {
            "result" => self.take_result(turn, frames::parse(message.payload)?)?,
            "progress" => self.take_progress(turn, &frames::parse(message.payload)?)?,
            "heartbeat" => self.take_heartbeat(turn, message.payload)?,
            "ready" => self.take_ready(turn, socket, frames::parse(message.payload)?)?,
            "auth" => {
                let parsed: Result<Auth<'_>, _> = frames::parse(message.payload);
                // What is wrong with it is not said, as the text could show the token.
                let Auth { token } = parsed.map_err(|_| Error::bad_request("auth: a token is required"))?;
                if turn.authentication_required() && !self.authenticate(turn, socket, &token)? {
                    return Ok(None);
                }
            }
            method => return self.method(turn, method, message.payload).map(Some),
        }
        json(&()).map(Some)
    }

    fn take_ready(&mut self, turn: &mut Turn<'_>, socket: SocketId, mut ready: Ready) -> Result<(), Error> {
        ready.check()?;
        let running = ready.running.take();
        Self::note_ready(turn, socket, ready)?;
        if let Some(running) = running {
            self.tasks.are(running);
        }
        self.announce(turn);
        Ok(())
    }

    /// Tells the manager what the worker takes.
    pub(super) fn announce(&mut self, turn: &mut Turn<'_>) {
        let Some(ready) = what_is_taken(turn) else { return };
        let sessions = turn.sockets_tagged(OPEN).len();
        // What is done, and the manager does not know of it yet, is not lost.
        let running = self.tasks.tokens().chain(self.results.tokens()).collect();
        let announcement = Announcement { ready: &ready, running, sessions };
        let asked = ask(turn, "workerReady", &announcement, &Note::Ready);
        self.reports.announced = true;
        self.reports.state_again = asked.err().map(|_| turn.now() + REPORT_AGAIN_MS);
        self.wake_for_reports(turn);
    }

    /// Tells the manager that the worker is not connected any more: behind the results that it left, which count.
    pub(super) fn say_gone(&mut self, turn: &mut Turn<'_>, was_ready: bool) {
        if !was_ready && !self.reports.announced {
            return;
        }
        self.reports.announced = false;
        if !self.results.is_empty() {
            self.reports.state_again = Some(turn.now());
            return;
        }
        let asked = ask(turn, "workerGone", &serde_json::Map::new(), &Note::Gone);
        self.reports.state_again = asked.err().map(|_| turn.now() + REPORT_AGAIN_MS);
        self.wake_for_reports(turn);
    }

    /// Tells the manager again whether the worker is there, if it is time.
    pub(super) fn tell_state_again(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        let (is_connected, reports) = (is_connected(turn), &mut self.reports);
        if (is_connected || self.results.is_empty()) && reports.state_again.take_if(|again| *again <= now).is_some() {
            if is_connected { self.announce(turn) } else { self.say_gone(turn, true) }
        }
    }

    fn take_heartbeat(&mut self, turn: &mut Turn<'_>, payload: &RawValue) -> Result<(), Error> {
        let Heartbeat { metrics } =
            if payload.get() == "null" { Heartbeat { metrics: None } } else { frames::parse(payload)? };
        if ready_session(turn).is_none() {
            return Err(Error::conflict("not ready: a heartbeat counts from `ready` on"));
        }
        if let Some(bytes) = metrics.map(|metrics| metrics.get().len()).filter(|bytes| *bytes > WORKER_METRICS_BYTES) {
            let text = format!("metrics are {bytes} bytes; the limit is {WORKER_METRICS_BYTES}");
            return Err(Error::new(Code::TooLarge, text));
        }
        if !self.reports.beats {
            #[derive(Serialize)]
            struct Beat<'a> {
                #[serde(skip_serializing_if = "Option::is_none")]
                metrics: Option<&'a RawValue>,
            }
            self.reports.beats = ask(turn, "workerHeartbeat", &Beat { metrics }, &Note::Heartbeat).is_ok();
        }
        Ok(())
    }

    fn take_progress(&mut self, turn: &mut Turn<'_>, progress: &frames::HowFar<'_>) -> Result<(), Error> {
        let bytes = progress.progress.get().len();
        if bytes > TASK_PROGRESS_BYTES {
            let text = format!("progress is {bytes} bytes; the limit is {TASK_PROGRESS_BYTES}");
            return Err(Error::new(Code::TooLarge, text));
        }
        // It may have been cancelled meanwhile, of which the worker is told.
        let Some(task) = self.tasks.get_mut(&progress.token) else { return Ok(()) };
        task.progress = to_raw_value(progress).ok();
        self.tell_progress(turn);
        Ok(())
    }

    /// Tells the manager how far tasks are, each by the newest word.
    fn tell_progress(&mut self, turn: &mut Turn<'_>) {
        if self.reports.progress {
            return;
        }
        let progress = self.tasks.take_progress(REPORT_QUESTION_BYTES);
        if !progress.is_empty() {
            self.reports.progress = ask(turn, "workerProgress", &Told { progress }, &Note::Progress).is_ok();
        }
    }

    /// The answer to a question of this object.
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        match read(reply.note)? {
            Note::Wake(at) => self.woken(turn, at),
            Note::Results => self.judged(turn, reply),
            Note::Progress => {
                self.reports.progress = false;
                self.tell_progress(turn);
            }
            Note::Ready => self.taken(turn, &reply.result),
            Note::Heartbeat => {
                self.reports.beats = false;
                // The manager does not know the worker: its lease was over.
                if reply.result.as_ref().is_err_and(|error| matches!(error.code(), Code::Conflict | Code::NotFound)) {
                    self.announce(turn);
                }
            }
            Note::Gone => {
                let refused = reply.result.as_ref().is_err_and(|error| is_passing(error.code()));
                if refused && !is_connected(turn) {
                    self.reports.state_again = Some(turn.now() + REPORT_AGAIN_MS);
                    self.wake_for_reports(turn);
                }
            }
        }
        Ok(())
    }

    fn taken(&mut self, turn: &mut Turn<'_>, result: &Result<&RawValue, Error>) {
        let taken = match result {
            Ok(taken) => read::<Taken>(taken),
            Err(error) if is_passing(error.code()) => {
                self.reports.state_again = Some(turn.now() + REPORT_AGAIN_MS);
                return self.wake_for_reports(turn);
            }
            Err(error) => Err(error.clone()),
        };
        match taken {
            Ok(Taken { heartbeat_interval, lease_timeout, lost }) => {
                for token in &lost {
                    self.cancel(turn, token);
                }
                if let Some(socket) = ready_session(turn) {
                    let worker_id = turn.path().name().unwrap_or("root").to_owned();
                    let welcome = Welcome { worker_id: &worker_id, heartbeat_interval, lease_timeout };
                    turn.send_frame(socket, frames::frame("welcome", &welcome));
                }
            }
            Err(error) => {
                let error = error.redacted();
                let text = format!("the manager does not take this worker: {}", error.message());
                turn.send_tagged(READY, protocol::error(None, error.code(), &text));
            }
        }
    }

    pub(super) fn wake_for_reports(&mut self, turn: &mut Turn<'_>) {
        if let Some(next) = self.next_report(turn) {
            self.wake_at(turn, next);
        }
    }

    /// Tells the manager again what it did not take; answers when the next of it is due.
    pub(super) fn report_again(&mut self, turn: &mut Turn<'_>) -> Option<u64> {
        self.tell_results(turn);
        self.tell_state_again(turn);
        self.next_report(turn)
    }

    fn next_report(&self, turn: &Turn<'_>) -> Option<u64> {
        let state = self.reports.state_again.filter(|_| is_connected(turn) || self.results.is_empty());
        self.results.next().into_iter().chain(state).min()
    }
}

fn parse(frame: &Frame) -> Result<Message<'_>, (Option<Id>, Error)> {
    let Frame::Text(text) = frame else {
        return Err((None, Error::bad_request("Invalid message: binary frames are not supported here")));
    };
    Message::parse(text).map_err(|bad| (bad.id, Error::bad_request(bad.reason)))
}

/// Asks the manager.
pub(super) fn ask<T: Serialize + ?Sized>(
    turn: &mut Turn<'_>,
    method: &str,
    payload: &T,
    note: &Note,
) -> Result<u64, Error> {
    let Some(manager) = turn.path().parent() else {
        return Err(Error::not_found("the root has no manager above it"));
    };
    turn.call(&manager, method, payload, Ask::new().in_memory().timeout(REPORT_MS).note(note))
}

/// Whether the same can go well a little later.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(code, Code::Overloaded | Code::Unavailable | Code::CommitUnknown | Code::StorageFull)
}
