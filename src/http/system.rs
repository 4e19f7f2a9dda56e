//! The server's own endpoints, below `/.fleet/`.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::Edge;
use super::error::Error;
use super::object::json;
use crate::limits::{CLASS_NAME_BYTES, PAGE_ITEMS};
use crate::object::Listed;
use crate::path::ObjectPath;
use crate::protocol::{Code, encode};

/// Items on a page that does not say how many.
const DEFAULT_ITEMS: usize = 100;

/// Whether the process is alive.
pub(super) async fn health() -> Response {
    json(br#"{"status":"ok"}"#.as_slice().into())
}

/// Whether requests should be sent here.
pub(super) async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    let reason = edge.not_ready();
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json(encode(&Ready { ready: reason.is_none(), reason }).into())).into_response()
}

/// Everything that is counted, for Prometheus.
pub(super) async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    edge.metrics.storage_bytes.set(i64::try_from(edge.storage.bytes()).unwrap_or(i64::MAX));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], edge.metrics.render()).into_response()
}

/// What the objects of one class do.
pub(super) async fn class_metrics(
    State(edge): State<Arc<Edge>>,
    class: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let Path(class) = class.map_err(|error| Error::bad_request(error.body_text()))?;
    let metrics = edge.namespace.class_metrics(&class).ok_or_else(|| {
        let shown: String = class.chars().take(CLASS_NAME_BYTES).collect();
        Error::new(Code::NotFound, format!("class `{shown}` is not registered in this server"))
    })?;
    Ok(json(encode(&metrics).into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    prefix: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What exists, by path.
pub(super) async fn objects(
    State(edge): State<Arc<Edge>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Error> {
    #[derive(Serialize)]
    struct List {
        items: Vec<Listed>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    }
    let Query(page) = page.map_err(|error| Error::bad_request(error.body_text()))?;
    let prefix = ObjectPath::parse(page.prefix.as_deref().unwrap_or("/"))?;
    let limit = page.limit.unwrap_or(DEFAULT_ITEMS);
    if !(1..=PAGE_ITEMS).contains(&limit) {
        return Err(Error::bad_request(format!("limit is {limit}; it must be from 1 to {PAGE_ITEMS}")));
    }
    let after = page.cursor.as_deref().map(ObjectPath::parse).transpose()?;
    let mut items = tokio::task::spawn_blocking(move || edge.namespace.list(&prefix, after.as_ref(), limit + 1))
        .await
        .map_err(|error| crate::object::Error::internal(error.to_string()))??;
    let more = items.len() > limit;
    items.truncate(limit);
    let cursor = items.last().filter(|_| more).map(|item| item.path.clone());
    Ok(json(encode(&List { items, cursor }).into()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::http::{Guard, Options};
    use crate::metrics::Metrics;
    use crate::object::{self, Namespace, Registry, Services};
    use crate::storage::{self, Storage};

    #[tokio::test]
    async fn op3_ready_is_503_while_the_server_starts_stops_or_cannot_write() {
        let (data, metrics, tasks) = (tempfile::tempdir().unwrap(), Metrics::new(), TaskTracker::new());
        let files = storage::Options { data_dir: data.path().to_owned(), ..storage::Options::default() };
        let (storage, stepper) = Storage::stepped(files, &metrics).unwrap();
        let registry = Registry::new::<crate::class::Agent>(&metrics).unwrap();
        let bounds = object::Options {
            children_per_object: 1,
            sockets_per_object: 1,
            storage_per_object: 1 << 20,
            objects: 1,
            sockets: 1,
        };
        let namespace = Namespace::new(storage.clone(), registry, bounds, metrics.clone(), Services::default(), &tasks);
        let server = crate::config::Server::default();
        let mut edge = Edge {
            namespace,
            storage,
            metrics,
            guard: Arc::new(Guard::new(&server, server.listen)),
            options: Options { message_bytes: 1, ping_interval: Duration::MAX, ping_timeout: Duration::MAX },
            tasks,
            stopping: CancellationToken::new(),
            serving: Arc::new(AtomicBool::new(false)),
            large_bodies: Arc::new(tokio::sync::Semaphore::new(1)),
        };
        let says = async |edge: &Edge, status: u16, body: &str| {
            let response = ready(State(Arc::new(edge.clone()))).await;
            assert_eq!(response.status(), status);
            let found = axum::body::to_bytes(response.into_body(), 1 << 10).await.unwrap();
            assert!(String::from_utf8_lossy(&found).starts_with(body), "{found:?}");
        };
        says(&edge, 503, r#"{"ready":false,"reason":"the server is starting"}"#).await;
        edge.serving.store(true, Ordering::Relaxed);
        says(&edge, 200, r#"{"ready":true}"#).await;
        edge.stopping.cancel();
        says(&edge, 503, r#"{"ready":false,"reason":"the server is shutting down"}"#).await;
        edge.stopping = CancellationToken::new();
        // Whoever committed is gone, as when the disk is.
        drop(stepper);
        says(&edge, 503, r#"{"ready":false,"reason":"the simulated process has died"}"#).await;
    }
}
