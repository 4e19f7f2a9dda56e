//! Fleet: every URL path is a live, durable object. One binary.

pub mod config;
pub mod limits;
pub mod metrics;
pub mod path;
pub mod storage;
