//! From a request as a class writes it to one that can be sent: whom to ask, and the head that says it.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body_util::Full;
use url::{Position, Url};

use super::error::{Error, Part};
use super::exchange::Outgoing;
use crate::limits::{HOST_NAME_BYTES, OUTBOUND_HEAD_BYTES};

/// Headers that are about one connection and not about what is said over it.
const OF_THE_CONNECTION: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
/// What a line of a head has besides a name and a value.
const LINE_BYTES: usize = ": \r\n".len();

/// Whom a request is for.
pub(super) struct Target {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// The host and, unless the scheme implies it, the port, as the `Host` header has it and errors show it.
    pub(super) authority: String,
}

/// A host, as URLs know it.
pub(super) enum Host {
    /// In lower case and ASCII, without a dot at its end.
    Name(String),
    /// In its own shape, however it was spelled.
    Address(IpAddr),
}

impl Target {
    /// Takes whom it is for out of a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] and, for its head, [`Error::TooLarge`].
    pub(super) fn of(request: Request<Bytes>) -> Result<(Self, Outgoing), Error> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(invalid("the method CONNECT opens a tunnel, which is not supported"));
        }
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| invalid(format!("bad URL: {error}")))?;
        let target = Self::parse(&url)?;
        let path = PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery]);
        parts.uri = path.map(Uri::from).map_err(|error| invalid(format!("bad URL: {error}")))?;
        parts.version = Version::HTTP_11;
        // What the library may be told there is not for a class to say.
        parts.extensions.clear();
        drop_connection(&mut parts.headers);
        parts.headers.remove(CONTENT_LENGTH);
        let host = HeaderValue::try_from(&target.authority).map_err(|error| invalid(format!("bad host: {error}")))?;
        parts.headers.insert(HOST, host);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let lines = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES);
        let head = parts.method.as_str().len() + url.as_str().len() + lines.sum::<usize>();
        if head > OUTBOUND_HEAD_BYTES {
            let host = target.authority;
            return Err(Error::TooLarge { part: Part::RequestHead, host, limit: OUTBOUND_HEAD_BYTES });
        }
        Ok((target, Request::from_parts(parts, Full::new(body))))
    }

    fn parse(url: &Url) -> Result<Self, Error> {
        let https = match url.scheme() {
            "http" => false,
            "https" => true,
            scheme => return Err(invalid(format!("the scheme is `{scheme}`; http and https are supported"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("the URL has credentials; send them in the header `Authorization`"));
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) => Host::Name(name.trim_end_matches('.').to_owned()),
            Some(url::Host::Ipv4(address)) => Host::Address(address.into()),
            Some(url::Host::Ipv6(address)) => Host::Address(IpAddr::from(address).to_canonical()),
            None => return Err(invalid("the URL has no host")),
        };
        if let Host::Name(name) = &host
            && !(1..=HOST_NAME_BYTES).contains(&name.len())
        {
            return Err(invalid(format!("the host name has {} bytes; the limit is {HOST_NAME_BYTES}", name.len())));
        }
        let port = url.port_or_known_default().ok_or_else(|| invalid("the URL has no port"))?;
        let authority = url[Position::BeforeHost..Position::AfterPort].to_owned();
        Ok(Self { https, host, port, authority })
    }
}

/// Drops what a head says of its connection, which whoever gets the head does not share.
pub(super) fn drop_connection(headers: &mut HeaderMap) {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::Invalid { reason: reason.into() }
}
