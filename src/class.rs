//! The built-in classes: each a plain value from state and event to effects, and nothing else.

mod agent;
mod worker_connection;

pub use agent::Agent;
pub use worker_connection::WorkerConnection;
