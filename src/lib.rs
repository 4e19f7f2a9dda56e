//! Fleet: every URL path is a live, durable object. One binary.

pub mod limits;
pub mod metrics;
pub mod path;
pub mod protocol;
pub mod storage;
