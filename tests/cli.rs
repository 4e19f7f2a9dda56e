//! OP1 and OP2 through the real binary: layers, refusals, help, exit statuses, and what is printed where.

// A test that cannot go on should say where.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// An empty working directory in which `fleet` runs without any environment.
struct Place {
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

/// How a run ended.
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A server that is killed when the test ends, however it ends.
struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command.args(arguments).current_dir(self.path()).env_clear().envs(self.variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().unwrap();
        Run {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The configuration that `fleet config` prints.
    fn effective(&self, arguments: &[&str]) -> toml::Table {
        let run = self.run(&[&["config"], arguments].concat());
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
        run.stdout.parse().unwrap()
    }

    fn serve(&self, arguments: &[&str]) -> Serving {
        let mut child = self.command(arguments).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        Serving { child, stdout, stderr }
    }
}

impl Run {
    /// Asserts a refusal with this one line.
    #[track_caller]
    fn refuses(&self, status: i32, line: &str) {
        assert_eq!(self.stderr, format!("fleet: {line}\n"));
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""));
    }
}

impl Serving {
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Kills the server and gives what it logged.
    fn logged(mut self) -> String {
        self.child.kill().unwrap();
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already dead is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text<'a>(config: &'a toml::Table, section: &str, key: &str) -> &'a str {
    config[section][key].as_str().unwrap()
}

#[test]
fn op1_nothing_at_all_is_the_defaults() {
    let config = Place::new().effective(&[]);
    assert_eq!(text(&config, "server", "listen"), "127.0.0.1:8787");
    assert_eq!(text(&config, "storage", "data_dir"), "./data");
    let committed: toml::Table = include_str!("../config.toml").parse().unwrap();
    assert_eq!(config, committed);
}

#[test]
fn op1_flags_over_environment_over_file_over_defaults() {
    let listen = |port: u16| format!("[server]\nlisten = \"127.0.0.1:{port}\"\n");
    let listens_on = |place: &Place, arguments: &[&str]| {
        let config = place.effective(arguments);
        text(&config, "server", "listen").strip_prefix("127.0.0.1:").unwrap().parse::<u16>().unwrap()
    };
    let place = Place::new().file("config.toml", &listen(1)).file("named.toml", &listen(2));
    assert_eq!(listens_on(&place, &[]), 1);
    assert_eq!(listens_on(&place, &["--config", "named.toml"]), 2);
    let place = place.variable("FLEET_SERVER__LISTEN", "127.0.0.1:3");
    assert_eq!(listens_on(&place, &["--config", "named.toml"]), 3);
    assert_eq!(listens_on(&place, &["--listen", "localhost:4"]), 4);
    let config = place.effective(&["--data-dir", "elsewhere"]);
    assert_eq!(text(&config, "storage", "data_dir"), "elsewhere");
    assert_eq!(text(&config, "server", "ping_interval"), "30s");
}

#[test]
fn op1_unknown_keys_are_refused_with_the_nearest_name() {
    let place = Place::new().file("config.toml", "[server]\nlisen = \"127.0.0.1:1\"\n");
    for command in [&["config"][..], &["serve"], &[]] {
        let advice = "unknown key `server.lisen` in config.toml; did you mean `server.listen`?";
        place.run(command).refuses(2, advice);
    }
    let place = Place::new().variable("FLEET_LIMIT__SOCKETS", "1").variable("FLEET_URL", "http://a");
    let advice = "unknown key `limit.sockets` in the variable FLEET_LIMIT__SOCKETS; \
                  did you mean `limits.sockets` (FLEET_LIMITS__SOCKETS)?";
    place.run(&["config"]).refuses(2, advice);
}

