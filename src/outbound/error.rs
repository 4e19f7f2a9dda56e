//! Why a request has no answer, in words that say what to change.

use std::fmt;
use std::time::Duration;

/// What became of a request that has no answer. No text holds more of the URL than its host: the rest may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is none that can be sent.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The host, or every address it has, may not be reached.
    #[error("{host} is refused: {reason}; `outbound.allow` can list it")]
    Refused {
        /// The host and port.
        host: String,
        /// The address, and what it is.
        reason: String,
    },
    /// The answer was not complete in time.
    #[error("{host} did not answer within {after:?}, the limit that `outbound.timeout` sets")]
    TimedOut {
        /// The host and port.
        host: String,
        /// The limit.
        after: Duration,
    },
    /// A part of the request or of the response is too large.
    #[error("the {part} is larger than {limit} bytes, {} ({host})", part.bound())]
    TooLarge {
        /// Which part.
        part: Part,
        /// The host and port.
        host: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too many requests are under way and wait.
    #[error("no place for a request to {host}: `outbound.concurrent` allows {concurrent} at a time")]
    Busy {
        /// The host and port.
        host: String,
        /// The limit.
        concurrent: usize,
    },
    /// The network or the other side failed.
    #[error("cannot {step} {host}: {detail}")]
    Failed {
        /// What was being done.
        step: Step,
        /// The host and port.
        host: String,
        /// What the system, TLS or HTTP says.
        detail: String,
    },
}

/// A part of an exchange that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Method, path and headers of the request.
    RequestHead,
    /// The body of the request.
    RequestBody,
    /// Status and headers of the response.
    ResponseHead,
    /// The body of the response.
    ResponseBody,
}

/// A step of an exchange that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Finding the addresses of a name.
    Resolve,
    /// Opening a connection.
    Connect,
    /// Agreeing on encryption, which includes the certificate.
    Secure,
    /// Sending the request and reading the response.
    Exchange,
}

impl Error {
    /// The value of the metric's label.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Refused { .. } => "refused",
            Self::TimedOut { .. } => "timed_out",
            Self::TooLarge { .. } => "too_large",
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Part {
    fn bound(self) -> &'static str {
        match self {
            Self::RequestBody | Self::ResponseBody => "the limit that `outbound.body_bytes` sets",
            Self::RequestHead | Self::ResponseHead => "the limit of a head",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestHead => "request's head",
            Self::RequestBody => "request's body",
            Self::ResponseHead => "response's head",
            Self::ResponseBody => "response's body",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect to",
            Self::Secure => "agree on TLS with",
            Self::Exchange => "read a response of",
        })
    }
}
