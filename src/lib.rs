//! Fleet: every URL path is a live, durable object. One binary.

pub mod class;
pub mod cli;
pub mod config;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod object;
pub mod path;
pub mod protocol;
pub mod server;
pub mod storage;
