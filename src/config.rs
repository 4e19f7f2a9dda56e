//! The configuration: flags, environment, file and defaults become one checked [`Config`].
//!
//! ```text
//! flags ─┐
//! FLEET_SECTION__KEY ─┤
//! config.toml ─┼─► settings (key, value, source) ─► each checked alone ─► merged ─► Config
//! defaults ─┘
//! ```
//!
//! Nothing else in the crate reads the environment or the file. Each section is the options of one component, and holds
//! what was already parsed (addresses, durations, compiled routes), so that nobody downstream can meet a bad value.
//!
//! # Why
//! The keys that exist are those of the serialized [`Config::default`], so there is no second list of keys to keep in step.
//! Every setting is first checked alone against the defaults: that is how all problems are reported at once, each with the
//! file, variable or flag it came from. (The generic layering crate `config` does not do: it knows of a variable only that
//! it came from "the environment", and it reads a route pattern such as `/ws/*` as a path expression.)

mod auth;
mod error;
mod layers;
mod network;
mod outbound;
pub mod routes;
mod values;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use auth::Auth;
pub use error::{Error, Problem, Source};
pub use network::{AllowedHost, AllowedOrigin};
pub use outbound::Outbound;
pub use routes::Routes;

use layers::ConfigFile;

/// The whole configuration, checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP and WebSocket edge, and the life of the server.
    pub server: Server,
    /// Where objects are kept.
    pub storage: Storage,
    /// The bounds an operator may set; those that nobody may set are in [`crate::limits`].
    pub limits: Limits,
    /// The tokens that are accepted.
    pub auth: Auth,
    /// HTTP that objects ask of other servers.
    pub outbound: Outbound,
    /// What is logged, and how.
    pub log: Log,
    /// The classes of objects by their paths.
    pub routes: Routes,
}

/// `[server]`: the HTTP and WebSocket edge, and the life of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "network::read_listen")]
    pub listen: SocketAddr,
    /// Origins of other sites whose pages may open WebSockets and change state.
    #[serde(deserialize_with = "network::read_origins")]
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Names in the `Host` header that are accepted while bound to loopback, besides `localhost` and IP addresses.
    #[serde(deserialize_with = "network::read_hosts")]
    pub allowed_hosts: Vec<AllowedHost>,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    #[serde(deserialize_with = "network::read_proxies")]
    pub trusted_proxies: Vec<IpNet>,
    /// How long a shutdown may take before what is left is dropped; may be zero.
    #[serde(with = "values::duration")]
    pub shutdown_grace: Duration,
    /// An idle socket is pinged this often; never zero.
    #[serde(with = "values::period")]
    pub ping_interval: Duration,
    /// A pinged socket that is silent for this long is closed; never zero.
    #[serde(with = "values::period")]
    pub ping_timeout: Duration,
}

/// `[storage]`: where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// The directory of the database, relative to the working directory; created when missing.
    #[serde(deserialize_with = "values::read_directory")]
    pub data_dir: PathBuf,
}

/// `[limits]`: the bounds an operator may set, all at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest request body and WebSocket message, in bytes; at most [`crate::limits::WRITE_SET_BYTES`].
    #[serde(with = "values::message_bytes")]
    pub message_bytes: usize,
    /// Most children of one object.
    #[serde(deserialize_with = "values::read_count")]
    pub children_per_object: usize,
    /// Most open sockets of one object.
    #[serde(deserialize_with = "values::read_count")]
    pub sockets_per_object: usize,
    /// Most bytes that one object stores.
    #[serde(with = "values::stored_bytes")]
    pub storage_per_object: u64,
    /// Most objects on the disk.
    #[serde(deserialize_with = "values::read_count")]
    pub objects: usize,
    /// Most open sockets of the whole server.
    #[serde(deserialize_with = "values::read_count")]
    pub sockets: usize,
}

/// `[log]`: what is logged, and how. Logs go to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Directives in the syntax of `RUST_LOG`; that variable overrides them.
    #[serde(deserialize_with = "values::read_filter")]
    pub filter: String,
    /// The shape of a line.
    pub format: LogFormat,
}

/// The shape of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8787)),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            shutdown_grace: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { data_dir: PathBuf::from("./data") }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            // A list of a million names is some 20 MB of memory: the most that is still sensible to watch.
            children_per_object: 1_000_000,
            sockets_per_object: 32_768,
            storage_per_object: 128 << 20,
            // A bound against a runaway client rather than a size to plan for.
            objects: 100_000_000,
            // 4 KiB each is 800 MB. The number of descriptors is usually lower, and then it is what counts.
            sockets: 200_000,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The settings of the command line, as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the file to read; `./config.toml`, if it exists, when absent.
    pub config: Option<PathBuf>,
    /// `--listen`, which is `server.listen`.
    pub listen: Option<String>,
    /// `--data-dir`, which is `storage.data_dir`.
    pub data_dir: Option<String>,
}

impl Config {
    /// Reads the file and the environment of the process and lays the flags over them.
    ///
    /// # Errors
    /// A file that cannot be read or parsed; otherwise every unknown key and every bad value at once.
    pub fn load(flags: &Flags) -> Result<Self, Error> {
        Self::default().load_over(flags)
    }

    /// The same over these settings instead of the defaults.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_over(&self, flags: &Flags) -> Result<Self, Error> {
        let file = ConfigFile::read(flags.config.as_deref())?;
        self.layered(file, std::env::vars_os(), flags)
    }

    /// The same with the layers handed in, which is what makes it testable.
    fn layered(
        &self,
        file: Option<ConfigFile>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &Flags,
    ) -> Result<Self, Error> {
        let mut layers = layers::Layers::over(self);
        if let Some(file) = file {
            layers.add_file(file);
        }
        layers.add_environment(environment);
        layers.add_flags(flags);
        layers.finish()
    }

    /// The configuration as a `config.toml` that gives this configuration again.
    ///
    /// It is printed for people to read and paste, so it must never hold a secret: a setting that is one has to hide
    /// itself when it is serialized.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every section is a table and every key a string")
    }
}

#[cfg(test)]
mod tests;
