//! Which server a command talks to, and what its refusals mean there.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::Error;
use crate::client::{self, Client};
use crate::path::ObjectPath;

/// The flags of every command that talks to a server.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Remote {
    /// The server, unless the object is given as a URL
    #[arg(long, value_name = "URL", env = "FLEET_URL", default_value = "http://127.0.0.1:8787")]
    url: String,
    /// The token that is shown to the server
    #[arg(long, value_name = "TOKEN", env = "FLEET_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificates (PEM) to trust with https, beside the public authorities
    #[arg(long, value_name = "FILE", env = "FLEET_CA")]
    ca: Option<PathBuf>,
}

/// An object of a server.
pub(super) struct Object {
    pub(super) client: Client,
    pub(super) path: ObjectPath,
}

impl Remote {
    /// The object of this path on the server, or of this URL.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(super) fn object(&self, target: &str) -> Result<Object, Error> {
        let (url, path) = split(target).unwrap_or((&self.url, target));
        let usage = |text: String| Error::Usage(text);
        if !path.starts_with('/') {
            return Err(usage(format!("`{path}` is no path; an object is a path such as /jobs, or a URL")));
        }
        let path = ObjectPath::parse(path).map_err(|error| usage(error.to_string()))?;
        let client = Client::new(url, self.token.clone()).map_err(|error| usage(error.to_string()))?;
        let Some(file) = &self.ca else { return Ok(Object { client, path }) };
        let name = file.display();
        let pem = fs::read(file).map_err(|error| usage(format!("{name} cannot be read: {error}")))?;
        let client = client.trusting(&pem).map_err(|error| usage(format!("{name} is of no use: {error}")))?;
        Ok(Object { client, path })
    }
}

impl Object {
    /// Calls a method and reads its answer.
    ///
    /// # Errors
    /// [`client::Error`]; an answer that is not what it should be is [`client::Error::Broken`].
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<T, client::Error> {
        let answer = self.client.call(&self.path, method, payload).await?;
        self.read(&answer)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`client::Error::Broken`].
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &Bytes) -> Result<T, client::Error> {
        let broken = |cause: serde_json::Error| client::Error::Broken {
            url: self.client.origin(),
            cause: format!("what came is not what a fleet-manager answers: {cause}"),
        };
        serde_json::from_slice(answer).map_err(broken)
    }

    /// What a failure means for whoever typed the command.
    pub(super) fn explained(&self, error: &client::Error) -> Error {
        let client::Error::Refused { code, message, .. } = error else { return Error::failure(error) };
        let path = &self.path;
        Error::Failure(match code.as_str() {
            "not_found" if message.starts_with("Unknown message type") => format!(
                "{path} is no fleet-manager; create it with that class (`createAgent` of the object above it), route its path to it \
                 (`[routes]` of the configuration), or name another"
            ),
            "unauthorized" => format!("{message}; show a token with --token or FLEET_TOKEN"),
            _ => message.clone(),
        })
    }
}

/// A URL as its server and its path.
fn split(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let host = rest.find('/').unwrap_or(rest.len());
    let (url, path) = target.split_at(scheme.len() + 3 + host);
    Some((url, if path.is_empty() { "/" } else { path }))
}

/// Runs a command that waits for a server.
///
/// # Errors
/// What the command answers; the system gives no sockets.
pub(super) fn wait<T>(command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| Error::failure(&error))?;
    let done = runtime.block_on(command);
    // The system's resolver may still be asked.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, token: Option<&str>) -> Remote {
        Remote { url: url.to_owned(), token: token.map(str::to_owned), ca: None }
    }

    #[test]
    fn a_path_is_of_the_server_and_a_url_of_its_own() {
        let remote = remote("http://a.example:1", None);
        for (target, origin, path) in [
            ("/jobs", "http://a.example:1", "/jobs"),
            ("/jobs/", "http://a.example:1", "/jobs"),
            ("/", "http://a.example:1", "/"),
            ("http://b.example/x/y", "http://b.example", "/x/y"),
            ("https://b.example:8443", "https://b.example:8443", "/"),
            ("http://[::1]:5/jobs", "http://[::1]:5", "/jobs"),
        ] {
            let object = remote.object(target).unwrap();
            assert_eq!((object.client.origin().as_str(), object.path.as_str()), (origin, path), "{target}");
        }
    }

    #[test]
    fn what_cannot_be_is_usage() {
        for (url, token, target, text) in [
            ("http://a", None, "jobs", "`jobs` is no path; an object is a path such as /jobs, or a URL"),
            ("http://a", None, "/a b", "`a b` is not a name"),
            ("ftp://a", None, "/a", "not an http or https URL: `ftp://a`"),
            ("127.0.0.1:8787", None, "/a", "not the URL of a server: `127.0.0.1:8787`"),
            ("", None, "/a", "not the URL of a server: ``"),
            ("http://a", Some("a\nb"), "/a", "the token has characters that no token has"),
        ] {
            match remote(url, token).object(target) {
                Err(Error::Usage(found)) => assert!(found.starts_with(text), "{found}"),
                other => panic!("{url} {target}: {}", other.is_ok()),
            }
        }
    }
}
