//! What a server is made of, before it is one: classes, routes, settings.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::tasks::{Echo, Sleep};
use super::{Error, Running, Server};
use crate::class::{self, Agent, Coordinator, FleetManager, TaskHandler, Worker, WorkerConnection};
use crate::config::{Config, Routes, routes};
use crate::limits::TASK_TYPE_CHARS;
use crate::metrics::Metrics;
use crate::object::{self, Class, Jobs, Registry, RegistryError, read};

/// Puts a server together: begun by [`Server::builder`], ended by [`Builder::run`] (a whole program, like the `fleet`
/// binary) or [`Builder::start`] (within a program or a test).
///
/// The built-in classes are always there (see [`crate::class`]). A path has the class that it was created with, else that of the most
/// specific route, else the default class.
///
/// ```no_run
/// # use fleet::{Class, Server};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Counter;
/// # impl Class for Counter { const NAME: &'static str = "counter"; }
/// fn main() -> std::process::ExitCode {
///     Server::builder().class::<Counter>().route("/counters/*", "counter").run()
/// }
/// ```
#[must_use = "it is no server until `run` or `start`"]
pub struct Builder {
    classes: Vec<Registration>,
    default: Option<Registration>,
    routes: Vec<(String, String)>,
    pub(super) jobs: Jobs,
    job_twice: Option<&'static str>,
    /// Types of tasks whose handlers cannot be registered.
    task_twice: Option<String>,
    task_type: Option<String>,
    pub(crate) config: Config,
}

impl Default for Builder {
    /// Nothing but what every server has.
    fn default() -> Self {
        let bare = Self {
            classes: Vec::new(),
            default: None,
            routes: Vec::new(),
            jobs: Jobs::default(),
            job_twice: None,
            task_twice: None,
            task_type: None,
            config: Config::default(),
        };
        bare.task("echo", Echo).task("sleep", Sleep)
    }
}

/// How to register a class whose type is not known.
struct Registration {
    id: TypeId,
    name: &'static str,
    add: fn(&mut Registry) -> Result<(), RegistryError>,
}

impl Registration {
    fn of<C: Class>() -> Self {
        Self { id: TypeId::of::<C>(), name: C::NAME, add: Registry::add::<C> }
    }
}

/// What every server has besides `agent`, the first of all.
fn built_in() -> Vec<Registration> {
    vec![
        Registration::of::<FleetManager>(),
        Registration::of::<Worker>(),
        Registration::of::<WorkerConnection>(),
        Registration::of::<Coordinator>(),
    ]
}

impl Builder {
    /// Registers a class.
    pub fn class<C: Class>(mut self) -> Self {
        self.classes.push(Registration::of::<C>());
        self
    }

    /// The class of every path that nothing else gives one, instead of `agent`; registers it unless
    /// [`Builder::class`] did.
    pub fn default_class<C: Class>(mut self) -> Self {
        self.default = Some(Registration::of::<C>());
        self
    }

    /// The class of the paths that match a pattern and have none stored, beside the routes of the configuration. `*` stands
    /// for one segment, `**` for any number; the most specific pattern wins.
    pub fn route(mut self, pattern: impl Into<String>, class: impl Into<String>) -> Self {
        self.routes.push((pattern.into(), class.into()));
        self
    }

    /// Registers async work that objects start with [`Turn::run`](crate::Turn::run), see [`Jobs::with`].
    pub fn job<F>(mut self, name: &'static str, job: impl Fn(Box<RawValue>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<u8>, object::Error>> + Send + 'static,
    {
        if self.jobs.has(name) {
            self.job_twice = Some(name);
        }
        self.jobs = self.jobs.with(name, job);
        self
    }

    /// Registers what does tasks of a type, see [`TaskHandler`]. Tasks reach it from a `fleet-manager`, each attempt in a
    /// worker of its own. The types `echo`, `sleep` and `http` are built in.
    pub fn task(mut self, kind: impl Into<String>, handler: impl TaskHandler) -> Self {
        let kind = kind.into();
        let name = class::job(&kind);
        if self.jobs.has(&name) || kind == "http" {
            self.task_twice = Some(kind);
            return self;
        }
        if !(1..=TASK_TYPE_CHARS).contains(&kind.chars().count()) {
            self.task_type = Some(kind);
            return self;
        }
        let handler = Arc::new(handler);
        self.jobs = self.jobs.with(name, move |input| {
            let handler = Arc::clone(&handler);
            async move { handler.run(read(&input)?).await }
        });
        self
    }

    /// The settings, instead of the defaults. [`Builder::start`] takes them as they are; [`Builder::run`] lays the file, the
    /// environment and the command line over them.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Listens, opens the data directory, and builds every part, but serves nothing yet.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn bind(self) -> Result<Server, Error> {
        Server::bind(self).await
    }

    /// Starts a server on the runtime of the caller, which [`runtime`](super::runtime) may have made. It reads neither the
    /// command line nor the environment nor any file but its data.
    ///
    /// ```
    /// # use fleet::{Class, Server, config::Config};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Default, Serialize, Deserialize)] struct Counter;
    /// # impl Class for Counter { const NAME: &'static str = "counter"; }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let data = tempfile::tempdir()?;
    /// let mut config = Config::default();
    /// config.server.listen = "127.0.0.1:0".parse()?;
    /// config.storage.data_dir = data.path().to_owned();
    /// let server = Server::builder().class::<Counter>().config(config).start().await?;
    /// println!("listening on http://{}", server.address());
    /// server.stop().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn start(self) -> Result<Running, Error> {
        Ok(Running::start(self.bind().await?))
    }

    /// The classes, routes and jobs, checked together.
    pub(super) fn registry(&self, metrics: &Metrics) -> Result<Registry, Error> {
        let mut registry = Registry::new::<Agent>(metrics)?;
        let built_in = built_in();
        for class in built_in.iter().chain(&self.classes) {
            (class.add)(&mut registry)?;
        }
        if let Some(default) = &self.default {
            let registered = built_in.iter().chain(&self.classes).any(|class| class.id == default.id);
            if !registered && default.id != TypeId::of::<Agent>() {
                (default.add)(&mut registry)?;
            }
            registry.set_default(default.name);
        }
        registry.check()?;
        if let Some(name) = self.job_twice {
            return Err(Error::DuplicateJob(name));
        }
        if let Some(kind) = &self.task_twice {
            return Err(Error::DuplicateTask(kind.clone()));
        }
        if let Some(kind) = &self.task_type {
            return Err(Error::TaskType(kind.clone()));
        }
        let routes = self.all_routes()?;
        if let Some((pattern, class)) = routes.iter().find(|(_, class)| !registry.has(class)) {
            return Err(Error::UnknownClass { pattern: pattern.to_owned(), class: class.to_owned() });
        }
        Ok(registry.routed(move |path| routes.class_of(path).map(str::to_owned)))
    }

    fn all_routes(&self) -> Result<Routes, Error> {
        let mut table = BTreeMap::from(self.config.routes.clone());
        for (pattern, class) in &self.routes {
            match table.insert(pattern.clone(), class.clone()) {
                Some(other) if other != *class => {
                    return Err(Error::Routes(routes::Error::Tie(pattern.clone(), pattern.clone())));
                }
                _ => {}
            }
        }
        Ok(Routes::compile(table)?)
    }
}

#[cfg(test)]
mod tests;
