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
mod coordinator;
mod family;
mod keyboard;
mod manager;
mod object;
mod readme;
mod safety;
mod server;
mod snippet;
mod stage;
mod tree;
mod window;
mod windows;
mod worker;

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use stage::{Stage, play};
pub(crate) use window::Window;

/// How long anything may take that a test waits for.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// A port that nobody listens on. It is below those that the system gives to outgoing connections, so that none of these
/// takes it meanwhile: not before it is listened on, nor while a server is down that comes back to it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const PORTS: u32 = 20_000;
    for _ in 0..PORTS {
        // Other processes begin somewhere else.
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % PORTS).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("none of {PORTS} ports is free");
}

/// Awaits what must come, and says what it was when it does not.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
