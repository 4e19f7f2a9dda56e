//! What may be reached: public addresses and what is listed, or only what is listed.

use std::net::SocketAddr;

use super::address;
use super::error::{Error, Step};
use super::resolver::Resolver;
use super::rule::Rule;
use super::target::{Host, Target};

/// The operator's list, and whether it is all that may be reached.
pub(super) struct Policy {
    rules: Vec<Rule>,
    only_listed: bool,
}

impl Policy {
    pub(super) fn new(rules: Vec<Rule>, only_listed: bool) -> Self {
        Self { rules, only_listed }
    }

    /// The addresses that may be connected to, at least one. Of a name that has others too, those are left out.
    ///
    /// # Errors
    /// [`Error::Refused`], or [`Error::Failed`] when the name has no address.
    pub(super) async fn addresses(&self, target: &Target, resolver: &Resolver) -> Result<Vec<SocketAddr>, Error> {
        let (name, found) = match &target.host {
            Host::Address(address) => (None, vec![SocketAddr::new(*address, target.port)]),
            Host::Name(name) => {
                // A question to a name server can itself carry something out.
                if !self.may_look_up(name, target.port) {
                    return Err(refused(target, "it is not listed".to_owned()));
                }
                let failed = |error: std::io::Error| {
                    let host = target.authority.clone();
                    Error::Failed { step: Step::Resolve, host, detail: error.to_string() }
                };
                (Some(name.as_str()), resolver.look_up(name, target.port).await.map_err(failed)?)
            }
        };
        let mut permitted = Vec::new();
        let mut refusal = None;
        for address in found {
            match self.refusal(name, address) {
                None => permitted.push(address),
                Some(kind) => refusal = refusal.or(Some((address, kind))),
            }
        }
        match refusal {
            Some((address, kind)) if permitted.is_empty() => {
                Err(refused(target, format!("{} is {kind}", address.ip())))
            }
            _ => Ok(permitted),
        }
    }

    fn may_look_up(&self, name: &str, port: u16) -> bool {
        !self.only_listed || self.rules.iter().any(|rule| rule.is_network() || rule.matches_name(name, port))
    }

    /// Why an address that was found for a name, or stood in the URL, may not be connected to.
    fn refusal(&self, name: Option<&str>, address: SocketAddr) -> Option<&'static str> {
        let by_name = |rule: &Rule| name.is_some_and(|name| rule.matches_name(name, address.port()));
        if self.rules.iter().any(|rule| rule.matches_address(address) || by_name(rule)) {
            None
        } else if self.only_listed {
            Some("not listed")
        } else {
            address::special(address.ip())
        }
    }
}

fn refused(target: &Target, reason: String) -> Error {
    Error::Refused { host: target.authority.clone(), reason }
}
