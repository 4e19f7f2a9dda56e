use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http::Method;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::limits::{HOST_NAME_BYTES, OUTBOUND_HEAD_BYTES};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that answers one request when it is told to.
struct Peer {
    listener: TcpListener,
    port: u16,
}

impl Peer {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/a?b=c", self.port)
    }

    /// Takes a connection and a request, answers with this, and gives the request.
    async fn answer(&self, response: &str) -> String {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        stream.write_all(response.as_bytes()).await.unwrap();
        request
    }

    /// Whether nobody has connected since the last one.
    fn left_alone(self) -> bool {
        // The system itself is asked: the runtime may not have looked yet.
        let accepted = self.listener.into_std().unwrap().accept();
        accepted.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Reads a request with its body; what it has read of one that ends early.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer).await.unwrap() {
            0 => return text,
            read => text.push_str(std::str::from_utf8(&buffer[..read]).unwrap()),
        }
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn options(allow: &[&str]) -> Options {
    Options {
        timeout: Duration::from_secs(30),
        body_bytes: 1000,
        concurrent: 4,
        allow: allow.iter().map(|rule| Rule::parse(rule).unwrap()).collect(),
        only_listed: false,
    }
}

/// A resolver that knows these names, and fails the test for others.
fn names(known: &[(&str, &[&str])]) -> Resolver {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let known: BTreeMap<String, Vec<IpAddr>> =
        known.iter().map(|(name, texts)| ((*name).to_owned(), addresses(texts))).collect();
    Resolver::new(move |name, port| {
        let found = known.get(&name).unwrap_or_else(|| panic!("{name} is looked up"));
        let found = found.iter().map(|address| SocketAddr::new(*address, port)).collect();
        Box::pin(async { Ok(found) })
    })
}

fn client(options: Options, resolver: Resolver) -> Client {
    Client::with(options, &Metrics::new(), resolver, RootCertStore::empty())
}

/// A client that may reach loopback, and looks nothing up.
fn open() -> Client {
    client(options(&["127.0.0.1"]), names(&[]))
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

fn post(url: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(url).body(body.into()).unwrap()
}

#[tokio::test]
async fn co3_a_request_makes_its_way_and_the_response_back() {
    let peer = Peer::listen().await;
    let client = open();
    let request =
        Request::put(peer.url("127.0.0.1")).header("x-a", "1").header("x-a", "2").body("ping".into()).unwrap();
    let response = "HTTP/1.1 418 Teapot\r\nX-B: 3\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\
                    Connection: close\r\n\r\n2\r\npo\r\n2\r\nng\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let (answer, request) = tokio::join!(client.send(request), peer.answer(response));
    assert_eq!(
        request,
        format!(
            "PUT /a?b=c HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\
             content-length: 4\r\n\r\nping",
            peer.port
        )
    );
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (418, b"pong".as_slice()));
    let headers: Vec<_> = answer.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("x-b", b"3".as_slice()), ("set-cookie", b"a=b")], "nothing of the connection");
}

#[tokio::test]
async fn co3_no_cookie_is_kept() {
    let peer = Peer::listen().await;
    let client = open();
    let response = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n";
    let url = peer.url("127.0.0.1");
    let (first, _) = tokio::join!(client.send(get(&url)), peer.answer(response));
    let (second, request) = tokio::join!(client.send(get(&url)), peer.answer(response));
    assert!(first.is_ok() && second.is_ok());
    assert!(!request.contains("cookie"), "{request}");
}

