//! The built-in classes: each a plain value from state and event to effects, and nothing else.

mod agent;
mod coordinator;
mod fleet_manager;
mod task;
mod worker;
mod worker_connection;

pub use agent::Agent;
pub use coordinator::Coordinator;
pub use fleet_manager::FleetManager;
pub(crate) use task::job;
pub use task::{Task, TaskHandler};
pub use worker::Worker;
pub use worker_connection::WorkerConnection;
