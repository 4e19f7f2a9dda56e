//! What a worker says, and what the manager is told of it.
//!
//! Every report is a question to the manager that is kept in memory; its answer is what the worker is told. One that the
//! manager cannot take at the moment is asked again a little later, with everything else that was refused by then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::frames::{self, Ack, Auth, Heartbeat, Outcome, Ready, Welcome};
use super::session::{OPEN, READY, newest_session, ready_session, what_is_taken};
use super::work::Progress;
use super::{WorkerConnection, is_connected};
use crate::limits::{
    REPORT_AGAIN_MS, REPORT_BYTES, REPORT_MS, REPORTS, TASK_BYTES, TASK_PROGRESS_BYTES, WORKER_METRICS_BYTES,
};
use crate::object::{Ask, Error, Replied, SocketId, Turn, json, read};
use crate::protocol::{self, Code, Frame, Id, Message};

/// What a question of this object was about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Note {
    Ready,
    Heartbeat,
    Gone,
    Progress {
        token: Box<str>,
    },
    Result {
        task: Box<str>,
        token: Box<str>,
    },
    /// Nobody: it was to wait until then.
    Wake(u64),
}

/// What the manager has yet to be told.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Results that it was told of and has not answered, by question.
    asked: BTreeMap<u64, Asked>,
    /// Results that it did not take, and when to tell it again.
    refused: Vec<Refused>,
    /// Bytes of both.
    bytes: usize,
    /// When to tell it again that the worker is there, or that it is gone.
    state_again: Option<u64>,
    /// Whether it has been told that the worker is there.
    announced: bool,
    /// Whether a heartbeat is on its way.
    beats: bool,
}

#[derive(Debug)]
struct Asked {
    token: Box<str>,
    outcome: Box<RawValue>,
}

#[derive(Debug)]
struct Refused {
    again: u64,
    task: Box<str>,
    token: Box<str>,
    outcome: Box<RawValue>,
}

#[derive(Serialize)]
struct Announcement<'a> {
    #[serde(flatten)]
    ready: &'a Ready,
    running: Vec<&'a str>,
    sessions: usize,
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