#[tokio::test]
async fn co3_what_is_not_public_is_refused_however_it_is_spelled() {
    let peer = Peer::listen().await;
    let inside: &[&str] = &["10.0.0.1", "fd00::1"];
    let client = client(
        options(&[]),
        names(&[
            ("inside.example", inside),
            ("metadata.example", &["169.254.169.254"]),
            ("mapped.example", &["::ffff:127.0.0.1"]),
        ]),
    );
    for (host, kind) in [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("2130706433", "127.0.0.1 is a loopback address"),
        ("0x7f.1", "127.0.0.1 is a loopback address"),
        ("0177.0.0.1", "127.0.0.1 is a loopback address"),
        ("127.1", "127.0.0.1 is a loopback address"),
        ("127.0.0.1.", "127.0.0.1 is a loopback address"),
        ("%31%32%37.0.0.1", "127.0.0.1 is a loopback address"),
        ("[::1]", "::1 is a loopback address"),
        ("[::ffff:127.0.0.1]", "127.0.0.1 is a loopback address"),
        ("[::ffff:7f00:1]", "127.0.0.1 is a loopback address"),
        ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1 is a loopback address"),
        ("0", "0.0.0.0 is an address of this host"),
        ("169.254.169.254", "169.254.169.254 is a link-local address"),
        ("localhost", "127.0.0.1 is a loopback address"),
        ("LOCALHOST.", "127.0.0.1 is a loopback address"),
        ("a.localhost", "127.0.0.1 is a loopback address"),
        ("inside.example", "10.0.0.1 is a private address"),
        ("Inside.Example.", "10.0.0.1 is a private address"),
        ("metadata.example", "169.254.169.254 is a link-local address"),
        ("mapped.example", "127.0.0.1 is a loopback address"),
    ] {
        // Some of the spellings are no URL for the library, which is as good.
        let Ok(request) = Request::get(peer.url(host)).body(Bytes::new()) else {
            assert!(host.contains('%'), "{host}");
            continue;
        };
        let error = client.send(request).await.expect_err(host);
        assert!(matches!(&error, Error::Refused { reason, .. } if reason == kind), "{host}: {error}");
    }
    assert!(peer.left_alone());
    let error = client.send(get("http://inside.example:81/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "inside.example:81 is refused: 10.0.0.1 is a private address; `outbound.allow` can list it"
    );
}

#[tokio::test]
async fn co3_what_is_listed_is_reached() {
    let peer = Peer::listen().await;
    let port = peer.port;
    let with_port = format!("127.0.0.1:{port}");
    for (rule, host) in [
        ("127.0.0.1", "127.0.0.1"),
        (with_port.as_str(), "0x7f.1"),
        ("127.0.0.0/8", "[::ffff:127.0.0.1]"),
        ("127.0.0.1", "localhost"),
        ("localhost", "localhost"),
        ("127.0.0.1", "mixed.example"),
        ("127.0.0.0/8", "two.example"),
        ("wiki.internal", "WIKI.internal."),
        ("*.internal", "wiki.internal"),
    ] {
        // Nobody listens at the first address of `two.example`.
        let (mixed, two): (&[&str], &[&str]) = (&["10.0.0.1", "127.0.0.1"], &["127.0.0.2", "127.0.0.1"]);
        let known = [("mixed.example", mixed), ("two.example", two), ("wiki.internal", &["127.0.0.1"])];
        let resolver = names(&known);
        let client = client(options(&[rule]), resolver);
        let url = peer.url(host);
        let (answer, request) = tokio::join!(client.send(get(&url)), peer.answer(OK));
        assert_eq!(answer.expect(rule).body().as_ref(), b"ok", "{rule}");
        assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    }
    let other = format!("127.0.0.1:{}", port.wrapping_add(1).max(1));
    for rule in ["127.0.0.2", "*.localhost", "a.example", other.as_str()] {
        let refused = client(options(&[rule]), names(&[])).send(get(&peer.url("localhost"))).await;
        assert_eq!(refused.unwrap_err().outcome(), "refused", "{rule}");
    }
    assert!(peer.left_alone());
}

#[tokio::test]
async fn co3_what_is_checked_is_what_is_connected_to() {
    let peer = Peer::listen().await;
    // It would lead to loopback the second time.
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let resolver = Resolver::new(move |_, port| {
        let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
        let address = if first { [10, 0, 0, 1] } else { [127, 0, 0, 1] };
        Box::pin(async move { Ok(vec![SocketAddr::from((address, port))]) })
    });
    let client = client(options(&["127.0.0.1"]), resolver);
    let error = client.send(get(&peer.url("rebinding.example"))).await.unwrap_err();
    assert_eq!(error.outcome(), "refused");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(peer.left_alone());
}

#[tokio::test]
async fn co3_only_what_is_listed_is_reached_when_that_is_set() {
    let peer = Peer::listen().await;
    let only = |allow: &[&str]| Options { only_listed: true, ..options(allow) };
    // The resolver fails the test if it is asked.
    let strict = client(only(&["api.example"]), names(&[]));
    for host in ["8.8.8.8", "secret.attacker.example", "127.0.0.1", "b.api.example"] {
        let error = strict.send(get(&peer.url(host))).await.unwrap_err();
        assert!(error.to_string().contains("not listed; `outbound.allow` can list it"), "{host}: {error}");
    }
    // A name may have an address that is listed.
    let networks = client(only(&["127.0.0.0/8"]), names(&[("a.example", &["127.0.0.1"]), ("b.example", &["8.8.8.8"])]));
    let url = peer.url("a.example");
    let (answer, _) = tokio::join!(networks.send(get(&url)), peer.answer(OK));
    assert!(answer.is_ok());
    let error = networks.send(get(&peer.url("b.example"))).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { reason, .. } if reason == "8.8.8.8 is not listed"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn co3_the_time_limit_holds_for_a_lookup() {
    let client = client(options(&[]), Resolver::new(|_, _| Box::pin(pending())));
    let error = client.send(get("http://slow.example/")).await.unwrap_err();
    assert_eq!(error.to_string(), "slow.example did not answer within 30s, the limit that `outbound.timeout` sets");
}

#[tokio::test]
async fn co3_the_time_limit_holds_for_the_whole_exchange() {
    for sent in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"] {
        let peer = Peer::listen().await;
        let client = open();
        let stalled = async {
            let (mut stream, _) = peer.listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            // From here the clock runs to the next deadline as soon as nothing else happens.
            tokio::time::pause();
            pending::<()>().await;
        };
        let url = peer.url("127.0.0.1");
        let answer = tokio::select! {
            answer = client.send(get(&url)) => answer,
            () = stalled => unreachable!(),
        };
        assert_eq!(answer.unwrap_err().outcome(), "timed_out", "{sent}");
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn co3_a_request_waits_for_a_place_and_not_for_ever() {
    let client = client(Options { concurrent: 1, ..options(&[]) }, Resolver::new(|_, _| Box::pin(pending())));
    let mut first = pin!(client.send(get("http://a.example/")));
    assert!(poll_once(first.as_mut()).await.is_none());
    let second = client.send(get("http://b.example:81/"));
    // Both end at the same time; the one that waits is looked at before the place is free.
    let (second, first) = tokio::join!(biased; second, first);
    assert_eq!(first.unwrap_err().outcome(), "timed_out");
    assert_eq!(
        second.unwrap_err().to_string(),
        "no place for a request to b.example:81: `outbound.concurrent` allows 1 at a time"
    );
}

#[tokio::test(start_paused = true)]
async fn co3_only_so_many_wait() {
    let client = client(Options { concurrent: 2, ..options(&[]) }, Resolver::new(|_, _| Box::pin(pending())));
    let mut waiting = Vec::new();
    for _ in 0..2 + OUTBOUND_WAITING {
        let mut request = Box::pin(client.send(get("http://a.example/")));
        assert!(poll_once(request.as_mut()).await.is_none());
        waiting.push(request);
    }
    let mut next = pin!(client.send(get("http://a.example/")));
    let refused = poll_once(next.as_mut()).await.expect("an answer at once").unwrap_err();
    assert_eq!(refused.outcome(), "busy");
    drop(waiting);
    let error = client.send(get("http://a.example/")).await.unwrap_err();
    assert_eq!(error.outcome(), "timed_out", "places are free again");
}

#[tokio::test]
async fn co3_a_response_may_have_the_largest_size_and_no_more() {
    let peer = Peer::listen().await;
    let client = open();
    let url = peer.url("127.0.0.1");
    let body = |bytes: usize| "x".repeat(bytes);
    for (head, end) in
        [("Content-Length: 1000", ""), ("Transfer-Encoding: chunked\r\n\r\n3e8", "\r\n0\r\n\r\n"), ("X: y", "")]
    {
        let separator = if head.contains("chunked") { "\r\n" } else { "\r\n\r\n" };
        let response = format!("HTTP/1.1 200 OK\r\n{head}{separator}{}{end}", body(1000));
        let (answer, _) = tokio::join!(client.send(get(&url)), peer.answer(&response));
        assert_eq!(answer.unwrap().body().len(), 1000, "{head}");
    }
    for response in [
        // Told beforehand, so that none of the body is read.
        "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n", body(1001)),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", body(1001)),
    ] {
        let (answer, _) = tokio::join!(client.send(get(&url)), peer.answer(&response));
        let text = answer.unwrap_err().to_string();
        let limit = "the response's body is larger than 1000 bytes, the limit that `outbound.body_bytes` sets";
        assert_eq!(text, format!("{limit} (127.0.0.1:{})", peer.port));
    }
}

#[tokio::test]
async fn co3_a_response_without_an_end_is_given_up() {
    let peer = Peer::listen().await;
    let client = open();
    let endless = async {
        let (mut stream, _) = peer.listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // Ends when the client has gone, and never otherwise.
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    };
    let url = peer.url("127.0.0.1");
    let (answer, ()) = tokio::join!(client.send(get(&url)), endless);
    assert_eq!(answer.unwrap_err().outcome(), "too_large");
}

#[tokio::test]
async fn co3_heads_have_a_limit() {
    let peer = Peer::listen().await;
    let client = open();
    let url = peer.url("127.0.0.1");
    let response = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * OUTBOUND_HEAD_BYTES));
    let huge = async {
        let (mut stream, _) = peer.listener.accept().await.unwrap();
        read_request(&mut stream).await;
        // Whether all of it is taken is the client's business.
        stream.write_all(response.as_bytes()).await.ok();
    };
    let (answer, ()) = tokio::join!(client.send(get(&url)), huge);
    let text = answer.unwrap_err().to_string();
    assert!(text.starts_with("the response's head is larger than 65536 bytes, the limit of a head"), "{text}");
    let request = Request::get(&url).header("x", "x".repeat(OUTBOUND_HEAD_BYTES)).body(Bytes::new()).unwrap();
    let text = client.send(request).await.unwrap_err().to_string();
    assert!(text.starts_with("the request's head is larger than 65536 bytes"), "{text}");
    assert!(peer.left_alone());
}

