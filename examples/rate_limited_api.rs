//! A singleton in front of an API: the one object at `/limiter` decides for everybody, so the limit is exact.
//!
//! ```text
//! cargo run --example rate_limited_api
//! curl localhost:8787/limiter:acquire --json '"ann"'      # {"left":4}
//! curl -i localhost:8787/limiter:acquire --json '"ann"'   # 429 after five of them in a minute
//! curl localhost:8787/limiter:acquire --json '"bob"'      # everybody has a limit of their own
//! ```

use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{Class, Code, Error, RawValue, Server, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};

/// Requests of one client in a window.
const LIMIT: u64 = 5;
/// How long a window is, in milliseconds.
const WINDOW: u64 = 60_000;

/// A row of each client counts its requests; all of them are dropped when a window ends, so that they cannot pile up.
#[derive(Default, Serialize, Deserialize)]
struct RateLimiter {
    /// When the window ends, in milliseconds since the epoch.
    ends: u64,
}

#[derive(Serialize)]
struct Granted {
    left: u64,
}

impl Class for RateLimiter {
    const NAME: &'static str = "limiter";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "acquire" => self.acquire(turn, &read::<String>(payload)?),
            other => Err(unknown_method(other)),
        }
    }
}

impl RateLimiter {
    fn acquire(&mut self, turn: &mut Turn<'_>, client: &str) -> Result<Vec<u8>, Error> {
        let now = turn.now();
        if now >= self.ends {
            turn.delete_all()?;
            self.ends = now + WINDOW;
        }
        let used = turn.get(client)?.unwrap_or(0);
        if used >= LIMIT {
            let seconds = (self.ends - now).div_ceil(1_000);
            let text = format!("{LIMIT} requests a minute are the limit; try again in {seconds} s");
            return Err(Error::new(Code::RateLimited, text));
        }
        turn.put(client, &(used + 1))?;
        json(&Granted { left: LIMIT - used - 1 })
    }
}

/// The server of this example.
pub fn server() -> Builder {
    Server::builder().class::<RateLimiter>().route("/limiter", "limiter")
}

fn main() -> ExitCode {
    server().run()
}
