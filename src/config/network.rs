//! Addresses, origins, hosts and proxies, as an operator writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserializer, Serialize};

use super::values::read;

/// `127.0.0.1:8787`, `[::1]:8787` or `localhost:8787`. Other names are not resolved: what is bound must not depend on what
/// a name server says.
pub(super) fn read_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let expected = "an address and a port such as \"127.0.0.1:8787\", \"[::1]:8787\" or \"localhost:8787\"";
    read(deserializer, expected, |value| {
        let text = value.as_str()?;
        match text.strip_prefix("localhost:") {
            Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
            None => text.parse().ok(),
        }
    })
}

/// A list of addresses (`10.0.0.1`) and networks (`10.0.0.0/8`).
pub(super) fn read_proxies<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let expected = "a list of IP addresses and networks such as [\"10.0.0.1\", \"10.1.0.0/16\"]";
    read(deserializer, expected, |value| value.as_array()?.iter().map(|item| parse_proxy(item.as_str()?)).collect())
}

/// A list of origins.
pub(super) fn read_origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AllowedOrigin>, D::Error> {
    let expected = "a list of origins such as [\"https://example.org\", \"http://localhost:3000\"], without a path";
    read(deserializer, expected, |value| {
        value.as_array()?.iter().map(|item| AllowedOrigin::parse(item.as_str()?)).collect()
    })
}

/// A list of hosts.
pub(super) fn read_hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AllowedHost>, D::Error> {
    let expected = "a list of hosts such as [\"fleet.example.org\", \"fleet.example.org:8787\"]";
    read(deserializer, expected, |value| {
        value.as_array()?.iter().map(|item| AllowedHost::parse(item.as_str()?)).collect()
    })
}

fn parse_proxy(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).ok()
}

/// An origin whose pages are let in: `scheme://host[:port]`, as browsers write it in the `Origin` header.
///
/// It is kept as a browser would send it: in lower case and without the port that the scheme implies. `null`, which is what
/// pages without an origin send (sandboxed frames, local files), may be listed too, if somebody really wants them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedOrigin(String);

impl AllowedOrigin {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text == "null" {
            return Some(Self(text));
        }
        let (scheme, authority) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme))?;
        let (host, port) = split_authority(authority)?;
        let implied = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Some(Self(match port.filter(|port| Some(*port) != implied) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }

    /// The origin as browsers send it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host that requests may name: `host` with any port, or `host:port` with just that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

impl AllowedHost {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_authority(text)?;
        Some(Self { host: host.to_ascii_lowercase(), port })
    }

    /// Whether a `Host` header with this host (in brackets when it is an IPv6 address) and port is meant.
    #[must_use]
    pub fn matches(&self, host: &str, port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(host) && (self.port.is_none() || self.port == port)
    }
}

impl From<AllowedHost> for String {
    fn from(allowed: AllowedHost) -> Self {
        allowed.to_string()
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Splits `host[:port]`; `None` when it is anything else.
fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    // The colons of an IPv6 address are inside its brackets.
    let after_brackets = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text[after_brackets..].find(':') {
        Some(colon) => {
            let (host, port) = text.split_at(after_brackets + colon);
            let digits = &port[1..];
            let legal = digits.bytes().all(|byte| byte.is_ascii_digit());
            (host, Some(digits.parse().ok().filter(|_| legal)?))
        }
        None => (text, None),
    };
    is_host(host).then_some((host, port))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<String> {
        AllowedOrigin::parse(text).map(|origin| origin.0)
    }

    #[test]
    fn fx9_origins_are_kept_as_browsers_send_them() {
        for (written, kept) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG:443", "https://example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
        ] {
            assert_eq!(origin(written).as_deref(), Some(kept), "{written}");
        }
    }

    #[test]
    fn fx9_what_is_no_origin_is_refused() {
        for text in [
            "",
            "*",
            "example.org",
            "https://",
            "https://example.org/",
            "https://a b",
            "://a",
            "1http://a",
            "http://a:b",
            "http://a:99999",
            "http://a:",
            "http://a:+1",
            "http://[::1",
            "http://::1",
            "http://u@a",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn fx9_a_host_without_a_port_means_every_port() {
        let any = AllowedHost::parse("Fleet.example").unwrap();
        assert!(any.matches("fleet.Example", None) && any.matches("fleet.example", Some(1)));
        assert!(!any.matches("example", None));
        let one = AllowedHost::parse("fleet.example:8787").unwrap();
        assert!(one.matches("fleet.example", Some(8787)));
        assert!(!one.matches("fleet.example", None) && !one.matches("fleet.example", Some(80)));
        assert_eq!(one.to_string(), "fleet.example:8787");
        for text in ["", "http://a", "a/b", "a:b", "a:1:2", "ü"] {
            assert!(AllowedHost::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        assert_eq!(parse_proxy("10.0.0.1"), "10.0.0.1/32".parse().ok());
        assert_eq!(parse_proxy("fd00::/8"), "fd00::/8".parse().ok());
        for text in ["", "10.0.0", "10.0.0.0/33", "proxy.example"] {
            assert_eq!(parse_proxy(text), None, "{text}");
        }
    }
}
