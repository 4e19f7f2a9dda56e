//! The conformance suite: what must be true from outside, over real sockets. One module a subject; the names of tests start
//! with the ids of the behaviours that they hold.

// A test that cannot go on should say where.
#![allow(clippy::unwrap_used)]

mod harness;

mod calls;
mod counts;
mod deletes;
mod guard;
mod hostile;
mod layers;
mod life;
mod limits;
mod listing;
mod messages;
mod paths;
mod sleep;
mod slow;
mod system;
mod versions;
