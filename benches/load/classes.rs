//! The classes that are measured, and the server of them: this program again, in another process, as a program of a user is.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet::config::Config;
use fleet::{
    Caller, Change, Class, Error, List, ObjectPath, RawValue, Server, Turn, json, read, server, unknown_method,
};
use serde::{Deserialize, Serialize};

use crate::Result as Outcome;

/// Paths of a class are those that have its name as their second segment.
const PATTERNS: [(&str, &str); 6] = [
    ("/*/cell/**", Cell::NAME),
    ("/*/alarm/**", Alarm::NAME),
    ("/*/sender/**", Sender::NAME),
    ("/*/receiver/**", Receiver::NAME),
    ("/*/shelf/**", Shelf::NAME),
    ("/*/spinner/**", Spinner::NAME),
];

/// Serves until SIGTERM, as the binary does.
pub(crate) fn serve(data: Option<PathBuf>) -> Outcome<()> {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse()?;
    config.storage.data_dir = data.ok_or("a server needs a data directory")?;
    fleet::cli::logging::start(&config.log).map_err(|error| format!("{error:?}"))?;
    let builder = Server::builder().class::<Cell>().class::<Alarm>().class::<Sender>().class::<Receiver>();
    let builder = builder.class::<Shelf>().class::<Spinner>().config(config);
    let builder = PATTERNS.iter().fold(builder, |builder, (pattern, class)| builder.route(*pattern, *class));
    let runtime = server::runtime()?;
    let served = runtime.block_on(server::run(builder));
    runtime.shutdown_background();
    Ok(served?)
}

/// Counts in a row, and tells it as the built-in class does.
#[derive(Default, Serialize, Deserialize)]
struct Cell;

impl Class for Cell {
    const NAME: &'static str = "cell";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        if method != "increment" {
            return Err(unknown_method(method));
        }
        let count = turn.get::<u64>("count")?.unwrap_or(0) + 1;
        turn.put("count", &count)?;
        turn.publish(Change::field("count", count));
        json(&count)
    }

    fn state(&mut self, turn: &mut Turn<'_>) -> Result<Vec<u8>, Error> {
        let count: u64 = turn.get("count")?.unwrap_or(0);
        Ok(format!(r#"{{"data":{{"count":{count}}}}}"#).into_bytes())
    }
}

/// Has an alarm, and notes how late it was.
#[derive(Default, Serialize, Deserialize)]
struct Alarm {
    at: u64,
    /// In milliseconds; negative would be early.
    lag: Option<i64>,
}

impl Class for Alarm {
    const NAME: &'static str = "alarm";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "set" => {
                (self.at, self.lag) = (read(payload)?, None);
                turn.set_alarm(self.at)?;
            }
            "lag" => {}
            other => return Err(unknown_method(other)),
        }
        json(&self.lag)
    }

    fn alarm(&mut self, turn: &mut Turn<'_>, _: u32) -> Result<(), Error> {
        self.lag = Some(turn.now().cast_signed() - self.at.cast_signed());
        Ok(())
    }
}

/// Messages that are under way between two objects.
const WINDOW: u64 = 4_000;
/// So many at a time are asked for by who handles them.
const CREDIT: u64 = 500;

/// Sends numbers to another object for a while, as fast as that handles them.
#[derive(Default, Serialize, Deserialize)]
struct Sender {
    sent: u64,
    until: u64,
    to: String,
}

impl Sender {
    fn send(&mut self, turn: &mut Turn<'_>, count: u64) -> Result<(), Error> {
        if turn.now() >= self.until {
            return Ok(());
        }
        let to = ObjectPath::parse(&self.to).map_err(|error| Error::bad_request(error.to_string()))?;
        for _ in 0..count {
            self.sent += 1;
            turn.send(&to, &self.sent)?;
        }
        Ok(())
    }
}

impl Class for Sender {
    const NAME: &'static str = "sender";
    const TELLS_STATE: bool = false;

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "start" => {
                let (to, ms): (String, u64) = read(payload)?;
                (self.to, self.until) = (to, turn.now() + ms);
                self.send(turn, WINDOW)?;
            }
            "sent" => {}
            other => return Err(unknown_method(other)),
        }
        json(&self.sent)
    }

    fn message(&mut self, turn: &mut Turn<'_>, _: &RawValue) -> Result<(), Error> {
        self.send(turn, CREDIT)
    }
}

/// Handles numbers, each of which must be the one after the last.
#[derive(Default, Serialize, Deserialize)]
struct Receiver {
    handled: u64,
    out_of_order: u64,
    /// When the first and the last came, in ms since the epoch.
    first: u64,
    last: u64,
}

impl Class for Receiver {
    const NAME: &'static str = "receiver";
    const TELLS_STATE: bool = false;

    fn call(&mut self, _: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "handled" => json(&(self.handled, self.out_of_order, self.last - self.first)),
            other => Err(unknown_method(other)),
        }
    }

    fn message(&mut self, turn: &mut Turn<'_>, message: &RawValue) -> Result<(), Error> {
        self.handled += 1;
        self.out_of_order += u64::from(read::<u64>(message)? != self.handled);
        self.last = turn.now();
        if self.first == 0 {
            self.first = self.last;
        }
        if self.handled.is_multiple_of(CREDIT)
            && let Caller::Object(sender) = turn.caller()
        {
            let sender = sender.clone();
            turn.send(&sender, &CREDIT)?;
        }
        Ok(())
    }
}

/// Has a hundred rows of a hundred bytes.
#[derive(Default, Serialize, Deserialize)]
struct Shelf;

impl Class for Shelf {
    const NAME: &'static str = "shelf";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, _: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "fill" => {
                let value = "v".repeat(100);
                (0..100).try_for_each(|number| turn.put(&format!("key {number:03}"), &value))?;
                json(&100)
            }
            "count" => json(&turn.list::<String>(List::new())?.items.len()),
            other => Err(unknown_method(other)),
        }
    }
}

/// Computes for as long as it is told.
#[derive(Default, Serialize, Deserialize)]
struct Spinner;

impl Class for Spinner {
    const NAME: &'static str = "spinner";

    fn call(&mut self, _: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        if method != "spin" {
            return Err(unknown_method(method));
        }
        let end = Instant::now() + Duration::from_millis(read(payload)?);
        let mut number = 0u64;
        while Instant::now() < end {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        json(&number)
    }
}
