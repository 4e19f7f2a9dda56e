//! The log: lines on standard error, as text for people or JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

use super::Error;
use crate::config::{Log, LogFormat};

/// Starts logging for the whole process.
///
/// Standard output is left to what a program may read: the line that says where the server listens.
///
/// # Errors
/// [`Error::Failure`] when logging has started before, or the filter is one that the configuration would have refused.
pub fn start(options: &Log) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(&options.filter).map_err(|error| Error::failure(&error))?;
    let lines = Subscriber::builder().with_env_filter(filter).with_writer(io::stderr);
    // Only ever turned off: on a terminal the default stands, which heeds NO_COLOR.
    let lines = if io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let started = match options.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Error::failure(&*error))
}