#[tokio::test]
async fn co3_a_request_may_have_the_largest_size_and_no_more() {
    let peer = Peer::listen().await;
    let client = open();
    let url = peer.url("127.0.0.1");
    let (answer, request) = tokio::join!(client.send(post(&url, vec![b'x'; 1000])), peer.answer(OK));
    assert!(answer.is_ok() && request.ends_with(&"x".repeat(1000)));
    let text = client.send(post(&url, vec![b'x'; 1001])).await.unwrap_err().to_string();
    assert!(text.starts_with("the request's body is larger than 1000 bytes"), "{text}");
    assert!(peer.left_alone());
}

#[tokio::test]
async fn co3_a_head_without_a_body_may_speak_of_any_size() {
    let peer = Peer::listen().await;
    let client = open();
    let request = Request::head(peer.url("127.0.0.1")).body(Bytes::new()).unwrap();
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    let (answer, _) = tokio::join!(client.send(request), peer.answer(response));
    let answer = answer.unwrap();
    assert_eq!((answer.headers()["content-length"].as_bytes(), answer.body().len()), (b"5000".as_slice(), 0));
}

#[tokio::test]
async fn co3_a_redirect_is_an_answer() {
    let peer = Peer::listen().await;
    let client = open();
    let url = peer.url("127.0.0.1");
    let response = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
    let (answer, _) = tokio::join!(client.send(get(&url)), peer.answer(&response));
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].as_bytes()), (302, url.as_bytes()));
    assert!(peer.left_alone());
}

