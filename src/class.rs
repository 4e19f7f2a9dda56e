//! The built-in classes: each a plain value from state and event to effects, and nothing else.

mod agent;
mod fleet_manager;

pub use agent::Agent;
pub use fleet_manager::FleetManager;
