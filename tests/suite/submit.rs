//! `fleet submit` and `fleet batch`, the real commands: against a small manager that does at once what it is told, and against
//! servers that are none.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use data_encoding::BASE64;
use fleet::server::Builder;
use fleet::{Class, Error, RawValue, Turn, json as encode, read, unknown_method};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::harness::{Server, within};

/// Has one batch, which is a third further whenever somebody looks. Tasks of type `bad` fail.
#[derive(Default, Serialize, Deserialize)]
struct Manager {
    tasks: Vec<Value>,
    looks: usize,
    cancelled: bool,
}

const BATCH: &str = "b1";

impl Class for Manager {
    const NAME: &'static str = "small-manager";

    fn call(&mut self, _: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        let payload: Value = read(payload)?;
        if method == "submitBatch" {
            let tasks = payload["tasks"].as_array().ok_or_else(|| Error::bad_request("no tasks"))?;
            self.tasks.clone_from(tasks);
            return encode(&json!({"batchId": BATCH}));
        }
        if payload["batchId"] != BATCH {
            return Err(Error::not_found(format!("Batch {} not found", payload["batchId"].as_str().unwrap_or("?"))));
        }
        match method {
            "getBatchStatus" => {
                self.looks += 1;
                encode(&self.status())
            }
            "getBatchResults" => self.page(&payload, |_| true),
            "getFailedTasks" => self.page(&payload, |task| task["type"] == "bad"),
            "cancelBatch" => encode(&!std::mem::replace(&mut self.cancelled, true)),
            other => Err(unknown_method(other)),
        }
    }
}

impl Manager {
    fn status(&self) -> Value {
        let total = self.tasks.len();
        let done = total * (self.looks - 1).min(3) / 3;
        let failed = self.tasks[..done].iter().filter(|task| task["type"] == "bad").count();
        let status = match (done == total, failed) {
            _ if self.cancelled => "cancelled",
            (false, _) => "processing",
            (true, 0) => "completed",
            (true, _) => "partial",
        };
        json!({"status": status, "totalTasks": total, "completedTasks": done - failed, "failedTasks": failed,
            "progress": if total == done { 1.0 } else { 0.5 }})
    }

    /// Two tasks a page.
    fn page(&self, payload: &Value, listed: fn(&Value) -> bool) -> Result<Vec<u8>, Error> {
        let from = payload["cursor"].as_str().map_or(0, |cursor| cursor.parse().expect("a cursor of mine"));
        let all: Vec<_> = self.tasks.iter().filter(|task| listed(task)).map(|task| &task["id"]).collect();
        let page: Vec<_> = all.iter().skip(from).take(2).map(|id| json!({"taskId": id})).collect();
        let more = from + 2 < all.len();
        encode(&if more { json!({"items": page, "cursor": (from + 2).to_string()}) } else { json!({"items": page}) })
    }
}

fn built() -> Builder {
    fleet::Server::builder().class::<Manager>().route("/jobs", "small-manager").route("/teams/*", "small-manager")
}

/// How a command ended.
#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a command in an empty directory.
async fn fleet(arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    command.args(arguments).current_dir(directory.path()).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    let output = within("the end of the command", child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ran {
    /// Asserts a success that printed this.
    #[track_caller]
    fn printed(&self, stdout: &str) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(0), stdout), "{}", self.stderr);
    }

    /// Asserts a failure with one line that begins like this.
    #[track_caller]
    fn failed(&self, status: i32, line: &str) {
        assert!(self.stderr.starts_with(&format!("fleet: {line}")), "{self:?}");
        assert_eq!((self.status, self.stdout.as_str(), self.stderr.lines().count()), (Some(status), "", 1), "{self:?}");
    }
}

/// A server, and its URL.
fn server() -> (Server, String) {
    let server = Server::built(built);
    let url = format!("http://{}", server.address());
    (server, url)
}

fn lines(kinds: &[&str]) -> Vec<u8> {
    kinds.iter().flat_map(|kind| format!("{{\"type\":\"{kind}\"}}\n").into_bytes()).collect()
}

#[tokio::test]
async fn submit_batch_is_submitted_and_waited_for() {
    let (server, url) = server();
    let ran = fleet(&["submit", "/jobs", "-", "--url", &url, "--wait"], &[], &lines(&["a"; 6])).await;
    ran.printed("b1\n");
    let wanted = [
        "processing: 0 of 6 tasks done, 0 failed",
        "processing: 2 of 6 tasks done, 0 failed",
        "processing: 4 of 6 tasks done, 0 failed",
        "completed: 6 of 6 tasks done, 0 failed",
    ];
    assert_eq!(ran.stderr.lines().collect::<Vec<_>>(), wanted, "lines, for it is no terminal");
    let ids: Vec<_> = (1..=6).map(|number| json!({"id": format!("t{number}"), "type": "a"})).collect();
    assert_eq!(server.state("/jobs").await["tasks"], json!(ids));
}

