//! Objects on storage that commits when it is told to, and as it is told to.

use std::task::Poll;

use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio_util::task::TaskTracker;

use super::roomy;
use crate::metrics::Metrics;
use crate::object::{Error, Namespace, Registry, RegistryError, Services};
use crate::path::ObjectPath;
use crate::storage::{self, Fate, Stepper, Storage};

pub(super) struct World {
    pub(super) namespace: Namespace,
    pub(super) stepper: Stepper,
    _data: tempfile::TempDir,
}

/// What came of a call, once it is known.
pub(super) type Call = tokio::task::JoinHandle<Result<Vec<u8>, Error>>;

impl World {
    pub(super) fn of(services: Services, registry: impl FnOnce(&Metrics) -> Result<Registry, RegistryError>) -> Self {
        let (data, metrics) = (tempfile::tempdir().expect("a directory"), Metrics::new());
        let files = storage::Options { data_dir: data.path().to_owned(), sync: false, ..storage::Options::default() };
        let (storage, stepper) = Storage::stepped(files, &metrics).expect("storage opens");
        let registry = registry(&metrics).expect("a registry");
        let namespace = Namespace::new(storage, registry, roomy(), metrics, services, &TaskTracker::new());
        Self { namespace, stepper, _data: data }
    }

    /// Begins a call, whose turn is over when this returns.
    pub(super) async fn begin<T: Serialize>(&self, path: &str, method: &str, payload: T) -> Call {
        let (namespace, path) = (self.namespace.clone(), ObjectPath::parse(path).expect("a path"));
        let (method, payload) = (method.to_owned(), to_raw_value(&payload).expect("JSON"));
        let mut call = Box::pin(async move { namespace.call(&path, &method, payload).await });
        let begun = futures_util::poll!(&mut call);
        self.namespace.0.spawn(async move {
            match begun {
                Poll::Ready(result) => result,
                Poll::Pending => call.await,
            }
        })
    }

    pub(super) async fn end(&mut self, call: Call) -> Result<String, Error> {
        while !call.is_finished() {
            self.stepper.step(100, Fate::Durable);
            tokio::task::yield_now().await;
        }
        Ok(String::from_utf8(call.await.expect("no panic")?).expect("text"))
    }

    pub(super) async fn ask(&mut self, path: &str, method: &str) -> String {
        let call = self.begin(path, method, ()).await;
        self.end(call).await.expect(method)
    }
}