#[tokio::test]
async fn co3_nothing_can_be_slipped_into_a_head() {
    for value in ["a\r\nx-injected: 1", "a\nb", "a\rb", "a\0b"] {
        assert!(Request::get("http://a.example/").header("x", value).body(Bytes::new()).is_err(), "{value:?}");
        assert!(Request::get(format!("http://a.example/{value}")).body(Bytes::new()).is_err(), "{value:?}");
        assert!(Request::builder().method(value).body(Bytes::new()).is_err(), "{value:?}");
    }
    let peer = Peer::listen().await;
    let client = open();
    let request = Request::post(format!("http://127.0.0.1:{}/%0d%0ax-injected:%201?a=%0d%0a", peer.port))
        .header("host", "other.example")
        .header("content-length", "4000")
        .header("transfer-encoding", "chunked")
        .header("connection", "upgrade, x-kept")
        .header("upgrade", "h2c")
        .header("te", "trailers")
        .header("x-kept", "GET / HTTP/1.1")
        .body(Bytes::from_static(b"body"))
        .unwrap();
    let (answer, request) = tokio::join!(client.send(request), peer.answer(OK));
    assert!(answer.is_ok());
    // The order of headers means nothing.
    let mut lines: Vec<_> = request.split("\r\n").collect();
    lines[1..5].sort_unstable();
    let host = format!("host: 127.0.0.1:{}", peer.port);
    let head = ["connection: close", "content-length: 4", host.as_str(), "x-kept: GET / HTTP/1.1"];
    assert_eq!(lines[0], "POST /%0d%0ax-injected:%201?a=%0d%0a HTTP/1.1");
    assert_eq!(lines[1..5], head);
    assert_eq!(lines[5..], ["", "body"]);
}