#[tokio::test]
async fn submit_batch_that_does_not_succeed_is_status_1() {
    let (_server, url) = server();
    let tasks = lines(&["a", "bad", "a"]);
    fleet(&["submit", "/jobs", "-", "--url", &url], &[], &tasks).await.printed("b1\n");
    let ran = fleet(&["submit", "/jobs", "-", "--url", &url, "--wait"], &[], &tasks).await;
    let verdict = "fleet: batch b1 is partial: 2 of 3 tasks succeeded, 1 failed";
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.lines().last()), (Some(1), "b1\n", Some(verdict)));
}

#[tokio::test]
async fn submit_takes_a_file_a_url_and_the_environment() {
    let (server, url) = server();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tasks.json");
    let large = "x".repeat(10_000);
    let tasks: Vec<_> = (0..50).map(|number| json!({"id": format!("n{number}"), "data": large})).collect();
    std::fs::write(&file, serde_json::to_string_pretty(&tasks).unwrap()).unwrap();
    let name = file.to_str().unwrap();
    fleet(&["submit", &format!("{url}/teams/a"), name, "--type", "x"], &[], b"").await.printed("b1\n");
    fleet(&["submit", "/teams/b", name, "--type=y"], &[("FLEET_URL", &url)], b"").await.printed("b1\n");
    for (path, kind) in [("/teams/a", "x"), ("/teams/b", "y")] {
        let state = server.state(path).await;
        let found = state["tasks"].as_array().unwrap();
        assert_eq!(found.len(), 50);
        assert_eq!(found[49], json!({"id": "n49", "type": kind, "data": large}));
    }
}

#[tokio::test]
async fn submit_says_what_is_wrong_with_the_tasks_and_sends_nothing() {
    let (server, url) = server();
    let submit = async |input: &[u8]| fleet(&["submit", "/jobs", "-", "--url", &url], &[], input).await;
    let mut tasks = lines(&["a", "b"]);
    tasks.extend(b"{\"tipe\":\"c\"}\n");
    submit(&tasks)
        .await
        .failed(1, "standard input, line 3, column 7: unknown field `tipe`, expected one of `id`, `type`");
    submit(b"{}")
        .await
        .failed(1, "standard input, line 1: the task has no `type`; give it one, or all of them one with");
    submit(b"").await.failed(1, "standard input has no tasks");
    let missing = fleet(&["submit", "/jobs", "missing.json", "--url", &url], &[], b"").await;
    missing.failed(1, "missing.json cannot be read: No such file");
    assert_eq!(server.objects().await, [""; 0], "nothing came");
}

#[tokio::test]
async fn batch_status_results_failed_watch_and_cancel() {
    let (_server, url) = server();
    fleet(&["submit", "/jobs", "-", "--url", &url], &[], &lines(&["a", "bad", "a", "bad", "bad"]))
        .await
        .printed("b1\n");
    let batch = async |flag: &[&str]| fleet(&[&["batch", "/jobs", "b1", "--url", &url], flag].concat(), &[], b"").await;
    batch(&[]).await.printed("processing: 0 of 5 tasks done, 0 failed\n");
    let of = |ids: &[u32]| {
        ids.iter().flat_map(|id| ["{\"taskId\":\"t".to_owned(), id.to_string(), "\"}\n".to_owned()]).collect::<String>()
    };
    batch(&["--results"]).await.printed(&of(&[1, 2, 3, 4, 5]));
    batch(&["--failed"]).await.printed(&of(&[2, 4, 5]));
    let watched = batch(&["--watch"]).await;
    let last: Vec<_> = watched.stderr.lines().rev().take(2).collect();
    let wanted =
        ["fleet: batch b1 is partial: 2 of 5 tasks succeeded, 3 failed", "partial: 5 of 5 tasks done, 3 failed"];
    assert_eq!((watched.status, last), (Some(1), wanted.to_vec()));
    batch(&["--cancel"]).await.printed("cancelled b1\n");
    batch(&["--cancel"]).await.failed(1, "there is nothing to cancel: batch b1 has ended, or never was");
    batch(&[]).await.printed("cancelled: 5 of 5 tasks done, 3 failed\n");
    let both = batch(&["--watch", "--cancel"]).await;
    both.failed(2, "the argument '--watch' cannot be used with '--cancel'");
    let unknown = fleet(&["batch", "/jobs", "b2", "--url", &url], &[], b"").await;
    unknown.failed(1, "Batch b2 not found");
}

/// A real manager, and its URL.
fn real() -> (Server, String) {
    let server = Server::configured("[routes]\n\"/jobs\" = \"fleet-manager\"\n");
    let url = format!("http://{}", server.address());
    (server, url)
}

