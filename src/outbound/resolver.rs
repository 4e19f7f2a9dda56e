//! From a name to its addresses.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::limits::OUTBOUND_LOOKUPS;

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks names up.
pub(super) struct Resolver(Box<dyn Fn(String, u16) -> Lookup + Send + Sync>);

impl Resolver {
    /// One that looks names up with this.
    pub(super) fn new(lookup: impl Fn(String, u16) -> Lookup + Send + Sync + 'static) -> Self {
        Self(Box::new(lookup))
    }

    /// The system's: what the files, name servers and search domains of the machine say.
    pub(super) fn system() -> Self {
        let threads = Arc::new(Semaphore::new(OUTBOUND_LOOKUPS));
        Self::new(move |name, port| {
            let threads = threads.clone();
            Box::pin(async move {
                let thread = threads.acquire_owned().await.map_err(io::Error::other)?;
                let look_up = move || {
                    // A lookup cannot be cancelled: it has its place until it ends, though its caller may be gone.
                    let _thread = thread;
                    Ok((name.as_str(), port).to_socket_addrs()?.collect())
                };
                tokio::task::spawn_blocking(look_up).await?
            })
        })
    }

    /// The addresses of a name, each in its own shape (an IPv4 address is never an IPv6 one), in the order of preference.
    ///
    /// `localhost` and the names below it are this machine, without a question to anybody (RFC 6761).
    ///
    /// # Errors
    /// What the resolver says, also when there is none.
    pub(super) async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let found = (self.0)(name.to_owned(), port).await?;
        if found.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address.ip().to_canonical(), port)).collect())
    }
}