#[tokio::test]
async fn co3_what_cannot_be_sent_is_told_without_its_secrets() {
    let client = client(options(&[]), names(&[]));
    let long = format!("http://{}.example/?secret", "a".repeat(HOST_NAME_BYTES));
    for (url, reason) in [
        ("/path?secret", "bad URL: relative URL without a base"),
        ("ftp://a.example/secret", "the scheme is `ftp`; http and https are supported"),
        ("http://secret@a.example/", "the URL has credentials; send them in the header `Authorization`"),
        ("http://user:secret@a.example/", "the URL has credentials; send them in the header `Authorization`"),
        ("http://:secret@127.0.0.1/", "the URL has credentials; send them in the header `Authorization`"),
        ("http://1.2.3.256/?secret", "bad URL: invalid IPv4 address"),
        ("http://./?secret", "the host name has 0 bytes; the limit is 253"),
        (&long, "the host name has 261 bytes; the limit is 253"),
    ] {
        let error = client.send(get(url)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("invalid request: {reason}"), "{url}");
    }
    let tunnel = Request::builder().method(Method::CONNECT).uri("http://a.example/").body(Bytes::new()).unwrap();
    assert_eq!(client.send(tunnel).await.unwrap_err().outcome(), "invalid");
    let refused = client.send(get("http://127.0.0.1/secret?secret")).await.unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
}

