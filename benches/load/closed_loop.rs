//! Load with a fixed number of requests in flight on each connection: an answer makes room for the next request.
//!
//! # Why
//! An own event loop and not `tokio`: a thread reads whatever a socket has, understands it where it lies and writes the
//! next requests with one call. On two cores that the client shares with the server, each task switch of the client
//! would be taken for the server's cost.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{Connection, READ_BYTES};
use super::histogram::Histogram;
use super::poller::Poller;
use super::socket::Socket;
use crate::Result;

/// How long the last answers may take.
const DRAIN: Duration = Duration::from_secs(10);
/// Time for work that ends by itself.
const ENOUGH: Duration = Duration::from_mins(20);
/// Left out at the beginning of a timed run.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is asked, and what counts as an answer; answers come in the order of the requests of one connection.
pub(crate) trait Traffic: Sync {
    /// Appends one request, or says that there is none left.
    fn request(&self, out: &mut Vec<u8>) -> bool;

    /// Takes the next whole message from `bytes`; replies to what is not an answer, such as a ping, go to `out`.
    fn take(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Taken>;
}

/// What stood at the beginning of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes that are done with.
    pub(crate) length: usize,
    /// Whether a request of this connection is answered with them.
    pub(crate) answer: bool,
    /// Whether more may stand behind them.
    pub(crate) more: bool,
}

/// How much load, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Requests in flight on each connection.
    pub(crate) in_flight: usize,
    pub(crate) threads: usize,
    warm_up: Duration,
    measure: Duration,
}

impl Plan {
    /// For a fixed time.
    pub(crate) fn timed(in_flight: usize, threads: usize, measure: Duration) -> Self {
        let warm_up = WARM_UP;
        Self { in_flight, threads, warm_up, measure }
    }

    /// Until there are no more requests.
    pub(crate) fn all(in_flight: usize, threads: usize) -> Self {
        let (warm_up, measure) = (Duration::ZERO, ENOUGH);
        Self { in_flight, threads, warm_up, measure }
    }

    /// The part of a run that begins now and counts.
    pub(crate) fn window(&self) -> (Instant, Instant) {
        let from = Instant::now() + self.warm_up;
        (from, from + self.measure)
    }
}

/// What a run gave.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Answers in the time that counts.
    pub(crate) answers: u64,
    /// Answers of the whole run.
    pub(crate) total: u64,
    /// The time that counts, or until the last answer if requests ran out.
    pub(crate) seconds: f64,
    pub(crate) latency: Histogram,
}

impl Measured {
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds.max(1e-9)
    }
}

/// Offers the load on all connections until the plan or the requests end, and waits for the last answers.
pub(crate) fn run(traffic: &impl Traffic, sockets: Vec<Socket>, plan: &Plan) -> Result<Measured> {
    let threads = plan.threads.clamp(1, sockets.len().max(1));
    let mut shares: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, socket) in sockets.into_iter().enumerate() {
        shares[index % threads].push(socket);
    }
    let window = plan.window();
    thread::scope(|scope| {
        let workers: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || Worker::new(traffic, share, plan.in_flight, window)?.run()))
            .collect();
        let mut sum: Option<Measured> = None;
        for worker in workers {
            let part = worker.join().map_err(|_| "a client thread panicked")??;
            sum = Some(sum.map_or(part.clone(), |sum| merge(sum, &part)));
        }
        sum.ok_or_else(|| "no connection to load".into())
    })
}

fn merge(mut sum: Measured, part: &Measured) -> Measured {
    sum.answers += part.answers;
    sum.total += part.total;
    sum.seconds = sum.seconds.max(part.seconds);
    sum.latency.add(&part.latency);
    sum
}

/// A connection and when its unanswered requests were written.
struct Link {
    connection: Connection,
    sent: VecDeque<Instant>,
}

struct Worker<'a, T> {
    traffic: &'a T,
    poller: Poller,
    links: Vec<Link>,
    in_flight: usize,
    from: Instant,
    until: Instant,
    /// Requests without an answer, of all links.
    open: usize,
    /// No more requests are to be sent.
    over: bool,
    last_answer: Instant,
    measured: Measured,
}

impl<'a, T: Traffic> Worker<'a, T> {
    fn new(traffic: &'a T, sockets: Vec<Socket>, in_flight: usize, window: (Instant, Instant)) -> Result<Self> {
        let poller = Poller::new()?;
        let mut links = Vec::with_capacity(sockets.len());
        for (index, socket) in sockets.into_iter().enumerate() {
            let connection = Connection::register(socket.stream, socket.rest, index, &poller)?;
            let sent = VecDeque::with_capacity(in_flight);
            links.push(Link { connection, sent });
        }
        Ok(Self {
            traffic,
            poller,
            links,
            in_flight,
            from: window.0,
            until: window.1,
            open: 0,
            over: false,
            last_answer: Instant::now(),
            measured: Measured { answers: 0, total: 0, seconds: 0.0, latency: Histogram::new() },
        })
    }

    fn run(mut self) -> Result<Measured> {
        let began = Instant::now();
        for index in 0..self.links.len() {
            self.send(index, began)?;
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut ready = Vec::new();
        while self.open > 0 {
            self.poller.wait(Duration::from_millis(100), &mut ready)?;
            for &index in &ready {
                self.receive(index, &mut buffer)?;
            }
            if Instant::now() > self.until + DRAIN {
                return Err(format!("{} requests are unanswered after {DRAIN:?}", self.open).into());
            }
        }
        let end = self.last_answer.min(self.until);
        let counted_from = self.from.max(began);
        self.measured.seconds = end.saturating_duration_since(counted_from).as_secs_f64();
        Ok(self.measured)
    }

    /// Takes every answer that a connection has, and sends as many requests.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> Result<()> {
        let (traffic, link, measured) = (self.traffic, &mut self.links[index], &mut self.measured);
        let mut now = None;
        let Link { connection, sent } = link;
        connection.receive(buffer, |bytes, out| {
            let now = *now.insert(Instant::now());
            let counts = (self.from..self.until).contains(&now);
            let mut at = 0;
            loop {
                let taken = traffic.take(&bytes[at..], out)?;
                at += taken.length;
                if taken.answer {
                    let since = sent.pop_front().ok_or("an answer that nobody asked for")?;
                    self.open -= 1;
                    measured.total += 1;
                    measured.answers += u64::from(counts);
                    if counts {
                        measured.latency.record(now - since);
                    }
                }
                if !taken.more {
                    return Ok(at);
                }
            }
        })?;
        let now = now.unwrap_or_else(Instant::now);
        self.last_answer = now;
        self.over |= now >= self.until;
        self.send(index, now)
    }

    /// Fills a connection up to what it may have in flight.
    fn send(&mut self, index: usize, now: Instant) -> Result<()> {
        let link = &mut self.links[index];
        while !self.over && link.sent.len() < self.in_flight {
            if !self.traffic.request(&mut link.connection.out) {
                self.over = true;
                break;
            }
            link.sent.push_back(now);
            self.open += 1;
        }
        link.connection.flush(&self.poller)
    }
}
