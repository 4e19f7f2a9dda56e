//! Who may ask, before there is any authorisation: pages of other sites may not, and neither may names that somebody else
//! has pointed at this machine.
//!
//! Browsers let any page open a WebSocket to any host and send simple requests there; they do say where the page is from.
//! And a page can rebind its own name to 127.0.0.1, but it cannot hide that name.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use hyper::header::{HOST, HeaderName, ORIGIN};
use hyper::{HeaderMap, Method, Uri};
use ipnet::IpNet;

use super::error::Error;
use crate::config::{AllowedHost, AllowedOrigin, Server};
use crate::protocol::Code;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The rules of FX9, from the configuration.
#[derive(Debug)]
pub struct Guard {
    allowed_origins: Vec<AllowedOrigin>,
    allowed_hosts: Vec<AllowedHost>,
    trusted_proxies: Vec<IpNet>,
    /// Whether only this machine can reach the server, so that any other name in `Host` is a rebound one.
    loopback: bool,
}

impl Guard {
    /// The rules for a server that is bound to `address`.
    pub fn new(server: &Server, address: SocketAddr) -> Self {
        Self {
            allowed_origins: server.allowed_origins.clone(),
            allowed_hosts: server.allowed_hosts.clone(),
            trusted_proxies: server.trusted_proxies.clone(),
            loopback: address.ip().to_canonical().is_loopback(),
        }
    }

    /// Checks a request; an upgrade counts as one that changes state.
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        peer: IpAddr,
        upgrade: bool,
    ) -> Result<(), Error> {
        let seen = self.host(uri, headers, peer);
        if self.loopback {
            self.check_host(seen.authority.as_ref())?;
        }
        if upgrade || !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            self.check_origin(headers, &seen)?;
        }
        Ok(())
    }

    fn check_host(&self, authority: Option<&Authority>) -> Result<(), Error> {
        // Without a `Host` it is HTTP/1.0, which no browser speaks.
        let Some(authority) = authority else { return Ok(()) };
        let host = authority.host();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let listed = || self.allowed_hosts.iter().any(|allowed| allowed.matches(host, authority.port_u16()));
        if literal || host.eq_ignore_ascii_case("localhost") || listed() {
            return Ok(());
        }
        let text = format!(
            "host `{}` is not served here while bound to loopback; add it to `allowed_hosts` under [server]",
            shorten(authority.as_str())
        );
        Err(Error::new(Code::Forbidden, text))
    }

    fn check_origin(&self, headers: &HeaderMap, seen: &Seen) -> Result<(), Error> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let origin = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        let listed = self.allowed_origins.iter().any(|allowed| allowed.as_str() == origin);
        if origins.next().is_none() && (listed || seen.is_origin(&origin)) {
            return Ok(());
        }
        let text = format!(
            "origin `{}` is not this server; add it to `allowed_origins` under [server], \
             or the proxy in front to `trusted_proxies`",
            shorten(&origin)
        );
        Err(Error::new(Code::Forbidden, text))
    }

    /// The scheme, host and port that the client used, as far as is known.
    fn host(&self, uri: &Uri, headers: &HeaderMap, peer: IpAddr) -> Seen {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let trusted = self.trusted_proxies.iter().any(|proxy| proxy.contains(&peer.to_canonical()));
        let forwarded = |name: &HeaderName| text(name).filter(|_| trusted);
        let host =
            forwarded(&FORWARDED_HOST).or_else(|| uri.authority().map(Authority::as_str)).or_else(|| text(&HOST));
        Seen {
            authority: host.and_then(|host| host.parse().ok()),
            secure: forwarded(&FORWARDED_PROTO).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        }
    }
}

struct Seen {
    authority: Option<Authority>,
    secure: bool,
}

impl Seen {
    fn is_origin(&self, origin: &str) -> bool {
        let Some(authority) = &self.authority else { return false };
        let Some((scheme, theirs)) = origin.split_once("://") else {
            return false;
        };
        let Ok(theirs) = theirs.parse::<Authority>() else {
            return false;
        };
        let (our_port, their_default) = match (self.secure, scheme) {
            (false, "http") => (80, 80),
            (true, "https") => (443, 443),
            // Behind a proxy that is not trusted nobody knows which of the two it was: the port must be said.
            (false, "https") => (80, 443),
            _ => return false,
        };
        theirs.host().eq_ignore_ascii_case(authority.host())
            && theirs.port_u16().unwrap_or(their_default) == authority.port_u16().unwrap_or(our_port)
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}
