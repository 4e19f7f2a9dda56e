//! What the objects of a server get from outside: time, randomness, tokens, jobs, HTTP. A simulation replaces each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Error, Faults};
use crate::auth::Auth;
use crate::clock::{Clock, Random};
use crate::protocol::Code;

/// What objects get from outside.
#[derive(Debug, Clone)]
pub struct Services {
    /// The time that turns see.
    pub clock: Clock,
    /// Randomness of turns.
    pub random: Random,
    /// What [`Turn::authenticate`](super::Turn::authenticate) knows of tokens.
    pub auth: Auth,
    /// What [`Turn::run`](super::Turn::run) can start.
    pub jobs: Jobs,
    /// What [`Turn::http`](super::Turn::http) sends.
    pub http: Http,
    /// What goes wrong on the way to an object; nothing, but in a simulation.
    pub faults: Faults,
}

impl Default for Services {
    /// The system's time and randomness, no tokens, no jobs, and no HTTP.
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            random: Random::system(),
            auth: Auth::default(),
            jobs: Jobs::default(),
            http: Http::default(),
            faults: Faults::default(),
        }
    }
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = Result<T, Error>> + Send>>;

/// Work that has not begun.
pub(super) type Work = Box<dyn FnOnce() -> Future<Vec<u8>> + Send>;

type Job = dyn Fn(Box<RawValue>) -> Future<Vec<u8>> + Send + Sync;

/// Async work that objects can start, by name.
#[derive(Clone, Default)]
pub struct Jobs(HashMap<Cow<'static, str>, Arc<Job>>);

impl Jobs {
    /// Registers work: it gets the input that the object gave, and answers JSON text (see [`json`](super::json)). It runs
    /// outside every turn and is dropped when it is cancelled, takes too long, or the server stops. One of the same name
    /// is replaced.
    ///
    /// ```
    /// use fleet::{Jobs, json};
    ///
    /// let jobs = Jobs::default().with("echo", |input| async move { json(&input) });
    /// ```
    #[must_use]
    pub fn with<F>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        job: impl Fn(Box<RawValue>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: std::future::Future<Output = Result<Vec<u8>, Error>> + Send + 'static,
    {
        self.0.insert(name.into(), Arc::new(move |input| Box::pin(job(input))));
        self
    }

    /// Whether work of that name is registered.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// # Errors
    /// `not_found` when there is no such job.
    pub(super) fn work(&self, name: &str, input: Box<RawValue>) -> Result<Work, Error> {
        let Some(job) = self.0.get(name).map(Arc::clone) else {
            let name: String = name.chars().take(64).collect();
            return Err(Error::not_found(format!("unknown job: {name}")));
        };
        Ok(Box::new(move || job(input)))
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

type Sender = dyn Fn(http::Request<Bytes>) -> Future<http::Response<Bytes>> + Send + Sync;

/// How a request of an object reaches another server.
#[derive(Clone)]
pub struct Http(Arc<Sender>);

impl Http {
    /// Requests are sent by this function, which bounds their time and size.
    pub fn new<F>(send: impl Fn(http::Request<Bytes>) -> F + Send + Sync + 'static) -> Self
    where
        F: std::future::Future<Output = Result<http::Response<Bytes>, Error>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(send(request))))
    }

    pub(super) fn send(&self, request: http::Request<Bytes>) -> Future<http::Response<Bytes>> {
        (self.0)(request)
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new(|_| async { Err(Error::new(Code::Unavailable, "this server has no outbound HTTP")) })
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}
