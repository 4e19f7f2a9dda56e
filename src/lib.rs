//! Fleet: every URL path is a live, durable object. One binary.
//!
//! This page is the architecture: what happens, where it lives, and what must stay true. `README.md` is for users.
//!
//! # A turn
//!
//! One *event* enters one *object*: a request, a WebSocket message, a message from another object. The object's *class*
//! handles it synchronously: it changes the object's state and lists the *effects* it wants (replies, frames, messages).
//! The changes go to storage as one atomic *write set*; no effect leaves before that is fsynced. That is the *output gate*.
//!
//! ```text
//! event ──► turn (no await, no lock) ──► write set ──► group commit ──► effects released
//! ```
//!
//! An object takes its next turn while the commit of the last one is in flight: its own memory is the truth, and effects
//! queue behind their commits, in order. So one fsync carries thousands of turns, a class needs no locks, and what was
//! acknowledged survives `kill -9` and power loss.
//!
//! What happens when something fails:
//!
//! | failure | what is lost | what the caller sees |
//! |---|---|---|
//! | a handler answers `Err` | that turn | the error |
//! | a handler panics | that turn, and the object's memory; it is read anew once its earlier writes are durable | `internal` |
//! | a commit fails | that write set and everything queued behind it; the objects concerned are read anew | `commit_unknown`, or `storage_full` when it was surely not applied |
//! | the process dies | what was not acknowledged | the connection ends; an object that waits for an answer is told `interrupted` |
//!
//! # Map of the code
//!
//! ```text
//! main ─► cli ─► server ─► http ─► object ─► storage ─► SQLite
//!                  └─► class ─► object        (the server wires the classes in)
//! leaves that import none of ours but each other: path, limits, protocol, metrics, clock, timers, auth, outbound, client
//! ```
//!
//! | module | job | may not |
//! |---|---|---|
//! | [`path`] | paths and names: parse, parent, child, canonical form | know HTTP or storage |
//! | [`protocol`] | the wire types, which are the wire spec | hold behaviour |
//! | [`limits`] | every bound that is not a setting | |
//! | [`metrics`] | what is counted and timed | |
//! | [`clock`] | time and randomness | |
//! | [`timers`] | the alarm and the schedules of one object, and when each is due | know the clock, tokio or storage |
//! | [`auth`] | tokens, and what each reaches | know the clock, or show a token |
//! | [`storage`] | group commit, rows, wake times, messages, lists, tombstones; the only one that knows SQLite | know what a class is |
//! | [`outbound`] | HTTP that objects ask of other servers: who may be reached, and within which bounds | know what an object is |
//! | [`object`] | slots, mailboxes, turns, effects, sockets, the tree, hibernation, who is woken when | name a class, axum or rusqlite |
//! | [`class`] | the built-in classes, each pure: state × event → effects | name tokio, axum, rusqlite, the system clock |
//! | [`http`] | the edge: a URL becomes an object, a failure becomes a status | hold state |
//! | [`server`] | builds it all, owns the tasks and the shutdown | |
//! | [`config`] | file, environment and flags → one checked `Config` | be read anywhere but in `server` and `http` |
//! | `client` | HTTP that a command asks of a server | know what the answer means |
//! | [`cli`] | the command line | |
//! | [`sim`] | a server in made time, with faults | be needed by any other |
//!
//! # What is always true
//!
//! - At most one incarnation of a path is live, and it runs one turn at a time. The slot's body exists once; whoever has
//!   taken it out is the runner ([`object`], `slot`).
//! - No event is left behind: that the mailbox is empty is checked under the lock that posting takes.
//! - No effect is released before the write set it queues behind is durable (`storage::gate`, `object::session`).
//! - Memory goes only when the last write is decided, so what is read back is never stale.
//! - Rows of a deleted subtree have lower numbers than its tombstone, rows of what comes after have higher ones; which
//!   rows are dead never depends on how far the reaper got.
//! - Locks are taken in this order: the gate of the namespace, a slot, the queue of the writer. None is held across an
//!   await or while a turn runs.
//! - A durable message is one row, from the commit of its sender to the commit of the turn that handled it; a question
//!   that waits for its answer is one row, until the turn that got it (`object::inbox`, `object::replies`).
//! - Who reads without a turn sees what is durable, so it sees all that was acknowledged (`object::look`).
//! - Looking at a path creates nothing, neither on disk nor (once the answer is out) in memory.
//! - Every queue has a bound, and every task is on the server's tracker.
//!
//! # Words
//!
//! *Object*: what lives at a path. *Class*: its behaviour. *Slot*: its place in memory. *Incarnation*: one stay in memory,
//! from *activation* to *hibernation*. *Mailbox*: events that wait. *Turn*: the handling of one event. *Run*: turns that
//! share a write set. *Look*: a read of what is durable, without a turn. *Write set*: what a run changed. *Effect*: what a turn causes outside; an *errand* is one for
//! other objects. *Session*: one socket, as its
//! object sees it. *Tombstone*: the row that deletes a subtree. *Agent* is the wire's word for a child.

pub mod auth;
pub mod class;
pub mod cli;
mod client;
pub mod clock;
pub mod config;
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}
pub mod http;
pub mod limits;
pub mod metrics;
pub mod object;
pub mod outbound;
pub mod path;
pub mod protocol;
pub mod server;
pub mod sim;
pub mod storage;
pub mod timers;

pub use auth::{Identity, Scope};
pub use class::{Task, TaskHandler};
pub use object::{
    Ask, Caller, Class, ClassMetrics, Deferred, Error, Http, Jobs, List, ListedChild, Listing, Look, Namespace,
    Replied, Sent, Services, SocketId, Turn, When, append_json, json, read, response, unknown_method,
};
pub use path::{ObjectName, ObjectPath};
pub use protocol::{Change, Closed, Code, Frame};
pub use serde_json::value::RawValue;
pub use server::Server;
pub use timers::{Firing, Schedule};

/// In the library and not in its binary, so that a server with classes of its own is as fast.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
