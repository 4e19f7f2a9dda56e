//! A headless Chromium behind a chromedriver, both ended with the test.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use url::{ParseError, Url};

use crate::{DEADLINE, free_port, within};

const SWITCHES: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
];

/// What the tests need beside the server.
pub(crate) struct Programs {
    chromium: PathBuf,
    chromedriver: PathBuf,
}

impl Programs {
    /// Finds them on the path. `None`: the tests cannot run here, which is said once.
    pub(crate) fn find() -> Option<Self> {
        static SAID: Once = Once::new();
        let chromium = on_path(&["chromium", "chromium-browser", "google-chrome"]);
        let found = (chromium, on_path(&["chromedriver"]), on_path(&["curl"]));
        if let (Some(chromium), Some(chromedriver), Some(_)) = found {
            return Some(Self { chromium, chromedriver });
        }
        let missing = "the page is not tested: chromium, chromedriver or curl is not installed";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        // Not by `eprintln`, which is shown for tests that fail only.
        SAID.call_once(|| drop(writeln!(std::io::stderr(), "{missing}")));
        None
    }
}

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| directories.iter().map(move |dir| dir.join(name))).find(|file| file.is_file())
}

/// A chromedriver and its one browser.
pub(crate) struct Chrome {
    driver: Child,
    port: u16,
    pub(crate) client: Client,
    _profile: TempDir,
}

impl Chrome {
    pub(crate) async fn start(programs: &Programs) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut driver = Driver::start(programs, port);
        within("chromedriver starts", driver.ready()).await;
        let capabilities = capabilities(programs, &profile);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let session = builder.capabilities(capabilities);
        let address = format!("http://127.0.0.1:{port}");
        let client = within("chromium starts", session.connect(&address)).await.unwrap();
        Self { driver: driver.0.take().unwrap(), port, client, _profile: profile }
    }
}

impl Drop for Chrome {
    /// Lets chromedriver end its browser, then ends what is left of the two.
    fn drop(&mut self) {
        let _ = shut_down(self.port);
        end_group(&mut self.driver);
    }
}

/// A chromedriver that has no browser yet.
struct Driver(Option<Child>);

impl Driver {
    fn start(programs: &Programs, port: u16) -> Self {
        let mut command = Command::new(&programs.chromedriver);
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own, which the browser belongs to as well.
        Self(Some(command.process_group(0).spawn().unwrap()))
    }

    async fn ready(&mut self) {
        let stdout = self.0.as_mut().and_then(|driver| driver.stdout.take()).unwrap();
        let mut lines = BufReader::new(ChildStdout::from_std(stdout).unwrap()).lines();
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("started successfully") {
                return;
            }
            said.push(line);
        }
        panic!("chromedriver did not start: {said:?}");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(driver) = &mut self.0 {
            end_group(driver);
        }
    }
}

fn shut_down(port: u16) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    connection.read_to_end(&mut Vec::new()).map(drop)
}

/// Ends a process that leads its group, and its group.
fn end_group(leader: &mut Child) {
    let group = format!("-{}", leader.id());
    // It may be gone already.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = leader.wait();
}

fn capabilities(programs: &Programs, profile: &TempDir) -> Capabilities {
    let mut switches: Vec<String> = SWITCHES.iter().map(|&switch| switch.to_owned()).collect();
    switches.push(format!("--user-data-dir={}", profile.path().display()));
    let Value::Object(capabilities) = json!({
        "goog:chromeOptions": { "binary": programs.chromium, "args": switches },
        "goog:loggingPrefs": { "browser": "ALL" },
        // A page that shows an alert has failed.
        "unhandledPromptBehavior": "ignore",
        "timeouts": { "script": 2 * DEADLINE.as_millis() },
    }) else {
        unreachable!("an object was written");
    };
    capabilities
}

/// A command of chromedriver that the WebDriver standard does not know.
#[derive(Debug)]
pub(crate) struct Extra {
    endpoint: &'static str,
    body: Value,
}

impl Extra {
    /// A command of the DevTools protocol, for the current window.
    pub(crate) fn devtools(command: &str, parameters: &Value) -> Self {
        Self { endpoint: "goog/cdp/execute", body: json!({ "cmd": command, "params": parameters }) }
    }

    /// Takes what the console has got since the last time.
    pub(crate) fn console() -> Self {
        Self { endpoint: "se/log", body: json!({ "type": "browser" }) }
    }
}

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.endpoint))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
