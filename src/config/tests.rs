use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::auth::{Scope, Secret};

/// The committed `config.toml`.
const COMMITTED: &str = include_str!("../../config.toml");

fn file(text: &str) -> ConfigFile {
    ConfigFile::parse(Path::new("config.toml"), text).expect("TOML")
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn from_file(text: &str) -> Result<Config, Error> {
    Config::default().layered(Some(file(text)), [], &Flags::default())
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, Error> {
    Config::default().layered(None, variables(pairs), &Flags::default())
}

/// The lines of the error of a configuration that must be refused.
fn problems(result: Result<Config, Error>) -> Vec<String> {
    result.expect_err("a refusal").to_string().lines().map(str::to_owned).collect()
}

#[test]
fn op1_nothing_is_the_defaults() {
    let config = from_environment(&[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(config.storage.data_dir, Path::new("./data"));
}

#[test]
fn op1_the_committed_file_is_the_defaults() {
    assert_eq!(from_file(COMMITTED).unwrap(), Config::default());
}

#[test]
fn op1_the_committed_file_has_every_key_with_its_meaning() {
    let keys = |table: &toml::Table| -> BTreeSet<String> {
        let settings = |section: &String| table[section].as_table().into_iter().flat_map(toml::Table::keys);
        table.keys().flat_map(|section| settings(section).map(move |key| format!("{section}.{key}"))).collect()
    };
    let committed: toml::Table = COMMITTED.parse().unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(keys(&committed), keys(&defaults));
    assert_eq!(committed.keys().collect::<BTreeSet<_>>(), defaults.keys().collect::<BTreeSet<_>>());
    let lines: Vec<_> = COMMITTED.lines().collect();
    for pair in lines.windows(2) {
        let is_setting = !pair[1].starts_with(['#', '[']) && pair[1].contains('=');
        assert!(!is_setting || pair[0].starts_with("# "), "no meaning above {}", pair[1]);
    }
}

#[test]
fn op1_flags_over_environment_over_file_over_defaults() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\n[storage]\ndata_dir = \"file\"\n[limits]\nsockets = 1";
    let environment = [("FLEET_SERVER__LISTEN", "127.0.0.1:2"), ("FLEET_STORAGE__DATA_DIR", "variable")];
    let flags = Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() };
    let config = Config::default().layered(Some(file(text)), variables(&environment), &flags).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.storage.data_dir, Path::new("variable"));
    assert_eq!(config.limits.sockets, 1);
    assert_eq!(config.limits.objects, Limits::default().objects);
}

#[test]
fn op1_variables_without_two_underscores_are_not_settings() {
    let environment = [("FLEET_URL", "x"), ("FLEET_TOKEN", "x"), ("FLEETS_A__B", "x"), ("PATH", "x")];
    assert_eq!(from_environment(&environment).unwrap(), Config::default());
}

#[test]
fn op1_variables_are_read_as_their_key_wants_them() {
    let config = from_environment(&[
        ("FLEET_SERVER__ALLOWED_ORIGINS", "https://a.example, http://b.example:3000,"),
        ("FLEET_SERVER__TRUSTED_PROXIES", "10.0.0.1,10.1.0.0/16"),
        ("FLEET_SERVER__ALLOWED_HOSTS", ""),
        ("FLEET_SERVER__PING_INTERVAL", "1m 30s"),
        ("FLEET_LIMITS__SOCKETS", "5"),
        ("FLEET_LIMITS__MESSAGE_BYTES", "2 KiB"),
        ("FLEET_LIMITS__STORAGE_PER_OBJECT", "1000"),
        ("FLEET_OUTBOUND__ALLOW", "127.0.0.1:9000, *.example.org"),
        ("FLEET_OUTBOUND__ONLY_LISTED", "true"),
        ("FLEET_LOG__FORMAT", "json"),
        ("FLEET_AUTH__ENABLED", "true"),
        ("FLEET_AUTH__JWT_SECRET", "a,b"),
        ("FLEET_AUTH__TOKENS", r#"[{token = "t", path = "/jobs/", scopes = ["read", "admin"]}]"#),
    ])
    .unwrap();
    let origins: Vec<_> = config.server.allowed_origins.iter().map(AllowedOrigin::as_str).collect();
    assert_eq!(origins, ["https://a.example", "http://b.example:3000"]);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.server.allowed_hosts, []);
    assert_eq!(config.server.ping_interval, Duration::from_secs(90));
    assert_eq!((config.limits.sockets, config.limits.message_bytes), (5, 2048));
    assert_eq!(config.limits.storage_per_object, 1000);
    let allowed: Vec<_> = config.outbound.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["127.0.0.1:9000", "*.example.org"]);
    assert!(config.outbound.only_listed);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!((config.auth.enabled, config.auth.jwt_secret.reveal()), (true, "a,b"));
    let [token] = &*config.auth.tokens else { panic!("{:?}", config.auth) };
    assert_eq!((token.token.reveal(), token.path.as_str()), ("t", "/jobs"));
    assert_eq!(token.scopes, [Scope::Read, Scope::Admin]);
}

