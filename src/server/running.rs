//! A server within a program of somebody else.

use std::net::SocketAddr;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Server;
use crate::object::Namespace;

/// A server that serves. When it is dropped the server stops in the background; [`Running::stop`] waits until it has.
#[must_use = "the server stops when this is dropped"]
pub struct Running {
    address: SocketAddr,
    objects: Namespace,
    stop: DropGuard,
    serving: JoinHandle<()>,
}

impl Running {
    pub(super) fn start(server: Server) -> Self {
        let (address, objects) = (server.address(), server.edge.namespace.clone());
        let stop = CancellationToken::new();
        let serving = Handle::current().spawn(server.serve(stop.clone()));
        Self { address, objects, stop: stop.drop_guard(), serving }
    }

    /// The address that is listened on, with the port that was taken for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The objects, to be reached without HTTP.
    pub fn objects(&self) -> &Namespace {
        &self.objects
    }

    /// Stops the server as a signal stops the binary: what was begun is finished, within the grace time. What was
    /// acknowledged is on the disk.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the server ended badly");
        }
    }
}
