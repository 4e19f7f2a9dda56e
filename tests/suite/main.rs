//! The conformance suite: what must be true from outside, over real sockets. One module a subject; the names of tests start
//! with the ids of the behaviours that they hold.
//!
//! | ids | where |
//! |---|---|
//! | FP1, FP2, FP3, FX5 | `paths` |
//! | FP4, FP5, FP6, FP7, FX1 | `messages`; slow children and FX3 in `slow` |
//! | FP8, FX2 | `calls` |
//! | FP9, FP10 | `deletes`; crashes in `tests/durability` |
//! | FP11 | `counts` |
//! | FP12 | `tests/browser` |
//! | FX4 | `listing` |
//! | FX6 | `limits`; what a class allows in `requests` |
//! | FX7 | `life` |
//! | FX8 | `versions` |
//! | FX9 | `guard` |
//! | OP1 | `tests/cli.rs`; the commands `submit` and `batch` in `submit` |
//! | OP2, OP3 | `system` |
//! | OP4 | `classes`; the figures beside the code, in `src/object/activity.rs` |
//! | coordinator | `coordinator` |
//! | worker | `worker` |
//! | FM1 to FM13 | `fleet_manager`; crashes, and WC4 and WC5 of a manager, beside the code, in `src/class/fleet_manager/tests` |
//! | ID1, OB7 | `classes` |
//! | ID2 | `examples` |
//! | CO3 | beside the code, in `src/outbound` |
//! | WS1, WS3, WS4 | `sockets`; with WS2 and ST5 beside the code, in `src/object/tests/sockets.rs` |
//! | WC1, WC2, WC3 | `worker_connection`; with WC5 beside the code, in `src/class/worker_connection/tests.rs` |
//! | WC4, WC5 | `worker_tasks` |
//! | WC6 | `worker_clients` |
//! | OB3 | `sleep`; OB4 beside the code, in `src/object/tests.rs` |

// A test that cannot go on should say where.
#![allow(clippy::unwrap_used)]

mod harness;

mod calls;
mod classes;
mod coordinator;
mod counts;
mod deletes;
mod examples;
mod fleet_manager;
mod guard;
mod hostile;
mod layers;
mod life;
mod limits;
mod listing;
mod messages;
mod paths;
mod readme;
mod requests;
mod sleep;
mod slow;
mod sockets;
mod submit;
mod system;
mod versions;
mod worker;
mod worker_clients;
mod worker_connection;
mod worker_tasks;
