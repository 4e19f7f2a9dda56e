//! A running server: builds every part, owns its tasks, and ends it.
//!
//! `Config → bind → serve → drain`: a token tells everyone to stop, a tracker knows who has not, a grace period bounds the
//! wait, and whoever is left is named.

mod builder;
mod descriptors;
mod listener;
mod running;
mod services;
mod tasks;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, routes};
use crate::http::{self, Edge, Guard};
use crate::limits::{JWT_SECRET_BYTES, LARGE_BODIES, SPARE_WORKERS, TASK_TYPE_CHARS};
use crate::metrics::Metrics;
use crate::object::{self, Namespace, RegistryError};
use crate::storage::{self, Storage};

pub use builder::Builder;
pub use running::Running;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was configured.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The classes cannot be registered as they are.
    #[error(transparent)]
    Classes(#[from] RegistryError),
    /// The routes of the program and those of the configuration do not go together.
    #[error(transparent)]
    Routes(#[from] routes::Error),
    /// A route names a class that there is not.
    #[error("route `{pattern}` names the class `{class}`, which is not registered")]
    UnknownClass {
        /// The route's pattern.
        pattern: String,
        /// The class.
        class: String,
    },
    /// Two jobs have the same name.
    #[error("two jobs are named `{0}`; a job is found by its name")]
    DuplicateJob(&'static str),
    /// Two handlers are for tasks of the same type.
    #[error("two handlers are registered for tasks of type `{0}`; `echo`, `sleep` and `http` are built in")]
    DuplicateTask(String),
    /// A type that no task can have.
    #[error("`{0}` cannot be the type of a task: it must have 1 to {TASK_TYPE_CHARS} characters")]
    TaskType(String),
    /// Signals cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
}

/// A server that listens and does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    edge: Edge,
    config: Config,
    descriptors: u64,
}

impl Server {
    /// Begins a server; [`Builder`] shows how it goes on.
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn bind(builder: Builder) -> Result<Self, Error> {
        let metrics = Metrics::new();
        let registry = builder.registry(&metrics)?;
        let config = builder.config;
        let failed = |source| Error::Listen { address: config.server.listen, source };
        let listener = TcpListener::bind(config.server.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let descriptors = descriptors::raise();
        let options = storage::Options { data_dir: config.storage.data_dir.clone(), ..storage::Options::default() };
        let storage = Storage::open(options, &metrics)?;
        let tasks = TaskTracker::new();
        let stopping = CancellationToken::new();
        let namespace = Namespace::new(
            storage.clone(),
            registry,
            object_options(&config),
            metrics.clone(),
            services::services(&config, &metrics, builder.jobs),
            &tasks,
        );
        let edge = Edge {
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
            namespace,
            storage,
            metrics,
            guard: Arc::new(Guard::new(&config.server, address)),
            options: http::Options {
                message_bytes: config.limits.message_bytes,
                ping_interval: config.server.ping_interval,
                ping_timeout: config.server.ping_timeout,
            },
            tasks,
            stopping,
            serving: Arc::new(AtomicBool::new(false)),
        };
        Ok(Self { listener, address, edge, config, descriptors })
    }

    /// The address that is listened on, with the port that was taken for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then drains: what was begun is finished, sockets are closed with 1001, and what
    /// is not done within the grace time is dropped.
    pub async fn serve(self, stop: CancellationToken) {
        let Self { listener, edge, config, descriptors, .. } = self;
        log_start(&config, self.address, descriptors);
        edge.serving.store(true, Ordering::Relaxed);
        background(&edge, edge.namespace.hibernation());
        background(&edge, edge.namespace.alarms());
        background(&edge, edge.namespace.sampling());
        background(&edge, edge.namespace.attention());
        background(&edge, edge.namespace.deliveries());
        let accepting = edge.tasks.spawn(listener::accept(listener, edge.clone(), descriptors));
        stop.cancelled().await;
        // Before anybody hears of it: who connects anew is to find nobody, and not a server that goes.
        accepting.abort();
        if let Err(error) = accepting.await
            && error.is_panic()
        {
            tracing::error!(%error, "accepting connections has ended early");
        }
        drain(edge, config.server.shutdown_grace).await;
    }
}

/// Runs a task of the runtime until the server stops.
fn background(edge: &Edge, task: impl Future<Output = ()> + Send + 'static) {
    edge.tasks.spawn(edge.stopping.clone().run_until_cancelled_owned(task));
}

/// The runtime that a server wants: so many workers that a turn which runs long holds up nobody else.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores + SPARE_WORKERS).enable_all().build()
}

/// Runs a server until the process is told to stop (SIGTERM, SIGINT); a second signal ends it at once.
///
/// The first line on standard output says where it listens.
///
/// # Errors
/// Any [`Error`].
pub async fn run(builder: Builder) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let server = builder.bind().await?;
    println!("listening on http://{}", server.address());
    let stop = CancellationToken::new();
    let serving = server.serve(stop.clone());
    let signals = async {
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "stopping; a second signal ends the server at once");
        stop.cancel();
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "ending at once");
    };
    tokio::select! {
        () = serving => {}
        () = signals => {}
    }
    Ok(())
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn drain(edge: Edge, grace: std::time::Duration) {
    // First, so that an object whose socket closes can tell why.
    edge.namespace.stop();
    edge.stopping.cancel();
    edge.tasks.close();
    if tokio::time::timeout(grace, edge.tasks.wait()).await.is_err() {
        tracing::warn!(tasks = edge.tasks.len(), ?grace, "the grace time is over; what is left is dropped");
    }
    let storage = edge.storage.clone();
    // What is queued is committed by this.
    if let Err(error) = tokio::task::spawn_blocking(move || storage.close()).await {
        tracing::error!(%error, "storage did not close");
    }
    tracing::info!("stopped");
}

fn object_options(config: &Config) -> object::Options {
    let limits = &config.limits;
    object::Options {
        children_per_object: limits.children_per_object as u64,
        sockets_per_object: limits.sockets_per_object,
        storage_per_object: limits.storage_per_object,
        objects: limits.objects as u64,
        sockets: limits.sockets,
    }
}

fn log_start(config: &Config, address: SocketAddr, descriptors: u64) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data_dir = %config.storage.data_dir.display(),
        engine = "SQLite",
        descriptors,
        sockets = config.limits.sockets,
        objects = config.limits.objects,
        "serving on http://{address}"
    );
    if !address.ip().is_loopback() {
        tracing::warn!("anybody who can reach {address} can read and change every object: there is no authorisation");
    }
    let auth = &config.auth;
    if auth.enabled {
        tracing::warn!("`auth.enabled` guards only the connections of workers so far; everything else needs no token");
    }
    if (1..JWT_SECRET_BYTES).contains(&auth.jwt_secret.reveal().len()) {
        tracing::warn!("`auth.jwt_secret` has less than {JWT_SECRET_BYTES} bytes: it can be guessed from a token");
    }
}