#[test]
fn op2_rust_log_overrides_the_filter() {
    let pairs = [("RUST_LOG", "fleet=trace"), ("FLEET_LOG__FILTER", "warn")];
    assert_eq!(from_environment(&pairs).unwrap().log.filter, "fleet=trace");
    assert_eq!(from_environment(&[("RUST_LOG", "")]).unwrap().log.filter, "info");
    let refusal = problems(from_environment(&[("RUST_LOG", "fleet=loud")]));
    assert_eq!(refusal.len(), 1);
    assert!(refusal[0].starts_with("`log.filter` in the variable RUST_LOG is \"fleet=loud\"; expected"), "{refusal:?}");
}

#[test]
fn op1_unknown_keys_are_refused_with_the_nearest_name() {
    for (text, expected) in [
        ("[server]\nlisen = \"x\"", "unknown key `server.lisen` in config.toml; did you mean `server.listen`?"),
        ("[sever]\nlisten = \"x\"", "unknown key `sever` in config.toml; did you mean `server`?"),
        ("listen = \"x\"", "unknown key `listen` in config.toml; did you mean `server.listen`?"),
        ("[limits]\ndata_dir = 1", "unknown key `limits.data_dir` in config.toml; did you mean `storage.data_dir`?"),
        ("[limits]\nsocket = 1", "unknown key `limits.socket` in config.toml; did you mean `limits.sockets`?"),
        (
            "[server.listen]\na = 1",
            "`server.listen` in config.toml is { a = 1 }; expected an address and a port such \
          as \"127.0.0.1:8787\", \"[::1]:8787\" or \"localhost:8787\"",
        ),
        ("server = 1", "`server` in config.toml is 1; expected a table: [server]"),
    ] {
        assert_eq!(problems(from_file(text)), [expected]);
    }
    for (text, advice) in [
        ("qqqqqq = 1", "the sections are auth, limits, log, outbound, routes, server, storage"),
        ("[log]\nqqqqqq = 1", "the keys of [log] are filter, format"),
    ] {
        let refusal = problems(from_file(text));
        assert!(refusal[0].ends_with(&format!(" in config.toml; {advice}")), "{refusal:?}");
    }
    assert_eq!(
        problems(from_environment(&[("FLEET_SERVER__LISEN", "x")])),
        ["unknown key `server.lisen` in the variable FLEET_SERVER__LISEN; \
          did you mean `server.listen` (FLEET_SERVER__LISTEN)?"]
    );
    let routes = problems(from_environment(&[("FLEET_ROUTES__A", "x")]));
    assert!(routes[0].contains("routes are set in the file alone"), "{routes:?}");
}

#[test]
fn op1_every_problem_is_reported_at_once() {
    let flags = Flags { listen: Some("nowhere".into()), ..Flags::default() };
    let environment = variables(&[("FLEET_LIMITS__SOCKETS", "many"), ("FLEET_A__B", "")]);
    let refusal = problems(Config::default().layered(Some(file("[log]\nformat = \"xml\"")), environment, &flags));
    assert_eq!(refusal.len(), 4, "{refusal:?}");
    assert_eq!(refusal[0], "`log.format` in config.toml is \"xml\"; unknown variant `xml`, expected `text` or `json`");
    assert!(refusal[1].starts_with("unknown key `a.b` in the variable FLEET_A__B; "));
    assert_eq!(
        refusal[2],
        "`limits.sockets` in the variable FLEET_LIMITS__SOCKETS is \"many\"; expected a whole number of at least 1"
    );
    assert!(refusal[3].starts_with("`server.listen` in --listen is \"nowhere\"; expected an address"));
}

