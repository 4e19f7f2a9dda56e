//! What every test plays on: a server, a browser, and a console that is clean in the end.

use serde_json::{Value, json};

use crate::chrome::{Chrome, Extra, Programs};
use crate::server::Server;
use crate::{Window, within};

/// What one test has.
pub(crate) struct Stage {
    pub(crate) server: Server,
    chrome: Chrome,
    /// Whether the browser's first window is taken.
    opened: bool,
}

/// Runs a test, where there is a browser to run it.
pub(crate) async fn play(test: impl AsyncFnOnce(&mut Stage)) {
    let Some(programs) = Programs::find() else { return };
    let mut stage = Stage { server: Server::start().await, chrome: Chrome::start(&programs).await, opened: false };
    test(&mut stage).await;
    assert_eq!(stage.console().await, Vec::<String>::new(), "the console is clean");
    assert_eq!(stage.server.failures(), Vec::<String>::new(), "the server's log tells of no failure");
}

impl Stage {
    /// Opens a window on an object, and waits until it shows what the server has.
    pub(crate) async fn open(&mut self, path: &str) -> Window {
        let window = self.blank().await;
        window.go(&self.server.url(path)).await;
        window.until("the window is live", "dataset('#connection').state === 'live'").await;
        window
    }

    /// Opens a window on nothing.
    pub(crate) async fn blank(&mut self) -> Window {
        let client = &self.chrome.client;
        let handle = if std::mem::replace(&mut self.opened, true) {
            within("a window opens", client.new_window(false)).await.unwrap().handle
        } else {
            client.window().await.unwrap()
        };
        Window::new(client.clone(), handle)
    }

    /// What the console has got since it was last asked, of all windows: errors and warnings.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = within("the console", self.chrome.client.issue_cmd(Extra::console())).await.unwrap();
        let entries = entries.as_array().unwrap().iter();
        let grave = entries.filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")));
        grave.map(|entry| format!("{} {}", entry["source"], entry["message"])).collect()
    }

    /// Calls a method of an object from elsewhere.
    pub(crate) async fn call(&self, path: &str, method: &str, payload: &Value) -> Value {
        let url = self.server.url(&format!("{path}:{method}"));
        let body = payload.to_string();
        self.curl(&["-X", "POST", "-H", "Content-Type: application/json", "-d", &body, &url]).await
    }

    /// Creates a chain of objects, each the child of the one before it.
    pub(crate) async fn create(&self, path: &str) {
        let mut parent = String::from("/");
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let created = self.call(&parent, "createAgent", &json!({ "name": name })).await;
            if created["code"] != "conflict" {
                assert_eq!(created["name"], name, "{created}");
            }
            parent = format!("{}/{name}", parent.trim_end_matches('/'));
        }
    }

    /// The state of an object.
    pub(crate) async fn state(&self, path: &str) -> Value {
        self.curl(&["-H", "Accept: application/json", &self.server.url(path)]).await
    }

    /// The paths that exist at and below a path.
    pub(crate) async fn objects(&self, prefix: &str) -> Vec<String> {
        let listed = self.curl(&[&self.server.url(&format!("/.fleet/objects?prefix={prefix}"))]).await;
        listed["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn curl(&self, arguments: &[&str]) -> Value {
        let running = tokio::process::Command::new("curl").args(["-s", "-m", "20"]).args(arguments).output();
        let output = within("curl", running).await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("curl {arguments:?}: {error}: {output:?}"))
    }
}
