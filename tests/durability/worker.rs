//! A worker that is a process elsewhere: it lives on when the server dies, and comes back with what it was doing.

use std::collections::BTreeMap;
use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Socket;

const CAPACITY: usize = 6;
const HEARTBEAT: Duration = Duration::from_millis(200);

/// It does tasks of the types `away` and `echo`.
pub(crate) struct Worker {
    pub(crate) path: String,
    /// What it is doing, and the results that nobody has acknowledged, by token.
    running: BTreeMap<String, Value>,
    results: BTreeMap<String, Value>,
    rng: fastrand::Rng,
}

impl Worker {
    pub(crate) fn new(path: String, rng: fastrand::Rng) -> Self {
        Self { path, running: BTreeMap::new(), results: BTreeMap::new(), rng }
    }

    /// Works until the server is gone.
    pub(crate) async fn work(mut self, address: SocketAddr) -> Self {
        loop {
            match self.session(address).await {
                Ok(()) => {}
                // The server was killed.
                Err(_) => return self,
            }
        }
    }

    /// Works over one socket, until that is closed here or the server is gone.
    async fn session(&mut self, address: SocketAddr) -> Result<()> {
        let mut socket = Socket::connect(address, &self.path).await?;
        let running: Vec<&String> = self.running.keys().chain(self.results.keys()).collect();
        let ready = json!({"capacity": CAPACITY, "types": ["away", "echo"], "running": running});
        socket.send([json!({"type": "ready", "payload": ready})]).await?;
        socket.send(self.results.values().map(said)).await?;
        let mut beat = Instant::now();
        while self.rng.u16(..400) != 0 {
            if let Ok(frame) = tokio::time::timeout(Duration::from_millis(4), socket.next()).await {
                self.hear(&frame?);
            }
            for token in self.running.keys().cloned().collect::<Vec<_>>() {
                match self.rng.u8(..6) {
                    0 => {
                        let result = self.result(&token);
                        socket.send([said(&result)]).await?;
                        self.results.insert(token, result);
                    }
                    1 => {
                        let how_far =
                            json!({"taskId": self.running[&token]["taskId"], "token": token, "progress": 0.5});
                        socket.send([json!({"type": "progress", "payload": how_far})]).await?;
                    }
                    _ => {}
                }
            }
            if beat.elapsed() >= HEARTBEAT {
                beat = Instant::now();
                socket
                    .send([json!({"type": "heartbeat", "payload": {"metrics": {"running": self.running.len()}}})])
                    .await?;
                socket.send(self.results.values().map(said)).await?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, frame: &Value) {
        let payload = &frame["payload"];
        let token = || payload["token"].as_str().unwrap().to_owned();
        match frame["type"].as_str().unwrap() {
            "task" => drop(self.running.insert(token(), payload.clone())),
            "cancel" => {
                self.running.remove(&token());
                self.results.remove(&token());
            }
            "ack" => drop(self.results.remove(&token())),
            "welcome" => {}
            other => panic!("{other}: {payload}"),
        }
        assert!(self.running.len() <= CAPACITY, "{} has {} tasks", self.path, self.running.len());
    }

    /// Ends a task.
    fn result(&mut self, token: &str) -> Value {
        let task = self.running.remove(token).unwrap();
        let outcome = if task["data"]["fails"] == true {
            json!({"success": false, "error": "it fails"})
        } else {
            json!({"success": true, "result": task["data"]})
        };
        let mut result = json!({"taskId": task["taskId"], "token": token});
        result.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
        result
    }
}

fn said(result: &Value) -> Value {
    json!({"type": "result", "payload": result})
}