#[test]
fn op1_bad_values_name_key_source_value_and_what_is_accepted() {
    for (text, expected) in [
        ("[server]\nlisten = 8787", "an address and a port"),
        ("[server]\nlisten = \"example.org:80\"", "an address and a port"),
        ("[server]\nlisten = \"127.0.0.1\"", "an address and a port"),
        ("[server]\nallowed_origins = [\"example.org\"]", "a list of origins"),
        ("[server]\nallowed_origins = \"https://example.org\"", "a list of origins"),
        ("[server]\nallowed_hosts = [\"http://a\"]", "a list of hosts"),
        ("[server]\ntrusted_proxies = [\"localhost\"]", "a list of IP addresses and networks"),
        ("[server]\nshutdown_grace = 10", "a duration"),
        ("[server]\nshutdown_grace = \"2 days\"", "a duration of at most a day"),
        ("[server]\nping_interval = \"0s\"", "a duration above zero"),
        ("[server]\nping_timeout = \"soon\"", "a duration above zero"),
        ("[storage]\ndata_dir = \"\"", "the path of a directory"),
        ("[limits]\nmessage_bytes = 0", "a size from 1 B to 16 MiB"),
        ("[limits]\nmessage_bytes = \"1 GiB\"", "a size from 1 B to 16 MiB"),
        ("[limits]\nstorage_per_object = \"much\"", "a size of at least 1 B"),
        ("[limits]\nobjects = 0", "a whole number of at least 1"),
        ("[limits]\nchildren_per_object = -1", "a whole number of at least 1"),
        ("[limits]\nsockets_per_object = 1.5", "a whole number of at least 1"),
        ("[outbound]\ntimeout = \"0s\"", "a duration above zero"),
        ("[outbound]\nbody_bytes = \"17 MiB\"", "a size from 1 B to 16 MiB"),
        ("[outbound]\nconcurrent = 0", "a whole number of at least 1"),
        ("[outbound]\nallow = [\"https://a.example\"]", "a list of hosts, addresses and networks"),
        ("[outbound]\nallow = \"a.example\"", "a list of hosts, addresses and networks"),
        ("[outbound]\nonly_listed = \"yes\"", "true or false"),
        ("[log]\nfilter = \"fleet=loud\"", "directives in the syntax of RUST_LOG"),
        ("[auth]\nenabled = \"yes\"", "true or false"),
        ("[auth]\njwt_secret = 5", "a text"),
        ("[auth]\ntokens = \"t\"", "a list such as [{ token"),
        ("[routes]\n\"ws/*\" = \"x\"", "a route's pattern to start with `/`"),
        ("[routes]\n\"/a.b\" = \"x\"", "every segment of the pattern `/a.b`"),
    ] {
        let key = text.lines().nth(1).and_then(|line| line.split(" =").next()).unwrap();
        let refusal = problems(from_file(text));
        assert_eq!(refusal.len(), 1, "{refusal:?}");
        assert!(refusal[0].contains(key) && refusal[0].contains("in config.toml is "), "{refusal:?}");
        assert!(refusal[0].contains(&format!("; expected {expected}")), "{refusal:?}");
    }
    let long = problems(from_file(&format!("[storage]\ndata_dir = [\"{}\"]", "x".repeat(1000))));
    assert!(long[0].len() < 300, "{long:?}");
}

#[test]
fn op1_no_refusal_shows_a_secret() {
    for (text, said) in [
        ("auth = \"sesame\"", "expected a table: [auth]"),
        ("[auth]\njwt_secret = [\"sesame\"]", "expected a text"),
        ("[auth]\ntokens = [\"sesame\"]", "expected a list such as [{ token"),
        ("[[auth.tokens]]\ntoken = [\"sesame\"]", "in token 1 `token` must be 1 to 8192 visible ASCII characters"),
        ("[[auth.tokens]]\ntoken = \"sesame sesame\"", "in token 1 `token` must be 1 to"),
        ("[[auth.tokens]]\ntoken = \"sesame\"", "in token 1 `path` must be the path of an object"),
        ("[[auth.tokens]]\ntoken = \"sesame\"\npath = \"jobs\"", "in token 1 `path` must be the path of an object"),
        ("[[auth.tokens]]\ntoken = \"sesame\"\npath = \"/\"", "in token 1 `scopes` must be some of"),
        (
            "[[auth.tokens]]\ntoken = \"sesame\"\npath = \"/\"\nscopes = [\"all\"]",
            "in token 1 `scopes` must be some of",
        ),
        (
            "[[auth.tokens]]\ntoken = \"sesame\"\nscope = []",
            "`scope` is unknown; the keys of a token are token, path, scopes",
        ),
    ] {
        let refusal = problems(from_file(text));
        assert_eq!(refusal.len(), 1, "{refusal:?}");
        assert!(refusal[0].contains("is (hidden); ") && refusal[0].contains(said), "{refusal:?}");
        assert!(!refusal[0].contains("sesame"), "{refusal:?}");
    }
    let twice = "[[auth.tokens]]\ntoken = \"sesame\"\npath = \"/\"\nscopes = [\"read\"]\n".repeat(2);
    let refusal = problems(from_file(&twice));
    assert!(refusal[0].ends_with("token 2 is listed twice") && !refusal[0].contains("sesame"), "{refusal:?}");
    let variable = problems(from_environment(&[("FLEET_AUTH__TOKENS", "sesame,sesame")]));
    assert!(variable[0].starts_with("`auth.tokens` in the variable FLEET_AUTH__TOKENS is (hidden);"), "{variable:?}");
    assert!(!variable[0].contains("sesame"), "{variable:?}");
}

