//! Outbound HTTP: what objects ask of other servers, bounded in time, size and number, and kept off the operator's network.
//!
//! ```text
//! request ─► target (URL, head) ─► a place ─► addresses ─► policy ─► connect ─► TLS ─► exchange ─► response
//! ```
//!
//! Whoever writes a message to an object may choose the URL that its class asks for. So an address that is not public is
//! refused unless the operator listed it, and what is checked is the address that is then connected to: a name server that
//! answers differently the second time has no second time. Redirects are answers like others; a class that follows one
//! sends a new request, which is checked anew. There are no cookies, and no proxies from the environment.
//!
//! # Why
//! A connection serves one request, and is driven by the call that wants the answer. A pool (as in `reqwest`, or in the
//! client of `hyper-util`) saves a handshake on the next request, but picks the address itself, and keeps tasks and sockets
//! that outlive the call and that nobody waits for at a shutdown. Here, dropping the call ends everything it began.
//!
//! The certificate authorities are Mozilla's, compiled in: a container without any works, and no file is read.

mod address;
mod error;
mod exchange;
mod policy;
mod resolver;
mod rule;
mod target;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::RootCertStore;

pub use error::{Error, Part, Step};
pub use rule::Rule;

use crate::limits::OUTBOUND_WAITING;
use crate::metrics::Metrics;
use policy::Policy;
use resolver::Resolver;
use target::Target;

/// What bounds the requests of one server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time for one request, from the call of [`Client::send`] to the last byte of the answer.
    pub timeout: Duration,
    /// Largest body of a request and of a response, in bytes.
    pub body_bytes: usize,
    /// Most requests under way at a time; at least 1.
    pub concurrent: usize,
    /// What may be reached although it is not public: see [`Rule`].
    pub allow: Vec<Rule>,
    /// Whether nothing else than what is in `allow` may be reached.
    pub only_listed: bool,
}

/// Sends requests for objects; cloning shares the bounds.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    timeout: Duration,
    body_bytes: usize,
    concurrent: usize,
    policy: Policy,
    resolver: Resolver,
    tls: TlsConnector,
    /// A place for every request under way and every one that waits for it.
    admitted: Semaphore,
    /// A place for every request under way.
    running: Semaphore,
    metrics: Metrics,
}

impl Client {
    /// A client that asks the system's resolver.
    pub fn new(options: Options, metrics: &Metrics) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::with(options, metrics, Resolver::system(), roots)
    }

    /// The same with the resolver and the certificate authorities handed in, which is what makes it testable.
    fn with(options: Options, metrics: &Metrics, resolver: Resolver, roots: RootCertStore) -> Self {
        let concurrent = options.concurrent.clamp(1, Semaphore::MAX_PERMITS - OUTBOUND_WAITING);
        Self(Arc::new(Shared {
            timeout: options.timeout,
            body_bytes: options.body_bytes,
            concurrent,
            policy: Policy::new(options.allow, options.only_listed),
            resolver,
            tls: exchange::tls(roots),
            admitted: Semaphore::new(concurrent + OUTBOUND_WAITING),
            running: Semaphore::new(concurrent),
            metrics: metrics.clone(),
        }))
    }

    /// Sends a request with an absolute `http` or `https` URL and reads the whole response, of whatever status.
    ///
    /// The headers that belong to the connection (`Host`, `Content-Length`, `Transfer-Encoding`, `Connection` and its like)
    /// follow from the URL and the body; what the request says of them is dropped, as is what the response says of its
    /// connection. Dropping the future ends the exchange.
    ///
    /// # Errors
    /// Any [`Error`]; after [`Error::TimedOut`], [`Error::Failed`] and [`Error::TooLarge`] of a response, the other side may
    /// have acted on the request.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let sent = self.0.send(request).await;
        let outcome = sent.as_ref().map_or_else(Error::outcome, |_| "answered");
        self.0.metrics.outbound.with_label_values(&[outcome]).inc();
        sent
    }
}

impl Shared {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let body_bytes = request.body().len();
        let (target, request) = Target::of(request)?;
        if body_bytes > self.body_bytes {
            return Err(Error::TooLarge { part: Part::RequestBody, host: target.authority, limit: self.body_bytes });
        }
        let busy = |host| Error::Busy { host, concurrent: self.concurrent };
        let Ok(_admitted) = self.admitted.try_acquire() else {
            return Err(busy(target.authority));
        };
        let mut begun = false;
        let exchange = async {
            // The semaphore is never closed.
            let Ok(_running) = self.running.acquire().await else {
                return Err(busy(target.authority.clone()));
            };
            begun = true;
            self.exchange(&target, request).await
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) if begun => Err(Error::TimedOut { host: target.authority, after: self.timeout }),
            Err(_) => Err(busy(target.authority)),
        }
    }

    async fn exchange(&self, target: &Target, request: exchange::Outgoing) -> Result<Response<Bytes>, Error> {
        let addresses = self.policy.addresses(target, &self.resolver).await?;
        let stream = exchange::connect(target, &addresses).await?;
        if target.https {
            let stream = exchange::secure(target, &self.tls, stream).await?;
            exchange::talk(target, stream, request, self.body_bytes).await
        } else {
            exchange::talk(target, stream, request, self.body_bytes).await
        }
    }
}

#[cfg(test)]
mod tests;