#[tokio::test]
async fn co3_what_fails_is_told() {
    let Peer { listener, port } = Peer::listen().await;
    let client = client(
        options(&["127.0.0.1"]),
        Resolver::new(|_, _| Box::pin(async { Err(io::Error::other("no such name")) })),
    );
    let url = format!("http://127.0.0.1:{port}/secret");
    let closed = async { drop(listener.accept().await.unwrap()) };
    let (answer, ()) = tokio::join!(client.send(get(&url)), closed);
    let text = answer.unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot read a response of 127.0.0.1:{port}: ")), "{text}");
    drop(listener);
    let text = client.send(get(&url)).await.unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot connect to 127.0.0.1:{port}: 127.0.0.1:{port}: ")), "{text}");
    let text = client.send(get("http://no.example/secret")).await.unwrap_err().to_string();
    assert_eq!(text, "cannot resolve no.example: no such name");
}

#[tokio::test]
async fn co3_half_a_response_is_none() {
    let peer = Peer::listen().await;
    let client = open();
    let url = peer.url("127.0.0.1");
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok";
    let (answer, _) = tokio::join!(client.send(get(&url)), peer.answer(response));
    assert!(matches!(answer, Err(Error::Failed { step: Step::Exchange, .. })), "{answer:?}");
}

async fn serve_securely(peer: &Peer, CertifiedKey { cert, signing_key }: &CertifiedKey<KeyPair>) -> io::Result<()> {
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let (stream, _) = peer.listener.accept().await?;
    let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    read_request(&mut stream).await;
    stream.write_all(OK.as_bytes()).await?;
    close(stream).await
}

async fn close(mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await
}

#[tokio::test]
async fn co3_https_needs_a_certificate_of_the_host_that_is_trusted() {
    let peer = Peer::listen().await;
    let key = generate_simple_self_signed(["secure.example".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let at_peer: &[&str] = &["127.0.0.1"];
    let client = |roots| {
        let resolver = names(&[("secure.example", at_peer), ("other.example", at_peer)]);
        Client::with(options(&["127.0.0.1"]), &Metrics::new(), resolver, roots)
    };
    let url = |host: &str| format!("https://{host}:{}/", peer.port);
    let trusting = client(roots);
    let (answer, served) = tokio::join!(trusting.send(get(&url("secure.example"))), serve_securely(&peer, &key));
    assert_eq!(answer.unwrap().body().as_ref(), b"ok");
    served.unwrap();
    for (client, host) in [(trusting, "other.example"), (client(RootCertStore::empty()), "secure.example")] {
        let (answer, served) = tokio::join!(client.send(get(&url(host))), serve_securely(&peer, &key));
        let text = answer.unwrap_err().to_string();
        let expected = format!("cannot agree on TLS with {host}:{}: invalid peer certificate", peer.port);
        assert!(text.starts_with(&expected), "{text}");
        assert!(served.is_err(), "no request was sent");
    }
}

#[tokio::test]
async fn co3_outcomes_are_counted() {
    let peer = Peer::listen().await;
    let metrics = Metrics::new();
    let client = Client::with(options(&["127.0.0.1"]), &metrics, names(&[]), RootCertStore::empty());
    let url = peer.url("127.0.0.1");
    let (answer, _) = tokio::join!(client.send(get(&url)), peer.answer("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"));
    assert!(answer.is_ok());
    assert!(client.clone().send(get("http://10.0.0.1/")).await.is_err());
    let text = metrics.render();
    for outcome in ["answered", "refused"] {
        assert!(text.contains(&format!("fleet_outbound_total{{outcome=\"{outcome}\"}} 1")), "{text}");
    }
}

#[tokio::test]
async fn co3_the_system_is_asked_for_names() {
    // A literal is what every system answers without a network.
    let found = Resolver::system().look_up("127.0.0.1", 80).await.unwrap();
    assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 80))]);
    let client = Client::new(options(&[]), &Metrics::new());
    let error = client.send(get("http://localhost/")).await.unwrap_err();
    assert_eq!(error.outcome(), "refused");
}
