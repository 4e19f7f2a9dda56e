//! A counter that many write at once: each writer adds to one of eight shards, and whoever wants the sum asks them all.
//!
//! ```text
//! cargo run --example sharded_counter
//! curl -X POST localhost:8787/likes/video/$((RANDOM % 8)):increment
//! curl -X POST localhost:8787/likes/video/$((RANDOM % 8)):increment
//! curl -X POST localhost:8787/likes/video:sum
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{Ask, Class, Deferred, Error, ObjectPath, RawValue, Replied, Server, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};

/// The shards of a counter are its children `0` to `7`.
const SHARDS: u64 = 8;

#[derive(Default, Serialize, Deserialize)]
struct Shard {
    count: u64,
}

impl Class for Shard {
    const NAME: &'static str = "shard";

    fn call(&mut self, _turn: &mut Turn<'_>, method: &str, _payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "increment" => self.count += 1,
            "get" => {}
            other => return Err(unknown_method(other)),
        }
        json(&self.count)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct ShardedCounter {
    sums: u64,
    /// The sums that are being taken.
    readings: BTreeMap<u64, Reading>,
}

#[derive(Serialize, Deserialize)]
struct Reading {
    asked: Deferred,
    missing: u64,
    sum: u64,
}

impl Class for ShardedCounter {
    const NAME: &'static str = "sharded-counter";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "sum" => self.begin_sum(turn),
            other => Err(unknown_method(other)),
        }
    }

    fn replied(&mut self, turn: &mut Turn<'_>, reply: &Replied<'_>) -> Result<(), Error> {
        let number = read(reply.note)?;
        // One that has failed is not there any more.
        let Some(mut reading) = self.readings.remove(&number) else { return Ok(()) };
        match reply.result.clone().and_then(read::<u64>) {
            Err(error) => drop(turn.answer_deferred(&reading.asked, Err(error))),
            Ok(count) => {
                reading.missing -= 1;
                reading.sum += count;
                if reading.missing == 0 {
                    turn.answer_deferred(&reading.asked, json(&reading.sum));
                } else {
                    self.readings.insert(number, reading);
                }
            }
        }
        Ok(())
    }
}

impl ShardedCounter {
    /// Asks every shard; whoever wants the sum waits until the last has answered, and this object goes on meanwhile.
    fn begin_sum(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        self.sums += 1;
        for shard in 0..SHARDS {
            let shard = ObjectPath::parse(&format!("{}/{shard}", turn.path()));
            let shard = shard.map_err(|error| Error::bad_request(error.to_string()))?;
            turn.call(&shard, "get", &(), Ask::new().timeout(5_000).note(&self.sums))?;
        }
        self.readings.insert(self.sums, Reading { asked: turn.defer()?, missing: SHARDS, sum: 0 });
        json(&())
    }
}

/// The server of this example.
pub fn server() -> Builder {
    let builder = Server::builder().class::<ShardedCounter>().class::<Shard>();
    builder.route("/likes/*", "sharded-counter").route("/likes/*/*", "shard")
}

fn main() -> ExitCode {
    server().run()
}