/// The manager's answer to a result.
#[derive(Deserialize)]
struct Judged {
    accepted: bool,
    #[serde(default)]
    reason: Option<Box<str>>,
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
        let running = self.tasks.tokens().chain(self.reports.tokens()).collect();
        let announcement = Announcement { ready: &ready, running, sessions };
        let asked = ask(turn, "workerReady", &announcement, &Note::Ready);
        self.reports.announced = true;
        self.reports.state_again = asked.err().map(|_| turn.now() + REPORT_AGAIN_MS);
        self.wake_for_reports(turn);
    }

    /// Tells the manager that the worker is not connected any more.
    pub(super) fn say_gone(&mut self, turn: &mut Turn<'_>, was_ready: bool) {
        if !was_ready && !self.reports.announced {
            return;
        }
        let asked = ask(turn, "workerGone", &serde_json::Map::new(), &Note::Gone);
        self.reports.announced = false;
        self.reports.state_again = asked.err().map(|_| turn.now() + REPORT_AGAIN_MS);
        self.wake_for_reports(turn);
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
        let token = &*progress.token;
        // It may have been cancelled meanwhile, of which the worker is told.
        let Some(task) = self.tasks.get_mut(token) else { return Ok(()) };
        match task.progress {
            Progress::Told => {
                let note = Note::Progress { token: token.into() };
                if ask(turn, "workerProgress", progress, &note).is_ok() {
                    task.progress = Progress::BeingTold;
                }
            }
            Progress::BeingTold | Progress::Newer(_) => {
                task.progress = to_raw_value(progress).map_or(Progress::BeingTold, Progress::Newer);
            }
        }
        Ok(())
    }

    fn take_result(&mut self, turn: &mut Turn<'_>, mut outcome: Outcome<'_>) -> Result<(), Error> {
        if self.reports.asked.len() + self.reports.refused.len() >= REPORTS || self.reports.bytes >= REPORT_BYTES {
            let text =
                format!("too many results wait for the manager; the limits are {REPORTS} and {REPORT_BYTES} bytes");
            return Err(Error::new(Code::Overloaded, text));
        }
        let bytes = outcome.result.map_or(0, |result| result.get().len());
        if bytes > TASK_BYTES {
            (outcome.success, outcome.result) = (false, None);
            outcome.error = Some(format!("the result is {bytes} bytes; the limit is {TASK_BYTES}").into());
        }
        let encoded =
            to_raw_value(&outcome).map_err(|error| Error::internal(format!("a result cannot be encoded: {error}")))?;
        self.history.note(&outcome, turn.now());
        self.tasks.end(&outcome.token);
        self.tell_result(turn, &outcome.task_id, &outcome.token, encoded);
        Ok(())
    }

    fn tell_result(&mut self, turn: &mut Turn<'_>, task: &str, token: &str, outcome: Box<RawValue>) {
        let note = Note::Result { task: task.into(), token: token.into() };
        self.reports.bytes += outcome.get().len();
        match ask(turn, "workerResult", &*outcome, &note) {
            Ok(id) => drop(self.reports.asked.insert(id, Asked { token: token.into(), outcome })),
            Err(error) if is_passing(error.code()) => self.refuse(turn, task, token, outcome),
            Err(error) => {
                self.reports.bytes -= outcome.get().len();
                acknowledge(turn, task, token, Some(error.redacted().message()));
            }
        }
    }

    /// The answer to a question of this object.
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        match read(reply.note)? {
            Note::Wake(at) => self.woken(turn, at),
            Note::Result { task, token } => self.judged(turn, reply, &task, &token),
            Note::Progress { token } => self.told_progress(turn, &token),
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

    fn judged(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>, task: &str, token: &str) {
        let outcome = self.reports.asked.remove(&reply.id).map(|asked| asked.outcome);
        self.reports.bytes -= outcome.as_ref().map_or(0, |outcome| outcome.get().len());
        match (&reply.result, outcome) {
            (Ok(judged), _) => {
                let judged = read::<Judged>(judged);
                let refused = match &judged {
                    Ok(Judged { accepted: true, .. }) => None,
                    Ok(Judged { reason, .. }) => Some(reason.as_deref().unwrap_or("refused")),
                    Err(error) => Some(error.message()),
                };
                acknowledge(turn, task, token, refused);
            }
            (Err(error), Some(outcome)) if is_passing(error.code()) => {
                self.reports.bytes += outcome.get().len();
                self.refuse(turn, task, token, outcome);
            }
            // It is sent again by the worker.
            (Err(error), None) if is_passing(error.code()) => {}
            (Err(error), _) => acknowledge(turn, task, token, Some(error.clone().redacted().message())),
        }
    }

    fn told_progress(&mut self, turn: &mut Turn<'_>, token: &str) {
        let Some(task) = self.tasks.get_mut(token) else { return };
        if let Progress::Newer(newer) = std::mem::take(&mut task.progress)
            && ask(turn, "workerProgress", &*newer, &Note::Progress { token: token.into() }).is_ok()
        {
            task.progress = Progress::BeingTold;
        }
    }

    fn refuse(&mut self, turn: &mut Turn<'_>, task: &str, token: &str, outcome: Box<RawValue>) {
        let again = turn.now() + REPORT_AGAIN_MS;
        self.reports.refused.push(Refused { again, task: task.into(), token: token.into(), outcome });
        self.wake_for_reports(turn);
    }

    fn wake_for_reports(&mut self, turn: &mut Turn<'_>) {
        if let Some(next) = self.reports.next() {
            self.wake_at(turn, next);
        }
    }

    /// Tells the manager again what it did not take; answers when the next of it is due.
    pub(super) fn report_again(&mut self, turn: &mut Turn<'_>) -> Option<u64> {
        let now = turn.now();
        if self.reports.state_again.take_if(|again| *again <= now).is_some() {
            if is_connected(turn) { self.announce(turn) } else { self.say_gone(turn, true) }
        }
        let due: Vec<_> = self.reports.refused.extract_if(.., |refused| refused.again <= now).collect();
        for Refused { task, token, outcome, .. } in due {
            self.reports.bytes -= outcome.get().len();
            self.tell_result(turn, &task, &token, outcome);
        }
        self.reports.next()
    }
}

impl Reports {
    /// What results are held of.
    fn tokens(&self) -> impl Iterator<Item = &str> {
        let asked = self.asked.values().map(|asked| &*asked.token);
        asked.chain(self.refused.iter().map(|refused| &*refused.token))
    }

    fn next(&self) -> Option<u64> {
        self.refused.iter().map(|refused| refused.again).chain(self.state_again).min()
    }
}

fn parse(frame: &Frame) -> Result<Message<'_>, (Option<Id>, Error)> {
    let Frame::Text(text) = frame else {
        return Err((None, Error::bad_request("Invalid message: binary frames are not supported here")));
    };
    Message::parse(text).map_err(|bad| (bad.id, Error::bad_request(bad.reason)))
}

/// Asks the manager.
fn ask<T: Serialize + ?Sized>(turn: &mut Turn<'_>, method: &str, payload: &T, note: &Note) -> Result<u64, Error> {
    let Some(manager) = turn.path().parent() else {
        return Err(Error::not_found("the root has no manager above it"));
    };
    turn.call(&manager, method, payload, Ask::new().in_memory().timeout(REPORT_MS).note(note))
}

/// Whether the same can go well a little later.
fn is_passing(code: Code) -> bool {
    matches!(code, Code::Overloaded | Code::Unavailable | Code::CommitUnknown | Code::StorageFull)
}

/// Tells the worker what became of a result: it need not keep it any more.
fn acknowledge(turn: &mut Turn<'_>, task_id: &str, token: &str, refused: Option<&str>) {
    if let Some(socket) = newest_session(turn) {
        let ack = Ack { task_id, token, accepted: refused.is_none(), reason: refused };
        turn.send_frame(socket, frames::frame("ack", &ack));
    }
}
