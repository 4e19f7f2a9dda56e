//! `[outbound]`: HTTP that objects ask of other servers.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::values::{self, read};
use crate::outbound::{Options, Rule};

/// `[outbound]`: HTTP that objects ask of other servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Time for one request, from asking for it to the last byte of the answer; never zero.
    #[serde(with = "values::period")]
    pub timeout: Duration,
    /// Largest body of a request and of its response, in bytes; at most [`crate::limits::WRITE_SET_BYTES`].
    #[serde(with = "values::message_bytes")]
    pub body_bytes: usize,
    /// Most requests of all objects under way at a time; at least 1.
    #[serde(deserialize_with = "values::read_count")]
    pub concurrent: usize,
    /// What may be reached though it is not public.
    #[serde(deserialize_with = "read_rules")]
    pub allow: Vec<Rule>,
    /// Whether nothing else than what is in `allow` may be reached.
    #[serde(deserialize_with = "values::read_switch")]
    pub only_listed: bool,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            body_bytes: 1 << 20,
            concurrent: 256,
            allow: Vec::new(),
            only_listed: false,
        }
    }
}

impl From<&Outbound> for Options {
    fn from(section: &Outbound) -> Self {
        let Outbound { timeout, body_bytes, concurrent, ref allow, only_listed } = *section;
        Self { timeout, body_bytes, concurrent, allow: allow.clone(), only_listed }
    }
}

fn read_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let expected =
        "a list of hosts, addresses and networks such as [\"*.example.org\", \"127.0.0.1:9000\", \"10.0.0.0/8\"]";
    read(deserializer, expected, |value| value.as_array()?.iter().map(|item| Rule::parse(item.as_str()?)).collect())
}