#[test]
fn op1_secrets_are_hidden_where_they_are_printed() {
    let text = "[auth]\nenabled = true\njwt_secret = \"sesame\"\n\
                tokens = [{ token = \"open\", path = \"/jobs\", scopes = [\"write\"] }]";
    let config = from_file(text).unwrap();
    let printed = config.to_toml();
    for shown in [&printed, &format!("{config:?}")] {
        assert!(!shown.contains("sesame") && !shown.contains("open"), "{shown}");
    }
    let hidden: toml::Table = printed.parse().unwrap();
    assert_eq!(hidden["auth"]["jwt_secret"].as_str(), Some("(hidden)"));
    assert_eq!(hidden["auth"]["tokens"][0]["path"].as_str(), Some("/jobs"));
    // Whoever pastes it has no secret that everybody knows.
    let refusal = problems(from_file(&printed));
    assert_eq!(refusal.len(), 2, "{refusal:?}");
    assert!(refusal.iter().all(|line| line.contains("must be written again")), "{refusal:?}");
    // The settings of a program keep theirs below other layers.
    let over = config.layered(Some(file("[limits]\nsockets = 1")), [], &Flags::default()).unwrap();
    assert_eq!((over.auth, over.limits.sockets), (config.auth, 1));
}

#[test]
fn op6_a_token_is_required_only_where_there_is_one() {
    let alone = problems(from_file("[auth]\nenabled = true"));
    assert_eq!(alone.len(), 1);
    assert!(alone[0].starts_with("`auth.enabled` is true, but no token is accepted"), "{alone:?}");
    let config = from_file("[auth]\nenabled = true\njwt_secret = \"x\"").unwrap();
    assert_eq!(config.auth.jwt_secret, Secret::new("x"));
    assert!(from_file("[auth]\njwt_secret = \"x\"").is_ok_and(|config| !config.auth.enabled));
}

#[test]
fn op1_a_tie_of_routes_is_refused() {
    let refusal = problems(from_file("[routes]\n\"/**/a/**\" = \"x\"\n\"/**/b/**\" = \"y\""));
    assert_eq!(refusal.len(), 1);
    assert!(refusal[0].contains("`/**/a/**` and `/**/b/**`"), "{refusal:?}");
}

#[test]
fn op1_what_is_printed_is_read_back() {
    let text = "[server]\nlisten = \"localhost:0\"\nallowed_origins = [\"https://A.example\", \"null\"]\n\
                allowed_hosts = [\"a.example:1\"]\ntrusted_proxies = [\"::1\", \"10.0.0.0/8\"]\n\
                shutdown_grace = \"0s\"\nping_interval = \"1h 5ms\"\n[limits]\nmessage_bytes = 1025\n\
                storage_per_object = \"3 GiB\"\n[outbound]\nallow = [\"*.A.example:1\", \"[::1]:2\", \"10.1.0.0/8\"]\n\
                only_listed = true\ntimeout = \"5s\"\n[log]\nformat = \"json\"\n[routes]\n\"/ws/*\" = \"x\"";
    let config = from_file(text).unwrap();
    assert_eq!(from_file(&config.to_toml()).unwrap(), config);
    assert_eq!(config.routes.class_of(&crate::path::ObjectPath::parse("/ws/1").unwrap()), Some("x"));
    assert_eq!(from_file(&Config::default().to_toml()).unwrap(), Config::default());
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let error = ConfigFile::parse(Path::new("config.toml"), "[server]\nlisten = oops\n").err().expect("a refusal");
    let text = error.to_string();
    assert!(text.starts_with("config.toml, line 2, column 10: "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_named_file_must_be_there() {
    let missing = ConfigFile::read(Some(Path::new("no-such-file.toml"))).err().expect("a refusal");
    assert!(missing.to_string().starts_with("cannot read no-such-file.toml: "), "{missing}");
}