#[test]
fn op1_every_problem_has_its_line() {
    let place = Place::new()
        .file("config.toml", "[limits]\nobjects = \"many\"\n")
        .variable("FLEET_SERVER__PING_TIMEOUT", "soon");
    let run = place.run(&["config", "--listen", "nowhere"]);
    assert_eq!(run.status, Some(2));
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, start) in lines.iter().zip([
        "fleet: `limits.objects` in config.toml is \"many\"; expected a whole number",
        "fleet: `server.ping_timeout` in the variable FLEET_SERVER__PING_TIMEOUT is \"soon\"; expected a duration",
        "fleet: `server.listen` in --listen is \"nowhere\"; expected an address and a port",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn op1_files_that_cannot_be_read_are_refused() {
    let place = Place::new().file("broken.toml", "[server]\nlisten = oops\n");
    let missing = place.run(&["--config", "missing.toml"]);
    assert_eq!(missing.status, Some(2));
    assert!(missing.stderr.starts_with("fleet: cannot read missing.toml: "), "{}", missing.stderr);
    let broken = place.run(&["--config", "broken.toml"]);
    assert_eq!((broken.status, broken.stderr.lines().count()), (Some(2), 1), "{}", broken.stderr);
    assert!(broken.stderr.starts_with("fleet: broken.toml, line 2, column 10: "), "{}", broken.stderr);
}

#[test]
fn op1_what_config_prints_is_read_back() {
    let place = Place::new()
        .file("config.toml", "[routes]\n\"/ws/*\" = \"worker-connection\"\n\"/a/**\" = \"x\"\n")
        .variable("FLEET_SERVER__ALLOWED_ORIGINS", "https://a.example,http://b.example:3000")
        .variable("FLEET_LIMITS__MESSAGE_BYTES", "1025")
        .variable("FLEET_SERVER__PING_INTERVAL", "90s");
    let printed = place.run(&["config", "--listen", "[::1]:0"]).stdout;
    let again = Place::new().file("printed.toml", &printed).run(&["config", "--config", "printed.toml"]);
    assert_eq!((again.status, again.stdout), (Some(0), printed.clone()));
    let printed: toml::Table = printed.parse().unwrap();
    assert_eq!(text(&printed, "routes", "/ws/*"), "worker-connection");
    assert_eq!(text(&printed, "limits", "message_bytes"), "1025 B");
    assert_eq!(text(&printed, "server", "ping_interval"), "1m 30s");
}

#[test]
fn op1_a_tie_of_routes_is_refused_and_names_both() {
    let place = Place::new().file("config.toml", "[routes]\n\"/**/a/**\" = \"x\"\n\"/**/b/**\" = \"y\"\n");
    let advice = "routes `/**/a/**` and `/**/b/**` can match the same path, and neither is more specific; \
                  change or remove one";
    place.run(&[]).refuses(2, advice);
}

#[test]
fn op1_the_help_tells_what_one_needs() {
    let place = Place::new();
    let help = place.run(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    let flags = ["--config <FILE>", "--listen <ADDR:PORT>", "--data-dir <DIR>"];
    let words =
        ["FLEET_SECTION__KEY", "RUST_LOG", "README", "config.toml", "Examples:", "Exit status:", "fleet config"];
    for needed in flags.iter().chain(&words) {
        assert!(help.stdout.contains(needed), "{needed} is not in {}", help.stdout);
    }
    assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{}", help.stdout);
    for command in ["serve", "config"] {
        let help = place.run(&[command, "--help"]);
        assert_eq!(help.status, Some(0));
        assert!(flags.iter().all(|flag| help.stdout.contains(flag)), "{}", help.stdout);
    }
    let version = place.run(&["--version"]);
    assert_eq!(version.stdout, format!("fleet {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn op1_a_command_line_that_cannot_be_used_is_one_line_and_status_2() {
    let place = Place::new();
    for (arguments, line) in [
        (&["--lisen", "x"][..], "unexpected argument '--lisen' found; a similar argument exists: '--listen'"),
        (&["servee"], "unrecognized subcommand 'servee'; a similar subcommand exists: 'serve'"),
        (&["--listen"], "a value is required for '--listen <ADDR:PORT>' but none was supplied"),
        (&["--listen", "127.0.0.1:0", "config"], "the subcommand 'config' cannot be used with '--listen <ADDR:PORT>'"),
    ] {
        place.run(arguments).refuses(2, &format!("{line}; see `fleet --help`"));
    }
}

#[test]
fn op2_the_first_line_says_where_it_listens() {
    let place = Place::new();
    for command in [&[][..], &["serve"]] {
        let mut server = place.serve(&[command, &["--listen", "127.0.0.1:0"]].concat());
        let line = server.first_line();
        let port = line.strip_prefix("listening on http://127.0.0.1:").and_then(|rest| rest.strip_suffix('\n'));
        assert!(port.and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0), "{line:?}");
    }
}

#[test]
fn op2_a_port_that_is_taken_is_status_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = Place::new().run(&["--listen", &address]);
    assert_eq!((run.status, run.stdout.as_str()), (Some(1), ""));
    let last = run.stderr.lines().last().unwrap();
    assert!(last.starts_with("fleet: ") && last.contains("in use"), "{last}");
}

#[test]
fn op2_logs_go_to_standard_error_as_text_or_json() {
    let logged = |place: Place| {
        let mut server = place.serve(&["--listen", "127.0.0.1:0"]);
        assert!(server.first_line().starts_with("listening on "));
        server.logged()
    };
    let as_text = logged(Place::new());
    assert!(as_text.contains(" INFO "), "{as_text}");
    assert!(!as_text.contains('\u{1b}'), "colours though it is no terminal: {as_text:?}");
    let as_json = logged(Place::new().variable("FLEET_LOG__FORMAT", "json"));
    assert!(!as_json.is_empty());
    for line in as_json.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!(logged(Place::new().variable("RUST_LOG", "off")), "");
    assert_eq!(logged(Place::new().file("config.toml", "[log]\nfilter = \"off\"\n")), "");
}

#[test]
fn op2_a_bad_filter_is_status_2() {
    let run = Place::new().variable("RUST_LOG", "fleet=loud").run(&[]);
    let advice = "`log.filter` in the variable RUST_LOG is \"fleet=loud\"; \
                  expected directives in the syntax of RUST_LOG such as \"info\" or \"warn,fleet=debug\"";
    run.refuses(2, advice);
}
