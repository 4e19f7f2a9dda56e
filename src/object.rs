//! Objects: lazily spawned, single-threaded, hibernating, never twice.
//!
//! [`Namespace`] maps a path to its object. An event is posted to the object's slot; whoever posts into a slot that nobody
//! runs becomes its runner and runs the turn right there. A turn is synchronous; its changes go to storage as one write
//! set, and its effects leave when that write set is durable.
//!
//! | file | what it holds |
//! |---|---|
//! | `class` | the [`Class`] trait |
//! | `instance`, `registry` | what the runtime knows of classes |
//! | `slot` | who may run an object, as a pure state machine |
//! | `namespace` | path → slot: creating, posting, putting to sleep |
//! | `runner` | who runs a slot, and for how long |
//! | `handle` | what each event does |
//! | `attempt`, `turn` | one turn of a class; what a handler may use |
//! | `commit` | the end of a run: write set and effects |
//! | `deletion` | deleting subtrees |
//! | `errand` | what is done behind a commit: for other objects, and outside |
//! | `inbox` | durable messages |
//! | `look` | calls that only read what is durable, without a turn |
//! | `replies`, `deferred` | answers that an object waits for, and those that it owes |
//! | `jobs`, `outside` | work outside of turns, and HTTP |
//! | `services` | what comes from outside: time, randomness, tokens, jobs, HTTP |
//! | `faults` | what may go wrong on the way, in a simulation |
//! | `timed` | what is due: alarms and schedules |
//! | `timeouts` | who has waited long enough in memory |
//! | `wakes` | who is woken when |
//! | `body`, `children`, `rows` | what an object has in memory |
//! | `list` | which of its rows to list |
//! | `choices` | which class an object gets that is not stored |
//! | `event` | what can happen to an object, and what a turn can cause |
//! | `tally`, `activity` | the metrics of a class; what it did in the last minute |
//! | `session` | one socket: frames that wait for their commits |
//! | `idle` | who sleeps when |
//! | `doing` | what a turn does that does not end |
//! | `pulse` | attending to sockets during long turns |
//! | `stub` | the handle that the edge holds |
//!
//! This layer names no class, no axum, no SQLite.

mod activity;
mod attempt;
mod body;
mod children;
mod choices;
mod class;
mod commit;
mod deferred;
mod deletion;
mod doing;
mod errand;
mod error;
mod event;
mod faults;
mod gaps;
mod handle;
mod idle;
mod inbox;
mod instance;
mod jobs;
mod list;
mod look;
mod namespace;
mod outside;
mod pulse;
mod registry;
mod replies;
mod rows;
mod runner;
mod services;
mod session;
mod slot;
mod stub;
mod tally;
#[cfg(test)]
mod tests;
mod timed;
mod timeouts;
mod turn;
mod wakes;

pub use crate::auth::{Identity, Scope};
pub use activity::ClassMetrics;
pub use class::{Class, Replied, append_json, json, read, unknown_method};
pub use deferred::Deferred;
pub use error::Error;
pub use event::Caller;
pub use faults::Faults;
pub(crate) use faults::{Delivery, Fault};
pub use list::{List, Listing};
pub use look::Look;
pub use namespace::Options;
pub use outside::response;
pub use registry::{Registry, RegistryError};
pub use services::{Http, Jobs, Services};
pub use session::{Close, Drained, Outgoing};
pub use stub::{Listed, Namespace, Socket};
pub use turn::{Ask, ListedChild, Sent, SocketId, Turn, When};

/// How the sockets of a deleted object end.
const DELETED: Close = Close::new(1000, "Agent deleted");

/// How sockets end that have lost something with a failed commit which nothing would tell them anew.
const STORAGE_FAILED: Close = Close::new(1013, "storage failed; connect again");
