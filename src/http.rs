//! The edge: the one place that turns a URL into an object and a failure into a status.
//!
//! It holds no state of its own. A request is checked (`guard`), told apart by its path (`router`), answered by an object
//! (`object`, `websocket`), by the server (`system`) or by a file (`assets`), and every failure becomes a response in
//! `error`.

mod assets;
mod body;
mod error;
mod guard;
mod object;
mod router;
mod system;
mod websocket;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use guard::Guard;
pub use router::router;

use crate::metrics::Metrics;
use crate::object::Namespace;
use crate::storage::Storage;

/// What the edge needs from the server.
#[derive(Clone)]
pub struct Edge {
    /// The objects.
    pub namespace: Namespace,
    /// Whether it can write decides whether the server is ready.
    pub storage: Storage,
    /// What is counted.
    pub metrics: Metrics,
    /// Who may ask.
    pub guard: Arc<Guard>,
    /// Bounds and times.
    pub options: Options,
    /// Open sockets run here.
    pub tasks: TaskTracker,
    /// Cancelled when the server stops.
    pub stopping: CancellationToken,
    /// Whether requests are served already.
    pub serving: Arc<AtomicBool>,
    /// Places for bodies that only a class allows.
    pub large_bodies: Arc<Semaphore>,
}

impl Edge {
    /// Why the server is not ready, if it is not.
    fn not_ready(&self) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("the server is shutting down".to_owned());
        }
        if !self.serving.load(Ordering::Relaxed) {
            return Some("the server is starting".to_owned());
        }
        let status = self.storage.status();
        if status.ready { None } else { Some(status.reason.unwrap_or_else(|| "storage is not ready".to_owned())) }
    }
}

/// Bounds and times of the edge.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Largest body and largest WebSocket message, in bytes.
    pub message_bytes: usize,
    /// Silence after which a socket is pinged.
    pub ping_interval: Duration,
    /// Silence after a ping after which it is given up.
    pub ping_timeout: Duration,
}

/// What is known of the connection that a request came over; an extension of every request.
#[derive(Clone)]
pub struct Connection {
    /// The other end.
    pub peer: IpAddr,
    /// The connection's descriptor counts against the server's until this is dropped.
    pub permit: Arc<OwnedSemaphorePermit>,
}
