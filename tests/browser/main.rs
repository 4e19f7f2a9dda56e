//! FP12: the page in a real browser, against the real binary.
//!
//! Each test has a server, a data directory and a headless Chromium of its own; its windows are handled as a person would:
//! by clicks and keys. What is waited for is waited for inside the page, where every change is seen. At the end of every
//! test the console must be clean: no error, no warning, no violation of the Content-Security-Policy; and the server's log
//! must tell of no failure.
//!
//! Needs `chromium`, `chromedriver` and `curl` on the path (Debian: chromium, chromium-driver, curl). Where one is missing
//! the tests say so and pass; with `CI` in the environment they fail.

// A test that cannot go on should say where.
#![allow(clippy::unwrap_used)]

mod accessibility;
mod chrome;
mod connection;
mod family;
mod keyboard;
mod readme;
mod safety;
mod server;
mod snippet;
mod stage;
mod tree;
mod window;
mod windows;

pub(crate) use stage::{Stage, play};
pub(crate) use window::Window;

/// How long anything may take that a test waits for.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// Awaits what must come, and says what it was when it does not.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
