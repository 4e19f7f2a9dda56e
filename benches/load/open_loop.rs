//! Increments at a fixed pace, whatever the server does: a latency counts from the moment a message was *due*.
//!
//! # Why
//! A closed loop waits together with the server: a stall of 300 ms gives it one slow answer in thousands of quick ones,
//! and its p99 does not see it. At a fixed pace every message that was due during the stall is late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frame;
use super::meter::pause;
use super::socket::Socket;
use super::traffic::{INCREMENT, refuse_error};
use crate::Result;

/// How long the last answers may take.
const DRAIN: Duration = Duration::from_secs(30);

/// When one increment was due, and how long after that it was acknowledged.
pub(crate) type Sample = (Instant, Duration);

/// Increments under way on some connections, each with a path of its own.
pub(crate) struct OpenLoop {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<Result<()>>,
    readers: Vec<JoinHandle<Result<Vec<Sample>>>>,
}

struct Pace {
    began: Instant,
    period: Duration,
    /// Messages sent on each connection.
    sent: AtomicU64,
    /// Nothing more will be sent.
    over: AtomicBool,
}

impl Pace {
    fn due(&self, number: u64) -> Instant {
        self.began + self.period * u32::try_from(number).unwrap_or(u32::MAX)
    }
}

impl OpenLoop {
    /// Starts; each connection sends one increment a `period`.
    pub(crate) fn start(address: SocketAddr, paths: &[String], period: Duration) -> Result<Self> {
        let sockets: Vec<Socket> = paths.iter().map(|path| Socket::open(address, path)).collect::<Result<_>>()?;
        let streams = sockets.iter().map(|socket| socket.stream.try_clone());
        let mut streams = streams.collect::<std::io::Result<Vec<_>>>()?;
        let pace =
            Arc::new(Pace { began: Instant::now(), period, sent: AtomicU64::new(0), over: AtomicBool::new(false) });
        let readers = sockets.into_iter().map(|socket| {
            let pace = Arc::clone(&pace);
            thread::spawn(move || read(socket, &pace))
        });
        let readers = readers.collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = thread::spawn(move || {
            let wrote = write(&mut streams, &pace, &stopped);
            pace.over.store(true, Ordering::Release);
            wrote
        });
        Ok(Self { stop, writer, readers })
    }

    /// Stops, waits for the last answers, and gives every sample.
    pub(crate) fn finish(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Release);
        self.writer.join().map_err(|_| "the writer panicked")??;
        let mut samples = Vec::new();
        for reader in self.readers {
            samples.extend(reader.join().map_err(|_| "a reader panicked")??);
        }
        Ok(samples)
    }
}

fn write(streams: &mut [std::net::TcpStream], pace: &Pace, stop: &AtomicBool) -> Result<()> {
    let mut message = Vec::new();
    frame::masked(frame::TEXT, INCREMENT, &mut message);
    for number in 0.. {
        pause(pace.due(number).saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Acquire) {
            return Ok(());
        }
        for stream in &mut *streams {
            std::io::Write::write_all(stream, &message)?;
        }
        pace.sent.store(number + 1, Ordering::Release);
    }
    Ok(())
}

fn read(mut socket: Socket, pace: &Pace) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut finished = None;
    loop {
        let over = pace.over.load(Ordering::Acquire);
        if over && samples.len() as u64 >= pace.sent.load(Ordering::Acquire) {
            return Ok(samples);
        }
        if over && finished.get_or_insert_with(Instant::now).elapsed() > DRAIN {
            return Err("increments at a fixed pace are unanswered".into());
        }
        if let Some(checked) = socket.next_text_within(pace.period, refuse_error)? {
            checked?;
            let due = pace.due(samples.len() as u64);
            samples.push((due, due.elapsed()));
        }
    }
}

/// The 99th percentile of sorted values.
pub(crate) fn p99(sorted: &[f64]) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last - last / 100).copied().unwrap_or(0.0)
}
