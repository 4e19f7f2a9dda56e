//! One connection, one request, one response.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::error::{Error, Part, Step};
use super::target::{Host, Target, drop_connection};
use crate::limits::{OUTBOUND_ADDRESSES, OUTBOUND_CONNECT_TIME, OUTBOUND_HEAD_BYTES};

/// A request as it is sent: its URL is a path, its body whole.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// What encrypts connections, trusting these authorities.
pub(super) fn tls(roots: RootCertStore) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has a suite for each of the versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Connects to the first of the addresses that takes it.
///
/// # Errors
/// [`Error::Failed`] with what the last one said.
pub(super) async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut detail = "there is no address".to_owned();
    for address in addresses.iter().take(OUTBOUND_ADDRESSES) {
        detail = match tokio::time::timeout(OUTBOUND_CONNECT_TIME, TcpStream::connect(address)).await {
            // The request is written at once, so that there is nothing to wait for before it is sent.
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => format!("{address}: {error}"),
            },
            Ok(Err(error)) => format!("{address}: {error}"),
            Err(_) => format!("{address}: no connection within {OUTBOUND_CONNECT_TIME:?}"),
        };
    }
    Err(failed(target, Step::Connect, detail))
}

/// Encrypts a connection.
///
/// # Errors
/// [`Error::Failed`], also for a certificate that is not trusted or is of another host.
pub(super) async fn secure(
    target: &Target,
    tls: &TlsConnector,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let name = match &target.host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| error.to_string()),
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
    };
    let name = name.map_err(|detail| failed(target, Step::Secure, detail))?;
    tls.connect(name, stream).await.map_err(|error| failed(target, Step::Secure, error.to_string()))
}

/// Sends the request and reads the response, with at most so many bytes of body.
///
/// # Errors
/// [`Error::Failed`] and [`Error::TooLarge`].
pub(super) async fn talk(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Outgoing,
    body_bytes: usize,
) -> Result<Response<Bytes>, Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(OUTBOUND_HEAD_BYTES);
    let opened = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| of_hyper(target, &error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| of_hyper(target, &error))?;
        read(target, response, body_bytes).await
    };
    // The connection is driven here and not by a task of its own, so that it ends with this call. When it ends first, what it
    // has read is still to be taken, and its error is what the answer ends with.
    let driven = async { connection.await.ok() };
    match select(pin!(answer), pin!(driven)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => answer.await,
    }
}

async fn read(target: &Target, response: Response<Incoming>, limit: usize) -> Result<Response<Bytes>, Error> {
    let too_large = || Error::TooLarge { part: Part::ResponseBody, host: target.authority.clone(), limit };
    let (mut parts, body) = response.into_parts();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { too_large() } else { failed(target, Step::Exchange, chain(&*error)) }
    })?;
    drop_connection(&mut parts.headers);
    parts.extensions.clear();
    Ok(Response::from_parts(parts, body.to_bytes()))
}

fn of_hyper(target: &Target, error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        let host = target.authority.clone();
        return Error::TooLarge { part: Part::ResponseHead, host, limit: OUTBOUND_HEAD_BYTES };
    }
    failed(target, Step::Exchange, chain(error))
}

fn failed(target: &Target, step: Step, detail: String) -> Error {
    Error::Failed { step, host: target.authority.clone(), detail }
}

/// An error with its causes, which the errors of HTTP do not tell themselves.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
