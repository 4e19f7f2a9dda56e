//! What a server gives its objects from outside.

use crate::auth::Auth;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::object::{Error, Http, Jobs, Services};
use crate::outbound::{self, Client};
use crate::protocol::Code;

pub(super) fn services(config: &Config, metrics: &Metrics, jobs: Jobs) -> Services {
    let client = Client::new((&config.outbound).into(), metrics);
    let http = Http::new(move |request| {
        let client = client.clone();
        async move { client.send(request).await.map_err(|error| failure(&error)) }
    });
    Services { auth: Auth::new(&(&config.auth).into()), jobs, http, ..Services::default() }
}

/// What an object is told when its request has no answer.
fn failure(error: &outbound::Error) -> Error {
    let code = match error {
        outbound::Error::Invalid { .. } => Code::BadRequest,
        outbound::Error::Refused { .. } => Code::Forbidden,
        outbound::Error::TooLarge { .. } => Code::TooLarge,
        outbound::Error::Busy { .. } => Code::Overloaded,
        outbound::Error::TimedOut { .. } | outbound::Error::Failed { .. } => Code::Unavailable,
    };
    Error::new(code, error.to_string())
}
