//! What an operator lists: hosts and addresses that objects may reach.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;
use url::Host;

/// One entry of the list: a name (`api.example.com`), all names below one at any depth (`*.example.com`, without
/// `example.com` itself), an address, or a network (`10.0.0.0/8`); with a port (`127.0.0.1:9000`, `[fd00::/8]:443`) or for
/// every port.
///
/// A name that is listed may be reached at whatever addresses it has, so whoever answers for the name decides on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Rule {
    subject: Subject,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// In lower case, and as it is looked up: without a dot at its end, in ASCII.
    Name(String),
    /// All names that end with a dot and this.
    Below(String),
    /// Never one of IPv4 addresses in the shape of IPv6 ones: addresses are compared in their own shape.
    Network(IpNet),
}

impl Rule {
    /// Reads an entry; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(network) = parse_network(text) {
            return Some(Self { subject: Subject::Network(network), port: None });
        }
        let (subject, port) = split_port(text)?;
        Some(Self { subject: parse_subject(subject)?, port })
    }

    /// Whether it is of addresses, so that it may match a name that it does not know.
    pub(super) fn is_network(&self) -> bool {
        matches!(self.subject, Subject::Network(_))
    }

    /// Whether a host name (as in [`Subject::Name`]) with a port is listed by this.
    pub(super) fn matches_name(&self, name: &str, port: u16) -> bool {
        let same = match &self.subject {
            Subject::Name(listed) => listed == name,
            Subject::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Subject::Network(_) => false,
        };
        same && self.port.is_none_or(|listed| listed == port)
    }

    /// Whether an address in its own shape is listed by this.
    pub(super) fn matches_address(&self, address: SocketAddr) -> bool {
        let same = matches!(&self.subject, Subject::Network(network) if network.contains(&address.ip()));
        same && self.port.is_none_or(|listed| listed == address.port())
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Name(name) => f.write_str(name)?,
            Subject::Below(parent) => write!(f, "*.{parent}")?,
            Subject::Network(network) => {
                let address = network.addr();
                let whole = network.prefix_len() == network.max_prefix_len();
                let text = if whole { address.to_string() } else { network.to_string() };
                match self.port {
                    Some(_) if address.is_ipv6() => write!(f, "[{text}]")?,
                    _ => f.write_str(&text)?,
                }
            }
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Splits `subject[:port]`; `None` when the port is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        // The colons of an IPv6 address are inside its brackets.
        Some((subject, port)) if !port.ends_with(']') => {
            let legal = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| legal && *port > 0)?;
            Some((subject, Some(port)))
        }
        _ => Some((text, None)),
    }
}

fn parse_subject(text: &str) -> Option<Subject> {
    if let Some(inner) = text.strip_prefix('[') {
        let network = parse_network(inner.strip_suffix(']')?).filter(|network| network.addr().is_ipv6());
        return network.map(Subject::Network);
    }
    if let Some(network) = parse_network(text) {
        // One of IPv6 that is no entry by itself: a port follows it, which has to be told from it.
        return network.addr().is_ipv4().then_some(Subject::Network(network));
    }
    match text.strip_prefix("*.") {
        Some(parent) => parse_name(parent).map(Subject::Below),
        None => parse_name(text).map(Subject::Name),
    }
}

/// Reads a name as URLs do. A spelling of an address that only URLs know (`0x7f.1`) is refused: it is hard to read.
fn parse_name(text: &str) -> Option<String> {
    match Host::parse(text).ok()? {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!name.is_empty() && name.bytes().all(legal)).then(|| name.to_owned())
        }
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    match address.or_else(|_| text.parse()).ok()? {
        IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some() => None,
        network => Some(network.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn co3_rules_are_read_as_they_are_shown() {
        for (written, shown) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM.", "api.example.com"),
            ("api.example.com:8443", "api.example.com:8443"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.example.com", "*.example.com"),
            ("*.example.com:443", "*.example.com:443"),
            ("localhost", "localhost"),
            ("my_service:80", "my_service:80"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.0.0.0/8:443", "10.0.0.0/8:443"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[::1]:9000", "[::1]:9000"),
            ("fd00::/8", "fd00::/8"),
            ("[fd00::/8]:443", "[fd00::/8]:443"),
        ] {
            let rule = Rule::parse(written).unwrap_or_else(|| panic!("{written} is a rule"));
            assert_eq!(rule.to_string(), shown, "{written}");
            assert_eq!(Rule::parse(shown), Some(rule), "{shown}");
        }
    }

    #[test]
    fn co3_what_is_no_rule_is_refused() {
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a.*.b",
            "*a.b",
            "https://a.example",
            "a.example/x",
            "u@a.example",
            "a b",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:1:2",
            "0x7f.1",
            "2130706433",
            "10.0.0.0/33",
            "fd00::/8:443",
            "[127.0.0.1]",
            "[::1",
            "[]",
            "[]:1",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }

    #[test]
    fn co3_rules_match_names() {
        let matches = |rule: &str, name: &str| Rule::parse(rule).unwrap().matches_name(name, 443);
        assert!(matches("a.example", "a.example") && matches("a.example:443", "a.example"));
        assert!(!matches("a.example:80", "a.example"));
        assert!(!matches("a.example", "b.a.example") && !matches("a.example", "xa.example"));
        assert!(matches("*.example", "a.example") && matches("*.example", "b.a.example"));
        for name in ["example", ".example", "xexample", "a.example.org"] {
            assert!(!matches("*.example", name), "{name}");
        }
    }

    #[test]
    fn co3_rules_match_addresses() {
        let matches = |rule: &str, address: &str| Rule::parse(rule).unwrap().matches_address(address.parse().unwrap());
        assert!(matches("10.0.0.0/8", "10.255.0.1:1") && !matches("10.0.0.0/8", "11.0.0.1:1"));
        assert!(matches("10.0.0.1:1", "10.0.0.1:1") && !matches("10.0.0.1:1", "10.0.0.1:2"));
        assert!(!matches("10.0.0.1", "10.0.0.2:1"));
        assert!(matches("fd00::/8", "[fd12::1]:1") && !matches("fd00::/8", "[fe80::1]:1"));
        assert!(!matches("0.0.0.0/0", "[::1]:1") && !matches("::/0", "127.0.0.1:1"));
    }
}