#[tokio::test]
async fn batch_says_which_types_nobody_handles_while_it_is_watched() {
    let (server, url) = real();
    let tasks = lines(&["render", "render", "mail"]);
    let id = fleet(&["submit", "/jobs", "-", "--url", &url], &[], &tasks).await.stdout.trim().to_owned();
    let told = "pending: 0 of 3 tasks done, 0 failed; nobody handles `mail` (1 task), `render` (2 tasks)\n";
    fleet(&["batch", "/jobs", &id, "--url", &url], &[], b"").await.printed(told);

    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    command.args(["batch", "/jobs", &id, "--url", &url, "--watch"]).env_clear().kill_on_drop(true);
    let mut watching = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(watching.stderr.take().unwrap()).lines();
    let mut line = async || within("a line", said.next_line()).await.unwrap().unwrap_or_default();
    assert_eq!(line().await, told.trim_end());
    // It is told again when that lasts, and no oftener.
    let longer = "pending: 0 of 3 tasks done, 0 failed; nobody handles `mail` (1 task, for over 5 s), \
                  `render` (2 tasks, for over 5 s)";
    assert_eq!(line().await, longer);
    server.call("/jobs", "cancelBatch", json!({"batchId": id})).await;
    assert_eq!(line().await, "cancelled: 0 of 3 tasks done, 0 failed");
    assert_eq!(within("its end", watching.wait()).await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn submit_and_batch_say_what_the_server_is_not() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let text = format!(
        "cannot reach {url}: connection refused; start a server with `fleet`, or name another with --url or FLEET_URL"
    );
    fleet(&["submit", "/jobs", "-", "--url", &url], &[], b"{\"type\":\"a\"}").await.failed(1, &text);
    fleet(&["batch", "/jobs", "b1"], &[("FLEET_URL", &url)], b"").await.failed(1, &text);

    let (_server, url) = server();
    let ran = fleet(&["submit", "/elsewhere", "-", "--url", &url], &[], b"{\"type\":\"a\"}").await;
    ran.failed(
        1,
        "/elsewhere is no fleet-manager; create it with that class (`createAgent` of the object above it), route",
    );
}

#[tokio::test]
async fn submit_and_batch_refuse_what_cannot_be_typed() {
    let usage = async |arguments: &[&str], line: &str| fleet(arguments, &[], b"").await.failed(2, line);
    usage(&["submit", "/jobs"], "the following required arguments were not provided: <FILE>").await;
    usage(&["submit", "jobs", "-"], "`jobs` is no path; an object is a path such as /jobs, or a URL; see").await;
    usage(&["submit", "/a.b", "-"], "`a.b` is not a name: a path segment must match").await;
    usage(&["submit", "/jobs", "-", "--url", "ftp://a"], "not an http or https URL: `ftp://a`; it must be like").await;
    usage(&["submit", "/jobs", "-", "--idempotency-key", "a b"], "--idempotency-key must be 1 to 255 visible").await;
    usage(&["batch", "/jobs"], "the following required arguments were not provided: <BATCH-ID>").await;
}

#[tokio::test]
async fn submit_and_batch_have_a_help_that_names_everything() {
    let submit = fleet(&["submit", "--help"], &[("FLEET_TOKEN", "secret")], b"").await;
    let batch = fleet(&["batch", "--help"], &[("FLEET_TOKEN", "secret")], b"").await;
    for (ran, flags) in [
        (&submit, ["--type", "--wait", "--idempotency-key", "JSON array", "FLEET_URL", "FLEET_CA", "Exit status"]),
        (&batch, ["--watch", "--results", "--failed", "--cancel", "FLEET_URL", "FLEET_TOKEN", "Exit status"]),
    ] {
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
        for flag in flags {
            assert!(ran.stdout.contains(flag), "{flag}: {}", ran.stdout);
        }
        assert!(!ran.stdout.contains("secret"), "{}", ran.stdout);
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 105), "{}", ran.stdout);
    }
    let whole = fleet(&["--help"], &[], b"").await;
    assert!(whole.stdout.contains("submit") && whole.stdout.contains("batch"), "{}", whole.stdout);
}

/// Speaks TLS for a server, with a certificate of its own; the port, the certificate, and who does it.
async fn with_tls(server: SocketAddr) -> (u16, String, JoinSet<()>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust it goes away.
            let Ok(mut outside) = acceptor.accept(stream).await else { continue };
            let mut inside = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        }
    });
    let text = BASE64.encode(cert.der());
    (port, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"), serving)
}

