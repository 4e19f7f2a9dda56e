//! The smallest class: a count for every path below `/counters`.
//!
//! ```text
//! cargo run --example counter
//! curl -X POST localhost:8787/counters/visits:increment          # 1
//! curl localhost:8787/counters/visits:add --json 5               # 6
//! curl -H 'Accept: application/json' localhost:8787/counters/visits
//! ```

use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{Change, Class, Error, RawValue, Server, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

impl Class for Counter {
    const NAME: &'static str = "counter";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        self.count += match method {
            "increment" => 1,
            "add" => read::<u64>(payload)?,
            other => return Err(unknown_method(other)),
        };
        turn.publish(Change::field("count", self.count));
        json(&self.count)
    }
}

/// The server of this example.
pub fn server() -> Builder {
    Server::builder().class::<Counter>().route("/counters/*", "counter")
}

fn main() -> ExitCode {
    server().run()
}
