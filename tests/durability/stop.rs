//! SIGTERM under load: a clean end in time, and nothing acknowledged is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::client::{Http, Socket};
use crate::server::Server;
use crate::within;

const CLIENTS: usize = 8;
/// `shutdown_grace` when nothing is configured.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Load {
    acknowledged: [AtomicU64; CLIENTS],
    sent: [AtomicU64; CLIENTS],
    answers: AtomicU64,
    enough: Notify,
}

impl Load {
    fn acknowledge(&self, client: usize) {
        self.acknowledged[client].fetch_add(1, Ordering::SeqCst);
        if self.answers.fetch_add(1, Ordering::SeqCst) == 500 {
            self.enough.notify_one();
        }
    }

    async fn over_http(&self, client: usize, mut http: Http) {
        loop {
            self.sent[client].fetch_add(1, Ordering::SeqCst);
            match http.increment(&format!("/load/{client}")).await {
                Ok(reply) if reply.status == 200 => self.acknowledge(client),
                Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
                Err(_) => return,
            }
        }
    }

    /// Answers how the socket ended.
    async fn over_a_socket(&self, client: usize, mut socket: Socket) -> String {
        loop {
            let messages = (0..16).map(|id| {
                self.sent[client].fetch_add(1, Ordering::SeqCst);
                json!({"type": "increment", "id": id})
            });
            if let Err(error) = socket.send(messages).await {
                return error.to_string();
            }
            for _ in 0..16 {
                match socket.answer().await {
                    Ok(answer) if answer["type"] == "result" => self.acknowledge(client),
                    Ok(answer) => panic!("{answer}"),
                    Err(error) => return error.to_string(),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fx7_a_stop_under_load_is_clean_and_keeps_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let load = Arc::new(Load::default());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let load = Arc::clone(&load);
        if client % 2 == 0 {
            let http = server.http().await;
            clients.spawn(async move {
                load.over_http(client, http).await;
                None
            });
        } else {
            let socket = server.socket(&format!("/load/{client}")).await;
            clients.spawn(async move { Some(load.over_a_socket(client, socket).await) });
        }
    }
    within("some load", load.enough.notified()).await;
    let began = Instant::now();
    let status = server.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < GRACE, "it took {:?}", began.elapsed());
    for ended in clients.join_all().await.into_iter().flatten() {
        assert!(ended.contains("Away") || ended.contains("1001"), "a socket was not closed with 1001: {ended}");
    }
    let server = Server::start(directory.path()).await;
    let mut http = server.http().await;
    for client in 0..CLIENTS {
        let count = http.count(&format!("/load/{client}")).await;
        let bounds = load.acknowledged[client].load(Ordering::SeqCst)..=load.sent[client].load(Ordering::SeqCst);
        assert!(bounds.contains(&count), "/load/{client}: {count} is not in {bounds:?}");
    }
}
