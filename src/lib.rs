//! Fleet: every URL path is a live, durable object. One binary.

pub mod cli;
pub mod config;
pub mod limits;
pub mod metrics;
pub mod path;
pub mod protocol;
pub mod storage;