#[tokio::test]
async fn submit_and_batch_speak_https_to_whom_they_trust() {
    let (server, _) = real();
    let (port, certificate, _serving) = with_tls(server.address()).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, certificate).unwrap();
    let ca = ca.to_str().unwrap();
    let url = format!("https://localhost:{port}");
    let submit = ["submit", "/jobs", "-", "--url", &url];

    let unknown = fleet(&submit, &[], &lines(&["echo"])).await;
    unknown.failed(1, &format!("cannot reach {url}: invalid peer certificate: "));
    assert_eq!(server.call("/jobs", "getStats", json!({})).await["totalTasks"], 0, "nothing was sent");

    let known = fleet(&[&submit[..], &["--ca", ca]].concat(), &[], &lines(&["echo"; 3])).await;
    let id = known.stdout.trim().to_owned();
    known.printed(&format!("{id}\n"));
    let watched = fleet(&["batch", &format!("{url}/jobs"), &id, "--watch"], &[("FLEET_CA", ca)], b"").await;
    watched.printed("");
    let listed = fleet(&["batch", "/jobs", &id, "--results", "--url", &url, "--ca", ca], &[], b"").await;
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");

    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let empty = empty.to_str().unwrap();
    for (file, text) in
        [(empty, "is of no use: there is no certificate in it"), ("none.pem", "cannot be read: No such")]
    {
        let refused = fleet(&[&submit[..], &["--ca", file]].concat(), &[], b"").await;
        refused.failed(2, &format!("{file} {text}"));
    }
}

/// Takes one request, answers this, and gives the request.
async fn answering(answer: &'static str) -> (String, JoinSet<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut answered = JoinSet::new();
    answered.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"]}") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0, "{}", String::from_utf8_lossy(&request));
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, answered)
}

#[tokio::test]
async fn submit_sends_the_key_the_token_and_the_length() {
    let (url, answered) = answering("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"batchId\":\"b7\"}").await;
    let arguments = ["submit", "/jobs", "-", "--url", &url, "--idempotency-key", "night-1", "--token", "t0k3n"];
    fleet(&arguments, &[("FLEET_TOKEN", "other")], b"[{\"type\":\"a\"}]").await.printed("b7\n");
    let request = within("the request", answered.join_all()).await.concat();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut head = head.lines();
    assert_eq!(head.next(), Some("POST /jobs:submitBatch HTTP/1.1"));
    let mut headers: Vec<_> = head.map(str::to_ascii_lowercase).collect();
    headers.sort();
    let host = url.strip_prefix("http://").unwrap();
    let wanted = [
        "authorization: bearer t0k3n".to_owned(),
        "content-length: 34".to_owned(),
        "content-type: application/json".to_owned(),
        format!("host: {host}"),
        "idempotency-key: night-1".to_owned(),
    ];
    assert_eq!(headers, wanted);
    assert_eq!(body, r#"{"tasks":[{"id":"t1","type":"a"}]}"#);
}

#[tokio::test]
async fn submit_says_what_came_instead_of_an_answer() {
    for (answer, text) in [
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops",
            "the server answered 502 Bad Gateway; it is no fleet",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "did not answer: what came is not what a fleet-manager answers",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "did not answer: "),
        ("SSH-2.0-OpenSSH_9.2\r\n", "did not answer: "),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 45\r\n\r\n{\"error\":\"a token is wanted\",\"code\":\"unauthorized\"}",
            "a token is wanted; show a token with --token or FLEET_TOKEN",
        ),
    ] {
        let answer: &'static str = Box::leak(fixed(answer).into_boxed_str());
        let (url, answered) = answering(answer).await;
        let ran = fleet(&["submit", "/jobs", "-", "--url", &url], &[], b"[{\"type\":\"a\"}]").await;
        within("the request", answered.join_all()).await;
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
        assert!(ran.stderr.contains(text) && ran.stderr.lines().count() == 1, "{answer}: {}", ran.stderr);
    }
}

/// The same with the length that its JSON has.
fn fixed(answer: &str) -> String {
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if body.len() > 40 => {
            let head = head.split("Content-Length").next().unwrap();
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
        }
        _ => answer.to_owned(),
    }
}

#[tokio::test]
async fn submit_waits_through_a_restart_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let start = || start_on(port, directory.path());
    let running = start().await;
    let url = format!("http://127.0.0.1:{port}");
    fleet(&["submit", "/jobs", "-", "--url", &url], &[], &lines(&["a"; 3])).await.printed("b1\n");
    running.stop().await;
    let arguments = ["batch", "/jobs", "b1", "--url", &url, "--watch"];
    let watching = fleet(&arguments, &[], b"");
    let again = async {
        // So that it has found nobody at least once.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        start().await
    };
    let (ran, running) = tokio::join!(watching, again);
    ran.printed("");
    running.stop().await;
}

async fn start_on(port: u16, data: &Path) -> fleet::server::Running {
    let mut config = fleet::config::Config::default();
    config.server.listen = ([127, 0, 0, 1], port).into();
    data.clone_into(&mut config.storage.data_dir);
    built().config(config).start().await.unwrap()
}
