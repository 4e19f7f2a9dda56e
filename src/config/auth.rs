//! `[auth]`: the tokens that are accepted.
//!
//! What is secret is read without ever being quoted: a refusal says what is wrong with which token, and shows none.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

use super::values::{self, read};
use crate::auth::{HIDDEN, Options, Scope, Secret, Token};
use crate::limits::TOKEN_BYTES;
use crate::path::ObjectPath;

/// The section's name.
pub(super) const SECTION: &str = "auth";
const KEYS: [&str; 3] = ["token", "path", "scopes"];

/// `[auth]`: the tokens that are accepted, and whether one is required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Whether a token is required.
    #[serde(deserialize_with = "values::read_switch")]
    pub enabled: bool,
    /// What JWTs are signed with (HS256); empty: none is accepted.
    #[serde(deserialize_with = "read_secret")]
    pub jwt_secret: Secret,
    /// Tokens, each with what it reaches.
    #[serde(deserialize_with = "read_tokens", serialize_with = "write_tokens")]
    pub tokens: Vec<Token>,
}

impl Auth {
    /// Whether a key's value may not be shown; also that of the section, where somebody wrote a value instead of a table.
    pub(super) fn is_secret(key: &str) -> bool {
        matches!(key.strip_prefix(SECTION), Some("" | ".jwt_secret" | ".tokens"))
    }

    /// The section as it would be written in a file, with its secrets.
    pub(super) fn revealed(&self) -> Table {
        let tokens = self.tokens.iter().map(|token| Value::Table(table_of(token, token.token.reveal())));
        Table::from_iter([
            ("enabled".to_owned(), Value::Boolean(self.enabled)),
            ("jwt_secret".to_owned(), Value::String(self.jwt_secret.reveal().to_owned())),
            ("tokens".to_owned(), Value::Array(tokens.collect())),
        ])
    }

    /// What is wrong with the section as a whole.
    pub(super) fn conflict(&self) -> Option<String> {
        let nobody = self.enabled && self.jwt_secret.is_empty() && self.tokens.is_empty();
        nobody.then(|| {
            "`auth.enabled` is true, but no token is accepted: `auth.jwt_secret` and `auth.tokens` are empty".to_owned()
        })
    }
}

impl From<&Auth> for Options {
    fn from(section: &Auth) -> Self {
        let Auth { enabled, jwt_secret, tokens } = section.clone();
        Self { enabled, jwt_secret, tokens }
    }
}

fn read_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    read(deserializer, "a text: what was hidden when it was printed must be written again", |value| {
        value.as_str().filter(|text| *text != HIDDEN).map(Secret::new)
    })
}

fn read_tokens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Token>, D::Error> {
    let example = "{ token = \"…\", path = \"/jobs\", scopes = [\"write\"] }";
    let value = Value::deserialize(deserializer)?;
    let tables: Option<Vec<_>> = value.as_array().and_then(|items| items.iter().map(Value::as_table).collect());
    let tables = tables.ok_or_else(|| D::Error::custom(format_args!("expected a list such as [{example}]")))?;
    let mut tokens: Vec<Token> = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let token = token_of(table).map_err(|wrong| D::Error::custom(format_args!("in token {number} {wrong}")))?;
        if tokens.iter().any(|other| other.token == token.token) {
            return Err(D::Error::custom(format_args!("token {number} is listed twice")));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// One token, or what is wrong with it.
fn token_of(table: &Table) -> Result<Token, String> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("`{key}` is unknown; the keys of a token are {}", KEYS.join(", ")));
    }
    let token = table.get("token").and_then(Value::as_str).filter(|text| is_token(text));
    let path = table.get("path").and_then(Value::as_str).filter(|text| text.starts_with('/'));
    let scopes = table.get("scopes").and_then(Value::as_array);
    let scopes: Option<Vec<_>> =
        scopes.and_then(|names| names.iter().map(|name| Scope::from_name(name.as_str()?)).collect());
    Ok(Token {
        token: token.map(Secret::new).ok_or_else(|| {
            format!(
                "`token` must be 1 to {TOKEN_BYTES} visible ASCII characters; one that was hidden must be written again"
            )
        })?,
        path: path
            .and_then(|path| ObjectPath::parse(path).ok())
            .ok_or("`path` must be the path of an object such as \"/jobs\"")?,
        scopes: scopes
            .filter(|scopes| !scopes.is_empty())
            .ok_or("`scopes` must be some of [\"read\", \"write\", \"admin\"]")?,
    })
}

/// Whether it can be a bearer's: what a header can carry.
fn is_token(text: &str) -> bool {
    (1..=TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) && text != HIDDEN
}

fn write_tokens<S: serde::Serializer>(tokens: &[Token], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tokens.iter().map(|token| table_of(token, HIDDEN)))
}

fn table_of(token: &Token, shown: &str) -> Table {
    let scopes = token.scopes.iter().map(|scope| Value::String(scope.name().to_owned()));
    Table::from_iter([
        ("token".to_owned(), Value::String(shown.to_owned())),
        ("path".to_owned(), Value::String(token.path.to_string())),
        ("scopes".to_owned(), Value::Array(scopes.collect())),
    ])
}
