//! Sessions that end by themselves: an object for each, and its alarm is the time to live.
//!
//! ```text
//! cargo run --example user_session
//! curl localhost:8787/sessions/6f1c:create --json '{"user":"ann","ttl":60000}'
//! curl localhost:8787/sessions/6f1c:touch --json null      # another minute
//! curl localhost:8787/sessions/6f1c:get --json null        # 404 once it is over
//! curl localhost:8787/sessions/6f1c:end --json null
//! ```

use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{Change, Class, Code, Error, RawValue, Server, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};

/// How long a session lives without being touched, unless it says so: half an hour, in milliseconds.
const TTL: u64 = 30 * 60_000;

#[derive(Default, Serialize, Deserialize)]
struct Session {
    current: Option<Current>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Current {
    user: String,
    /// In milliseconds.
    ttl: u64,
    /// In milliseconds since the epoch.
    expires: u64,
}

#[derive(Deserialize)]
struct Create {
    user: String,
    ttl: Option<u64>,
}

impl Class for Session {
    const NAME: &'static str = "session";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "create" if self.current.is_some() => return Err(Error::conflict("There is a session already")),
            "create" => {
                let Create { user, ttl } = read(payload)?;
                self.extend(turn, user, ttl.unwrap_or(TTL))?;
            }
            "touch" => {
                let Current { user, ttl, .. } = self.current()?.clone();
                self.extend(turn, user, ttl)?;
            }
            "get" => {}
            "end" => {
                self.current()?;
                turn.delete_alarm();
                self.forget(turn);
                return json(&());
            }
            other => return Err(unknown_method(other)),
        }
        json(self.current()?)
    }

    /// The time is over.
    fn alarm(&mut self, turn: &mut Turn<'_>, _retry: u32) -> Result<(), Error> {
        self.forget(turn);
        Ok(())
    }
}

impl Session {
    fn current(&self) -> Result<&Current, Error> {
        self.current.as_ref().ok_or_else(|| Error::new(Code::NotFound, "There is no session"))
    }

    /// Begins the time to live anew: the one alarm of the object is replaced.
    fn extend(&mut self, turn: &mut Turn<'_>, user: String, ttl: u64) -> Result<(), Error> {
        let expires = turn.now().saturating_add(ttl);
        turn.set_alarm(expires)?;
        self.current = Some(Current { user, ttl, expires });
        turn.publish(Change::none());
        Ok(())
    }

    fn forget(&mut self, turn: &mut Turn<'_>) {
        self.current = None;
        turn.publish(Change::none());
    }
}

/// The server of this example.
pub fn server() -> Builder {
    Server::builder().class::<Session>().route("/sessions/*", "session")
}

fn main() -> ExitCode {
    server().run()
}
