//! HTTP that commands ask of a server: one request, one connection, one answer.
//!
//! # Why
//! It is not [`outbound`](crate::outbound): that keeps objects off the operator's network and holds bodies in memory, while a
//! command goes where its operator says and may send a file of hundreds of megabytes.

use std::io::Read;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::Url;

use crate::limits::{CLIENT_ANSWER_BYTES, CLIENT_ANSWER_TIME, CLIENT_CONNECT_TIME, CLIENT_PIECE_BYTES};
use crate::path::ObjectPath;

/// A server, and how to show that one may talk to it.
#[derive(Clone)]
pub(crate) struct Client {
    url: Url,
    token: Option<String>,
    /// Whom it trusts beside the public authorities.
    authorities: Vec<CertificateDer<'static>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The URL cannot be that of a server, or the token cannot be sent.
    #[error("{0}")]
    Invalid(String),
    /// Nobody takes the connection.
    #[error("cannot reach {url}: {cause}; start a server with `fleet`, or name another with --url or FLEET_URL")]
    Unreachable {
        /// The server.
        url: String,
        /// What the system says.
        cause: String,
    },
    /// The connection broke, or what came is no answer.
    #[error("{url} did not answer: {cause}")]
    Broken {
        /// The server.
        url: String,
        /// What was wrong.
        cause: String,
    },
    /// The server says no.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The server's code, if it named one.
        code: String,
        /// The server's reason.
        message: String,
    },
}

/// What is sent: so many bytes of a reader, which is read piece by piece.
pub(crate) struct Payload {
    source: Box<dyn Read + Send>,
    left: u64,
}

impl Payload {
    /// So many bytes of a local reader.
    pub(crate) fn new(source: impl Read + Send + 'static, bytes: u64) -> Self {
        Self { source: Box::new(source), left: bytes }
    }
}

impl Client {
    /// A server by its URL.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self, Error> {
        let invalid = |what: &str| Error::Invalid(format!("{what}: `{url}`; it must be like http://127.0.0.1:8787"));
        let url = Url::parse(url).map_err(|_| invalid("not the URL of a server"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(invalid("not an http or https URL"));
        }
        if token.as_ref().is_some_and(|token| http::HeaderValue::try_from(format!("Bearer {token}")).is_err()) {
            return Err(Error::Invalid("the token has characters that no token has".to_owned()));
        }
        Ok(Self { url, token, authorities: Vec::new() })
    }

    /// Trusts the certificates of this text too (PEM): authorities, or that of the server itself.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it holds none, or one that cannot be read.
    pub(crate) fn trusting(mut self, pem: &[u8]) -> Result<Self, Error> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        self.authorities = certificates.map_err(|error| Error::Invalid(error.to_string()))?;
        if self.authorities.is_empty() {
            return Err(Error::Invalid("there is no certificate in it".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        let unusable = |error: rustls::Error| Error::Invalid(error.to_string());
        self.authorities.iter().try_for_each(|one| roots.add(one.clone())).map_err(unusable)?;
        Ok(self)
    }

    /// Scheme, host and port, as they are written.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Calls a method of an object; answers JSON text.
    ///
    /// # Errors
    /// Any [`Error`] but the first.
    pub(crate) async fn call<T: Serialize + ?Sized>(
        &self,
        path: &ObjectPath,
        method: &str,
        payload: &T,
    ) -> Result<Bytes, Error> {
        let body = serde_json::to_vec(payload).map_err(|error| self.broken(&error))?;
        let length = body.len() as u64;
        self.send(path, method, &[], Payload::new(io::Cursor::new(body), length), CLIENT_ANSWER_TIME).await
    }

    /// The same with a payload that is JSON already, more headers, and a time of its own.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) async fn send(
        &self,
        path: &ObjectPath,
        method: &str,
        headers: &[(&str, &str)],
        payload: Payload,
        time: Duration,
    ) -> Result<Bytes, Error> {
        let request = self.request(path, method, headers, payload)?;
        let exchange = tokio::time::timeout(time, self.exchange(request));
        let response = exchange.await.map_err(|_| self.broken(&format!("nothing within {time:?}")))??;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        Err(refusal(&response))
    }

    fn request(
        &self,
        path: &ObjectPath,
        method: &str,
        headers: &[(&str, &str)],
        payload: Payload,
    ) -> Result<Request<Payload>, Error> {
        let authority = self.url.authority();
        let mut request = Request::post(format!("{path}:{method}"))
            .header(header::HOST, authority.rsplit('@').next().unwrap_or(authority))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(payload).map_err(|error| Error::Invalid(error.to_string()))
    }

    async fn exchange(&self, request: Request<Payload>) -> Result<Response<Bytes>, Error> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        let address = (host.trim_start_matches('[').trim_end_matches(']'), port);
        let connected = tokio::time::timeout(CLIENT_CONNECT_TIME, TcpStream::connect(address)).await;
        let unreachable = |cause: String| Error::Unreachable { url: self.origin(), cause };
        let stream = match connected {
            Ok(stream) => stream.map_err(|error| unreachable(reason(&error)))?,
            Err(_) => return Err(unreachable(format!("no connection within {CLIENT_CONNECT_TIME:?}"))),
        };
        if self.url.scheme() == "http" {
            return self.talk(stream, request).await;
        }
        let name = ServerName::try_from(address.0.to_owned()).map_err(|error| unreachable(error.to_string()))?;
        let stream =
            tls(&self.authorities).connect(name, stream).await.map_err(|error| unreachable(error.to_string()))?;
        self.talk(stream, request).await
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        request: Request<Payload>,
    ) -> Result<Response<Bytes>, Error> {
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| self.broken(&told(&error)))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| self.broken(&told(&error)))?;
            self.read(response).await
        };
        // Whichever ends first, the answer is what counts: the connection may close behind it.
        match select(pin!(answer), pin!(async { connection.await.ok() })).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Response<Bytes>, Error> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, CLIENT_ANSWER_BYTES).collect().await.map_err(|error| {
            let too_large = error.is::<LengthLimitError>();
            if too_large {
                return self.broken(&format!("the answer is more than {CLIENT_ANSWER_BYTES} bytes; the limit is that"));
            }
            self.broken(&told(&*error))
        })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    fn broken(&self, cause: &dyn fmt::Display) -> Error {
        Error::Broken { url: self.origin(), cause: cause.to_string() }
    }
}

impl fmt::Debug for Client {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.origin()).finish()
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    /// Reads where it stands: what is sent is a file of this machine, and a command does nothing else meanwhile.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(CLIENT_PIECE_BYTES);
        let mut piece = vec![0; most];
        if let Err(error) = self.source.read_exact(&mut piece) {
            return Poll::Ready(Some(Err(error)));
        }
        self.left -= most as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What a server says with an answer that is none.
fn refusal(response: &Response<Bytes>) -> Error {
    #[derive(Deserialize)]
    struct Failure {
        error: String,
        code: String,
    }
    let status = response.status();
    let Ok(Failure { error, code }) = serde_json::from_slice(response.body()) else {
        let message = format!("the server answered {status}; it is no fleet, or there is something in between");
        return Error::Refused { status: status.as_u16(), code: String::new(), message };
    };
    Error::Refused { status: status.as_u16(), code, message: error }
}

/// Trusts Mozilla's authorities, which are compiled in, and these.
fn tls(more: &[CertificateDer<'static>]) -> TlsConnector {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(more.iter().cloned());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has a suite for each of the versions");
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// What people call it, without the system's number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// An error with its causes, which the errors of HTTP do not tell themselves.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
